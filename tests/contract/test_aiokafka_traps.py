"""The behaviour of aiokafka that `worker.adapters.kafka` relies on or guards against.

The numbers are those of the adapter's comments. Each has a test of the library, and most have a
test that the port keeps the behaviour from the lane. For A3, A9, A11, A15, A16, A23 and A24 the
latter is in `test_broker.py`. If a test of the library fails after an upgrade, a guard can go, or
another one is needed.
"""

import asyncio
import logging
import threading
import time
import traceback
import tracemalloc
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias, TypeVar

import pytest
from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    TopicPartition,
    codec,
    conn,
)
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import (
    CommitFailedError,
    CorruptRecordException,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumber,
    RecordTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from typing_extensions import override

from producers.client import OrderPublisher, TopicUnfit
from tests.support import consumers
from tests.support.eventually import eventually
from worker.adapters.iam import TokenCache
from worker.adapters.kafka import AiokafkaBroker, Deadlines, Security
from worker.adapters.kafka.batches import AnyNamesBuilder
from worker.adapters.kafka.consumer import AiokafkaConsumer
from worker.adapters.kafka.iam import BearerTokens, Dialogue
from worker.adapters.kafka.reader import AiokafkaReader
from worker.embedded import EmbeddedKafka
from worker.embedded import kafka as embedded_kafka
from worker.embedded.kafka import Broker
from worker.embedded.process import free_port
from worker.errors import BrokerError, ConfigError
from worker.ports import Outgoing
from worker.ports import TopicPartition as OurPartition

CHALLENGE = b'{"status":"invalid_token"}'
LARGE = b"x" * 2_000
SESSION_S = 6.0
"""The shortest session timeout that a broker allows."""
HIDDEN = "S3CRET-of-alice"
ODD = "caf\udce9"
"""A header's name that is no UTF-8: ``caf\\xe9``."""

T = TypeVar("T")
Poll: TypeAlias = Callable[[], Awaitable[Mapping[Any, Sequence[Any]]]]


@dataclass
class Kafka:
    """Plain aiokafka clients of one topic with one partition, which takes 1,000 bytes a batch."""

    server: EmbeddedKafka
    partition: TopicPartition
    stack: AsyncExitStack

    @property
    def ours(self) -> OurPartition:
        """The partition in the port's words."""
        return OurPartition(*self.partition)

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
        settings = {"auto_offset_reset": "none", **options}
        consumer = AIOKafkaConsumer(bootstrap_servers=self.server.bootstrap, **settings)
        await consumer.start()
        self.stack.push_async_callback(consumers.stop, consumer)
        consumer.assign([self.partition])
        consumer.seek(self.partition, offset)
        return consumer

    async def member(
        self, listener: ConsumerRebalanceListener, **options: object
    ) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.server.bootstrap,
            group_id=self.partition.topic,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **options,
        )
        consumer.subscribe([self.partition.topic], listener=listener)
        await consumer.start()
        self.stack.push_async_callback(consumers.stop, consumer)
        return consumer

    async def port(self, told: "Told", deadlines: Deadlines | None = None) -> AiokafkaConsumer:
        """Return a started member of the same group, through the port."""
        group = self.partition.topic
        broker = AiokafkaBroker(self.server.bootstrap, group, "test", deadlines=deadlines)
        consumer = await broker.consumer([self.partition.topic], told)
        self.stack.push_async_callback(consumer.close)
        await consumer.start()
        return consumer

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze the broker. Connections stay open, but nothing answers."""
        self.server.pause()
        try:
            yield
        finally:
            self.server.resume()


@pytest.fixture
async def kafka(kafka_server: EmbeddedKafka, topic_prefix: str) -> AsyncIterator[Kafka]:
    topic = topic_prefix + "traps"
    broker = AiokafkaBroker(kafka_server.bootstrap, "none", "test")
    configs = {"max.message.bytes": "1000"}
    await broker.create_topics({topic: 1}, replication_factor=1, configs=configs)
    async with AsyncExitStack() as stack:
        yield Kafka(kafka_server, TopicPartition(topic, 0), stack)


class Listener(ConsumerRebalanceListener):
    """A listener that waits, or fails, when it gets partitions."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go_on = asyncio.Event()
        self.done = False
        self.seek_to: tuple[AIOKafkaConsumer, int] | None = None
        self._error = error

    @override
    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        pass

    @override
    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        if self._error is not None:
            raise self._error
        await self.go_on.wait()
        if self.seek_to is not None:
            consumer, offset = self.seek_to
            for partition in assigned:
                consumer.seek(partition, offset)
        self.done = True


