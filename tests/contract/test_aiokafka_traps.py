"""How aiokafka behaves where `worker.adapters.kafka` guards against it or relies on it.

The numbers are those of the table in the adapter's comments. A test that fails after an upgrade
says that a guard can go, or that another one is needed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    TopicPartition,
    codec,
)
from aiokafka.errors import (
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumber,
)
from typing_extensions import override

from tests.support.eventually import eventually
from worker.adapters.kafka import AiokafkaBroker
from worker.embedded import EmbeddedKafka
from worker.errors import ConfigError

LARGE = b"x" * 2_000


@dataclass
class Kafka:
    """Plain aiokafka clients of one topic with one partition, which takes 1,000 bytes a batch."""

    server: EmbeddedKafka
    partition: TopicPartition
    stack: AsyncExitStack

    async def producer(self, **options: object) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.server.bootstrap, enable_idempotence=True, **options
        )
        await producer.start()
        self.stack.push_async_callback(producer.stop)
        return producer

    async def write(self, count: int) -> None:
        producer = await self.producer()
        for number in range(count):
            await producer.send_and_wait(self.partition.topic, b"%d" % number, partition=0)

    async def reader(self, offset: int = 0, **options: object) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.server.bootstrap, auto_offset_reset="none", **options
        )
        await consumer.start()
        self.stack.push_async_callback(consumer.stop)
        consumer.assign([self.partition])
        consumer.seek(self.partition, offset)
        return consumer

    async def member(self, listener: ConsumerRebalanceListener) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.server.bootstrap,
            group_id=self.partition.topic,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        consumer.subscribe([self.partition.topic], listener=listener)
        await consumer.start()
        self.stack.push_async_callback(consumer.stop)
        return consumer


@pytest.fixture
async def kafka(kafka_server: EmbeddedKafka, topic_prefix: str) -> AsyncIterator[Kafka]:
    topic = topic_prefix + "traps"
    broker = AiokafkaBroker(kafka_server.bootstrap, "none", "test")
    configs = {"max.message.bytes": "1000"}
    await broker.create_topics({topic: 1}, replication_factor=1, configs=configs)
    async with AsyncExitStack() as stack:
        yield Kafka(kafka_server, TopicPartition(topic, 0), stack)


class Listener(ConsumerRebalanceListener):
    """Waits when it is told about partitions; may fail then."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go_on = asyncio.Event()
        self.done = False
        self._error = error

    @override
    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        pass

    @override
    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        if self._error is not None:
            raise self._error
        await self.go_on.wait()
        self.done = True


async def fetch(consumer: AIOKafkaConsumer, count: int) -> list[int]:
    """Return the next ``count`` offsets."""
    offsets: list[int] = []
    async with asyncio.timeout(10):
        while len(offsets) < count:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                offsets += [record.offset for record in records]
    return offsets


@pytest.mark.integration
async def test_a1_records_arrive_before_the_assigned_callback_is_done(kafka: Kafka) -> None:
    await kafka.write(3)
    listener = Listener()
    consumer = await kafka.member(listener)
    assert await fetch(consumer, 3) == [0, 1, 2]
    assert not listener.done
    listener.go_on.set()


@pytest.mark.integration
async def test_a3_what_a_callback_raises_is_only_logged(kafka: Kafka) -> None:
    await kafka.write(2)
    consumer = await kafka.member(Listener(ZeroDivisionError("a bug")))
    assert await fetch(consumer, 2) == [0, 1]


@pytest.mark.integration
async def test_a9_a_dead_broker_looks_like_an_idle_topic(kafka: Kafka) -> None:
    consumer = await kafka.reader()
    kafka.server.pause()
    try:
        assert await consumer.getmany(timeout_ms=1_000) == {}
    finally:
        kafka.server.resume()


@pytest.mark.integration
async def test_a11_stop_is_cancelled_by_nobody_when_the_broker_is_dead(kafka: Kafka) -> None:
    consumer = await kafka.reader(retry_backoff_ms=3_000)
    await consumer.getmany(timeout_ms=300)
    await asyncio.to_thread(kafka.server.kill)
    try:
        await eventually(lambda: sleeps_after_a_failure(consumer), within_s=5)
        with pytest.raises(asyncio.CancelledError):
            await consumer.stop()
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
    finally:
        await asyncio.to_thread(kafka.server.restart)
        await consumer._client.close()


