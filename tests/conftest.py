"""Real servers for the tests, started once per session when the first test needs them."""

import asyncio
import gc
import os
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pytest
import structlog

from tests.support import dialect
from tests.support.databases import created, execute, named
from worker.adapters.postgres.migrate import migrate
from worker.embedded import EmbeddedKafka, EmbeddedPostgres

# A script starts background processes with SIGINT ignored, and their children inherit that. Some
# tests send SIGINT to the programs that they start.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


class PostgresServer(Protocol):
    """The interface of a server that tests do not break."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True, slots=True)
class GivenPostgres:
    """The server that PARITY_TEST_DATABASE_URL names."""

    url: str


# The files that take longest. The others follow in the order of collection.
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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, and begin with the long files, so that all processes end together.

    A test that starts its own server has its own mark.
    """
    for item in items:
        if {"postgres_server", "kafka_server"}.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)
    folder = Path(__file__).parent
    rank = {folder / name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_collection_finish() -> None:
    """Leave what exists by now out of later searches for garbage. They took a third of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def plain_log() -> None:
    """Undo what an earlier test of this process configured, as a command does when it starts."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    given = os.environ.get("PARITY_TEST_DATABASE_URL")
    if given:
        yield GivenPostgres(given)
        return
    # Without fsync, because no test kills this server, and most tests wait for its disk.
    with EmbeddedPostgres.start(settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka.start() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a template database. A copy takes a quarter of the time of a migration."""
    name = f"migrated_{uuid.uuid4().hex}"

    async def make() -> None:
        await execute(postgres_server.url, f'CREATE DATABASE "{name}"')
        await migrate(named(postgres_server.url, name), timeout_s=60)

    asyncio.run(make())
    yield name
    asyncio.run(execute(postgres_server.url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
async def database_url(
    postgres_server: PostgresServer, migrated_database: str
) -> AsyncIterator[str]:
    """A new migrated database, which is dropped after the test despite open connections."""
    name = f"test_{uuid.uuid4().hex}"
    async with (
        created(postgres_server.url, name, migrated_database) as made,
        dialect.way(made) as url,
    ):
        yield url


@pytest.fixture
async def empty_database_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """An empty database for tests of migrations, never through the dialect proxy."""
    async with created(postgres_server.url, f"test_{uuid.uuid4().hex}") as url:
        yield url


@pytest.fixture
def topic_prefix() -> str:
    """Prefix of every topic of one test, because the tests share the broker."""
    return f"test-{uuid.uuid4().hex[:12]}-"
