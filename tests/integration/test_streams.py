"""What a worker asks of the topics before it begins."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.fake_broker import FakeKafka
from worker import config
from worker.adapters.postgres.migrate import migrate
from worker.errors import ConfigError
from worker.topics import Streams, find_streams

pytestmark = pytest.mark.integration

TIMEOUT_S = 10.0


@pytest.fixture
async def settings(database_url: str) -> config.Settings:
    await migrate(database_url, timeout_s=TIMEOUT_S)
    return config.load(database_url=database_url)


@pytest.fixture
async def kafka(settings: config.Settings) -> AsyncIterator[FakeKafka]:
    """Has the five topics, as they must be, with two partitions."""
    kafka = FakeKafka(lambda: 1, asyncio.sleep)
    for topic in (*settings.inputs, *settings.outputs):
        kafka.create_topic(topic, 2, log_append_time=topic in settings.inputs)
    yield kafka
    await kafka.aclose()


def again(kafka: FakeKafka, topic: str, partitions: int, *, log_append_time: bool) -> None:
    """Make a topic anew."""
    kafka._topics.pop(topic)
    kafka.create_topic(topic, partitions, log_append_time=log_append_time)


async def found(kafka: FakeKafka, settings: config.Settings) -> Streams:
    return await find_streams(settings, kafka.broker("group"))


async def test_streams_are_registered_once_and_keep_their_lanes(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    first = await found(kafka, settings)
    again(kafka, settings.orders_topic, 5, log_append_time=True)
    grown = await found(kafka, settings)

    assert grown == first
    assert (first.orders.partitions, first.orders.first_lane) == (2, 0)
    assert (first.transfers.partitions, first.transfers.first_lane) == (2, 2)


@pytest.mark.parametrize("name", ["orders_topic", "transfers_topic"])
async def test_an_input_that_producers_stamp_is_refused(
    kafka: FakeKafka, settings: config.Settings, name: str
) -> None:
    topic = getattr(settings, name)
    again(kafka, topic, 2, log_append_time=False)
    with pytest.raises(ConfigError, match=f"topic {topic}: set .*=LogAppendTime"):
        await found(kafka, settings)


async def test_an_input_with_fewer_partitions_than_its_stream_is_refused(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    await found(kafka, settings)
    again(kafka, settings.orders_topic, 1, log_append_time=True)
    with pytest.raises(ConfigError, match=r"has 1 partitions, its stream .* registered with 2"):
        await found(kafka, settings)


async def test_events_need_as_many_partitions_as_their_input(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    again(kafka, settings.transfer_events_topic, 1, log_append_time=False)
    with pytest.raises(ConfigError, match=f"topic {settings.transfer_events_topic} needs the 2"):
        await found(kafka, settings)


async def test_a_missing_topic_is_named_with_the_way_out(
    kafka: FakeKafka, settings: config.Settings
) -> None:
    kafka._topics.pop(settings.dead_letters_topic)
    with pytest.raises(
        ConfigError, match=f"topics {settings.dead_letters_topic} do not exist: run"
    ):
        await found(kafka, settings)