@dataclass
class Told:
    """An assignment that records its calls in order, and notes of the test."""

    history: list[object] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def assigned(self, _partitions: Sequence[OurPartition]) -> None:
        self.history.append("assigned")
        await self.go_on.wait()

    async def revoked(self, _partitions: Sequence[OurPartition]) -> None:
        self.history.append("revoked")


async def read(consumer: AiokafkaConsumer, count: int) -> list[int]:
    """Return the next ``count`` offsets through the port."""
    return await _offsets(lambda: consumer.poll(0.1), count)


async def fetch(consumer: AIOKafkaConsumer, count: int) -> list[int]:
    """Return the next ``count`` offsets."""
    return await _offsets(lambda: consumer.getmany(timeout_ms=100), count)


async def _offsets(poll: Poll, count: int) -> list[int]:
    offsets: list[int] = []
    async with asyncio.timeout(60):
        while len(offsets) < count:
            offsets += [record.offset for records in (await poll()).values() for record in records]
    return offsets


@pytest.mark.shows("A1")
async def test_a1_records_arrive_before_assigned_callback_ends(kafka: Kafka) -> None:
    await kafka.write(3)
    listener = Listener()
    consumer = await kafka.member(listener)
    assert await fetch(consumer, 3) == [0, 1, 2]
    assert not listener.done
    listener.go_on.set()


@pytest.mark.shows("A1")
async def test_a1_seek_in_callback_delivers_again(kafka: Kafka) -> None:
    await kafka.write(3)
    listener = Listener()
    consumer = await kafka.member(listener)
    listener.seek_to = (consumer, 1)
    assert await fetch(consumer, 3) == [0, 1, 2]
    listener.go_on.set()
    assert await fetch(consumer, 2) == [1, 2]


@pytest.mark.shows("A1")
async def test_a1_port_delivers_nothing_during_callback(kafka: Kafka) -> None:
    await kafka.write(3)
    told = Told()
    consumer = await kafka.port(told)
    for _ in range(5):
        assert await consumer.poll(0.1) == {}
    assert consumer.assignment() == {kafka.ours}
    told.go_on.set()
    assert await consumer.poll(0.1) == {}
    consumer.seek(kafka.ours, 1)
    assert await read(consumer, 2) == [1, 2]


class Frozen:
    """An event loop in a thread, which its own code blocks as SIGSTOP or a long call would."""

    def __init__(self) -> None:
        self._is_frozen, self._thaw = threading.Event(), threading.Event()

    def freeze(self) -> None:
        """Block this loop until `thaw`. Called from its own code."""
        self._is_frozen.set()
        self._thaw.wait(60)

    def thaw(self) -> None:
        self._thaw.set()

    async def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
        """Start the loop and return when it has frozen."""
        running = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(main())))
        await eventually(lambda: self._is_frozen.is_set() or running.done())
        return running


@pytest.fixture
def frozen() -> Iterator[Frozen]:
    found = Frozen()
    yield found
    found.thaw()


def buffered(consumer: AIOKafkaConsumer | None) -> bool:
    fetcher: Any = consumer and consumer._fetcher
    return bool(fetcher._records)


@pytest.mark.shows("A2")
async def test_a2_frozen_member_delivers_lost_partition(kafka: Kafka, frozen: Frozen) -> None:
    history: list[object] = []

    class Late(ConsumerRebalanceListener):
        @override
        def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
            if revoked:
                history.append("revoked")

        @override
        def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
            history.append("assigned")

        def on_partitions_lost(self, _: Iterable[TopicPartition]) -> None:
            history.append("lost")

    async def late() -> None:
        async with AsyncExitStack() as stack:
            here = Kafka(kafka.server, kafka.partition, stack)
            consumer = await here.member(Late(), session_timeout_ms=int(SESSION_S * 1_000))
            await eventually(lambda: buffered(consumer))
            frozen.freeze()
            for records in (await consumer.getmany()).values():
                history.extend(record.offset for record in records)
            with pytest.raises(CommitFailedError):
                await consumer.commit({kafka.partition: 3})
            await eventually(lambda: "revoked" in history)

    await kafka.write(3)
    running = await frozen.run(late)
    heir = Listener()
    heir.go_on.set()
    consumer = await kafka.member(heir)
    assert await fetch(consumer, 3) == [0, 1, 2]
    frozen.thaw()
    await running
    assert history[:5] == ["assigned", 0, 1, 2, "revoked"]
    assert "lost" not in history


