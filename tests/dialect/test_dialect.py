"""Every text that the worker sends, taken by the dialect proxy as it stands in its file."""

from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import pytest

from tests.support import dialect
from worker.adapters.postgres import statements
from worker.adapters.postgres.migrate import migrations

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
    pytest.mark.integration,
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


async def test_the_schema_can_be_made_file_by_file(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    await connection.execute("CREATE SCHEMA fresh")
    await connection.execute("SET search_path TO fresh")
    for migration in migrations():
        await connection.execute(migration.sql)
    made = await connection.fetch("SELECT indexname FROM pg_indexes WHERE schemaname = 'fresh'")
    assert {"orders_open", "markets_unsettled"} <= {name for (name,) in made}


async def test_the_proxy_refuses_what_the_worker_avoids(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    for avoided in AVOIDED:
        async with connection.transaction():
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(avoided)
