"""Topics as the tests want them."""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.eventually import eventually


async def create(
    admin: AIOKafkaAdminClient, topic: str, partitions: int = 2, **configs: str
) -> None:
    """Create a topic, perhaps one that was deleted a moment ago; return when the broker has it.

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
    # The broker that created it takes a moment to know it.
    await eventually(is_led)
