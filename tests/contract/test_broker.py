"""Promises of any `ports.Broker`, tested on the fake and on Apache Kafka."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.client import AIOKafkaClient
from aiokafka.structs import TopicPartition as KafkaPartition

from tests.support.eventually import eventually
from tests.support.fake_broker import FakeConsumer, FakeKafka, Fault
from tests.support.packed import damaged
from worker.adapters.kafka import AiokafkaBroker, Deadlines, admin
from worker.adapters.kafka.consumer import AiokafkaConsumer
from worker.adapters.kafka.group import sever
from worker.embedded import EmbeddedKafka
from worker.errors import BatchUnreadable, BrokerError, OffsetOutOfRange
from worker.ports import (
    Assignment,
    Broker,
    Consumer,
    Outgoing,
    Producer,
    Record,
    TopicPartition,
)
from worker.topic_rules import CREATE_TIME, LOG_APPEND_TIME, STAMPS

UNDISTURBED = Deadlines(session_s=6)
IMPATIENT = Deadlines(session_s=6, start_s=5, call_s=2, send_s=2, close_s=2)
ENDS_WITHIN_S = 30.0
"""More than our deadlines on a busy machine, less than the 40 s that aiokafka gives a request."""
QUIET_S = 0.4
"""How long a test waits for a record that must not come."""


@dataclass
class Told:
    """An assignment that records its calls."""

    history: list[tuple[str, list[TopicPartition]]] = field(default_factory=list)

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.history.append(("assigned", list(partitions)))

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.history.append(("revoked", list(partitions)))


class Cluster(Protocol):
    """The operations on a Kafka cluster that tests need in addition to the port."""

    def broker(self, group_id: str) -> Broker: ...

    async def create(self, topic: str, partitions: int, *, log_append_time: bool = True) -> str: ...

    async def delete(self, topic: str) -> None: ...

    async def forget_before(self, partition: TopicPartition, offset: int) -> None: ...

    async def kill(self, consumer: Consumer) -> None: ...

    def damaged(self, partition: TopicPartition) -> AbstractContextManager[None]:
        """Damage the first batch of a partition, so that nobody can parse it."""

    def refused(self, partition: TopicPartition) -> AbstractContextManager[None]:
        """Let the broker answer each fetch of a partition with an error."""


class InMemory:
    def __init__(self) -> None:
        ticks = itertools.count(int(time.time() * 1_000))
        self.kafka = FakeKafka(lambda: next(ticks), asyncio.sleep, session_s=0.2)

    def broker(self, group_id: str) -> Broker:
        return self.kafka.broker(group_id)

    async def create(self, topic: str, partitions: int, *, log_append_time: bool = True) -> str:
        self.kafka.create_topic(topic, partitions, log_append_time=log_append_time)
        return topic

    async def delete(self, topic: str) -> None:
        self.kafka.delete_topic(topic)

    async def forget_before(self, partition: TopicPartition, offset: int) -> None:
        self.kafka.forget_before(partition, offset)

    async def kill(self, consumer: Consumer) -> None:
        assert isinstance(consumer, FakeConsumer)
        self.kafka.kill(consumer)

    @contextmanager
    def damaged(self, partition: TopicPartition) -> Iterator[None]:
        self.kafka.damaged[partition] = 0
        yield
        del self.kafka.damaged[partition]

    @contextmanager
    def refused(self, partition: TopicPartition) -> Iterator[None]:
        self.kafka.refused[partition] = "the brokers refuse"
        yield
        del self.kafka.refused[partition]


class Apache:
    def __init__(
        self, server: EmbeddedKafka, prefix: str, deadlines: Deadlines = UNDISTURBED
    ) -> None:
        self.server = server
        self.prefix = prefix
        self.deadlines = deadlines

    def broker(self, group_id: str) -> AiokafkaBroker:
        group = self.prefix + group_id
        return AiokafkaBroker(self.server.bootstrap, group, "test", deadlines=self.deadlines)

    async def create(self, topic: str, partitions: int, *, log_append_time: bool = True) -> str:
        name = self.prefix + topic
        configs = {} if log_append_time else {"message.timestamp.type": "CreateTime"}
        broker = self.broker("none")
        await broker.create_topics({name: partitions}, replication_factor=1, configs=configs)

        async def described() -> bool:
            return name in await broker.describe([name])

        await eventually(described)
        return name

    async def delete(self, topic: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.server.bootstrap)
        await admin.start()
        await admin.delete_topics([topic])
        await admin.close()

    async def forget_before(self, partition: TopicPartition, offset: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.server.bootstrap)
        await admin.start()
        wanted = {KafkaPartition(*partition): RecordsToDelete(before_offset=offset)}
        await admin.delete_records(wanted, 5_000)
        await admin.close()

    async def kill(self, consumer: Consumer) -> None:
        assert isinstance(consumer, AiokafkaConsumer)
        assert consumer._kafka is not None
        await sever(consumer._kafka)

    def damaged(self, partition: TopicPartition) -> AbstractContextManager[None]:
        return damaged(self.server, partition, 0, 17, b"\xde\xad\xbe\xef")

    def refused(self, partition: TopicPartition) -> AbstractContextManager[None]:
        # A length that no batch has.
        return damaged(self.server, partition, 0, 8, b"\0\0\0\3")


@pytest.fixture(params=["fake", pytest.param("kafka", marks=pytest.mark.integration)])
async def cluster(request: pytest.FixtureRequest, topic_prefix: str) -> AsyncIterator[Cluster]:
    if request.param == "kafka":
        yield Apache(request.getfixturevalue("kafka_server"), topic_prefix)
        return
    fake = InMemory()
    yield fake
    await fake.kafka.aclose()


@dataclass
class Parties:
    """Consumers and producers, closed at the end of the test."""

    cluster: Cluster
    stack: AsyncExitStack

    async def member(
        self, topic: str, told: Assignment | None = None, group: str = "g"
    ) -> Consumer:
        consumer = await self.cluster.broker(group).consumer([topic], told or Told())
        self.stack.push_async_callback(consumer.close)
        await consumer.start()
        return consumer

    async def reader(self, partition: TopicPartition, offset: int = 0) -> Consumer:
        consumer = await self.member(partition.topic)
        consumer.seek(partition, offset)
        return consumer

    async def producer(self) -> Producer:
        producer = await self.cluster.broker("none").producer()
        self.stack.push_async_callback(producer.close)
        return producer

    async def write(self, *partitions: TopicPartition, count: int = 1) -> None:
        producer = await self.producer()
        await producer.send([out(p, str(i)) for p in partitions for i in range(count)])


@pytest.fixture
async def parties(cluster: Cluster) -> AsyncIterator[Parties]:
    async with AsyncExitStack() as stack:
        yield Parties(cluster, stack)


def out(partition: TopicPartition, value: str, timestamp_ms: int = 1_000) -> Outgoing:
    topic, number = partition
    return Outgoing(topic, number, b"key", value.encode(), (), timestamp_ms)


async def read(consumer: Consumer, partition: TopicPartition, count: int) -> list[Record]:
    """Return the next ``count`` records of a partition."""
    records: list[Record] = []
    async with asyncio.timeout(60):
        while len(records) < count:
            records += (await consumer.poll(0.1)).get(partition, ())
    return records


async def settle(*consumers: Consumer, until: Callable[[], bool], within_s: float = 15) -> None:
    """Poll until ``until`` holds. Nothing may arrive meanwhile."""

    async def polled() -> bool:
        found = await asyncio.gather(*(consumer.poll(0.02) for consumer in consumers))
        assert not any(found)
        return until()

    await eventually(polled, within_s)


def values(records: Sequence[Record]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


async def test_records_arrive_in_order_from_the_offset_sought(
    cluster: Cluster, parties: Parties
) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await parties.write(partition, count=10)
    consumer = await parties.reader(partition, offset=4)
    records = await read(consumer, partition, 6)
    assert [record.offset for record in records] == [4, 5, 6, 7, 8, 9]
    assert values(records) == ["4", "5", "6", "7", "8", "9"]


async def test_second_seek_goes_back(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await parties.write(partition, count=5)
    consumer = await parties.reader(partition)
    await read(consumer, partition, 5)
    consumer.seek(partition, 3)
    assert values(await read(consumer, partition, 2)) == ["3", "4"]


@pytest.mark.parametrize("committed", [None, 3, 99], ids=["absent", "present", "stale"])
@pytest.mark.shows("W12", "W13")
async def test_nothing_arrives_before_first_seek(
    cluster: Cluster, parties: Parties, committed: int | None
) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await parties.write(partition, count=5)
    if committed is not None:
        earlier = await parties.member(partition.topic)
        await earlier.commit_hint({partition: committed})
        await earlier.close()
    told = Told()
    consumer = await parties.member(partition.topic, told)
    assert await consumer.poll(QUIET_S) == {}
    consumer.resume(partition)
    assert await consumer.poll(QUIET_S) == {}
    consumer.seek(partition, 1)
    assert values(await read(consumer, partition, 4)) == ["1", "2", "3", "4"]
    assert told.history == [("assigned", [partition])]


async def test_paused_partition_loses_nothing(cluster: Cluster, parties: Parties) -> None:
    topic = await cluster.create("in", 2)
    still, moving = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer = await parties.reader(still)
    consumer.seek(moving, 0)
    consumer.pause(still)
    consumer.pause(still)
    await parties.write(still, moving, count=3)
    assert values(await read(consumer, moving, 3)) == ["0", "1", "2"]
    assert await consumer.poll(QUIET_S) == {}
    consumer.resume(still)
    consumer.resume(still)
    assert values(await read(consumer, still, 3)) == ["0", "1", "2"]


async def test_pause_before_first_seek_holds(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await parties.write(partition, count=2)
    consumer = await parties.member(partition.topic)
    consumer.pause(partition)
    consumer.seek(partition, 0)
    assert await consumer.poll(QUIET_S) == {}
    consumer.resume(partition)
    assert values(await read(consumer, partition, 2)) == ["0", "1"]


async def test_partition_of_others_cannot_be_moved(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    consumer = await parties.reader(partition)
    stranger = TopicPartition(partition.topic, 7)
    consumer.seek(stranger, 1)
    consumer.pause(stranger)
    consumer.resume(stranger)
    assert consumer.assignment() == {partition}


async def test_leaving_member_returns_its_partitions(cluster: Cluster, parties: Parties) -> None:
    topic = await cluster.create("in", 4)
    everything = {TopicPartition(topic, number) for number in range(4)}
    await parties.write(*everything)
    told = Told()
    first = await parties.member(topic, told)
    assert first.assignment() == everything
    joining = asyncio.ensure_future(parties.member(topic))
    await settle(first, until=joining.done)
    second = await joining
    await settle(first, second, until=lambda: len(first.assignment()) == 2)
    assert first.assignment() | second.assignment() == everything
    await second.close()
    # The member holds them a moment before its callback.
    await settle(
        first,
        until=lambda: first.assignment() == everything and told.history[-1][0] == "assigned",
    )
    # The group may rebalance once more, to wait for a member that is slow to join.
    words = [word for word, _ in told.history]
    assert len(words) >= 5
    assert words[::2] == ["assigned"] * (len(words) // 2 + 1)
    assert words[1::2] == ["revoked"] * (len(words) // 2)


async def test_dead_member_loses_its_partitions(cluster: Cluster, parties: Parties) -> None:
    topic = await cluster.create("in", 2)
    await parties.write(TopicPartition(topic, 0), TopicPartition(topic, 1))
    first = await parties.member(topic)
    joining = asyncio.ensure_future(parties.member(topic))
    await settle(first, until=joining.done)
    second = await joining
    await settle(first, second, until=lambda: len(first.assignment()) == 1)
    await cluster.kill(second)
    await settle(first, until=lambda: len(first.assignment()) == 2)
    for partition in sorted(first.assignment()):
        first.seek(partition, 0)
        assert values(await read(first, partition, 1)) == ["0"]


async def test_idle_member_takes_over(cluster: Cluster, parties: Parties) -> None:
    topic = await cluster.create("in", 1)
    first = await parties.member(topic)
    joining = asyncio.ensure_future(parties.member(topic))
    await settle(first, until=joining.done)
    second = await joining
    await settle(first, second, until=lambda: bool(first.assignment() | second.assignment()))
    owner, idle = (first, second) if first.assignment() else (second, first)
    assert idle.assignment() == frozenset()
    await owner.close()
    await settle(idle, until=lambda: len(idle.assignment()) == 1)


async def test_bug_in_callback_is_raised_by_next_poll(cluster: Cluster, parties: Parties) -> None:
    class Broken:
        async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
            pass

        async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
            raise ZeroDivisionError(partitions)

    topic = await cluster.create("in", 1)
    consumer = await parties.member(topic, Broken())
    with pytest.raises(ZeroDivisionError):
        await settle(consumer, until=lambda: False)


@pytest.mark.parametrize("offset", [1, 6], ids=["before the first", "after the last"])
async def test_offset_out_of_range_is_raised_once(
    cluster: Cluster, parties: Parties, offset: int
) -> None:
    topic = await cluster.create("in", 2)
    lost, sound = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await parties.write(lost, sound, count=5)
    await cluster.forget_before(lost, 2)
    consumer = await parties.reader(lost, offset)
    with pytest.raises(OffsetOutOfRange) as raised:
        await read(consumer, lost, 1)
    assert raised.value.args[1] == lost
    consumer.seek(sound, 0)
    assert values(await read(consumer, sound, 5)) == ["0", "1", "2", "3", "4"]
    consumer.seek(lost, 2)
    assert values(await read(consumer, lost, 3)) == ["2", "3", "4"]


async def test_damaged_batch_is_raised_once(cluster: Cluster, parties: Parties) -> None:
    topic = await cluster.create("in", 2)
    lost, sound = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await parties.write(lost, sound, count=5)
    consumer = await parties.member(topic)
    with cluster.damaged(lost):
        consumer.seek(lost, 0)
        with pytest.raises(BatchUnreadable) as raised:
            await read(consumer, lost, 1)
        assert raised.value.args[1] == lost
        consumer.seek(sound, 0)
        assert values(await read(consumer, sound, 5)) == ["0", "1", "2", "3", "4"]
        assert await consumer.poll(QUIET_S) == {}
    consumer.seek(lost, 0)
    assert values(await read(consumer, lost, 5)) == ["0", "1", "2", "3", "4"]


async def test_refused_partition_is_reported_and_tried_again(
    cluster: Cluster, parties: Parties
) -> None:
    topic = await cluster.create("in", 2)
    lost, sound = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await parties.write(lost, sound, count=5)
    consumer = await parties.member(topic)
    with cluster.refused(lost):
        consumer.seek(lost, 0)

        async def reported() -> bool:
            assert await consumer.poll(0.05) == {}
            return consumer.faults().keys() == {lost}

        await eventually(reported)
        consumer.seek(sound, 0)
        assert values(await read(consumer, sound, 5)) == ["0", "1", "2", "3", "4"]
        assert consumer.position(lost) == 0
    assert values(await read(consumer, lost, 5)) == ["0", "1", "2", "3", "4"]
    assert consumer.faults() == {}


async def test_position_follows_deliveries(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await parties.write(partition, count=5)
    consumer = await parties.member(partition.topic)
    assert consumer.position(partition) == 0
    consumer.seek(partition, 2)
    assert consumer.position(partition) == 2
    await read(consumer, partition, 3)
    assert consumer.position(partition) == 5
    assert consumer.position(TopicPartition("missing", 1)) == 0
    await consumer.close()
    assert consumer.position(partition) == 0


async def test_bounds_follow_writes_and_deletions(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    consumer = await parties.member(partition.topic)
    assert await consumer.bounds(partition) == (0, 0)
    await parties.write(partition, count=5)
    await cluster.forget_before(partition, 2)
    assert await consumer.bounds(partition) == (2, 5)


async def test_published_record_is_read_back(cluster: Cluster, parties: Parties) -> None:
    topic = await cluster.create("out", 2, log_append_time=False)
    partition = TopicPartition(topic, 1)
    headers = (("ce_id", b"stream/1/7"), ("empty", b""))
    sent = [
        Outgoing(topic, 1, b"market", b"{}", headers, 1_700_000_000_001),
        Outgoing(topic, 1, None, b"no key", (), 1_700_000_000_000),
        Outgoing(topic, 1, b"no value", None, (), 1_700_000_000_002),
    ]
    await (await parties.producer()).send(sent)
    consumer = await parties.reader(partition)
    assert await read(consumer, partition, 3) == [
        Record(0, 1_700_000_000_001, b"market", b"{}", headers, by_broker=False),
        Record(1, 1_700_000_000_000, None, b"no key", (), by_broker=False),
        Record(2, 1_700_000_000_002, b"no value", None, (), by_broker=False),
    ]


async def test_log_append_time_is_that_of_broker(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await (await parties.producer()).send([out(partition, "old", timestamp_ms=1)])
    (record,) = await read(await parties.reader(partition), partition, 1)
    assert record.timestamp_ms > 1_700_000_000_000


async def test_many_large_records_stay_in_order(cluster: Cluster, parties: Parties) -> None:
    topic = await cluster.create("out", 2)
    padding = "x" * 60_000
    sent = [out(TopicPartition(topic, i % 2), f"{i} {padding}") for i in range(40)]
    producer = await parties.producer()
    await producer.send(sent[:20])
    await producer.send(sent[20:])
    for number in range(2):
        partition = TopicPartition(topic, number)
        consumer = await parties.reader(partition)
        records = await read(consumer, partition, 20)
        await consumer.close()
        assert [int(v.split()[0]) for v in values(records)] == list(range(number, 40, 2))


async def test_empty_send_does_nothing(parties: Parties) -> None:
    await (await parties.producer()).send([])


async def test_failed_producer_stays_unusable(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("out", 1), 0)
    producer = await parties.producer()
    with pytest.raises(BrokerError):
        await producer.send([out(TopicPartition(partition.topic, 5), "nowhere")])
    with pytest.raises(BrokerError):
        await producer.send([out(partition, "too late")])
    await parties.write(partition)
    assert values(await read(await parties.reader(partition), partition, 1)) == ["0"]


async def test_describe_returns_existing_topics(cluster: Cluster) -> None:
    stamped = await cluster.create("in", 3)
    created = await cluster.create("out", 2, log_append_time=False)
    found = await cluster.broker("g").describe([stamped, created, "missing"])
    assert {topic: (d.partitions, d.settings[STAMPS]) for topic, d in found.items()} == {
        stamped: (3, LOG_APPEND_TIME),
        created: (2, CREATE_TIME),
    }


async def test_recreated_topic_has_another_id(cluster: Cluster) -> None:
    broker = cluster.broker("g")
    topic, other = await cluster.create("in", 1), await cluster.create("other", 1)

    async def topic_id(name: str) -> str:
        found = (await broker.describe([name])).get(name)
        return found.topic_id if found else ""

    first = await topic_id(topic)
    assert first == await topic_id(topic)
    assert len({"", first, await topic_id(other)}) == 3

    await cluster.delete(topic)
    await eventually(lambda: _is_gone(broker, topic))
    await cluster.create("in", 1)
    assert await topic_id(topic) not in {"", first}


async def _is_gone(broker: Broker, topic: str) -> bool:
    return not await broker.describe([topic])


async def test_starts_are_first_offsets(cluster: Cluster, parties: Parties) -> None:
    topic = await cluster.create("in", 2)
    full, empty = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await parties.write(full, count=5)
    await cluster.forget_before(full, 3)
    assert await cluster.broker("none").starts([full, empty]) == {full: 3, empty: 0}


async def test_stamps_say_whose_they_are(cluster: Cluster, parties: Parties) -> None:
    """A sender's own stamp never counts as the time of arrival."""
    for topic, by_broker in (
        (await cluster.create("in", 1), True),
        (await cluster.create("out", 1, log_append_time=False), False),
    ):
        partition = TopicPartition(topic, 0)
        await parties.write(partition)
        (record,) = await read(await parties.reader(partition), partition, 1)
        assert (record.by_broker, record.arrival_ms > 0) == (by_broker, by_broker)
        assert record.timestamp_ms > 0


