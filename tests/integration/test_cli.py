"""The command `parity` as a process: its output and its exit codes."""

import json
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.databases import execute
from tests.support.shell import (
    DEADLINE_S,
    HIDDEN,
    REPOSITORY,
    Shell,
    read_json,
    status_of,
    until,
    until_ready,
)
from worker.adapters.postgres.migrate import migrations
from worker.cli import show

pytestmark = pytest.mark.integration

PROOF_FIELDS = {
    "backend",
    "trades",
    "ledgerImbalance",
    "negativeBalances",
    "cashConserved",
    "consistent",
}


# Usage and configuration.


def test_version_is_printed(nowhere: Shell) -> None:
    result = nowhere.parity("--version")

    assert (result.code, result.out) == (0, f"parity {version('parity-exchange')}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["publish"],
        ["publish", "place-order", "--market", "m"],
        ["publish", "--file", "/nowhere/at/all.ndjson"],
        ["publish", "deposit", "--account", "a b", "--transfer-id", "t", "--amount", "1"],
        ["tail", "rumours"],
        ["tail", "--limit", "0"],
        ["topics", "--partitions", "0"],
    ],
)
def test_wrong_usage_exits_2(nowhere: Shell, arguments: list[str]) -> None:
    result = nowhere.parity(*arguments)

    assert (result.code, result.out) == (2, "")
    assert result.err


@pytest.mark.parametrize("command", ["run", "tail", "proof"])
def test_bad_settings_exit_2_and_are_named(nowhere: Shell, command: str) -> None:
    result = nowhere.parity(command, STALL_S="0", DATABASE_URL=f"mysql://u:{HIDDEN}@h/d")

    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert "PARITY_STALL_S='0': " in result.err
    assert "PARITY_DATABASE_URL='mysql://u:***@h/d': must begin with postgresql://" in result.err


def test_empty_database_asks_for_migrate(shell: Shell) -> None:
    for command in ("proof", "audit"):
        result = shell.parity(command)
        assert (result.code, "parity migrate" in result.err) == (2, True)


def test_worker_without_tables_asks_for_migrate_once(shell: Shell, tmp_path: Path) -> None:
    shell.parity("topics", "--partitions", "1")
    log = tmp_path / "worker.log"
    with shell.worker(log) as worker:
        until(lambda: "no tables of Parity: run `parity migrate`" in log.read_text())
        assert shell.parity("migrate").code == 0
        until_ready(worker)
    assert log.read_text().count("waiting_to_start") == 1


def test_missing_database_exits_2(shell: Shell) -> None:
    result = shell.parity("proof", DATABASE_URL=shell.settings["DATABASE_URL"] + "x")

    assert (result.code, result.out) == (2, "")
    assert "does not exist: create the database or correct the address" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["proof"],
        ["audit"],
        ["migrate"],
        ["topics"],
        ["tail"],
        ["publish", "deposit", "--account", "a", "--transfer-id", "t", "--amount", "1"],
    ],
)
def test_unreachable_servers_exit_3(nowhere: Shell, arguments: list[str]) -> None:
    result = nowhere.parity(*arguments)

    assert (result.code, result.out) == (3, "")
    assert result.err.count("\n") == 1
    assert result.err.startswith("parity: ")
    assert "(PARITY_DATABASE_URL)" in result.err or "(PARITY_BOOTSTRAP_SERVERS)" in result.err
    assert HIDDEN not in result.err


