"""What the tests of topics and databases begin with; other files say what else they need."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from tests.support.system import System
from worker.embedded import EmbeddedKafka


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[System]:
    """An exchange without a worker."""
    async with System.start(database_url, kafka_server.bootstrap, topic_prefix) as system:
        yield system


@pytest.fixture
async def admin(kafka_server: EmbeddedKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """Whoever makes and deletes topics."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await client.start()
    yield client
    await client.close()
