"""A worker process that can die at any await: the real worker over ports that die with it.

The code of ``worker`` runs unchanged: assignments, lanes, committers, publishers. Only their ports
are simulated. When the process is killed, every port is dead at once, whatever its tasks still do
while they end. A stalled process neither sends nor receives, and its group does not hear from it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from typing_extensions import override

from tests.simulation.faults import SLOW_S, Fault
from tests.support.books import given
from tests.support.fake_broker import FakeBroker, FakeConsumer, FakeProducer
from tests.support.fake_store import FakeStore, Fate
from worker.assignment import Assignments
from worker.commit import Owner
from worker.domain import ids
from worker.domain.facts import Facts, Lack
from worker.domain.plan import Batch
from worker.domain.state import Home, Market, StreamKind
from worker.domain.units import LaneId
from worker.errors import BrokerError, OutcomeUnknown, Poison, StoreError
from worker.health.topic_watch import TopicWatch
from worker.lane import Lane, LaneStatus
from worker.ports import (
    Assignment,
    JournalRow,
    LaneRow,
    OpenOrders,
    OrderCursor,
    Outgoing,
    Record,
    Seal,
    Standing,
    Statement,
    System,
    TopicDescription,
    TopicEnd,
    TopicPartition,
)
from worker.publisher import Publisher
from worker.refusals import RefusalMonitor
from worker.telemetry import LaneMetrics
from worker.topics import OutputTopics, Streams

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
POLL_S: Final = 1.0
"""Longer than the worker's own timeout. A poll ends when records arrive, and idle polls only cost
time.
"""
STALL_S: Final = (0.1, 14.0)
LATE_S: Final = (1.0, 8.0)
OWNER: ContextVar["Process | None"] = ContextVar("OWNER", default=None)
"""The process on whose behalf something runs."""
QUIET: Final = frozenset({"sleep", "poll"})
"""Calls that the history omits when they succeed."""
Moment = Literal["before", "during", "after"]

FATES: Final = {
    Fault.UNAVAILABLE: Fate.UNAVAILABLE,
    Fault.LOST_BEFORE: Fate.LOST_BEFORE,
    Fault.LOST_AFTER: Fate.LOST_AFTER,
    Fault.COMMIT_LATE: Fate.COMMIT_LATE,
    Fault.ARRIVES_LATE: Fate.ARRIVES_LATE,
    Fault.CONFLICT: Fate.CONFLICT,
    Fault.SCHEMA_CHANGED: Fate.SCHEMA_CHANGED,
}


class Killed(BaseException):
    """The process is dead. None of its code may catch this."""


class AlarmedMetrics(LaneMetrics):
    """A lane's metrics, which pass alarms to the world."""

    def __init__(self, process: "Process", lane: str, partition: int) -> None:
        super().__init__(process.world.metrics, lane, partition)
        self._process = process

    @override
    def alarm(self, name: str, **fields: object) -> None:
        self._process.world.alarm(self._process, f"{name} {self.names} {fields}")

    @override
    def lost_race(self) -> None:
        super().lost_race()
        self._process.world.window("race lost")

    @override
    def committed(self, *, commands: int, events: int, fills: int, draws: int) -> None:
        super().committed(commands=commands, events=events, fills=fills, draws=draws)
        if draws:
            self._process.world.window("draw")


