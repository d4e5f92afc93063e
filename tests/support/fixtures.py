"""Fixtures of tests that need a whole exchange. A `conftest.py` names the ones of its folder."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from tests.support.pgproxy import PgProxy
from tests.support.system import System
from tests.support.topics import administrator
from worker.embedded import EmbeddedKafka


@pytest.fixture
def system_options() -> Mapping[str, Any]:
    """Arguments of `System.start`, for a file to replace."""
    return {}


@pytest.fixture
async def system(
    database_url: str,
    kafka_server: EmbeddedKafka,
    topic_prefix: str,
    system_options: Mapping[str, Any],
) -> AsyncIterator[System]:
    """An exchange without a worker."""
    bootstrap = kafka_server.bootstrap
    async with System.start(database_url, bootstrap, topic_prefix, **system_options) as started:
        yield started


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[PgProxy]:
    """A proxy in front of the test's database."""
    async with PgProxy.before(database_url) as started:
        yield started


@pytest.fixture
async def admin(kafka_server: EmbeddedKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that creates and deletes topics."""
    async with administrator(kafka_server.bootstrap) as client:
        yield client