@pytest.mark.shows("A2")
async def test_a2_port_reports_lost_partition_and_rejoins(kafka: Kafka, frozen: Frozen) -> None:
    """Delivery cannot be prevented, but the database's fence refuses the member's commits."""
    told = Told()
    deadlines = Deadlines(session_s=SESSION_S)

    async def late() -> None:
        async with AsyncExitStack() as stack:
            here = Kafka(kafka.server, kafka.partition, stack)
            told.go_on.set()
            consumer = await here.port(told, deadlines)
            consumer.seek(kafka.ours, 0)
            await eventually(lambda: buffered(consumer._kafka))
            frozen.freeze()
            for records in (await consumer.poll(0.1)).values():
                told.history.extend(record.offset for record in records)
            await consumer.commit_hint({kafka.ours: 3})

            async def polled_until_told() -> bool:
                await consumer.poll(0.05)
                return "revoked" in told.history

            await eventually(polled_until_told)

    await kafka.write(3)
    running = await frozen.run(late)
    heir = Listener()
    heir.go_on.set()
    assert await fetch(await kafka.member(heir), 3) == [0, 1, 2]
    frozen.thaw()
    await running
    assert told.history[:5] == ["assigned", 0, 1, 2, "revoked"]


@pytest.mark.shows("A3")
async def test_a3_error_of_callback_is_only_logged(kafka: Kafka) -> None:
    await kafka.write(2)
    consumer = await kafka.member(Listener(ZeroDivisionError("a bug")))
    assert await fetch(consumer, 2) == [0, 1]


@pytest.mark.shows("A9")
async def test_a9_dead_broker_looks_like_idle_topic(kafka: Kafka) -> None:
    consumer = await kafka.reader()
    with kafka.paused():
        assert await consumer.getmany(timeout_ms=1_000) == {}


@pytest.mark.shows("A10")
async def test_a10_offset_commit_has_no_deadline(kafka: Kafka) -> None:
    await kafka.write(1)
    listener = Listener()
    listener.go_on.set()
    consumer = await kafka.member(listener, request_timeout_ms=2_000)
    assert await fetch(consumer, 1) == [0]
    with kafka.paused():
        committing = asyncio.create_task(consumer.commit({kafka.partition: 1}))
        await asyncio.wait({committing}, timeout=5)
        assert not committing.done()
    async with asyncio.timeout(60):
        await committing


@pytest.mark.shows("A10")
async def test_a10_port_gives_up_late_hint(kafka: Kafka) -> None:
    await kafka.write(2)
    told = Told()
    told.go_on.set()
    consumer = await kafka.port(told, Deadlines(session_s=SESSION_S, call_s=0.5))
    consumer.seek(kafka.ours, 0)
    assert await read(consumer, 2) == [0, 1]
    with kafka.paused():
        async with asyncio.timeout(60):
            for offset in (1, 2):
                await consumer.commit_hint({kafka.ours: offset})
    await kafka.write(1)
    assert await read(consumer, 1) == [2]


@pytest.mark.shows("A11")
async def test_a11_stop_without_broker_raises_cancellation(kafka: Kafka) -> None:
    await kafka.write(1)
    consumer = await kafka.reader(retry_backoff_ms=3_000)
    # A client that does not know the leader yet has no request to send, and would not wait.
    assert await fetch(consumer, 1) == [0]
    await asyncio.to_thread(kafka.server.kill)
    try:
        await eventually(lambda: sleeps_after_a_failure(consumer))
        with pytest.raises(asyncio.CancelledError):
            await consumer.stop()
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
    finally:
        await asyncio.to_thread(kafka.server.restart)
        await consumer._client.close()


@pytest.mark.shows("A11")
async def test_a11_port_reader_leaves_no_connection(kafka: Kafka) -> None:
    await kafka.write(1)
    settings = {
        "bootstrap_servers": kafka.server.bootstrap,
        "request_timeout_ms": 3_000,
        "retry_backoff_ms": 120_000,
    }
    async with AiokafkaReader(settings, [kafka.ours], Deadlines()) as reader:
        reader.seek(kafka.ours, 0)
        await eventually(lambda: reader.poll(0.1))
        consumer: Any = reader._open()
        with kafka.paused():
            await eventually(lambda: sleeps_after_a_failure(consumer))
        await reader.ends()
        assert consumer._fetcher._pending_tasks
    assert not any(each.connected() for each in consumer._client._conns.values())