class Process:
    """One worker."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.dead = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.consumers: list[FakeConsumer] = []
        self.committing: set[int] = set()
        self.calls: Counter[str] = Counter()
        self.publishers: dict[TopicPartition, Publisher] = {}
        self.random = Random(f"{world.seed}/{name}")
        self.skew_s = self.random.choice((0.0, -3_600.0, 3_600.0))
        self._silent_until_s = self._stalled_until_s = 0.0
        self._main: asyncio.Task[None] | None = None
        self.assignments: Assignments | None = None

    # Start and end.

    def begin(self, on_end: Callable[[], object]) -> None:
        """Start the process."""
        token = OWNER.set(self)
        self._main = self.world.loop.create_task(self._run(), name=self.name)
        OWNER.reset(token)
        self._main.add_done_callback(lambda _: on_end())
        self.tasks.append(self._main)

    async def _run(self) -> None:
        world = self.world
        self.assignments = Assignments(
            MortalBroker(self),
            (world.orders.topic, world.transfers.topic),
            self._make_lane,
            metrics=world.metrics,
            system=self.system(),
        )
        watch = self._topic_watch(self.assignments)
        watching = world.loop.create_task(watch.run(), name=f"{self.name} watch")
        try:
            await self.assignments.run()
        except (Killed, asyncio.CancelledError):
            self.require_death()
        except Exception as bug:  # noqa: BLE001 - whatever ends a process is a finding
            world.violation(f"{self.name} ended with {bug!r}")
        finally:
            watching.cancel()

    def _topic_watch(self, assignments: Assignments) -> TopicWatch:
        world = self.world
        orders, transfers = (world.events_topic(kind) for kind in StreamKind)
        outputs = OutputTopics(orders, transfers, world.dead_letters, dead_letter_partitions=1)
        return TopicWatch(
            inputs=(world.orders.topic, world.transfers.topic),
            outputs=(orders, transfers, world.dead_letters),
            broker=MortalBroker(self),
            assignments=assignments,
            streams=lambda: Streams(world.orders, world.transfers, outputs),
            system=self.system(),
            metrics=world.metrics,
        )

    def system(self) -> System:
        clock = self.world.loop.time
        return System(lambda: clock() + self.skew_s, self._sleep, self.random)

    def terminate(self) -> None:
        """Ask the process to end, as SIGTERM does."""
        if self.assignments is not None:
            self.assignments.stop()

    @property
    def ended(self) -> bool:
        """Return whether the process has ended."""
        return self.dead or (self._main is not None and self._main.done())

    def kill(self) -> None:
        """End the process as SIGKILL does."""
        if self.ended:
            return
        self.dead = True
        self.world.note(self.name, "killed")
        self._note_windows_of_death()
        for consumer in self.consumers:
            self.world.kafka.kill(consumer)
        for task in self.tasks:
            task.cancel()

    def _note_windows_of_death(self) -> None:
        if self.assignments is None:
            return
        for partition, publisher in self.publishers.items():
            lane = self.assignments.lanes.get(partition)
            if lane is None or lane.state is None:
                continue
            if lane.state.batch_no > publisher.published_batch_no:
                self.world.window(self._window_of_publishing(partition, publisher))
            elif self.world.recorded_mark(partition) < publisher.published_batch_no:
                self.world.window("W8")

    def _window_of_publishing(self, partition: TopicPartition, publisher: Publisher) -> str:
        """Return W7 if the topic has the unacknowledged events all the same, else W6."""
        lane = self.world.lane_row(partition)["lane"]
        key = ids.batch_key(lane, publisher.published_batch_no + 1)
        batch = self.world.database.get("batches", key)
        published = batch and self.world.last_published(partition) >= batch["last_seq"]
        return "W7" if published else "W6"

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Add a task to this process."""
        self.tasks.append(task)
        if self.dead:
            task.cancel()

    def stall(self, seconds: float) -> None:
        """Freeze the process."""
        self._stalled_until_s = max(self._stalled_until_s, self.world.loop.time() + seconds)
        self.silence(seconds)

    def silence(self, seconds: float) -> None:
        """Cut the process off from its group while it continues."""
        loop = self.world.loop
        if not self.dead and loop.time() >= self._silent_until_s:
            for consumer in self.members():
                self.world.kafka.isolate(consumer)
        self._silent_until_s = max(self._silent_until_s, loop.time() + seconds)
        loop.call_later(seconds, self._heal)

    def _heal(self) -> None:
        if not self.dead and self.world.loop.time() >= self._silent_until_s:
            for consumer in self.members():
                self.world.kafka.heal(consumer)

    def members(self) -> list[FakeConsumer]:
        return [consumer for consumer in self.consumers if not consumer._closed]

    # Every await.

    async def through(self, call: str, work: Callable[[], Awaitable[T]]) -> T:
        """Make a call of a port. The process may die before, during and after the call."""
        self.require_life()
        self.calls[call] += 1
        fault = self.world.faults.of_call(call, process=True)
        moment: Moment = self.random.choice(("before", "during", "after")) if fault else "before"
        if fault and moment == "before":
            self._suffer(fault, call, moment)
        elif fault and moment == "during":
            delay_s = self.random.uniform(0.0, 0.03)
            self.world.loop.call_later(delay_s, self._suffer, fault, call, moment)
        await self._awake()
        try:
            result = await work()
        except asyncio.CancelledError:
            self.require_life()
            raise
        except (StoreError, BrokerError) as error:
            self.world.note(self.name, call, type(error).__name__)
            await self._awake()
            raise
        if call not in QUIET:
            self.world.note(self.name, call)
        if fault and moment == "after":
            self._suffer(fault, call, moment)
        self.require_life()
        if call != "poll":
            # A poll returns in the step that took the records. Otherwise a seek could intervene.
            await self._awake()
        return result

    def require_life(self) -> None:
        """Raise Killed if the process is dead."""
        if self.dead:
            raise Killed

    def require_death(self) -> None:
        """Report a violation if a live process is cancelled."""
        if not self.dead:
            self.world.violation(f"{self.name} was cancelled while alive")

    def _suffer(self, fault: Fault, call: str, moment: Moment) -> None:
        if self.ended:
            return
        self.world.note(self.name, call, f"{fault} {moment}")
        if fault is Fault.STALL:
            self.stall(self.random.uniform(*STALL_S) * self.random.random())
            return
        if call == "commit" and moment == "before":
            self.world.window("W1")
        self.kill()

    async def _awake(self) -> None:
        """Wait while the process is stalled."""
        self.require_life()
        while (left_s := self._stalled_until_s - self.world.loop.time()) > 0:
            await self.world.loop.sleep(left_s)
            self.require_life()

    async def _sleep(self, seconds: float) -> None:
        await self.through("sleep", lambda: self.world.loop.sleep(seconds))

    # The parts of a process, as in worker.app.

    def _make_lane(self, partition: TopicPartition, refusals: RefusalMonitor) -> Lane | None:
        world = self.world
        stream = world.stream_of(partition.topic)
        metrics = AlarmedMetrics(self, stream.stream, partition.partition)
        if partition.partition >= stream.partitions:
            world.window("W15")
            return None
        store = MortalStore(self, partition)
        publisher = self.publishers[partition] = Publisher(
            MortalBroker(self), world.route(partition), system=self.system(), metrics=metrics
        )
        return Lane(
            stream,
            partition.partition,
            owner=Owner(self.name, world.rows, self.system()),
            store=store,
            publisher=publisher,
            metrics=metrics,
            refusals=refusals,
        )

    def is_ready(self, partition: TopicPartition) -> bool:
        """Return whether the process accepts commands of that partition."""
        lanes = {} if self.ended or self.assignments is None else self.assignments.lanes
        return partition in lanes and lanes[partition].status is LaneStatus.READY

    def holds(self, partition: TopicPartition) -> bool:
        """Return whether its group assigns it that partition and can reach it."""
        return any(partition in c.assignment() and not c.isolated for c in self.members())


