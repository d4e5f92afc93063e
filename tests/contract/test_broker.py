"""What any `ports.Broker` promises: the same tests on the fake and on Apache Kafka."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition as KafkaPartition

from tests.support.eventually import eventually
from tests.support.fake_broker import FakeConsumer, FakeKafka, Fault
from worker.adapters.kafka import AiokafkaBroker, Deadlines
from worker.adapters.kafka.consumer import AiokafkaConsumer
from worker.adapters.kafka.group import sever
from worker.embedded import EmbeddedKafka
from worker.errors import BrokerError, OffsetOutOfRange
from worker.ports import (
    Assignment,
    Broker,
    Consumer,
    Outgoing,
    Producer,
    Record,
    TopicDescription,
    TopicPartition,
)

UNDISTURBED = Deadlines(session_s=6)
IMPATIENT = Deadlines(session_s=6, start_s=5, call_s=2, send_s=2, close_s=2)
ENDS_WITHIN_S = 30.0
"""More than our deadlines on a busy machine, less than the 40 s that aiokafka gives a request."""
"""What an end takes beside ``close_s``, and a busy machine."""
QUIET_S = 0.4
"""What has not come after this long is taken as not coming."""


@dataclass
class Told:
    """An assignment that writes down what it was told."""

    history: list[tuple[str, list[TopicPartition]]] = field(default_factory=list)

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.history.append(("assigned", list(partitions)))

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.history.append(("revoked", list(partitions)))


class Cluster(Protocol):
    """What a test needs of a Kafka beside the port."""

    def broker(self, group_id: str) -> Broker: ...

    async def create(self, topic: str, partitions: int, *, log_append_time: bool = True) -> str: ...

    async def forget_before(self, partition: TopicPartition, offset: int) -> None: ...

    async def kill(self, consumer: Consumer) -> None: ...


class InMemory:
    def __init__(self) -> None:
        ticks = itertools.count(int(time.time() * 1_000))
        self.kafka = FakeKafka(lambda: next(ticks), asyncio.sleep, session_s=0.2)

    def broker(self, group_id: str) -> Broker:
        return self.kafka.broker(group_id)

    async def create(self, topic: str, partitions: int, *, log_append_time: bool = True) -> str:
        self.kafka.create_topic(topic, partitions, log_append_time=log_append_time)
        return topic

    async def forget_before(self, partition: TopicPartition, offset: int) -> None:
        self.kafka.forget_before(partition, offset)

    async def kill(self, consumer: Consumer) -> None:
        assert isinstance(consumer, FakeConsumer)
        self.kafka.kill(consumer)


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
    """Consumers and producers that are closed at the end, whatever happens."""

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
    """Poll, as one must all the time, until something holds; before a seek nothing may arrive."""

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


async def test_a_second_seek_goes_back(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await parties.write(partition, count=5)
    consumer = await parties.reader(partition)
    await read(consumer, partition, 5)
    consumer.seek(partition, 3)
    assert values(await read(consumer, partition, 2)) == ["3", "4"]


@pytest.mark.parametrize("committed", [None, 3, 99], ids=["absent", "present", "stale"])
@pytest.mark.shows("W12", "W13")
async def test_nothing_arrives_before_the_first_seek_whatever_the_group_remembers(
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


async def test_a_paused_partition_delivers_nothing_and_loses_nothing(
    cluster: Cluster, parties: Parties
) -> None:
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


async def test_a_pause_before_the_first_seek_holds(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await parties.write(partition, count=2)
    consumer = await parties.member(partition.topic)
    consumer.pause(partition)
    consumer.seek(partition, 0)
    assert await consumer.poll(QUIET_S) == {}
    consumer.resume(partition)
    assert values(await read(consumer, partition, 2)) == ["0", "1"]


async def test_what_is_not_held_cannot_be_moved(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    consumer = await parties.reader(partition)
    stranger = TopicPartition(partition.topic, 7)
    consumer.seek(stranger, 1)
    consumer.pause(stranger)
    consumer.resume(stranger)
    assert consumer.assignment() == {partition}


async def test_two_members_share_and_the_leaver_gives_back(
    cluster: Cluster, parties: Parties
) -> None:
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
    # It holds them a moment before it is told.
    await settle(
        first,
        until=lambda: first.assignment() == everything and told.history[-1][0] == "assigned",
    )
    # One turn more is the group's right: a member that is slow to join is waited for again.
    words = [word for word, _ in told.history]
    assert len(words) >= 5
    assert words[::2] == ["assigned"] * (len(words) // 2 + 1)
    assert words[1::2] == ["revoked"] * (len(words) // 2)


async def test_a_dead_member_loses_its_partitions(cluster: Cluster, parties: Parties) -> None:
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


async def test_a_member_without_partitions_takes_over(cluster: Cluster, parties: Parties) -> None:
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


async def test_a_bug_in_a_callback_comes_out_of_the_next_poll(
    cluster: Cluster, parties: Parties
) -> None:
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
async def test_an_offset_out_of_range_is_told_once_and_heals_with_a_seek(
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


async def test_bounds_follow_what_is_written_and_forgotten(
    cluster: Cluster, parties: Parties
) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    consumer = await parties.member(partition.topic)
    assert await consumer.bounds(partition) == (0, 0)
    await parties.write(partition, count=5)
    await cluster.forget_before(partition, 2)
    assert await consumer.bounds(partition) == (2, 5)


async def test_what_is_published_is_read_back(cluster: Cluster, parties: Parties) -> None:
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
        Record(0, 1_700_000_000_001, b"market", b"{}", headers),
        Record(1, 1_700_000_000_000, None, b"no key", ()),
        Record(2, 1_700_000_000_002, b"no value", None, ()),
    ]


async def test_log_append_time_is_the_brokers(cluster: Cluster, parties: Parties) -> None:
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


async def test_an_empty_send_does_nothing(parties: Parties) -> None:
    await (await parties.producer()).send([])


async def test_a_producer_that_failed_stays_dead(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("out", 1), 0)
    producer = await parties.producer()
    with pytest.raises(BrokerError):
        await producer.send([out(TopicPartition(partition.topic, 5), "nowhere")])
    with pytest.raises(BrokerError):
        await producer.send([out(partition, "too late")])
    await parties.write(partition)
    assert values(await read(await parties.reader(partition), partition, 1)) == ["0"]


async def test_describe_names_what_exists(cluster: Cluster) -> None:
    stamped = await cluster.create("in", 3)
    created = await cluster.create("out", 2, log_append_time=False)
    found = await cluster.broker("g").describe([stamped, created, "missing"])
    assert {topic: (d.partitions, d.log_append_time) for topic, d in found.items()} == {
        stamped: (3, True),
        created: (2, False),
    }


async def test_the_tail_of_a_partition_is_what_lies_at_its_end(
    cluster: Cluster, parties: Parties
) -> None:
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


async def test_there_is_no_tail_of_a_partition_that_does_not_exist(cluster: Cluster) -> None:
    topic = await cluster.create("out", 1)
    with pytest.raises(BrokerError):
        await cluster.broker("none").tail(TopicPartition(topic, 1), 1)


@pytest.mark.integration
async def test_the_tail_goes_past_a_transaction_that_a_stranger_left_open(
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


async def test_a_commit_hint_is_harmless(cluster: Cluster, parties: Parties) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    await parties.write(partition, count=3)
    consumer = await parties.reader(partition)
    stranger = TopicPartition("missing", 4)
    await consumer.commit_hint({})
    await consumer.commit_hint({partition: 2, stranger: 1})
    assert values(await read(consumer, partition, 3)) == ["0", "1", "2"]
    await consumer.close()
    await consumer.commit_hint({partition: 2})


async def test_closing_twice_is_once_and_a_closed_one_says_so(
    cluster: Cluster, parties: Parties
) -> None:
    partition = TopicPartition(await cluster.create("in", 1), 0)
    consumer, producer = await parties.reader(partition), await parties.producer()
    for party in (consumer, producer, consumer, producer):
        await party.close()
    assert consumer.assignment() == frozenset()
    with pytest.raises(BrokerError):
        await consumer.poll(0.1)
    with pytest.raises(BrokerError):
        await producer.send([out(partition, "too late")])


@pytest.mark.integration
@pytest.mark.shows("W10", "F65")
async def test_nothing_is_published_past_a_batch_that_was_refused(
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


@pytest.mark.integration
async def test_topics_that_exist_are_left_alone_and_named(
    kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    cluster = Apache(kafka_server, topic_prefix)
    old, new = await cluster.create("old", 2, log_append_time=False), topic_prefix + "new"
    broker = cluster.broker("g")
    assert await broker.create_topics({old: 5, new: 3}, replication_factor=1) == {old}
    await eventually(lambda: broker.describe([new]))
    assert await broker.describe([old, new]) == {
        old: TopicDescription(2, log_append_time=False),
        new: TopicDescription(3, log_append_time=True),
    }
    with pytest.raises(BrokerError):
        await broker.create_topics({topic_prefix + "far": 1}, replication_factor=9)


@dataclass
class Outage:
    """A way to lose Apache Kafka, and to get it back. Both block, so they run in threads."""

    begin: Callable[[], None]
    end: Callable[[], None]


@pytest.fixture(params=["paused", "killed"])
def outage(request: pytest.FixtureRequest, kafka_server: EmbeddedKafka) -> Outage:
    if request.param == "paused":
        return Outage(kafka_server.pause, kafka_server.resume)
    return Outage(kafka_server.kill, kafka_server.restart)


async def ended(call: Awaitable[object], *, fails: bool) -> None:
    """``call`` ends in time, and as announced."""
    with pytest.raises(BrokerError) if fails else nullcontext():
        async with asyncio.timeout(ENDS_WITHIN_S):
            await call


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.shows("F34")
async def test_with_a_dead_broker_every_call_ends_by_its_deadline_and_all_comes_back(
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
    await assert_it_works(Apache(kafka_server, topic_prefix), partition)


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


async def assert_it_works(cluster: Cluster, partition: TopicPartition) -> None:
    async with AsyncExitStack() as stack:
        parties = Parties(cluster, stack)
        consumer = await parties.member(partition.topic)
        await settle(consumer, until=lambda: bool(consumer.assignment()))
        _, end = await consumer.bounds(partition)
        consumer.seek(partition, end)
        await parties.write(partition)
        assert values(await read(consumer, partition, 1)) == ["0"]


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
async def test_the_fake_fails_as_ordered(
    fault: Fault, at_once: list[str], later: list[str]
) -> None:
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


async def test_a_fake_member_cut_off_delivers_what_another_one_owns() -> None:
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


async def test_a_fake_outage_is_silence_and_deadlines() -> None:
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