def sleeps_after_a_failure(consumer: AIOKafkaConsumer) -> bool:
    fetcher: Any = consumer._fetcher
    connections = consumer._client._conns.values()
    return bool(fetcher._pending_tasks) and not any(c.connected() for c in connections)


@pytest.mark.shows("A15")
async def test_a15_offset_out_of_range_raises_until_seek(kafka: Kafka) -> None:
    await kafka.write(2)
    consumer = await kafka.reader(offset=7)
    for _ in range(2):
        with pytest.raises(OffsetOutOfRangeError) as raised:
            await fetch(consumer, 1)
        assert raised.value.args[0] == {kafka.partition: 7}
    consumer.seek(kafka.partition, 1)
    assert await fetch(consumer, 1) == [1]


@pytest.mark.shows("A15")
async def test_a15_reset_to_latest_skips_records_silently(kafka: Kafka) -> None:
    await kafka.write(2)
    consumer = await kafka.reader(offset=7, auto_offset_reset="latest")
    assert await consumer.getmany(timeout_ms=1_000) == {}
    assert await consumer.position(kafka.partition) == 2
    await kafka.write(1)
    assert await fetch(consumer, 1) == [2]


@pytest.mark.shows("A16")
async def test_a16_failing_deserializer_blocks_partition(kafka: Kafka) -> None:
    await kafka.write(2)
    consumer = await kafka.reader(value_deserializer=lambda _: 1 // 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await fetch(consumer, 1)
    assert await consumer.position(kafka.partition) == 0


@pytest.mark.shows("A23")
async def test_a23_idempotent_producer_fails_after_refusal(kafka: Kafka) -> None:
    producer = await kafka.producer()
    topic = kafka.partition.topic
    await producer.send_and_wait(topic, b"small", partition=0)
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_and_wait(topic, LARGE, partition=0)
    for _ in range(2):
        with pytest.raises(OutOfOrderSequenceNumber):
            await producer.send_and_wait(topic, b"small", partition=0)


@pytest.mark.shows("A23")
async def test_a23_new_idempotent_producer_survives_first_refusal(kafka: Kafka) -> None:
    """The reason that the adapter sends a batch only after the last one is acknowledged."""
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


@pytest.mark.shows("A24")
async def test_a24_idempotent_send_has_no_deadline(kafka: Kafka) -> None:
    producer = await kafka.producer(request_timeout_ms=2_000)
    await producer.send_and_wait(kafka.partition.topic, b"0", partition=0)
    with kafka.paused():
        sending = asyncio.create_task(
            producer.send_and_wait(kafka.partition.topic, b"1", partition=0)
        )
        await asyncio.wait({sending}, timeout=3)
        stopping = asyncio.create_task(producer.stop())
        await asyncio.wait({stopping}, timeout=3)
        assert not sending.done()
        assert not stopping.done()
    async with asyncio.timeout(60):
        await stopping
        assert (await sending).offset == 1


@pytest.mark.shows("A25")
async def test_a25_transaction_commits_after_failed_send(kafka: Kafka) -> None:
    producer = await kafka.producer(transactional_id=kafka.partition.topic)
    topic = kafka.partition.topic
    async with producer.transaction():
        await producer.send_and_wait(topic, b"0", partition=0)
        for value in (LARGE, b"2"):
            sent = await producer.send(topic, value, partition=0)
            await asyncio.wait({sent}, timeout=10)
            assert sent.exception() is not None
    consumer = await kafka.reader(isolation_level="read_committed")
    assert await fetch(consumer, 1) == [0]
    assert await consumer.getmany(timeout_ms=500) == {}


@pytest.mark.shows("A25")
async def test_a25_port_uses_no_transactions(kafka: Kafka) -> None:
    broker = AiokafkaBroker(kafka.server.bootstrap, "none", "test")
    producer = await broker.producer()
    manager = producer._kafka._txn_manager
    assert manager.transactional_id is None
    await producer.close()


@pytest.mark.shows("A36")
async def test_a36_cancelled_getmany_loses_nothing(kafka: Kafka) -> None:
    consumer = await kafka.reader()
    await _read_despite_cancellation(kafka, lambda: consumer.getmany(timeout_ms=1_000))


@pytest.mark.shows("A36")
async def test_a36_cancelled_poll_loses_nothing(kafka: Kafka) -> None:
    told = Told()
    told.go_on.set()
    consumer = await kafka.port(told)
    consumer.seek(kafka.ours, 0)
    await _read_despite_cancellation(kafka, lambda: consumer.poll(1.0))


async def _read_despite_cancellation(kafka: Kafka, poll: Poll) -> None:
    """Read 300 records while they are written, and cancel each call after two milliseconds."""
    writing = asyncio.create_task(kafka.write(300))
    offsets: list[int] = []
    cancelled = 0
    async with asyncio.timeout(60):
        while len(offsets) < 300:
            try:
                async with asyncio.timeout(0.002):
                    fetched = await poll()
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


@pytest.fixture(scope="module")
def sasl_bootstrap() -> Iterator[str]:
    """A broker that accepts alice's password in clear text."""
    port, write = free_port(), embedded_kafka._write_properties
    mechanism = "org.apache.kafka.common.security.plain.PlainLoginModule"

    def write_with_sasl(broker: Broker, cluster: Sequence[Broker], _: Mapping[str, str]) -> None:
        own, sasl = f"PLAINTEXT://127.0.0.1:{broker.port}", f"SASL://127.0.0.1:{port}"
        config = {
            "listeners": f"{own},CONTROLLER://127.0.0.1:{broker.controller_port},{sasl}",
            "advertised.listeners": f"{own},{sasl}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "SASL:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": (
                f'{mechanism} required user_alice="{HIDDEN}";'
            ),
        }
        write(broker, cluster, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded_kafka, "_write_properties", write_with_sasl)
        server = EmbeddedKafka.start()
    with server:
        yield f"127.0.0.1:{port}"