class ProcessLine:
    """The connection between one store of a process and the database."""

    def __init__(self, process: Process) -> None:
        self._process, self._faults = process, process.world.faults
        self._slow_s = 0.0

    def fate(self, call: str) -> Fate:
        if call == "connect" and self._faults.lasting(Fault.DATABASE_DOWN):
            return Fate.UNAVAILABLE
        if call != "connect" and self._faults.lasting(Fault.DATABASE_DOWN):
            return Fate.LOST_BEFORE
        if call == "commit" and self._faults.lasting(Fault.STORM):
            return Fate.CONFLICT
        fault = self._faults.of_call(call, process=False)
        if fault is Fault.SLOW:
            self._slow_s = SLOW_S
            return Fate.DONE
        if fault is not None:
            self._process.world.note(self._process.name, call, str(fault))
        return Fate.DONE if fault is None else FATES[fault]

    def latency_s(self, call: str) -> float:  # noqa: ARG002
        slow_s, self._slow_s = self._slow_s, 0.0
        if self._faults.lasting(Fault.SLOW):
            slow_s = SLOW_S
        return self._process.random.uniform(0.0005, 0.01) + slow_s

    def limbo_s(self) -> tuple[float, float]:
        random = self._process.random
        return random.choice((0.02, 0.5)), random.choice((0.01, 0.1, 1.0, 6.0)) * random.random()


class CountedStore(FakeStore):
    """A store that records how late statements end."""

    def __init__(self, process: Process, lane: TopicPartition) -> None:
        super().__init__(process.world.database, ProcessLine(process), process.world.loop.sleep)
        self._process, self._lane = process, lane

    @override
    async def _connect(self) -> None:
        await self._process.through("connect", super()._connect)

    @override
    def landed(self, error: StoreError | None) -> None:
        world = self._process.world
        world.note(self._process.name, "landed", type(error).__name__)
        if self._process.dead or world.owner_of(self._lane) != self._process.name:
            world.window("W3")


