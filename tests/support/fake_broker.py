"""Kafka in memory, for tests and for the simulation.

`FakeKafka` is the cluster, with its faults for tests. `FakeBroker` is the port, one worker's view
of the cluster. Neither has a thread, a clock or randomness. Time passes only in the given ``sleep``
and chance enters only through ``latency_s``. The same inputs make the same history.

The fake is at least as hostile as Apache Kafka. An isolated member goes on delivering from
partitions that another member already owns. A failed send may arrive later. A member that does not
join a rebalance delays the group until its session ends, and is then expelled.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal, TypeVar

from worker import topic_rules
from worker.errors import BatchUnreadable, BrokerError, OffsetOutOfRange
from worker.ports import (
    Assignment,
    Outgoing,
    Record,
    Sleep,
    TopicDescription,
    TopicEnd,
    TopicPartition,
)

T = TypeVar("T")
FETCH_RECORDS_MAX = 500
Call = Literal[
    "start",
    "poll",
    "bounds",
    "commit_hint",
    "close",
    "producer",
    "send",
    "describe",
    "tail",
    "starts",
]


class Fault(Enum):
    """The effect of a failed call. Each raises BrokerError if the call can raise one."""

    BEFORE = auto()
    """Nothing is done, and the call fails at once."""
    AFTER = auto()
    """The effect happens, but the call fails."""
    HALF = auto()
    """The first half of the records of a send is published."""
    HANG = auto()
    """Nothing is done, and the call fails at the deadline."""
    LATE = auto()
    """The call fails at the deadline, and its effect happens later."""


@dataclass(slots=True)
class _Log:
    """One partition."""

    log_append_time: bool
    first: int = 0
    records: list[Record] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.records)


class FakeKafka:
    """The cluster. Its methods are for tests, and take effect at once."""

    def __init__(
        self,
        now_ms: Callable[[], int],
        sleep: Sleep,
        *,
        deadline_s: float = 5.0,
        session_s: float = 10.0,
        latency_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.down = False
        self.expelled = 0
        """How often a member was too late for a rebalance."""
        self.committed: dict[tuple[str, TopicPartition], int] = {}
        self._now_ms = now_ms
        self._sleep = sleep
        self._deadline_s = deadline_s
        self._session_s = session_s
        self._latency_s = latency_s
        self.refused: dict[TopicPartition, str] = {}
        """Partitions whose records the brokers refuse to return, and why."""
        self.damaged: dict[TopicPartition, int] = {}
        """The offset in each partition from which on nothing can be parsed."""
        self._topics: dict[str, list[_Log]] = {}
        self._settings: dict[str, dict[str, str]] = {}
        self._ids = 0
        self._id_of: dict[str, str] = {}
        self._groups: dict[str, _Group] = {}
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._waiting: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def broker(self, group_id: str) -> "FakeBroker":
        """Return one worker's view."""
        return FakeBroker(self, self._groups.setdefault(group_id, _Group(self, group_id)))

    def create_topic(self, topic: str, partitions: int, *, log_append_time: bool = True) -> None:
        """Create a topic or add partitions. Members notice at their next rebalance."""
        if topic not in self._topics:
            self.replace_topic(topic)
            self._settings[topic] = {}
        logs = self._topics.setdefault(topic, [])
        logs += [_Log(log_append_time) for _ in range(partitions - len(logs))]

    def delete_topic(self, topic: str) -> None:
        """Delete a topic. Created again it has another id."""
        del self._topics[topic]

    def replace_topic(self, topic: str) -> None:
        """Give a topic another id, as its deletion and creation do."""
        self._ids += 1
        self._id_of[topic] = f"id-{self._ids}"

    def configure(self, topic: str, name: str, value: str) -> None:
        """Change a setting of a topic. Only the type of timestamps has an effect here."""
        if name == topic_rules.STAMPS:
            for log in self._topics[topic]:
                log.log_append_time = value == topic_rules.LOG_APPEND_TIME
        else:
            self._settings[topic][name] = value

    def append(self, records: Iterable[Outgoing]) -> None:
        """Write as a client of another program does."""
        for record in records:
            log = self.log(TopicPartition(record.topic, record.partition))
            by_broker = log.log_append_time
            time_ms = self._now_ms() if by_broker else record.timestamp_ms
            log.records.append(
                Record(log.end, time_ms, record.key, record.value, record.headers, by_broker)
            )
        self.wake()

    def records(self, partition: TopicPartition) -> Sequence[Record]:
        """Return the records that a partition still holds."""
        return tuple(self.log(partition).records)

    def forget_before(self, partition: TopicPartition, offset: int) -> None:
        """Delete all records below ``offset``, as retention does."""
        log = self.log(partition)
        del log.records[: offset - log.first]
        log.first = offset

    def fail_next(self, call: Call, *faults: Fault) -> None:
        """Let the next calls of this name fail, one for each fault."""
        self._faults[call].extend(faults)

    def kill(self, consumer: "FakeConsumer") -> None:
        """Remove a member without a word. The group notices when its session ends."""
        consumer.die()
        self.isolate(consumer)

    def isolate(self, consumer: "FakeConsumer") -> None:
        """Cut a member off from its group, but let it fetch as if it were still a member."""
        consumer.isolated = True
        consumer.isolations += 1
        self.spawn(self._expire(consumer, consumer.isolations))

    def heal(self, consumer: "FakeConsumer") -> None:
        """Reconnect an isolated member to its group."""
        consumer.isolated = False
        if consumer.missed:
            consumer.rejoin()

    async def aclose(self) -> None:
        """Cancel the tasks that the cluster has started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def log(self, partition: TopicPartition) -> _Log:
        """Return the log of a partition. Raises BrokerError when there is none."""
        logs = self._topics.get(partition.topic, [])
        if partition.partition >= len(logs):
            raise BrokerError(f"there is no {partition.topic}/{partition.partition}")
        return logs[partition.partition]

    def partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        """Return all partitions of ``topics``, in order."""
        return [
            TopicPartition(topic, number)
            for topic in sorted(topics)
            for number in range(len(self._topics.get(topic, [])))
        ]

    def describe(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        """Return those of ``topics`` that exist."""
        found = {topic: self._topics[topic] for topic in topics if topic in self._topics}
        return {
            topic: TopicDescription(
                len(logs),
                {
                    **self._settings[topic],
                    topic_rules.STAMPS: topic_rules.LOG_APPEND_TIME
                    if logs[0].log_append_time
                    else topic_rules.CREATE_TIME,
                },
                self._id_of[topic],
            )
            for topic, logs in found.items()
        }

    async def perform(
        self, call: Call, effect: Callable[[], T], half: Callable[[], object] = lambda: None
    ) -> T:
        """Apply a call's effect, unless a fault was ordered or the cluster is down."""
        await self._sleep(self._latency_s())
        fault = self._next_fault(call)
        if fault is None:
            done = effect()
            await self._sleep(self._latency_s())
            return done
        if fault in {Fault.HANG, Fault.LATE}:
            await self._sleep(self._deadline_s)
        if fault is Fault.AFTER:
            effect()
        elif fault is Fault.HALF:
            half()
        elif fault is Fault.LATE:
            self.spawn(self._later(effect))
        raise BrokerError(f"{call}: {fault.name}")

    def _next_fault(self, call: Call) -> Fault | None:
        if self.down:
            return Fault.HANG
        faults = self._faults[call]
        return faults.popleft() if faults else None

    async def arrival_or(self, timer: "asyncio.Future[None]") -> None:
        """Wait until anything has changed, or the timer is done."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await asyncio.wait({waiter, timer}, return_when=asyncio.FIRST_COMPLETED)

    def wake(self) -> None:
        """Wake all calls that wait for a change."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def timer(self, seconds: float) -> "asyncio.Future[None]":
        """Return a future that is done after ``seconds``."""
        return asyncio.ensure_future(self._sleep(seconds))

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a task that nobody awaits."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _expire(self, consumer: "FakeConsumer", isolation: int) -> None:
        await self.session()
        if consumer.isolated and consumer.isolations == isolation:
            consumer.group.leave(consumer)
            consumer.rejoin()

    async def session(self) -> None:
        """Wait as long as a group waits for a member."""
        await self._sleep(self._session_s)

    async def _later(self, effect: Callable[[], object]) -> None:
        await self._sleep(self._deadline_s)
        effect()