@pytest.mark.shows("A30")
@pytest.mark.usefixtures("debugging")
@pytest.mark.integration
async def test_a30_debug_log_has_password(
    sasl_bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=sasl_bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username="alice",
        sasl_plain_password=HIDDEN,
    )
    await producer.start()
    await producer.stop()
    assert HIDDEN in caplog.text


@pytest.mark.shows("A30", "F28")
@pytest.mark.usefixtures("debugging")
@pytest.mark.integration
@pytest.mark.parametrize("known", [True, False], ids=["let in", "refused"])
async def test_a30_port_hides_password(
    sasl_bootstrap: str, topic_prefix: str, caplog: pytest.LogCaptureFixture, *, known: bool
) -> None:
    password = HIDDEN if known else f"{HIDDEN}-mistyped"
    security = Security(protocol="SASL_PLAINTEXT", username="alice", password=password)
    broker = AiokafkaBroker(
        sasl_bootstrap,
        topic_prefix,
        "test",
        security=security,
        deadlines=Deadlines(session_s=SESSION_S, start_s=5, close_s=1),
    )
    told = [repr(security), repr(broker)]

    async def is_let_in(call: Coroutine[Any, Any, object]) -> None:
        try:
            await call
        except BrokerError as error:
            assert not known
            told.append("".join(traceback.format_exception(error)))
        else:
            assert known

    async def produce() -> None:
        await (await broker.producer()).close()

    consumer = await broker.consumer([topic_prefix], Told())
    await is_let_in(broker.create_topics({topic_prefix: 1}, replication_factor=1))
    await is_let_in(consumer.start())
    await is_let_in(produce())
    await consumer.close()
    assert HIDDEN not in caplog.text
    assert HIDDEN not in "".join(told)


@pytest.mark.shows("A30")
@pytest.mark.usefixtures("debugging")
@pytest.mark.integration
async def test_a30_publisher_hides_password(
    sasl_bootstrap: str, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    security = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "alice",
        "sasl_plain_password": HIDDEN,
    }
    publisher = OrderPublisher(sasl_bootstrap, orders_topic=topic_prefix, security=security)
    with pytest.raises(TopicUnfit):
        await publisher.__aenter__()
    assert HIDDEN not in caplog.text


@pytest.mark.shows("A34")
def test_a34_missing_codecs_are_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "cramjam", None)
    with pytest.raises(ConfigError, match="snappy, lz4, zstd"):
        AiokafkaBroker("localhost:1", "group", "client")


@pytest.mark.shows("A38")
def test_a38_header_names_must_be_utf8() -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1_000)
    with pytest.raises(UnicodeEncodeError):
        builder.append(0, 0, None, b"", [(ODD, b"")])
    odd = AnyNamesBuilder(1_000, 0)
    odd.append(timestamp=0, key=None, value=b"", headers=[(ODD, b"")])
    raw = odd._build()  # type: ignore[no-untyped-call]
    batch = MemoryRecords(bytes(raw)).next_batch()
    assert batch is not None
    with pytest.raises(UnicodeDecodeError):
        list(batch)