class MortalStore:
    """Implements `ports.Store` for one process."""

    def __init__(self, process: Process, partition: TopicPartition) -> None:
        self._process, self._partition = process, partition
        self._store = CountedStore(process, partition)
        self._sent: Statement | None = None

    async def take_over(self, stream: str, partition: int, owner: str) -> LaneRow:
        world = self._process.world
        if world.another_holds(self._process, self._partition):
            world.window("W5")
        row = await self._process.through(
            "take_over", lambda: self._store.take_over(stream, partition, owner)
        )
        world.note(self._process.name, "epoch", f"{self._partition} {row.epoch}")
        return row

    async def markets(self, lane: LaneId) -> Sequence[Market]:
        return await self._process.through("markets", lambda: self._store.markets(lane))

    async def open_orders(self, lane: LaneId, after: OrderCursor) -> OpenOrders:
        return await self._process.through(
            "open_orders", lambda: self._store.open_orders(lane, after)
        )

    async def read(self, home: Home, lack: Lack) -> Facts:
        return await self._process.through("read", lambda: self._store.read(home, lack))

    def statement(self, batch: Batch, seal: Seal) -> Statement:
        return self._store.statement(batch, seal)

    async def commit(self, statement: Statement) -> None:
        process, world, lane = self._process, self._process.world, statement.lane
        if world.another_is_ready(process, self._partition):
            world.window("W21")
        if world.owner_of(self._partition) != process.name:
            world.window("W4")
        self._sent = statement
        process.committing.add(lane)
        summary = f"lane {lane} batch {statement.batch_no} {statement.plan_hash[:8]}"
        world.note(process.name, "sends", summary)
        try:
            await process.through("commit", lambda: self._store.commit(statement))
            world.note(process.name, "committed", summary)
        except OutcomeUnknown:
            world.window("W2")
            raise
        except Poison:
            world.faults.counts[Fault.TOO_LARGE, "commit"] += 1
            raise
        finally:
            process.committing.discard(lane)

    async def standing(self, lane: LaneId, batch_no: int) -> Standing:
        found = await self._process.through(
            "standing", lambda: self._store.standing(lane, batch_no)
        )
        self._process.world.window(self._verdict(found))
        return found

    def _verdict(self, found: Standing) -> str:
        """Return what a lane learns from its row after a refusal."""
        sent = self._sent
        assert sent is not None, "a lane looks only after it has sent a statement"
        if found.epoch != given(sent, "epoch"):
            return "fenced"
        if found.batch_no < sent.batch_no:
            return "refused for its contents"
        return "own attempt won" if found.plan_hash == sent.plan_hash else "another plan won"

    async def journal(self, lane: LaneId, first: int, last: int) -> Sequence[JournalRow]:
        return await self._process.through(
            "journal", lambda: self._store.journal(lane, first, last)
        )

    async def close(self) -> None:
        await self._process.through("disconnect", self._store.close)