def sleeps_after_a_failure(consumer: AIOKafkaConsumer) -> bool:
    fetcher: Any = consumer._fetcher
    connections = consumer._client._conns.values()
    return bool(fetcher._pending_tasks) and not any(c.connected() for c in connections)


@pytest.mark.integration
async def test_a15_an_offset_out_of_range_raises_until_a_seek(kafka: Kafka) -> None:
    await kafka.write(2)
    consumer = await kafka.reader(offset=7)
    for _ in range(2):
        with pytest.raises(OffsetOutOfRangeError) as raised:
            await fetch(consumer, 1)
        assert raised.value.args[0] == {kafka.partition: 7}
    consumer.seek(kafka.partition, 1)
    assert await fetch(consumer, 1) == [1]


@pytest.mark.integration
async def test_a16_a_deserializer_that_raises_blocks_the_partition(kafka: Kafka) -> None:
    await kafka.write(2)
    consumer = await kafka.reader(value_deserializer=lambda _: 1 // 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await fetch(consumer, 1)


@pytest.mark.integration
async def test_a23_an_idempotent_producer_is_dead_after_a_refusal(kafka: Kafka) -> None:
    producer = await kafka.producer()
    topic = kafka.partition.topic
    await producer.send_and_wait(topic, b"small", partition=0)
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_and_wait(topic, LARGE, partition=0)
    for _ in range(2):
        with pytest.raises(OutOfOrderSequenceNumber):
            await producer.send_and_wait(topic, b"small", partition=0)


@pytest.mark.integration
async def test_a23_a_new_idempotent_producer_goes_past_its_first_refusal(kafka: Kafka) -> None:
    """Why the adapter hands over a batch only when the one before it is acknowledged."""
    producer = await kafka.producer()
    batches = [producer.create_batch(), producer.create_batch()]
    for batch, value in zip(batches, [LARGE, b"small"], strict=True):
        batch.append(timestamp=1, key=None, value=value)
        batch.close()
    topic = kafka.partition.topic
    refused, accepted = [await producer.send_batch(b, topic, partition=0) for b in batches]
    with pytest.raises(MessageSizeTooLargeError):
        await refused
    assert (await accepted).offset == 0


@pytest.mark.integration
async def test_a24_an_idempotent_send_has_no_deadline(kafka: Kafka) -> None:
    producer = await kafka.producer(request_timeout_ms=500)
    await producer.send_and_wait(kafka.partition.topic, b"0", partition=0)
    kafka.server.pause()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await producer.send_and_wait(kafka.partition.topic, b"1", partition=0)
    finally:
        kafka.server.resume()


@pytest.mark.integration
async def test_a36_a_cancelled_getmany_loses_nothing(kafka: Kafka) -> None:
    consumer = await kafka.reader()
    writing = asyncio.create_task(kafka.write(300))
    offsets: list[int] = []
    cancelled = 0
    async with asyncio.timeout(10):
        while len(offsets) < 300:
            try:
                async with asyncio.timeout(0.002):
                    fetched = await consumer.getmany(timeout_ms=1_000)
            except TimeoutError:
                cancelled += 1
                continue
            offsets += [record.offset for records in fetched.values() for record in records]
    await writing
    assert offsets == list(range(300))
    assert cancelled > 0


@pytest.fixture
def debugging() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "aiokafka", "aiokafka.conn")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("debugging")
def test_a30_the_adapter_keeps_passwords_out_of_the_log() -> None:
    AiokafkaBroker("localhost:1", "group", "client")
    assert not logging.getLogger("aiokafka.conn").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("aiokafka.consumer.fetcher").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("aiokafka").isEnabledFor(logging.INFO)


@pytest.mark.skipif(codec.has_lz4(), reason="lz4 is installed here")
def test_a34_a_codec_that_is_missing_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="lz4"):
        AiokafkaBroker("localhost:1", "group", "client", compression="lz4")
