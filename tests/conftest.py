"""Real servers for the tests: started when the first test asks, once a session."""

import asyncio
import os
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.support import dialect
from worker.adapters.postgres.migrate import migrate
from worker.embedded import EmbeddedKafka, EmbeddedPostgres

# Started in the background of a script, a test run is born deaf to SIGINT, and so would be every
# program that it starts; some tests send them one.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


class PostgresServer(Protocol):
    """What a test needs of a server that it does not break."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True, slots=True)
class GivenPostgres:
    """The server that PARITY_TEST_DATABASE_URL names."""

    url: str


# Those that take longest; the others follow as they are found.
LONG_FILES: Final = (
    "integration/test_conduct.py",
    "chaos/test_brokers.py",
    "chaos/test_chaos.py",
    "simulation/test_simulation.py",
    "integration/test_bench.py",
    "integration/test_failures.py",
    "integration/test_guards.py",
    "integration/test_stand_ins.py",
    "chaos/test_workers.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, so that at the end no process waits for another one's."""
    folder = Path(__file__).parent
    rank = {folder / name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    given = os.environ.get("PARITY_TEST_DATABASE_URL")
    if given:
        yield GivenPostgres(given)
        return
    # No test cuts this server's power, and most wait for its disk more than for anything else.
    with EmbeddedPostgres.start(settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka.start() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a database to be copied: to migrate one takes four times as long."""
    name = f"migrated_{uuid.uuid4().hex}"

    async def make() -> None:
        await execute(postgres_server.url, f'CREATE DATABASE "{name}"')
        await migrate(_at(postgres_server, name), timeout_s=60)

    asyncio.run(make())
    yield name
    asyncio.run(_drop(postgres_server, name))


@pytest.fixture
async def database_url(
    postgres_server: PostgresServer, migrated_database: str
) -> AsyncIterator[str]:
    """A new, migrated database, dropped after the test whoever is still connected to it."""
    name = f"test_{uuid.uuid4().hex}"
    await execute(postgres_server.url, f'CREATE DATABASE "{name}" TEMPLATE "{migrated_database}"')
    async with dialect.way(_at(postgres_server, name)) as url:
        yield url
    await _drop(postgres_server, name)


@pytest.fixture
async def empty_database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """One without a table, for who looks at how they come, and never through the dialect."""
    name = f"test_{uuid.uuid4().hex}"
    await execute(postgres_server.url, f'CREATE DATABASE "{name}"')
    yield _at(postgres_server, name)
    await _drop(postgres_server, name)


def _at(server: PostgresServer, name: str) -> str:
    return urlunsplit(urlsplit(server.url)._replace(path=f"/{name}"))


async def _drop(server: PostgresServer, name: str) -> None:
    await execute(server.url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def topic_prefix() -> str:
    """Begins the name of every topic of one test: the broker is shared."""
    return f"test-{uuid.uuid4().hex[:12]}-"