def test_silent_database_exits_3(nowhere: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:{HIDDEN}@127.0.0.1:{silent.getsockname()[1]}/d"
        result = nowhere.parity("proof", "--json", DATABASE_URL=url)

    assert (result.code, result.out) == (3, "")


# Migrate and topics.


def test_migrate_dry_run_changes_nothing(shell: Shell) -> None:
    for _ in range(2):
        shown = shell.parity("migrate", "--dry-run")
        lines = shown.out.splitlines()
        assert (shown.code, lines[-1]) == (0, f"{len(migrations())} to apply")
        assert lines[0] == "0001_streams.sql: would begin: CREATE TABLE streams"
    shell.parity("migrate")
    assert shell.parity("migrate", "--dry-run").out == "up to date\n"


def test_migrate_and_topics_can_be_repeated(shell: Shell) -> None:
    first, second = shell.parity("migrate"), shell.parity("migrate")
    made = shell.parity("topics", "--partitions", "3", "--json")
    found = shell.parity("topics", "--partitions", "3", "--json")

    assert (first.code, second.code, second.out) == (0, 0, "up to date\n")
    assert (made.code, found.code) == (0, 0)
    assert [topic["existed"] for topic in made.json] == [False] * 5
    assert [topic["existed"] for topic in found.json] == [True] * 5
    assert [topic["timestamps"] for topic in found.json] == ["LogAppendTime"] * 2 + [
        "CreateTime"
    ] * 3
    assert {topic["partitions"] for topic in found.json} == {3}
    assert all(topic["fits"] for topic in found.json)


def test_unfit_topic_exits_1(shell: Shell) -> None:
    shell.parity("topics", "--partitions", "2")

    few = shell.parity("topics", "--partitions", "4")
    events = shell.settings["EVENTS_TOPIC"]
    exchanged = {"ORDERS_TOPIC": events, "EVENTS_TOPIC": shell.settings["ORDERS_TOPIC"]}
    wrong = shell.parity("topics", "--partitions", "2", "--json", **exchanged)

    assert (few.code, few.out.count("no: has 2 partitions of 4")) == (1, 5)
    assert wrong.code == 1
    assert "LogAppendTime" in wrong.json[0]["problem"]


# Publish, run, read.


def test_commands_work_from_migrate_to_proof(shell: Shell, tmp_path: Path) -> None:
    assert shell.parity("migrate").code == 0
    assert shell.parity("topics", "--partitions", "2").code == 0
    with shell.worker(tmp_path / "worker.log") as worker:
        until_ready(worker)
        _publish(shell)
        _look(shell)
        served = read_json(worker, "/api/proof")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0

    proof, audit = shell.parity("proof", "--json"), shell.parity("audit", "--events", "--json")
    assert (proof.code, proof.json["consistent"], audit.code) == (0, True, 0)
    assert set(served) == {*proof.json, "ageSeconds"}
    assert set(proof.json) >= PROOF_FIELDS
    assert audit.json["violations"] == []
    assert "CONSISTENT" in shell.parity("proof").out
    whole, rows_only = shell.parity("audit", "--events").out, shell.parity("audit").out
    assert "not checked: I14 (waits for the hash chain)" in whole
    assert [line.split()[-3:] for line in rows_only.splitlines() if line.startswith("I13")] == [
        ["needs", "--events", "-"]
    ]
    assert "not checked: I7 (needs --events), I10 (needs --events)" in rows_only
    assert audit.json["events"] == proof.json["events"]
    looked = {name for name, found in audit.json["invariants"].items() if found["checked"]}
    assert looked >= {"I9", "I10", "I11", "I12", "I13", "I20"}


def test_audit_of_events_needs_topics(shell: Shell) -> None:
    assert shell.parity("migrate").code == 0
    missing = shell.parity("audit", "--events")
    assert (missing.code, "does not exist" in missing.err) == (2, True)


def _publish(shell: Shell) -> None:
    """Publish a deposit, a market, the same order twice, and a record that is no command."""
    money = ["--account", "alice", "--transfer-id", "d", "--amount", "900"]
    deposit = shell.parity("publish", "--json", "deposit", *money)
    assert deposit.code == 0
    topic = shell.settings["TRANSFERS_TOPIC"]
    assert deposit.lines[0] | {"partition": 0} == {
        "type": "DEPOSIT",
        "topic": topic,
        "partition": 0,
        "offset": 0,
    }
    shell.parity("tail", "transfer-events", "--from", "earliest", "--limit", "1")
    about = ["--market", "rain", "--operator", "op", "--title", "Rain?"]
    opened = shell.parity("publish", "open-market", *about)
    topic = shell.settings["ORDERS_TOPIC"]
    assert (opened.code, opened.out.startswith(f"published to {topic}[")) == (0, True)
    assert opened.out.endswith("] offset 0  OPEN_MARKET\n")
    order = ["--market", "rain", "--account", "alice", "--order-id", "o-1"]
    terms = ["--side", "buy", "--price", "40", "--quantity", "3"]
    assert shell.parity("publish", "place-order", *order, *terms).code == 0
    again = shell.parity("publish", "--file", "-", stdin=f"{json.dumps(_BUY)}\n")
    assert again.code == 0
    subprocess.run([sys.executable, "-c", _NO_COMMAND], env=shell.environment(), check=True)


def _look(shell: Shell) -> None:
    earliest = ["--from", "earliest"]
    answers = shell.parity("tail", *earliest, "--market", "rain", "--limit", "3", "--json")
    assert [line["event"]["type"] for line in answers.lines] == [
        "MARKET_OPENED",
        "ORDER_ACCEPTED",
        "DUPLICATE",
    ]
    shown = shell.parity("tail", "transfer-events", *earliest, "--no-follow")
    assert (shown.code, shown.out.count("DEPOSITED")) == (0, 1)
    letters = shell.parity("tail", "dead-letters", *earliest, "--limit", "1", "--json")
    assert letters.lines[0]["headers"]["parity-dlq-code"] == "MALFORMED"


_NO_COMMAND = """
import asyncio
import os
from aiokafka import AIOKafkaProducer

async def main():
    server = os.environ["PARITY_BOOTSTRAP_SERVERS"]
    async with AIOKafkaProducer(bootstrap_servers=server) as producer:
        await producer.send_and_wait(os.environ["PARITY_ORDERS_TOPIC"], bytes([255, 0]))

asyncio.run(main())
"""
_BUY = {
    "type": "PLACE_ORDER",
    "market_id": "rain",
    "account_id": "alice",
    "order_id": "o-1",
    "side": "BUY",
    "price": 40,
    "quantity": 3,
    "time_in_force": "GTC",
}


def test_file_with_wrong_line_sends_nothing(shell: Shell, tmp_path: Path) -> None:
    shell.parity("topics", "--partitions", "1")
    file = tmp_path / "commands.ndjson"
    wrong = {**_BUY, "time_in_farce": "IOC"}
    file.write_text(f"{json.dumps(_BUY)}\n\n{json.dumps(wrong)}\nnonsense\n", encoding="utf-8")

    refused = shell.parity("publish", "--file", str(file))
    file.write_text(f"{json.dumps(_BUY)}\n", encoding="utf-8")
    taken = shell.parity("publish", "--json", "--file", str(file))

    assert (refused.code, refused.out) == (2, "")
    assert f"{file}:3: time_in_farce: unknown field" in refused.err
    assert f"{file}:4: value: must be JSON" in refused.err
    assert (taken.code, taken.lines[0]["offset"]) == (0, 0)


async def test_wrong_books_exit_1(shell: Shell) -> None:
    url = shell.settings["DATABASE_URL"]
    assert shell.parity("migrate").code == 0
    account = "6f3c1a52-2a0e-5c55-9f0e-0a8f3f7c1d11"
    await execute(url, f"INSERT INTO pockets VALUES ('{account}', -1, 5)")  # noqa: S608

    proof, audit = shell.parity("proof", "--json"), shell.parity("audit", "--json")
    shown = shell.parity("audit")

    assert (proof.code, proof.json["consistent"]) == (1, False)
    assert (audit.code, audit.json["violations"][0]["name"]) == (1, "pocket_differs")
    assert f"account {account}" in shown.out


# The end of a worker.


def test_ctrl_c_exits_130(shell: Shell, tmp_path: Path) -> None:
    shell.parity("migrate")
    shell.parity("topics", "--partitions", "1")
    deposit = ("--account", "ann", "--transfer-id", "1", "--amount", "100")
    shell.parity("publish", "deposit", *deposit)
    tail = subprocess.Popen(
        [sys.executable, "-m", "worker", "tail", "transfer-events", "--from", "earliest"],
        cwd=REPOSITORY,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with shell.worker(tmp_path / "worker.log") as worker:
        until_ready(worker)
        # It may still be importing, and then ends as any program of Python does.
        assert tail.stdout is not None
        assert b"DEPOSITED" in tail.stdout.readline()
        for process in (worker, tail):
            process.send_signal(signal.SIGINT)
        codes = worker.wait(DEADLINE_S), tail.wait(DEADLINE_S)
    _, errors = tail.communicate()
    assert codes == (130, 130), errors
    assert b"Traceback" not in errors


def test_worker_with_taken_port_exits_2(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = shell.parity("run", HTTP_PORT=port)

    assert result.code == 2
    assert f"PARITY_HTTP_PORT='{port}'" in result.err


def test_table_keeps_long_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "PIPE_COLUMNS", 60)
    words = f"{'abc.dsql.us-east-1.on.aws:' * 3}[bold][/end]"

    show.print_table(("check", "what came back", "took"), [("connection", words, 1_000)])

    lines = capsys.readouterr().out.splitlines()[1:]
    assert "".join(line[12:-7].rstrip() for line in lines) == words


def test_wrong_cluster_address_exits_2(nowhere: Shell) -> None:
    result = nowhere.parity("run", DATABASE_URL="dsql://localhost", HTTP_PORT="0")

    assert result.code == 2
    assert "'localhost' is no DSQL endpoint" in result.err


def test_worker_without_codecs_exits_2(nowhere: Shell, tmp_path: Path) -> None:
    (tmp_path / "cramjam.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, "-m", "worker", "run"],
        cwd=REPOSITORY,
        env={**nowhere.environment(), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "parity: Kafka's codecs snappy, lz4, zstd" in done.stderr


@pytest.mark.parametrize("command", [["run"], ["demo", "--database"]])
def test_admin_worker_exits_2(nowhere: Shell, command: list[str]) -> None:
    url = "dsql://abc.dsql.eu-west-1.on.aws?role=admin"
    arguments = [*command, url] if command[-1] == "--database" else command

    result = nowhere.parity(*arguments, DATABASE_URL=url, HTTP_PORT="0")

    assert result.code == 2
    assert "PARITY_DATABASE_URL: ?role=admin may change" in result.err
    assert "workers run as parity_worker, so leave ?role= out" in result.err
    assert "http_listening" not in result.err


def test_worker_without_topics_exits_2(shell: Shell) -> None:
    shell.parity("migrate")

    result = shell.parity("run")

    assert result.code == 2
    assert "run `parity topics`" in result.err


def test_worker_without_servers_waits(nowhere: Shell, tmp_path: Path) -> None:
    shell = Shell({**nowhere.settings, "HTTP_PORT": "0"})
    with shell.worker(tmp_path / "worker.log") as worker:
        until(lambda: status_of(worker, "/livez") == 200)
        assert status_of(worker, "/readyz") == 503
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
    assert HIDDEN not in (tmp_path / "worker.log").read_text(encoding="utf-8")


HANGING = """
import asyncio
import sys
from worker.adapters.postgres.store import PostgresStore
from worker.cli import main

async def commit(self, statement):
    await asyncio.sleep(3600)

PostgresStore.commit = commit
sys.argv = ["parity", "run"]
main()
"""


def test_stalled_worker_exits_70(shell: Shell, tmp_path: Path) -> None:
    shell = Shell(
        {**shell.settings, "STALL_S": "10", "DATABASE_TIMEOUT_S": "5", "LOG_JSON": "true"}
    )
    shell.parity("migrate")
    shell.parity("topics", "--partitions", "1")
    log = tmp_path / "worker.log"
    with shell.worker(log, "-c", HANGING) as worker:
        until_ready(worker)
        shell.parity("publish", "deposit", "--account", "a", "--transfer-id", "t", "--amount", "1")
        assert worker.wait(DEADLINE_S) == 70
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("lane_stalled", 70)
    assert last["topic"] == shell.settings["TRANSFERS_TOPIC"]