@pytest.mark.shows("A38")
async def test_a38_port_keeps_bytes_of_header_names(kafka: Kafka) -> None:
    broker = AiokafkaBroker(kafka.server.bootstrap, "none", "test")
    headers = (("plain", b"1"), (ODD, b"2"))
    sent = [Outgoing(*kafka.ours, b"k", b"%d" % n, headers[: n % 3], 1_000) for n in range(6)]
    producer = await broker.producer()
    kafka.stack.push_async_callback(producer.close)
    await producer.send(sent)
    await producer.send(sent[:1])

    found = (await broker.tail(kafka.ours, 10)).records

    assert [(r.value, r.headers) for r in found] == [(r.value, r.headers) for r in (*sent, sent[0])]


@pytest.mark.shows("A39")
def test_a39_batch_is_unpacked_at_once() -> None:
    builder = DefaultRecordBatchBuilder(2, 1, 0, -1, -1, 0, 10**9)
    for number in range(64):
        builder.append(number, 0, None, bytes(1_048_576), [])
    batch = MemoryRecords(bytes(builder.build())).next_batch()
    assert batch is not None
    tracemalloc.start()
    next(iter(batch))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak > 64 * 1_048_576


class Altered:
    """A reader whose fetches come back with another error code, or with fewer bytes."""

    def __init__(self, consumer: AIOKafkaConsumer, code: int, size: int | None = None) -> None:
        self.fetches = 0
        client: Any = consumer._client
        send = client.send

        async def altered(node_id: int, request: object, **options: int) -> object:
            response = await send(node_id, request, **options)
            if isinstance(request, FetchRequest):
                self.fetches += 1
                ((topic, ((number, _, *rest, records),)),) = response.topics
                response.topics = [(topic, [(number, code, *rest, records[:size])])]
            return response

        client.send = altered


@pytest.mark.shows("A40")
@pytest.mark.integration
async def test_a40_authorization_error_names_no_partition(kafka: Kafka) -> None:
    await kafka.write(1)
    consumer = await kafka.reader()
    Altered(consumer, TopicAuthorizationFailedError.errno)
    with pytest.raises(TopicAuthorizationFailedError) as raised:
        await fetch(consumer, 1)
    assert raised.value.args == (kafka.partition.topic,)


@pytest.mark.shows("A40")
@pytest.mark.integration
async def test_a40_other_errors_are_repeated_without_pauses(kafka: Kafka) -> None:
    await kafka.write(1)
    consumer = await kafka.reader()
    altered = Altered(consumer, CorruptRecordException.errno)
    began_s = time.monotonic()
    await eventually(lambda: altered.fetches > 100)
    assert time.monotonic() - began_s < 10


@pytest.mark.shows("A40")
@pytest.mark.integration
async def test_a40_partial_batch_is_passed_over(kafka: Kafka) -> None:
    await kafka.write(2)
    consumer = await kafka.reader()
    Altered(consumer, 0, size=30)
    with pytest.raises(RecordTooLargeError):
        await fetch(consumer, 1)
    assert await consumer.position(kafka.partition) > 0


class Provider(AbstractTokenProvider):
    @override
    async def token(self) -> str:
        return HIDDEN


@pytest.mark.shows("A37")
async def test_a37_challenge_is_taken_for_success() -> None:
    authenticator = conn.AIOKafkaConnection.authenticator_oauth
    assert "OAuthAuthenticator" in authenticator.__code__.co_names, "made in another way"
    plain = OAuthAuthenticator(sasl_oauth_token_provider=Provider())
    assert await plain.step(None) == (f"n,,\x01auth=Bearer {HIDDEN}\x01\x01".encode(), True)
    assert await plain.step(CHALLENGE) is None


@pytest.mark.shows("A37")
async def test_a37_port_answers_challenge_and_drops_token() -> None:
    minted = count()

    async def mint() -> str:
        return f"token-{next(minted)}"

    tokens = BearerTokens(TokenCache("a test", mint, time.monotonic))
    assert conn.OAuthAuthenticator is Dialogue
    for token in ("token-0", "token-1"):
        dialogue = Dialogue(sasl_oauth_token_provider=tokens)
        first = await dialogue.step(None)
        assert first is not None
        assert token.encode() in first[0]
        # An empty answer means success.
        assert await dialogue.step(b"") is None
        assert await dialogue.step(CHALLENGE) == (b"\x01", True)
        for answer in (b"", CHALLENGE):
            with pytest.raises(SaslAuthenticationFailed, match="invalid_token"):
                await dialogue.step(answer)
