"""Every statement of the worker's SQL files passes the dialect proxy unchanged."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import asyncpg
import pytest

from tests.integration.test_migrate import SHOP
from tests.support import dialect
from worker.adapters.postgres import statements
from worker.adapters.postgres.changes import Migration
from worker.adapters.postgres.migrate import DSQL, Migrator, migrations
from worker.adapters.system import system

TEXTS: Final = {
    name: text
    for name, text in vars(statements).items()
    if isinstance(text, str) and name[0] != "_"
}
AVOIDED: Final = (
    "SAVEPOINT one",
    "SET statement_timeout = 1000",
    "LISTEN channel",
    "CREATE INDEX plain ON ledger (amount)",
    "SELECT 1 FROM lanes FOR SHARE",
    "CREATE TABLE lists (n int[])",
)

pytestmark = [
    pytest.mark.skipif(not dialect.PROXY_URL, reason="make test-dialect starts the proxy"),
]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(database_url)
    yield connection
    connection.terminate()


async def test_every_statement_can_be_prepared(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    refused = {}
    for name, text in TEXTS.items():
        try:
            await connection.prepare(text)
        except asyncpg.PostgresError as error:
            refused[name] = str(error)
    assert not refused
    assert "COMMIT_BATCH" in TEXTS


@pytest.mark.parametrize("files", [migrations(), SHOP], ids=["schema", "every kind of change"])
async def test_migrations_are_applied_by_the_migrator(
    connection: "asyncpg.Connection[asyncpg.Record]", files: Sequence[Migration]
) -> None:
    await connection.execute("CREATE SCHEMA fresh")
    await connection.execute("SET search_path TO fresh")

    async def execute(sql: str, *arguments: object, **_: object) -> Sequence[Any]:
        """Execute it. The proxy knows jobs by their id, and nothing else to ask for."""
        if "sys.jobs" in sql:
            asked = "SELECT job_id, status, details FROM sys.jobs WHERE job_id = $1"
            return await connection.fetch(asked, arguments[0])
        return await connection.fetch(sql, *arguments)

    migrator = Migrator(execute, DSQL, system())
    assert await migrator.run(files) == [migration.name for migration in files]
    assert await migrator.run(files) == []


async def test_proxy_refuses_what_the_worker_avoids(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    for avoided in AVOIDED:
        async with connection.transaction():
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(avoided)
