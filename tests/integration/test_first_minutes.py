"""The first minutes on a cluster, with the commands of deploy/dsql/README.md in their order.

The cluster is PostgreSQL with `tests.support.dsql` in front, and its `admin` is no superuser, as on
DSQL. The test does not show which SQL a cluster accepts, nor the effect of the AWS IAM lines.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from tests.support import dsql
from tests.support.dsql import DsqlEndpoint
from tests.support.dsql_lint import complaints
from worker import config
from worker.adapters.postgres.connect import connect
from worker.adapters.postgres.migrate import SETTINGS, migrations
from worker.adapters.postgres.target import cluster
from worker.embedded import EmbeddedKafka

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).parents[2]
ADMIN, WORKER = "admin", "parity_worker"
TOPICS: Final = [name for name in config.Settings.model_fields if name.endswith("_topic")]
ENDS_WITHIN_S: Final = 180


class Operator:
    """Runs `parity` with settings for one cluster and one Kafka."""

    def __init__(self, endpoint: DsqlEndpoint, bootstrap: str, prefix: str) -> None:
        self._endpoint = endpoint
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("PARITY_", "AWS_"))}
        self._environment = {
            **inherited,
            "AWS_ACCESS_KEY_ID": dsql.KEY_ID,
            "AWS_SECRET_ACCESS_KEY": dsql.SECRET,
            "PARITY_BOOTSTRAP_SERVERS": bootstrap,
            "PARITY_GROUP_ID": f"{prefix}workers",
            "PARITY_HTTP_PORT": "0",
            **{f"PARITY_{name.upper()}": f"{prefix}{name}" for name in TOPICS},
        }

    async def start(self, role: str, *arguments: str) -> asyncio.subprocess.Process:
        url = {"PARITY_DATABASE_URL": self._endpoint.url_as(role)}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker", *arguments),
            cwd=ROOT,
            env={**self._environment, **url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, role: str, *arguments: str) -> tuple[int | None, str]:
        """Return the exit code and the output."""
        process = await self.start(role, *arguments)
        try:
            output, errors = await asyncio.wait_for(process.communicate(), ENDS_WITHIN_S)
        finally:
            if process.returncode is None:
                process.kill()
        return process.returncode, (output or errors).decode()

    async def examine(self, role: str) -> tuple[int | None, Mapping[str, str]]:
        """Return the exit code of the doctor and its verdict on each check."""
        code, printed = await self.run(role, "doctor", "--json")
        return code, {check["name"]: check["verdict"] for check in json.loads(printed)["checks"]}


@pytest.fixture
async def endpoint(empty_database_url: str) -> AsyncIterator[DsqlEndpoint]:
    connection = await asyncpg.connect(empty_database_url)
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", ADMIN):
        await connection.execute(f"CREATE ROLE {ADMIN} LOGIN CREATEROLE")
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'GRANT CREATE ON DATABASE "{name}" TO {ADMIN}')
    await connection.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {ADMIN}")
    # Jobs are done at once here, and forgotten.
    await connection.execute(
        "CREATE SCHEMA sys; CREATE TABLE sys.jobs (job_id text, status text, details text,"
        f" object_name text); GRANT USAGE ON SCHEMA sys TO {ADMIN};"
        f" GRANT SELECT ON sys.jobs TO {ADMIN}"
    )
    await connection.close()
    async with DsqlEndpoint.before(empty_database_url) as made:
        yield made


async def _grant(url: str) -> None:
    """Run roles.sql as psql does, one statement at a time, ignoring a role that exists."""
    code = (ROOT / "deploy" / "dsql" / "roles.sql").read_text(encoding="utf-8")
    text = "\n".join(line for line in code.splitlines() if not line.startswith(("--", "AWS ")))
    connection = await connect(url, SETTINGS, timeout_s=10)
    for statement in filter(None, map(str.strip, text.split(";"))):
        try:
            await connection.execute(statement)
        except asyncpg.DuplicateObjectError:
            assert statement.startswith("CREATE ROLE")
    await connection.close()
    await cluster(url).close()


async def test_first_minutes_follow_the_readme(
    endpoint: DsqlEndpoint,
    kafka_server: EmbeddedKafka,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", dsql.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", dsql.SECRET)
    operator = Operator(endpoint, kafka_server.bootstrap, topic_prefix)
    topics = {f"topic {topic_prefix}{name}" for name in TOPICS}

    code, found = await operator.examine(ADMIN)
    assert code == 1
    missing = {name for name, verdict in found.items() if verdict == "missing"}
    assert missing == {"migrations", "rights at the brokers", *topics}

    count = len(migrations())
    code, output = await operator.run(ADMIN, "migrate", "--dry-run")
    assert (code, output.splitlines()[-1]) == (0, f"{count} to apply")
    code, output = await operator.run(ADMIN, "migrate")
    assert (code, output.splitlines()[-1]) == (0, f"{count} applied")
    await _grant(endpoint.url_as(ADMIN))
    code, output = await operator.run(ADMIN, "topics", "--partitions", "2")
    assert (code, output.count("created")) == (0, len(TOPICS)), output

    code, found = await operator.examine(ADMIN)
    assert (code, set(found.values())) == (0, {"ok", "note"}), found
    code, found = await operator.examine(WORKER)
    assert code == 0, found
    assert (found["scratch tables"], found["rights"]) == ("not_tried", "ok")

    await _trade_once(operator)
    assert endpoint.refused == set()
    assert endpoint.protocols == {"postgresql"}
    assert complaints(endpoint.sent) == {}
    assert {text[:6] for text in endpoint.sent} >= {"CREATE", "DROP S", "SELECT", "UPDATE"}


async def _trade_once(operator: Operator) -> None:
    """Start a worker, send a deposit, see it answered, and end the worker."""
    worker = await operator.start(WORKER, "run")
    try:
        money = ("--account", "ann", "--transfer-id", "1", "--amount", "100")
        code, output = await operator.run(WORKER, "publish", "deposit", *money)
        assert code == 0, output
        tail = ("tail", "transfer-events", "--from", "earliest", "--limit", "1", "--json")
        code, output = await operator.run(WORKER, *tail)
        event: Any = json.loads(output)
        assert (code, "DEPOSITED" in output) == (0, True), event
        worker.terminate()
        _, errors = await asyncio.wait_for(worker.communicate(), 60)
        assert worker.returncode == 0, errors
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
