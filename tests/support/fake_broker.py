"""Kafka in memory, for tests and for the simulation.

`FakeKafka` is the cluster and what a test may do to it; `FakeBroker`, one worker's view of it, is
the port. It has no thread, clock or randomness: time passes only in the ``sleep`` that it is given,
and chance only in ``latency_s``. The same inputs make the same history.

It is at least as unkind as the real one. A member that is isolated goes on delivering what another
member already owns; a send that failed may arrive later; a member that answers no rebalance holds
it up until its session ends, and is no member any more.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal, TypeVar

from worker.errors import BrokerError, OffsetOutOfRange
from worker.ports import Assignment, Outgoing, Record, Sleep, Tail, TopicDescription, TopicPartition

T = TypeVar("T")
FETCH_RECORDS_MAX = 500
Call = Literal[
    "start", "poll", "bounds", "commit_hint", "close", "producer", "send", "describe", "tail"
]


class Fault(Enum):
    """What becomes of a call that fails. Each ends in BrokerError, as far as the call has one."""

    BEFORE = auto()
    """Nothing is done, and the caller hears at once."""
    AFTER = auto()
    """It is done, and the caller hears that it failed."""
    HALF = auto()
    """The first half of the records of a send is published."""
    HANG = auto()
    """Nothing is done, and the caller hears at the deadline."""
    LATE = auto()
    """The caller hears at the deadline; it is done once more time has passed."""


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
    """The cluster. Its own methods are the test's, and happen at once."""

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
        self._topics: dict[str, list[_Log]] = {}
        self._groups: dict[str, _Group] = {}
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._waiting: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def broker(self, group_id: str) -> "FakeBroker":
        """Return one worker's view."""
        return FakeBroker(self, self._groups.setdefault(group_id, _Group(self, group_id)))

    def create_topic(self, topic: str, partitions: int, *, log_append_time: bool = True) -> None:
        """Create a topic, or more partitions of one; members notice at their next rebalance."""
        logs = self._topics.setdefault(topic, [])
        logs += [_Log(log_append_time) for _ in range(partitions - len(logs))]

    def append(self, records: Iterable[Outgoing]) -> None:
        """Write as a stranger does."""
        for record in records:
            log = self.log(TopicPartition(record.topic, record.partition))
            time_ms = self._now_ms() if log.log_append_time else record.timestamp_ms
            log.records.append(Record(log.end, time_ms, record.key, record.value, record.headers))
        self.wake()

    def records(self, partition: TopicPartition) -> Sequence[Record]:
        """Return what a partition still holds."""
        return tuple(self.log(partition).records)

    def forget_before(self, partition: TopicPartition, offset: int) -> None:
        """Let retention take everything below ``offset``."""
        log = self.log(partition)
        del log.records[: offset - log.first]
        log.first = offset

    def fail_next(self, call: Call, *faults: Fault) -> None:
        """Let the next calls of this name fail, one for each fault."""
        self._faults[call].extend(faults)

    def kill(self, consumer: "FakeConsumer") -> None:
        """Let a member vanish: the group notices when its session ends."""
        consumer.die()
        self.isolate(consumer)

    def isolate(self, consumer: "FakeConsumer") -> None:
        """Cut a member off from its group, but let it fetch: it believes that it is a member."""
        consumer.isolated = True
        consumer.isolations += 1
        self.spawn(self._expire(consumer, consumer.isolations))

    def heal(self, consumer: "FakeConsumer") -> None:
        """Let an isolated member hear what has happened."""
        consumer.isolated = False
        if consumer.missed:
            consumer.rejoin()

    async def aclose(self) -> None:
        """End what the cluster itself has begun."""
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
        """Return what exists of ``topics``."""
        found = {topic: self._topics[topic] for topic in topics if topic in self._topics}
        return {
            topic: TopicDescription(len(logs), logs[0].log_append_time)
            for topic, logs in found.items()
        }

    async def perform(
        self, call: Call, effect: Callable[[], T], half: Callable[[], object] = lambda: None
    ) -> T:
        """Do what a call asks for, unless a fault was ordered or the cluster is down."""
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
        """Let those look again who wait for something to change."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def timer(self, seconds: float) -> "asyncio.Future[None]":
        """Return what is done after ``seconds``."""
        return asyncio.ensure_future(self._sleep(seconds))

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something that nobody waits for."""
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
    """Eager: whoever joins or leaves makes every member give up all that it holds."""

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
        """Return what is done when every member asks: the share, or None to begin again.

        Whoever asks while nobody else has reason to makes all the others ask.
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
        """Go on without those who take longer to give up what they hold than a session lasts."""
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

    def assignment(self) -> frozenset[TopicPartition]:
        return self._held

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self._held:
            self._positions[partition] = offset
            self._kafka.wake()

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
        """Stop as a process does that is killed."""
        self._closed = True
        self._held = frozenset()
        if self._membership is not None:
            self._membership.cancel()
        self._kafka.wake()

    def rejoin(self) -> None:
        """Hear of a rebalance, unless cut off."""
        self.missed = self.isolated
        if not self.isolated:
            self._rejoin.set()

    async def _take_part(self) -> None:
        while True:
            await self._rejoin.wait()
            self.group.join(self)
            lost, self._held = self._held, frozenset()
            await self._tell(self._told.revoked, lost)
            # Its session may have ended meanwhile; and whatever has begun is the rebalance that
            # this member is now ready for.
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
        for partition in sorted(self._held & self._positions.keys() - self._paused):
            log, position = self._kafka.log(partition), self._positions[partition]
            if not log.first <= position <= log.end:
                if found:
                    break
                del self._positions[partition]
                raise OffsetOutOfRange(f"offset {position} is not in {partition}", partition)
            if records := log.records[position - log.first :][:FETCH_RECORDS_MAX]:
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
            raise BrokerError("this producer is closed or has failed before")
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

    async def tail(self, partition: TopicPartition, offsets: int) -> Tail:
        def look() -> Tail:
            log = self._kafka.log(partition)
            return Tail(log.end, tuple(log.records[-offsets:]))

        return await self._kafka.perform("tail", look)

    async def close(self) -> None:
        pass
