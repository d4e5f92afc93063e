"""`parity doctor` passes where a worker can run, names what is missing, and leaves no schema."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest

from tests.integration.aws import without_credentials
from tests.integration.dsql_limits import StandIn, Target
from tests.support.books import TIMEOUT_S, buy, deposit, open_market, sell
from tests.support.databases import execute, fetch
from tests.support.eventually import eventually
from tests.support.programs import Result, ran
from tests.support.system import System
from tests.support.tls_terminator import CA_FILE, tls_terminator
from worker import app, config
from worker.adapters.postgres import target_checks
from worker.adapters.postgres.scratch import PREFIX
from worker.adapters.postgres.target import cluster
from worker.adapters.postgres.target_checks import Bench, Driver
from worker.adapters.system import system, wall_clock_ms
from worker.config import Settings
from worker.doctor import Finding, as_json, healthy, report
from worker.doctor.checks import Doctor
from worker.domain.state import StreamKind
from worker.embedded import EmbeddedKafka
from worker.ports import StreamRow
from worker.response import Verdict

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
ENDS_WITHIN_S = 100.0
NEEDS_SCRATCH = {
    "rows as JSON",
    "keys as text",
    "CHECK",
    "primary key",
    "upsert",
    "partial index",
    "writing CTE",
    "abort",
    "snapshot",
    "lost update",
    "conflict of updates",
    "conflict of inserts",
    "after a DDL",
    "batch in a statement",
    "fence",
    "take-over",
    "proof and audit",
    "batch in steps",
    "rows per transaction",
    "rows written twice",
    "bytes per transaction",
    "a long parameter",
}


async def _examined(
    url: str, target: Target | None = None, **settings: object
) -> Mapping[str, Finding]:
    """Examine only a database, and check that no schema remains."""
    driver: Any = Driver(url, timeout_s=TIMEOUT_S) if target is None else StandIn(url, target)
    doctor = Doctor(config.load(database_url=url, **settings), system(), driver)
    await doctor.examine_database()
    assert await _schemas(url) == []
    return {finding.name: finding for finding in doctor.findings}


async def _schemas(url: str) -> list[str]:
    sql = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1)"
    return [name for (name,) in await fetch(url, sql, PREFIX)]


def _missing(findings: Mapping[str, Finding]) -> set[str]:
    return {name for name, found in findings.items() if found.verdict is Verdict.MISSING}


def _not_tried(findings: Mapping[str, Finding]) -> set[str]:
    return {name for name, found in findings.items() if found.verdict is Verdict.NOT_TRIED}


@pytest.fixture
async def url(database_url: str) -> str:
    return database_url


# The database.


@pytest.mark.parametrize("mode", ["statement", "steps"])
async def test_complete_database_passes(url: str, mode: str) -> None:
    found = await _examined(url, commit_mode=mode)
    assert _missing(found) == _not_tried(found) == set()
    assert found.keys() > NEEDS_SCRATCH
    assert found["lost update"].came_back.startswith("40001")
    assert found["conflict of updates"].came_back.startswith("55P03")
    assert found["abort"].came_back.endswith("COMMIT answers ROLLBACK, 0 rows")
    assert found["fence"].came_back == "refused: 23514 batches_fence"
    assert "no limit met" in found["rows per transaction"].came_back
    assert "no limit met" in found["bytes per transaction"].came_back


async def test_tables_of_the_exchange_stay_unchanged(url: str) -> None:
    before = await _rows(url)
    await _examined(url)
    assert await _rows(url) == before


async def _rows(url: str) -> Sequence[tuple[Any, ...]]:
    sql = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1"
    return [row for row in await fetch(url, sql) if row[0] != "migrations"]


async def test_unreachable_database_is_the_only_finding() -> None:
    doctor = Doctor(
        config.load(database_url="postgresql://postgres@127.0.0.1:1/x"),
        system(),
        Driver("postgresql://postgres@127.0.0.1:1/x", timeout_s=2),
    )
    await doctor.examine_database()
    found = {finding.name: finding for finding in doctor.findings}
    assert _missing(found) == {"connection"}
    assert _not_tried(found) == found.keys() - {"token", "connection"}


@pytest.mark.parametrize(("role", "action"), [("admin", "DbConnectAdmin"), ("w", "DbConnect")])
async def test_missing_credentials_differ_from_an_unreachable_cluster(
    monkeypatch: pytest.MonkeyPatch, role: str, action: str
) -> None:
    without_credentials(monkeypatch)
    address = f"dsql://localhost:1?region=us-east-1&role={role}"
    driver = Driver(address, timeout_s=5)
    doctor = Doctor(config.load(database_url=address), system(), driver)
    await doctor.examine_database()
    found = {finding.name: finding for finding in doctor.findings}
    assert _missing(found) == {"token"}
    assert found["token"].came_back == "no IAM token for localhost: NoCredentialsError"
    assert found["connection"].came_back == "needs token"

    for name, value in (("ACCESS_KEY_ID", "AKIDEXAMPLE"), ("SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(f"AWS_{name}", value)
    await cluster(address).close()
    doctor.findings.clear()
    await doctor.examine_database()
    await cluster(address).close()
    found = {finding.name: finding for finding in doctor.findings}
    assert found["token"].came_back == f"minted, for dsql:{action}"
    assert _missing(found) == {"connection"}


async def test_empty_database_needs_migrations(empty_database_url: str) -> None:
    found = await _examined(empty_database_url)
    assert _missing(found) == {"migrations"}
    assert "run `parity migrate`" in found["migrations"].came_back
    assert _not_tried(found) == {"rights", "streams"}


@pytest.mark.parametrize(("is_dsql", "verdict"), [(True, Verdict.MISSING), (False, Verdict.NOTE)])
async def test_connection_without_tls_fails_only_on_dsql(
    url: str, is_dsql: bool, verdict: Verdict
) -> None:
    driver: Any = StandIn(url, Target(), is_dsql=is_dsql)
    database = target_checks.Database(driver, system())
    await database.connected()
    answer = await database.encrypted()
    await database.close()
    assert answer.verdict is verdict
    assert answer.text.startswith("no TLS")


@pytest.mark.parametrize(
    ("off_s", "verdict"), [(3, Verdict.NOTE), (-3, Verdict.NOTE), (-200, Verdict.MISSING)]
)
async def test_clock_difference_is_reported(
    url: str, monkeypatch: pytest.MonkeyPatch, off_s: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(target_checks, "wall_clock_ms", lambda: wall_clock_ms() - off_s * 1_000)
    database = target_checks.Database(Driver(url, timeout_s=TIMEOUT_S), system())
    await database.connected()
    answer = await database.clock()
    await database.close()
    assert answer.verdict is verdict
    assert float(answer.text.split()[0]) == pytest.approx(off_s, abs=0.9)


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (
            "DROP TABLE payouts CASCADE",
            "0014_payouts.sql was applied, but the table payouts is gone",
        ),
        ("DROP INDEX orders_open", "0010_orders_open.sql (apply)"),
        ("UPDATE migrations SET checksum = 'x' WHERE number = 4", "0004_accounts.sql was changed"),
    ],
)
async def test_incomplete_schema_is_reported(url: str, broken: str, text: str) -> None:
    await execute(url, broken)
    found = await _examined(url)
    assert _missing(found) == {"migrations"}
    assert text in found["migrations"].came_back


# Other targets. `tests.integration.dsql_limits` says what these stand-ins can show.


async def test_target_without_writing_ctes_gets_advice(url: str) -> None:
    found = await _examined(url, Target(refuses_ctes=True))
    assert _missing(found) == _not_tried(found) == set()
    assert found["writing CTE"].verdict is Verdict.NOTE
    assert found["batch in a statement"].verdict is Verdict.NOTE
    assert "PARITY_COMMIT_MODE=steps" in found["batch in a statement"].came_back


async def test_target_without_writing_ctes_passes_in_steps(url: str) -> None:
    found = await _examined(url, Target(refuses_ctes=True), commit_mode="steps")
    assert _missing(found) == _not_tried(found) == set()
    assert found["writing CTE"].verdict is Verdict.NOTE
    assert found["batch in a statement"].verdict is Verdict.NOTE


async def test_target_without_snapshots_fails(url: str) -> None:
    found = await _examined(url, Target(read_committed=True))
    assert _missing(found) == {"snapshot", "lost update"}
    assert "both were written" in found["lost update"].came_back


@pytest.mark.parametrize(("batch_rows", "passes"), [(1_000, True), (2_500, True), (5_000, False)])
async def test_row_limit_is_compared_with_the_budget(
    url: str, batch_rows: int, passes: bool
) -> None:
    found = await _examined(url, Target(rows_max=3_000), batch_rows=batch_rows)
    result = found["rows per transaction"].came_back
    assert "3,000: passes, 3,001: 54000" in result
    assert "index entries do not count" in result
    assert _missing(found) == (set() if passes else {"rows per transaction"})
    assert "each counts twice" in found["rows written twice"].came_back


async def test_index_entries_that_count_as_rows_are_reported(url: str) -> None:
    target = Target(rows_max=3_000, counts_index_entries=True)
    found = await _examined(url, target, batch_rows=2_500)
    assert _missing(found) == {"rows per transaction"}
    assert "1,501: 54000" in found["rows per transaction"].came_back
    assert "index entries count" in found["rows per transaction"].came_back


@pytest.mark.parametrize(("mib", "missing"), [(10, set()), (3, {"bytes per transaction"})])
async def test_byte_limit_is_found_at_commit(url: str, mib: int, missing: set[str]) -> None:
    found = await _examined(url, Target(bytes_max=mib << 20))
    assert _missing(found) == missing
    assert "54000 transaction size limit" in found["bytes per transaction"].came_back


async def test_schema_change_costs_one_statement(url: str) -> None:
    found = await _examined(url, Target(oc001=True))
    assert _missing(found) == _not_tried(found) == set()
    assert "OC001" in found["after a DDL"].came_back
    assert found["after a DDL"].came_back.endswith("answered")


async def test_role_without_schema_rights_gets_advice(url: str) -> None:
    found = await _examined(url, Target(refuses_schemas=True))
    assert _missing(found) == set()
    assert _not_tried(found) == NEEDS_SCRATCH | {"scratch tables"}
    assert "as admin" in found["scratch tables"].came_back


# Cleaning up.


@pytest.mark.parametrize(
    "where", ["CREATE TABLE orders", "ON CONFLICT (k)", "generate_series(1, $2"]
)
async def test_bug_midway_leaves_no_schema(url: str, where: str) -> None:
    with pytest.raises(ZeroDivisionError):
        await _examined(url, Target(breaks_at=where))
    assert await _schemas(url) == []


@pytest.mark.parametrize("during", ["message", "closed"])
async def test_interrupt_leaves_no_schema(
    url: str, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    """An interrupt during the cleaning leaves no schema either."""
    entered = asyncio.Event()
    probe = getattr(Bench, during)

    async def slow(bench: Bench) -> object:
        entered.set()
        await asyncio.sleep(0)
        return await probe(bench)

    monkeypatch.setattr(Bench, during, slow)
    doctor = Doctor(config.load(database_url=url), system(), Driver(url, timeout_s=TIMEOUT_S))
    task = asyncio.create_task(doctor.examine_database())
    await asyncio.wait_for(entered.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _schemas(url) == []


@pytest.mark.parametrize("tag", ["CREATE SCHEMA", "CREATE TABLE"])
async def test_statement_outliving_its_client_leaves_no_schema(url: str, tag: str) -> None:
    """A server finishes a statement although its client was interrupted."""
    await execute(
        url,
        "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_sleep(20); END';"
        f"CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('{tag}')"
        " EXECUTE FUNCTION slow()",
    )
    doctor = Doctor(config.load(database_url=url), system(), Driver(url, timeout_s=TIMEOUT_S))
    task = asyncio.create_task(doctor.examine_database())
    await eventually(lambda: _at_work(url, tag))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def idle() -> bool:
        return not await _at_work(url, tag)

    await eventually(idle)
    assert await _schemas(url) == []


async def _at_work(url: str, tag: str) -> bool:
    sql = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'active' AND starts_with(query, $1) AND wait_event = 'PgSleep'"
    )
    return bool(await fetch(url, sql, tag))


async def test_hanging_check_is_bounded_and_named(url: str) -> None:
    driver: Any = StandIn(url, Target(hangs_at="ON CONFLICT (k)"))
    doctor = Doctor(config.load(database_url=url), system(), driver)
    await doctor.examine_database()
    found = {finding.name: finding for finding in doctor.findings}
    assert _missing(found) == {"upsert"}
    assert found["primary key"].verdict is found["abort"].verdict is Verdict.OK
    assert await _schemas(url) == []


async def test_old_leftover_schemas_are_removed(url: str) -> None:
    now_s = wall_clock_ms() // 1_000
    old, young = f"{PREFIX}{now_s - 4_000:x}_00000001", f"{PREFIX}{now_s:x}_00000002"
    # Somebody else's, although their names begin with the prefix, so never dropped.
    others = [f"{PREFIX}abc_notes", f"{PREFIX}kept"]
    for schema in (old, young, *others):
        await execute(url, f"CREATE SCHEMA {schema}")
        await execute(url, f"CREATE TABLE {schema}.probe (k uuid)")
    driver = Driver(url, timeout_s=TIMEOUT_S)
    await Doctor(config.load(database_url=url), system(), driver).examine_database()
    assert sorted(await _schemas(url)) == [young, *others]


# The brokers, and everything together.


@pytest.fixture
def exchange(system: System) -> System:
    return system


async def _asked(settings: Settings, *registered: StreamRow) -> Mapping[str, Finding]:
    url = settings.database_url.get_secret_value()
    doctor = Doctor(settings, system(), Driver(url, timeout_s=TIMEOUT_S))
    doctor.registered = {row.stream: row for row in registered}
    await doctor.examine_brokers(app.make_broker(settings))
    return {finding.name: finding for finding in doctor.findings}


async def test_suitable_topics_pass(exchange: System) -> None:
    found = await _asked(exchange.settings)
    assert _missing(found) == _not_tried(found) == set()
    assert found["reading a record"].verdict is Verdict.NOTE
    await exchange.publish(deposit("a", 5))
    found = await _asked(exchange.settings)
    assert found["reading a record"].came_back.startswith("one record of")


@pytest.mark.parametrize(
    ("topic", "partitions", "stamps", "text"),
    [
        (
            "orders_topic",
            2,
            "CreateTime",
            "timestamp.type=CreateTime: set LogAppendTime",
        ),
        ("events_topic", 2, "LogAppendTime", "set CreateTime, as its records carry lane time"),
        ("events_topic", 1, "CreateTime", "1 partitions, CreateTime: "),
        ("transfer_events_topic", 1, "CreateTime", "1 partitions, CreateTime: "),
    ],
)
async def test_unsuitable_topic_is_named(
    exchange: System, topic: str, partitions: int, stamps: str, text: str
) -> None:
    name = f"{exchange.prefix}other"
    broker = app.make_broker(exchange.settings)
    await broker.create_topics(
        {name: partitions}, replication_factor=1, configs={"message.timestamp.type": stamps}
    )

    async def known() -> bool:
        return bool(await broker.describe([name]))

    await eventually(known)
    found = await _asked(exchange.settings.model_copy(update={topic: name}))
    assert _missing(found) == {f"topic {name}"}
    assert text in found[f"topic {name}"].came_back


async def test_missing_topic_is_named(exchange: System) -> None:
    found = await _asked(exchange.settings.model_copy(update={"dead_letters_topic": "none"}))
    assert {"topic none"} <= _missing(found)
    assert "parity topics" in found["topic none"].came_back


async def test_topic_smaller_than_its_stream_is_named(exchange: System) -> None:
    orders = exchange.settings.orders_topic
    stream = StreamRow(orders, orders, StreamKind.ORDERS, partitions=3, first_lane=0)
    found = await _asked(exchange.settings, stream)
    assert _missing(found) == {f"topic {orders}"}
    assert "its stream has 3" in found[f"topic {orders}"].came_back
    found = await _asked(exchange.settings, replace(stream, partitions=1))
    assert found[f"topic {orders}"].verdict is Verdict.NOTE


@pytest.mark.shows("F45")
async def test_recreated_topic_is_named(exchange: System) -> None:
    orders = exchange.settings.orders_topic
    stream = StreamRow(orders, orders, StreamKind.ORDERS, 2, 0, topic_id="of the old one")
    found = await _asked(exchange.settings, stream)
    assert _missing(found) == {f"topic {orders}"}
    assert "was read from of the old one" in found[f"topic {orders}"].came_back


async def test_unreachable_brokers_are_named() -> None:
    nobody = {"bootstrap_servers": "127.0.0.1:1", "kafka_timeout_s": 2}
    found = await _asked(config.load(**nobody))
    assert _missing(found) == {"brokers"}
    assert _not_tried(found) == found.keys() - {"brokers", "codecs"}


@pytest.mark.slow
async def test_denied_rights_are_named(database_url: str) -> None:
    """Kafka runs with an authorizer that allows what no ACL mentions."""
    config_lines = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with await asyncio.to_thread(EmbeddedKafka.start, config=config_lines) as kafka:
        async with System.start(database_url, kafka.bootstrap, "acl-") as exchange:
            settings = exchange.settings
            assert _missing(await _asked(settings)) == set()
            await _reserve(kafka.bootstrap, 2, settings.events_topic, operation=4)
            kept = settings.transfer_events_topic
            # This client may still write, and read the topic's settings.
            for operation in (10, 4):
                us = "User:ANONYMOUS"
                await _reserve(kafka.bootstrap, 2, kept, operation=operation, principal=us)
            await _reserve(kafka.bootstrap, 3, settings.group_id, operation=3)

            async def denied() -> str:
                found = (await _asked(settings))["rights at the brokers"]
                return found.came_back if found.verdict is Verdict.MISSING else ""

            async def every() -> bool:
                events = settings.events_topic
                lacking = f"READ {events}, READ {kept}, WRITE {events}, READ the consumer group"
                return lacking in await denied()

            await eventually(every)
            found = await _asked(settings)
            assert (
                found[f"topic {settings.events_topic}"].came_back
                == "this client may not describe it"
            )


async def _reserve(
    bootstrap: str, kind: int, name: str, *, operation: int, principal: str = "User:other"
) -> None:
    """Allow an operation on a topic (2) or group (3) only to another principal."""
    literal, allow = 3, 3
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        request = CreateAclsRequest(kind, name, literal, principal, "*", operation, allow)
        controller = client.cluster.controller
        node = controller.nodeId if controller else client.get_random_node()
        answer = await client.send(node, request)
        assert [code for code, _ in answer.creation_responses] == [0]
    finally:
        await client.close()


async def test_doctor_does_not_disturb_a_busy_worker(exchange: System) -> None:
    await exchange.member()
    market = exchange.market(0)
    names = [exchange.account(n % 2, f"a{n}") for n in range(6)]
    await exchange.publish(*[deposit(name, 100_000) for name in names], open_market(market))
    await exchange.answered()
    url = exchange.settings.database_url.get_secret_value()
    examining = asyncio.create_task(_examined(url))
    rounds = 0
    while not examining.done() or rounds == 0:
        await exchange.publish(
            *[buy(market, name, 1, 50 + n) for n, name in enumerate(names[:3])],
            *[sell(market, name, 1, 50 + n) for n, name in enumerate(names[3:])],
        )
        await exchange.answered()
        rounds += 1
    assert _missing(await examining) == set()
    await exchange.check_invariants()


# The command.


async def _doctor(settings: Settings, *arguments: str) -> Result:
    environment = {**os.environ, **config.environment(settings)}
    return await asyncio.to_thread(
        ran, "worker", "doctor", *arguments, env=environment, within_s=ENDS_WITHIN_S
    )


async def test_command_prints_a_table_and_exits_0(exchange: System) -> None:
    done = await _doctor(exchange.settings)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == ["check", "result", "took", "tried"]
    assert lines[-1].startswith("HEALTHY  ")


async def test_command_prints_json_and_exits_1(exchange: System) -> None:
    await execute(exchange.settings.database_url.get_secret_value(), "DROP TABLE payouts CASCADE")
    done = await _doctor(exchange.settings, "--json")
    assert done.code == 1
    printed = json.loads(done.out)
    assert printed["healthy"] is False
    missing = [check["name"] for check in printed["checks"] if check["verdict"] == "missing"]
    assert missing == ["migrations"]
    assert set(printed["checks"][0]) == {"name", "tried", "verdict", "cameBack", "tookMs"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_command_cleans_up_on_a_signal(url: str, number: signal.Signals) -> None:
    settings = config.load(database_url=url, bootstrap_servers="127.0.0.1:1")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", "doctor"),
        cwd=REPOSITORY,
        env={**os.environ, **config.environment(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )

    async def at_work() -> bool:
        return bool(await _schemas(url))

    try:
        await eventually(at_work)
        process.send_signal(number)
        printed, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 130
    assert b"Traceback" not in printed
    assert await _schemas(url) == [], printed


@pytest.mark.slow
async def test_command_examines_embedded_servers() -> None:
    done = await _doctor(config.load(), "--embedded", "--json")
    assert done.code == 0, done.out
    assert json.loads(done.out)["healthy"] is True


# The report.


@pytest.mark.parametrize(
    ("verdict", "well"),
    [
        (Verdict.OK, True),
        (Verdict.NOTE, True),
        (Verdict.NOT_TRIED, True),
        (Verdict.MISSING, False),
    ],
)
def test_only_missing_fails(verdict: Verdict, well: bool) -> None:
    findings = [
        Finding("a", "it", Verdict.OK, "well", 0.001),
        Finding("b", "it", verdict, "so", 0.002),
    ]
    assert healthy(findings) is well
    assert as_json(findings)["healthy"] is well
    assert report.verdict(findings).startswith("HEALTHY" if well else "NOT HEALTHY")


def test_result_stays_on_one_short_line() -> None:
    assert report.shortened("a\n  b") == "a b"
    assert len(report.shortened("x" * 9_000)) == report.TEXT_CHARS_MAX + 1


# A DSQL address, whose endpoint is a TLS terminator in front of PostgreSQL.


@pytest.mark.parametrize("isolated", [True, False])
async def test_dsql_address_is_examined_through_tls(
    url: str, monkeypatch: pytest.MonkeyPatch, isolated: bool
) -> None:
    """The examination ends at the scratch tables: PostgreSQL has no CREATE INDEX ASYNC."""
    for name, value in (("ACCESS_KEY_ID", "AKIDEXAMPLE"), ("SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(f"AWS_{name}", value)
    database = urlsplit(url).path
    if isolated:
        setting = "default_transaction_isolation = 'repeatable read'"
        await execute(url, f'ALTER DATABASE "{database.strip("/")}" SET {setting}')
    async with tls_terminator(url, "right.pem") as port:
        query = f"role=postgres&region=us-east-1&sslrootcert={CA_FILE}"
        address = f"dsql://localhost:{port}{database}?{query}"
        driver = Driver(address, timeout_s=TIMEOUT_S)
        doctor = Doctor(config.load(database_url=url), system(), driver)
        await doctor.examine_database()
        await cluster(address).close()
    found = {finding.name: finding for finding in doctor.findings}
    if isolated:
        assert found["TLS"].came_back.startswith("TLSv1.3")
        assert found["TLS"].came_back.endswith("certificate of localhost verified")
        assert _missing(found) == {"scratch tables"}
    else:
        assert _missing(found) == {"connection"}
        assert "needs 'repeatable read'" in found["connection"].came_back
    assert await _schemas(url) == []