class _Group:
    """A group with eager rebalances, in which every member gives up all its partitions."""

    def __init__(self, kafka: FakeKafka, group_id: str) -> None:
        self.group_id = group_id
        self._kafka = kafka
        self._members: list[FakeConsumer] = []
        self._settled = True
        self._round = 0
        self._ready: dict[FakeConsumer, asyncio.Future[frozenset[TopicPartition] | None]] = {}

    def join(self, member: "FakeConsumer") -> None:
        if member not in self._members:
            self._members.append(member)
            self._rebalance()

    def leave(self, member: "FakeConsumer") -> None:
        if member in self._members:
            self._members.remove(member)
            self._rebalance()

    def share_of(
        self, member: "FakeConsumer"
    ) -> "asyncio.Future[frozenset[TopicPartition] | None]":
        """Return a future of the member's share, done once every member has asked.

        Its result is None when the member must ask again. Asking in a settled group starts a
        rebalance, in which all other members ask too.
        """
        if self._settled:
            self._rebalance(but=member)
        share = asyncio.get_running_loop().create_future()
        self._ready[member] = share
        if all(other in self._ready for other in self._members):
            self._assign()
        return share

    def _rebalance(self, but: "FakeConsumer | None" = None) -> None:
        self._settled = False
        self._round += 1
        self._kafka.spawn(self._expel_late(self._round))
        self._answer({})
        for member in self._members:
            if member is not but:
                member.rejoin()

    async def _expel_late(self, this_round: int) -> None:
        """Expel the members that have not joined the rebalance within a session."""
        await self._kafka.session()
        if self._round == this_round and not self._settled:
            late = [member for member in self._members if member not in self._ready]
            self._kafka.expelled += len(late)
            self._members = [member for member in self._members if member in self._ready]
            self._assign()

    def _assign(self) -> None:
        shares: dict[FakeConsumer, set[TopicPartition]] = {each: set() for each in self._members}
        topics = {topic for each in self._members for topic in each.topics}
        for number, partition in enumerate(self._kafka.partitions(topics)):
            shares[self._members[number % len(self._members)]].add(partition)
        self._settled = True
        self._answer(shares)

    def _answer(self, shares: Mapping["FakeConsumer", set[TopicPartition]]) -> None:
        ready, self._ready = self._ready, {}
        for member, future in ready.items():
            if not future.done():
                future.set_result(frozenset(shares[member]) if member in shares else None)


