"""Creation and settings of topics for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.support.eventually import eventually


@asynccontextmanager
async def administrator(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield a client that creates, changes and deletes topics."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def create(
    admin: AIOKafkaAdminClient, topic: str, partitions: int = 2, **configs: str
) -> None:
    """Create a topic, also after a recent deletion, and return when the broker has it.

    ``configs`` are Kafka's, with underscores for dots.
    """
    named = {name.replace("_", "."): value for name, value in configs.items()}
    new = NewTopic(topic, partitions, 1, topic_configs=named)

    async def created() -> bool:
        (error,) = (await admin.create_topics([new])).to_object()["topic_errors"]
        return bool(error["error_code"] == 0)

    async def is_led() -> bool:
        (found,) = await admin.describe_topics([topic])
        leaders = [partition["leader"] for partition in found["partitions"]]
        return len(leaders) == partitions and min(leaders) >= 0

    await eventually(created)
    # The broker needs a moment until it knows the topic that it has created.
    await eventually(is_led)


async def configure(admin: AIOKafkaAdminClient, topic: str, **settings: str) -> None:
    """Replace all settings of a topic. In Kafka's names, dots may be underscores."""
    named = {name.replace("_", "."): value for name, value in settings.items()}
    (answer,) = await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic, configs=named)]
    )
    assert answer.to_object()["resources"][0]["error_code"] == 0, answer