async def test_tail_has_last_records(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("out", 1), 0)
    broker = cluster.broker("none")
    assert await _tail(broker, partition, 2) == (0, [])
    await parties.write(partition, count=5)
    assert await _tail(broker, partition, 2) == (5, ["3", "4"])
    assert await _tail(broker, partition, 9) == (5, ["0", "1", "2", "3", "4"])
    await cluster.forget_before(partition, 4)
    assert await _tail(broker, partition, 9) == (5, ["4"])
    await cluster.forget_before(partition, 5)
    assert await _tail(broker, partition, 9) == (5, [])


async def _tail(broker: Broker, partition: TopicPartition, offsets: int) -> tuple[int, list[str]]:
    found = await broker.tail(partition, offsets)
    return found.end, values(found.records)


async def test_tail_of_missing_partition_is_refused(cluster: Cluster) -> None:
    topic = await cluster.create("out", 1)
    with pytest.raises(BrokerError):
        await cluster.broker("none").tail(TopicPartition(topic, 1), 1)


async def test_tail_includes_records_of_open_transaction(
    kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    cluster = Apache(kafka_server, topic_prefix)
    partition = TopicPartition(await cluster.create("out", 1), 0)
    stranger = AIOKafkaProducer(
        bootstrap_servers=kafka_server.bootstrap, transactional_id=partition.topic
    )
    await stranger.start()
    await stranger.begin_transaction()
    await stranger.send_and_wait(partition.topic, b"open", partition=0)
    async with AsyncExitStack() as stack:
        await Parties(cluster, stack).write(partition)

    assert await _tail(cluster.broker("none"), partition, 9) == (2, ["open", "0"])

    await stranger.abort_transaction()
    await stranger.stop()


async def test_commit_hint_moves_no_position(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await parties.write(partition, count=3)
    consumer = await parties.reader(partition)
    stranger = TopicPartition("missing", 4)
    await consumer.commit_hint({})
    await consumer.commit_hint({partition: 2, stranger: 1})
    assert values(await read(consumer, partition, 3)) == ["0", "1", "2"]
    await consumer.close()
    await consumer.commit_hint({partition: 2})


async def test_closed_clients_refuse_further_calls(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    consumer, producer = await parties.reader(partition), await parties.producer()
    for party in (consumer, producer, consumer, producer):
        await party.close()
    assert consumer.assignment() == frozenset()
    with pytest.raises(BrokerError):
        await consumer.poll(0.1)
    with pytest.raises(BrokerError):
        await producer.send([out(partition, "too late")])


@pytest.mark.shows("W10", "F65")
async def test_nothing_is_published_after_refused_batch(
    kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    cluster = Apache(kafka_server, topic_prefix)
    topic = topic_prefix + "narrow"
    configs = {"max.message.bytes": "1000"}
    await cluster.broker("g").create_topics({topic: 1}, replication_factor=1, configs=configs)
    partition = TopicPartition(topic, 0)
    async with AsyncExitStack() as stack:
        parties = Parties(cluster, stack)
        producer = await parties.producer()
        with pytest.raises(BrokerError):
            await producer.send([out(partition, "x" * 524_200), out(partition, "after it")])
        assert await (await parties.member(topic)).bounds(partition) == (0, 0)


async def test_existing_topics_are_named_and_unchanged(
    kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    cluster = Apache(kafka_server, topic_prefix)
    old, new = await cluster.create("old", 2, log_append_time=False), topic_prefix + "new"
    broker = cluster.broker("g")
    assert await broker.create_topics({old: 5, new: 3}, replication_factor=1) == {old}
    await eventually(lambda: broker.describe([new]))
    found = await broker.describe([old, new])
    assert {topic: (d.partitions, d.settings[STAMPS]) for topic, d in found.items()} == {
        old: (2, CREATE_TIME),
        new: (3, LOG_APPEND_TIME),
    }
    with pytest.raises(BrokerError):
        await broker.create_topics({topic_prefix + "far": 1}, replication_factor=9)


async def test_topic_requests_wait_for_listed_brokers(
    kafka_server: EmbeddedKafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that has just started answers, but lists no brokers for a moment."""
    bootstrap, calls = AIOKafkaClient.bootstrap, itertools.count()

    async def late(client: AIOKafkaClient) -> None:
        if next(calls) > 1:
            await bootstrap(client)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(AIOKafkaClient, "bootstrap", late)
    broker = Apache(kafka_server, topic_prefix).broker("g")
    assert await broker.create_topics({topic_prefix + "t": 1}, replication_factor=1) == frozenset()
    assert next(calls) == 3


async def test_brokers_that_stay_unlisted_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_client: AIOKafkaClient) -> None:
        pass

    monkeypatch.setattr(AIOKafkaClient, "bootstrap", nothing)
    monkeypatch.setattr(admin, "BOOTSTRAPS_MAX", 3)
    with pytest.raises(BrokerError, match="lists no brokers"):
        await AiokafkaBroker("localhost:1", "g", "test").describe(["t"])


@dataclass
class Outage:
    """An outage of Apache Kafka. Its beginning and end block, so they run in threads."""

    begin: Callable[[], None]
    end: Callable[[], None]


@pytest.fixture(params=["paused", "killed"])
def outage(request: pytest.FixtureRequest, kafka_server: EmbeddedKafka) -> Outage:
    if request.param == "paused":
        return Outage(kafka_server.pause, kafka_server.resume)
    return Outage(kafka_server.kill, kafka_server.restart)


async def ended(call: Awaitable[object], *, fails: bool) -> None:
    """Check that ``call`` ends in time and in the expected way."""
    with pytest.raises(BrokerError) if fails else nullcontext():
        async with asyncio.timeout(ENDS_WITHIN_S):
            await call


@pytest.mark.slow
@pytest.mark.shows("F34")
async def test_dead_broker_ends_every_call_in_time(
    kafka_server: EmbeddedKafka, topic_prefix: str, outage: Outage
) -> None:
    cluster = Apache(kafka_server, topic_prefix, IMPATIENT)
    partition = TopicPartition(await cluster.create("in", 1), 0)
    broker = cluster.broker("g")
    async with AsyncExitStack() as stack:
        parties = Parties(cluster, stack)
        consumer, producer = await parties.reader(partition), await parties.producer()
        await parties.write(partition)
        await read(consumer, partition, 1)
        await asyncio.to_thread(outage.begin)
        try:
            await assert_calls_end(broker, consumer, producer, partition)
        finally:
            await asyncio.to_thread(outage.end)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    # A controller that froze with its broker may fence it until the next heartbeat.
    await eventually(lambda: works(Apache(kafka_server, topic_prefix), partition), within_s=60)


async def assert_calls_end(
    broker: Broker, consumer: Consumer, producer: Producer, partition: TopicPartition
) -> None:
    joining = await broker.consumer([partition.topic], Told())
    await ended(consumer.poll(0.5), fails=False)
    await ended(consumer.bounds(partition), fails=True)
    await ended(consumer.commit_hint({partition: 1}), fails=False)
    await ended(producer.send([out(partition, "1")]), fails=True)
    await ended(producer.send([out(partition, "2")]), fails=True)
    await ended(broker.describe([partition.topic]), fails=True)
    await ended(broker.producer(), fails=True)
    await ended(broker.tail(partition, 1), fails=True)
    await ended(joining.start(), fails=True)
    await ended(consumer.poll(0.5), fails=False)
    await ended(producer.close(), fails=False)
    await ended(consumer.close(), fails=False)


async def works(cluster: Cluster, partition: TopicPartition) -> bool:
    """Return whether a record can be written and read with new clients."""
    async with AsyncExitStack() as stack:
        parties = Parties(cluster, stack)
        try:
            consumer = await parties.member(partition.topic)
            await settle(consumer, until=lambda: bool(consumer.assignment()))
            _, end = await consumer.bounds(partition)
            consumer.seek(partition, end)
            await parties.write(partition)
        except BrokerError:
            return False
        return set(values(await read(consumer, partition, 1))) == {"0"}


@pytest.mark.parametrize(
    ("fault", "at_once", "later"),
    [
        (Fault.BEFORE, [], []),
        (Fault.AFTER, ["0", "1"], ["0", "1"]),
        (Fault.HALF, ["0"], ["0"]),
        (Fault.HANG, [], []),
        (Fault.LATE, [], ["0", "1"]),
    ],
)
async def test_fake_fails_as_ordered(fault: Fault, at_once: list[str], later: list[str]) -> None:
    kafka = FakeKafka(lambda: 0, asyncio.sleep, deadline_s=0.05)
    kafka.create_topic("out", 1)
    partition = TopicPartition("out", 0)
    producer = await kafka.broker("g").producer()
    kafka.fail_next("send", fault)
    with pytest.raises(BrokerError):
        await producer.send([out(partition, "0"), out(partition, "1")])
    assert values(kafka.records(partition)) == at_once
    await eventually(lambda: values(kafka.records(partition)) == later)
    with pytest.raises(BrokerError):
        await producer.send([out(partition, "2")])


async def test_fake_frozen_member_delivers_lost_partition() -> None:
    kafka = FakeKafka(lambda: 0, asyncio.sleep, session_s=0.05)
    kafka.create_topic("in", 1)
    partition = TopicPartition("in", 0)
    told = Told()
    zombie = await kafka.broker("g").consumer(["in"], told)
    heir = await kafka.broker("g").consumer(["in"], Told())
    await zombie.start()
    zombie.seek(partition, 0)
    kafka.isolate(zombie)
    await heir.start()
    heir.seek(partition, 0)
    kafka.append([out(partition, "0")])
    assert values(await read(heir, partition, 1)) == ["0"]
    assert values(await read(zombie, partition, 1)) == ["0"]
    assert told.history == [("assigned", [partition])]
    kafka.heal(zombie)
    await eventually(lambda: ("revoked", [partition]) in told.history)
    await kafka.aclose()


async def test_fake_outage_is_silent_until_deadlines() -> None:
    kafka = FakeKafka(lambda: 0, asyncio.sleep, deadline_s=0.05)
    kafka.create_topic("in", 1)
    partition = TopicPartition("in", 0)
    consumer = await kafka.broker("g").consumer(["in"], Told())
    await consumer.start()
    consumer.seek(partition, 0)
    kafka.append([out(partition, "0")])
    kafka.down = True
    assert await consumer.poll(0.05) == {}
    with pytest.raises(BrokerError):
        await consumer.bounds(partition)
    kafka.down = False
    assert values(await read(consumer, partition, 1)) == ["0"]
    await kafka.aclose()