class MortalBroker:
    """Implements `ports.Broker` for one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._broker: FakeBroker = process.world.broker()

    async def consumer(self, topics: Sequence[str], assignment: Assignment) -> "MortalConsumer":
        process = self._process
        consumer = await process.through(
            "consumer", lambda: self._broker.consumer(topics, LateAssignment(process, assignment))
        )
        process.consumers.append(consumer)
        return MortalConsumer(process, consumer)

    async def producer(self) -> "MortalProducer":
        inner = await self._process.through("producer", self._producer)
        return MortalProducer(self._process, inner)

    async def _producer(self) -> FakeProducer:
        await befall(self._process, "producer")
        return await self._broker.producer()

    async def describe(self, topics: Sequence[str]) -> Mapping[str, TopicDescription]:
        return await self._broker.describe(topics)

    async def starts(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await self._broker.starts(partitions)

    async def tail(self, partition: TopicPartition, offsets: int) -> TopicEnd:
        return await self._process.through("tail", lambda: self._tail(partition, offsets))

    async def _tail(self, partition: TopicPartition, offsets: int) -> TopicEnd:
        await befall(self._process, "tail")
        return await self._broker.tail(partition, offsets)


class LateAssignment:
    """A listener for assignments that may pass them on late."""

    def __init__(self, process: Process, listener: Assignment) -> None:
        self._process, self._listener = process, listener

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self._process.world.note(self._process.name, "assigned", str(len(partitions)))
        await self._process.through("assigned", lambda: self._listener.assigned(partitions))

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        world = self._process.world
        if world.faults.of_call("revoked", process=False) is Fault.LATE_REVOKE:
            await world.loop.sleep(self._process.random.uniform(*LATE_S))
        if self._process.committing:
            world.window("W20")
        await self._process.through("revoked", lambda: self._listener.revoked(partitions))


class MortalConsumer:
    """Implements `ports.Consumer` for one process."""

    def __init__(self, process: Process, consumer: FakeConsumer) -> None:
        self._process, self._consumer = process, consumer

    async def start(self) -> None:
        await self._process.through("start", self._start)

    async def _start(self) -> None:
        await befall(self._process, "start")
        await self._consumer.start()

    async def poll(self, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        async def poll() -> Mapping[TopicPartition, Sequence[Record]]:
            await befall(self._process, "poll")
            return await self._consumer.poll(max(timeout_s, POLL_S))

        return await self._process.through("poll", poll)

    def faults(self) -> Mapping[TopicPartition, str]:
        return self._consumer.faults()

    def assignment(self) -> frozenset[TopicPartition]:
        return self._consumer.assignment()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._process.require_life()
        self._consumer.seek(partition, offset)

    def position(self, partition: TopicPartition) -> int:
        return self._consumer.position(partition)

    def pause(self, partition: TopicPartition) -> None:
        self._process.require_life()
        if self._process.publishers[partition].full:
            self._process.world.window("W11")
        self._consumer.pause(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._process.require_life()
        self._consumer.resume(partition)

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        async def bounds() -> tuple[int, int]:
            await befall(self._process, "bounds")
            return await self._consumer.bounds(partition)

        return await self._process.through("bounds", bounds)

    async def commit_hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        async def commit_hint() -> None:
            # The port promises not to raise, so a lost commit is only lost.
            try:
                await befall(self._process, "commit_hint")
            except BrokerError:
                self._process.world.window("W12")
            else:
                await self._consumer.commit_hint(offsets)

        await self._process.through("commit_hint", commit_hint)

    async def close(self) -> None:
        async def close() -> None:
            try:
                await befall(self._process, "leave")
            except BrokerError:
                self._process.world.kafka.kill(self._consumer)
            else:
                await self._consumer.close()

        await self._process.through("leave", close)


class MortalProducer:
    """Implements `ports.Producer` for one process."""

    def __init__(self, process: Process, producer: FakeProducer) -> None:
        self._process, self._producer = process, producer
        self._failed = False

    async def send(self, records: Sequence[Outgoing]) -> None:
        world = self._process.world
        if self._failed:
            world.violation(f"{self._process.name} uses a producer that has failed")
        if world.is_stale_publisher(self._process, records):
            world.window("W9")
        try:
            await self._process.through("send", lambda: self._send(records))
        except BrokerError:
            self._failed = True
            world.window("W10")
            raise

    async def _send(self, records: Sequence[Outgoing]) -> None:
        world, random = self._process.world, self._process.random
        if world.faults.lasting(Fault.OUTPUT_DOWN):
            await world.loop.sleep(world.deadline_s)
            raise BrokerError("send: the output topic is down")
        fault = world.faults.of_call("send", process=False)
        if fault is Fault.BROKER_SLOW or world.faults.lasting(Fault.BROKER_SLOW):
            await world.loop.sleep(SLOW_S)
            fault = None
        if fault is Fault.PRODUCE_REFUSED or world.faults.lasting(Fault.PRODUCE_REFUSED):
            raise BrokerError("send: refused")
        if fault in {Fault.PRODUCE_LOST, Fault.PRODUCE_LIMBO}:
            await world.loop.sleep(world.deadline_s)
        else:
            half = fault is Fault.PRODUCE_HALF
            await self._producer.send(records[: len(records) // 2] if half else records)
        if fault is Fault.PRODUCE_LIMBO:
            late_s = random.choice((0.1, 1.0, 8.0)) * random.random()
            world.loop.call_later(late_s, world.kafka.append, records)
        if fault is not None:
            raise BrokerError(f"send: {fault}")

    async def close(self) -> None:
        await self._process.through("producer_close", self._producer.close)


async def befall(process: Process, call: str) -> None:
    """Apply the fault of a broker call, if any. Raises BrokerError if the call is to fail."""
    faults = process.world.faults
    fault = faults.of_call(call, process=False)
    if fault is Fault.BROKER_SLOW or faults.lasting(Fault.BROKER_SLOW):
        await process.world.loop.sleep(SLOW_S)
    elif fault is not None:
        raise BrokerError(f"{call}: {fault}")