class FakeConsumer:
    """Implements `ports.Consumer`."""

    def __init__(
        self, kafka: FakeKafka, group: _Group, topics: Sequence[str], assignment: Assignment
    ) -> None:
        self.group = group
        self.topics = tuple(topics)
        self.isolated = False
        self.isolations = 0
        self.missed = False
        self._kafka = kafka
        self._told = assignment
        self._held: frozenset[TopicPartition] = frozenset()
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._rejoin = asyncio.Event()
        self._joined = asyncio.Event()
        self._membership: asyncio.Task[None] | None = None
        self._bug: BaseException | None = None
        self._closed = False

    async def start(self) -> None:
        try:
            await self._kafka.perform("start", lambda: self.group.join(self))
        except BrokerError:
            self._kafka.kill(self)
            raise
        self._membership = self._kafka.spawn(self._take_part())
        await self._joined.wait()

    async def poll(self, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        self._require_open()
        await self._fault_of_poll()
        timer = self._kafka.timer(timeout_s)
        try:
            while not (found := self._fetch()) and not timer.done():
                await self._kafka.arrival_or(timer)
                self._require_open()
            return found
        finally:
            timer.cancel()

    def faults(self) -> Mapping[TopicPartition, str]:
        return {at: text for at, text in self._kafka.refused.items() if at in self._held}

    def assignment(self) -> frozenset[TopicPartition]:
        return self._held

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self._held:
            self._positions[partition] = offset
            self._kafka.wake()

    def position(self, partition: TopicPartition) -> int:
        return self._positions.get(partition, 0) if partition in self._held else 0

    def pause(self, partition: TopicPartition) -> None:
        if partition in self._held:
            self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._paused.discard(partition)
        self._kafka.wake()

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        self._require_open()

        def look() -> tuple[int, int]:
            log = self._kafka.log(partition)
            return log.first, log.end

        return await self._kafka.perform("bounds", look)

    async def commit_hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        held = {
            (self.group.group_id, partition): offset
            for partition, offset in offsets.items()
            if partition in self._held
        }
        with contextlib.suppress(BrokerError):
            await self._kafka.perform("commit_hint", lambda: self._kafka.committed.update(held))

    async def close(self) -> None:
        if self._closed:
            return
        self.die()
        with contextlib.suppress(BrokerError):
            await self._kafka.perform("close", lambda: self.group.leave(self))
            return
        self._kafka.isolate(self)

    def die(self) -> None:
        """Stop as a killed process does."""
        self._closed = True
        self._held = frozenset()
        if self._membership is not None:
            self._membership.cancel()
        self._kafka.wake()

    def rejoin(self) -> None:
        """Note a rebalance, unless isolated."""
        self.missed = self.isolated
        if not self.isolated:
            self._rejoin.set()

    async def _take_part(self) -> None:
        while True:
            await self._rejoin.wait()
            self.group.join(self)
            lost, self._held = self._held, frozenset()
            await self._tell(self._told.revoked, lost)
            # The member's session may have ended meanwhile, so the member joins again. It is now
            # ready for any rebalance that has begun, and the flag can go.
            self.group.join(self)
            self._rejoin.clear()
            share = await self.group.share_of(self)
            if share is None:
                continue
            self._held = share
            self.missed = False
            self._positions.clear()
            self._paused.clear()
            await self._tell(self._told.assigned, share)
            self._joined.set()

    async def _tell(
        self,
        method: Callable[[Sequence[TopicPartition]], Awaitable[None]],
        partitions: frozenset[TopicPartition],
    ) -> None:
        if not partitions:
            return
        try:
            await method(sorted(partitions))
        except Exception as bug:  # noqa: BLE001
            self._bug = bug

    async def _fault_of_poll(self) -> None:
        if not self._kafka.down:
            await self._kafka.perform("poll", lambda: None)

    def _fetch(self) -> dict[TopicPartition, Sequence[Record]]:
        if self._kafka.down:
            return {}
        found: dict[TopicPartition, Sequence[Record]] = {}
        ready = self._held & self._positions.keys() - self._paused - self._kafka.refused.keys()
        for partition in sorted(ready):
            log, position = self._kafka.log(partition), self._positions[partition]
            damaged = self._kafka.damaged.get(partition, log.end)
            if not log.first <= position <= log.end:
                if found:
                    break
                del self._positions[partition]
                raise OffsetOutOfRange(f"offset {position} is not in {partition}", partition)
            if damaged <= position < log.end:
                if found:
                    break
                del self._positions[partition]
                raise BatchUnreadable(f"the batch at offset {damaged} of {partition}", partition)
            most = min(FETCH_RECORDS_MAX, damaged - position)
            if records := log.records[position - log.first :][:most]:
                found[partition] = records
                self._positions[partition] = position + len(records)
        return found

    def _require_open(self) -> None:
        if self._bug is not None:
            raise self._bug
        if self._closed:
            raise BrokerError("the consumer is closed")


class FakeProducer:
    """Implements `ports.Producer`."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka
        self._usable = True

    async def send(self, records: Sequence[Outgoing]) -> None:
        if not self._usable:
            raise BrokerError("this producer is closed or has failed: make another one")
        self._usable = False
        for record in records:
            self._kafka.log(TopicPartition(record.topic, record.partition))
        await self._kafka.perform(
            "send",
            lambda: self._kafka.append(records),
            lambda: self._kafka.append(records[: len(records) // 2]),
        )
        self._usable = True

    async def close(self) -> None:
        self._usable = False


class FakeBroker:
    """Implements `ports.Broker`."""

    def __init__(self, kafka: FakeKafka, group: _Group) -> None:
        self._kafka = kafka
        self._group = group

    async def consumer(self, topics: Sequence[str], assignment: Assignment) -> FakeConsumer:
        return FakeConsumer(self._kafka, self._group, topics, assignment)

    async def producer(self) -> FakeProducer:
        return await self._kafka.perform("producer", lambda: FakeProducer(self._kafka))

    async def describe(self, topics: Sequence[str]) -> Mapping[str, TopicDescription]:
        return await self._kafka.perform("describe", lambda: self._kafka.describe(topics))

    async def starts(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await self._kafka.perform(
            "starts", lambda: {each: self._kafka.log(each).first for each in partitions}
        )

    async def tail(self, partition: TopicPartition, offsets: int) -> TopicEnd:
        def look() -> TopicEnd:
            log = self._kafka.log(partition)
            return TopicEnd(log.end, tuple(log.records[-offsets:]))

        return await self._kafka.perform("tail", look)
