"""The worker's checks of its topics before it starts."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.fake_broker import FakeKafka
from worker import config
from worker.adapters.postgres.migrate import migrate
from worker.errors import ConfigError
from worker.ports import Outgoing, TopicPartition
from worker.topic_rules import CLEANUP
from worker.topics import Streams, adopt_topics, find_streams

TIMEOUT_S = 10.0


@pytest.fixture
async def settings(database_url: str) -> config.Settings:
    await migrate(database_url, timeout_s=TIMEOUT_S)
    return config.load(database_url=database_url)


@pytest.fixture
async def kafka(settings: config.Settings) -> AsyncIterator[FakeKafka]:
    """A fake Kafka with the five topics as they must be, with two partitions each."""
    kafka = FakeKafka(lambda: 1, asyncio.sleep)
    for topic in (*settings.inputs, *settings.outputs):
        kafka.create_topic(topic, 2, log_append_time=topic in settings.inputs)
    yield kafka
    await kafka.aclose()


def again(kafka: FakeKafka, topic: str, partitions: int, *, log_append_time: bool) -> None:
    """Create a topic again."""
    kafka.delete_topic(topic)
    kafka.create_topic(topic, partitions, log_append_time=log_append_time)


async def found(kafka: FakeKafka, settings: config.Settings) -> Streams:
    return await find_streams(settings, kafka.broker("group"))


async def test_registered_streams_keep_their_lanes(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    first = await found(kafka, settings)
    again(kafka, settings.orders_topic, 5, log_append_time=True)
    grown = await found(kafka, settings)

    assert grown == first
    assert (first.orders.partitions, first.orders.first_lane) == (2, 0)
    assert (first.transfers.partitions, first.transfers.first_lane) == (2, 2)


@pytest.mark.parametrize("name", ["orders_topic", "transfers_topic"])
async def test_input_without_log_append_time_is_refused(
    kafka: FakeKafka, settings: config.Settings, name: str
) -> None:
    topic = getattr(settings, name)
    again(kafka, topic, 2, log_append_time=False)
    with pytest.raises(ConfigError, match=f"topic {topic}: has .*=CreateTime: set LogApp"):
        await found(kafka, settings)


async def test_input_smaller_than_its_stream_is_refused(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    await found(kafka, settings)
    again(kafka, settings.orders_topic, 1, log_append_time=True)
    with pytest.raises(ConfigError, match=r"has 1 partitions, but .* registered with 2"):
        await found(kafka, settings)


async def test_events_need_partitions_of_their_input(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    again(kafka, settings.transfer_events_topic, 1, log_append_time=False)
    with pytest.raises(ConfigError, match=f"{settings.transfer_events_topic} has 1 .*needs the 2"):
        await found(kafka, settings)


async def test_missing_topic_is_refused_with_action(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    kafka.delete_topic(settings.dead_letters_topic)
    with pytest.raises(
        ConfigError, match=f"topics {settings.dead_letters_topic} do not exist: run"
    ):
        await found(kafka, settings)


async def test_compacted_topic_is_refused(kafka: FakeKafka, settings: config.Settings) -> None:
    for topic in (*settings.inputs, *settings.outputs):
        kafka.configure(topic, CLEANUP, "compact")
        with pytest.raises(ConfigError, match=f"topic {topic}: has cleanup.policy=compact"):
            await found(kafka, settings)
        kafka.configure(topic, CLEANUP, "delete")


async def test_exchanged_topics_are_refused(kafka: FakeKafka, settings: config.Settings) -> None:
    await found(kafka, settings)
    exchanged = {
        "orders_topic": settings.transfers_topic,
        "transfers_topic": settings.orders_topic,
    }
    with pytest.raises(ConfigError, match="was registered for transfers"):
        await found(kafka, settings.model_copy(update=exchanged))


# The ids of the topics.


async def test_first_topic_id_stays(kafka: FakeKafka, settings: config.Settings) -> None:
    """The lanes compare it with the topic's present id. A start decides nothing."""
    first = await found(kafka, settings)
    again(kafka, settings.orders_topic, 2, log_append_time=True)
    assert first.orders.topic_id
    assert await found(kafka, settings) == first


async def test_adopted_topic_id_counts(kafka: FakeKafka, settings: config.Settings) -> None:
    first = await found(kafka, settings)
    again(kafka, settings.orders_topic, 2, log_append_time=True)
    broker = kafka.broker("group")
    (adopted,) = await adopt_topics(settings, broker)
    assert await adopt_topics(settings, broker) == []
    second = await found(kafka, settings)
    assert adopted == second.orders
    assert second.orders.topic_id not in {"", first.orders.topic_id}
    assert second.transfers == first.transfers


async def test_short_topic_is_not_adopted(kafka: FakeKafka, settings: config.Settings) -> None:
    first = await found(kafka, settings)
    await _answer(settings, first.orders.stream, 5)
    again(kafka, settings.orders_topic, 2, log_append_time=True)
    with pytest.raises(ConfigError, match="holds offsets 0 to 0 and its lane's next offset is 5"):
        await adopt_topics(settings, kafka.broker("group"))
    assert await found(kafka, settings) == first


# Several incarnations.


async def test_answered_records_refuse_other_stream(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    """A later incarnation would execute the history again, and so would an earlier one."""
    first, later = await found(kafka, settings), settings.model_copy(update={"incarnation": 2})
    partition = TopicPartition(settings.orders_topic, 1)
    kafka.append(Outgoing(*partition, None, b"", (), 0) for _ in range(9))
    await _answer(settings, first.orders.stream, 5)
    with pytest.raises(ConfigError, match=r"PARITY_INCARNATION=2: .* offsets 0 to 4 of"):
        await found(kafka, later)

    kafka.forget_before(partition, 4)
    with pytest.raises(ConfigError, match=r"offsets 4 to 4 of"):
        await found(kafka, later)

    kafka.forget_before(partition, 5)
    second = await found(kafka, later)
    await _answer(settings, second.orders.stream, 9)
    assert await found(kafka, later) == second
    with pytest.raises(ConfigError, match=r"PARITY_INCARNATION=1: .* offsets 5 to 8 of"):
        await found(kafka, settings)


async def test_recreated_topic_admits_other_stream(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    """Its records are others, so that no stream has answered them."""
    first = await found(kafka, settings)
    await _answer(settings, first.orders.stream, 5)
    again(kafka, settings.orders_topic, 2, log_append_time=True)
    second = await found(kafka, settings.model_copy(update={"incarnation": 2}))
    assert second.orders.first_lane == 4


async def _answer(settings: config.Settings, stream: str, next_offset: int) -> None:
    """Move the cursor of the second lane of a stream."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    update = "UPDATE lanes SET next_offset = $1 WHERE stream = $2 AND partition = 1"
    await connection.execute(update, next_offset, stream)
    await connection.close()
