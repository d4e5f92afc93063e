"""One seed: a cluster, a database, clients, some workers, and what befalls them until it is quiet.

The faults end at a time of virtual seconds; from then on everything must be answered and published
within `LIVELY_S`. Then the workers are asked to end, and `check` looks at what is left.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import structlog

from tests.simulation import check, endings
from tests.simulation.faults import Fault, Faults, Strike
from tests.simulation.flow import ADVERSARIES, HOT, Flow, Sending
from tests.simulation.loop import SimulatedLoop, StuckError
from tests.simulation.process import OWNER, Killed, Process
from tests.support import fake_broker, fake_store
from tests.support.fake_broker import FakeBroker, FakeKafka
from tests.support.fake_store import DRAW, FakeDatabase, Row
from worker import assignment, lane, publisher
from worker.domain import ids
from worker.domain.state import StreamKind
from worker.errors import BrokerError
from worker.ports import Outgoing, StreamRow, TopicPartition
from worker.telemetry import Metrics
from worker.wire import journal

LIVELY_S: Final = 90.0
"""Within so long after the last fault all must be answered and published."""
LIMBO_S: Final = 10.0
"""No later than that after the last fault lands what was in limbo."""
STOP_S: Final = 20.0
ROWS_FOR_ONE: Final = 56
"""One command, one fill or one page's entry never writes more."""
EPOCH_MS: Final = 1_700_000_000_000
GROUP: Final = "parity"
TUNED: Final = (
    (publisher, "QUEUED_BATCHES_MAX", 4),
    (assignment, "QUEUED_RECORDS_MAX", 12),
    (lane, "COMMANDS_A_BATCH", 16),
    (lane, "JOURNAL_ROWS_MAX", 3),
    (fake_store, "JOURNAL_ROWS_MAX", 3),
    (fake_broker, "FETCH_RECORDS_MAX", 20),
)
"""Bounds that thousands of records would reach, so low that a hundred do."""


@dataclass(slots=True)
class Result:
    """What one seed showed."""

    seed: int
    violations: list[str]
    windows: Counter[str]
    faults: Counter[tuple[Fault, str]]
    history: list[tuple[float, str, str, str]]
    virtual_s: float
    records: int
    events: int
    batches: int

    @property
    def digest(self) -> str:
        """Return what two runs of one seed must agree in."""
        return hashlib.sha256(repr(self.history).encode()).hexdigest()


class Deaf:
    """A group member that does nothing with what it is given."""

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        pass

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        pass


@dataclass
class World:
    """Everything that exists in one seed."""

    seed: int
    loop: SimulatedLoop
    history: list[tuple[float, str, str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    windows: Counter[str] = field(default_factory=Counter)
    alarms: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    database: FakeDatabase = field(default_factory=FakeDatabase)
    metrics: Metrics = field(default_factory=Metrics)
    read_events: dict[TopicPartition, list[dict[str, Any]]] = field(default_factory=dict)
    deadline_s: float = 2.0
    dead_letters: str = "dead"

    def __post_init__(self) -> None:
        self.random = random = Random(f"{self.seed}/world")
        self.rows = random.choice((56, 56, 75, 120, 2_500))
        self.database.rows_max = random.choice((ROWS_FOR_ONE, 10**9, 10**9))
        self.orders = self.database.register(
            "orders-1", "orders", StreamKind.ORDERS, random.randint(2, 4)
        )
        self.transfers = self.database.register(
            "transfers-1", "transfers", StreamKind.TRANSFERS, random.randint(1, 2)
        )
        until_s = random.uniform(12.0, 30.0)
        self.faults = Faults(Random(f"{self.seed}/faults"), self.loop.time, until_s)
        self._jump_ms = 0
        self._stopping = False
        self._born = 0
        latency = Random(f"{self.seed}/latency")
        self.kafka = FakeKafka(
            self.now_ms,
            self.loop.sleep,
            deadline_s=self.deadline_s,
            session_s=6.0,
            latency_s=lambda: latency.uniform(0.0005, 0.01),
        )
        self._make_topics()
        flow = Flow(
            Random(f"{self.seed}/flow"),
            self.orders.partitions,
            self.transfers.partitions,
            until_s * 0.9,
        )
        self.sendings = flow.records()

    def _make_topics(self) -> None:
        for stream in (self.orders, self.transfers):
            self.kafka.create_topic(stream.topic, stream.partitions)
            self.kafka.create_topic(
                self.events_topic(stream.kind), stream.partitions, log_append_time=False
            )
        self.kafka.create_topic(self.dead_letters, 1, log_append_time=False)

    # What others ask.

    def now_ms(self) -> int:
        """Return the broker's time of day."""
        return EPOCH_MS + int(self.loop.time() * 1_000) + self._jump_ms

    def note(self, who: str, what: str, more: str = "") -> None:
        """Write a line of history."""
        self.history.append((self.loop.time(), who, what, more))

    def violation(self, text: str) -> None:
        """Note that something is not as promised."""
        self.violations.append(text)
        self.note("", "VIOLATION", text)

    def alarm(self, process: Process, text: str) -> None:
        """Hear a lane's alarm. A batch that is too large is cut, which is as it should be."""
        if "54000" not in text:
            self.alarms.append(text)
        self.note(process.name, "alarm", text)

    def window(self, name: str) -> None:
        """Note that a failure window was reached."""
        self.windows[name] += 1

    def broker(self) -> FakeBroker:
        """Return a view of the cluster."""
        return self.kafka.broker(GROUP)

    def stream_of(self, topic: str) -> StreamRow:
        """Return the stream that comes in by ``topic``."""
        return self.orders if topic == self.orders.topic else self.transfers

    @staticmethod
    def events_topic(kind: StreamKind) -> str:
        """Return where the events of a stream go."""
        return f"{kind.lower()}-events"

    def partitions(self) -> list[TopicPartition]:
        """Return the input partitions of both streams."""
        return [
            TopicPartition(stream.topic, number)
            for stream in (self.orders, self.transfers)
            for number in range(stream.partitions)
        ]

    def route(self, partition: TopicPartition) -> journal.Route:
        """Return where the events of a lane go."""
        stream = self.stream_of(partition.topic)
        return journal.Route(
            stream=stream.stream,
            topic=stream.topic,
            partition=partition.partition,
            events_topic=self.events_topic(stream.kind),
            dead_letters_topic=self.dead_letters,
            dead_letter_partitions=1,
        )

    def lane_row(self, partition: TopicPartition) -> Row:
        """Return the row of a lane."""
        number = self.stream_of(partition.topic).first_lane + partition.partition
        return self.database.tables["lanes"][number,]

    def owner_of(self, partition: TopicPartition) -> str:
        """Return whom the database holds for the owner of a lane."""
        owner: str = self.lane_row(partition)["owner"]
        return owner

    def recorded_mark(self, partition: TopicPartition) -> int:
        """Return up to which batch the database knows a lane to be published."""
        mark: int = self.lane_row(partition)["published_batch_no"]
        return mark

    def last_published(self, partition: TopicPartition) -> int:
        """Return the highest seq in a lane's topic of events."""
        return max(map(check.seq_of, check.published(self, partition)), default=0)

    def another_is_ready(self, process: Process, partition: TopicPartition) -> bool:
        """Return whether another process takes commands of that partition."""
        return any(other.is_ready(partition) for other in self.processes if other is not process)

    def another_holds(self, process: Process, partition: TopicPartition) -> bool:
        """Return whether another process owns that partition, for the group and for itself."""
        return any(
            other.is_ready(partition) and other.holds(partition)
            for other in self.processes
            if other is not process
        )

    def is_stale_publisher(self, process: Process, records: Sequence[Outgoing]) -> bool:
        """Return whether it publishes for a lane that is no longer its own."""
        inputs = {self.events_topic(s.kind): s.topic for s in (self.orders, self.transfers)}
        record = next((record for record in records if record.topic in inputs), None)
        if record is None:
            return False
        partition = TopicPartition(inputs[record.topic], record.partition)
        return self.owner_of(partition) != process.name

    def note_situations(self) -> None:
        """Note what clients and the group have done that should come up now and then."""
        self.windows["expelled from the group"] += self.kafka.expelled
        self.windows["partition not the market's"] += sum(
            "WRONG_PARTITION" in row["events"] for row in self.database.rows("batches")
        )
        for name, accounts in (
            ("one coin in every lane", ADVERSARIES),
            ("hot account in every lane", HOT),
        ):
            for account in map(ids.account_key, accounts):
                drawn = self._lanes_drawn_to(account)
                self.windows[name] += len(drawn) == self.orders.partitions

    def _lanes_drawn_to(self, account: str) -> set[int]:
        """Return into which lanes an account's money was drawn."""
        return {
            row["lane"]
            for row in self.database.rows("ledger")
            if row["account"] == account and row["kind"] == DRAW and row["amount"] > 0
        }

    # What happens.

    async def live(self) -> None:
        """Let everything happen, until it is quiet or ought to be."""
        for sending in self.sendings:
            self.loop.call_at(sending.at_s, self._arrive, sending)
        for strike in self.faults.strikes:
            self.loop.call_at(strike.at_s, self._strike, strike)
        for _ in range(self.random.randint(2, 3)):
            self._bear()
        await self.loop.sleep(self.faults.until_s)
        self.note("", "the faults end")
        quiet_s = self.faults.until_s + LIMBO_S
        while self.loop.time() < quiet_s or not self._is_quiet():
            await self.loop.sleep(0.5)
            if self.loop.time() > self.faults.until_s + LIVELY_S:
                self.violation(f"not quiet after {LIVELY_S:.0f} s: {self._unquiet()}")
                break
        await self.stop()

    def _arrive(self, sending: Sending) -> None:
        topic = self.orders.topic if sending.orders else self.transfers.topic
        record = Outgoing(topic, sending.partition, sending.key, sending.value, (), 0)
        self.kafka.append([record])

    @property
    def is_running(self) -> bool:
        """Return whether workers run, or will."""
        return not self._stopping

    def begin_again(self) -> None:
        """Start a worker after all were asked to end."""
        self._stopping = False
        self._bear()

    def _bear(self) -> None:
        """Start a process; when it ends another takes its place."""
        if self._stopping:
            return
        self._born += 1
        process = Process(self, f"w{self._born}")
        self.processes = [other for other in self.processes if not other.ended]
        self.processes.append(process)
        self.note(process.name, "begins")
        process.begin(self._bear_another)

    def _bear_another(self) -> None:
        if not self._stopping:
            self.loop.call_later(self.random.uniform(0.05, 2.0), self._bear)

    def _strike(self, strike: Strike) -> None:
        fault, lasts_s = strike.fault, strike.lasts_s
        self.note("", str(fault), f"{lasts_s:.1f} s")
        self.faults.strike(fault, lasts_s)
        alive = [process for process in self.processes if not process.ended]
        victim = alive[int(strike.dice * len(alive))] if alive else None
        match fault:
            case Fault.ZOMBIE if victim is not None:
                victim.silence(lasts_s + 6.0)
            case Fault.TERM if victim is not None:
                victim.terminate()
            case Fault.BROKER_DOWN:
                self.window("W16")
                self.kafka.down = True
                self.loop.call_at(self.faults.down_until_s[fault], self._broker_up)
            case Fault.REDELIVERED if victim is not None:
                self._deliver_again(victim)
            case Fault.REBALANCE:
                self.loop.create_task(self._rebalances(lasts_s))
            case Fault.OFFSETS_LOST:
                self.window("W13")
                self.kafka.committed.clear()
            case Fault.CLOCK_JUMP:
                self.window("W23")
                self._jump_ms += int((strike.dice - 0.5) * 7_200_000)
            case _:
                """It only lasts."""

    @staticmethod
    def _deliver_again(process: Process) -> None:
        """Begin once more at the first record, as an operator's reset does."""
        for consumer in process.members():
            for partition in sorted(consumer.assignment()):
                consumer.seek(partition, 0)

    def _broker_up(self) -> None:
        self.kafka.down = self.faults.lasting(Fault.BROKER_DOWN)
        self.kafka.wake()

    async def _rebalances(self, lasts_s: float) -> None:
        """Let a member come and go."""
        end_s = min(self.loop.time() + lasts_s, self.faults.until_s)
        topics = (self.orders.topic, self.transfers.topic)
        if self.random.random() < 0.3:
            self.window("W15")
            self.window("partitions added")
            self.kafka.create_topic(self.orders.topic, self.orders.partitions + 1)
        while self.loop.time() < end_s:
            member = await self.broker().consumer(topics, Deaf())
            joining = self.loop.create_task(member.start())
            await self.loop.sleep(self.random.uniform(0.1, 2.0))
            await member.close()
            joining.cancel()
            with contextlib.suppress(asyncio.CancelledError, BrokerError):
                await joining

    def _is_quiet(self) -> bool:
        return not self._unquiet()

    def _unquiet(self) -> str:
        """Return what is still to be done, in words."""
        for partition in self.partitions():
            row, end = self.lane_row(partition), self.kafka.log(partition).end
            if row["next_offset"] != end or row["resume"]:
                at = row["next_offset"]
                return f"{partition} stands at {at} of {end}, {row['resume'][:60]!r}"
            last = self.last_published(partition)
            if last != row["last_seq"]:
                return f"{partition} has published up to {last} of {row['last_seq']}"
        return ""

    async def stop(self) -> None:
        """Ask every process to end, as a deployment does."""
        self._stopping = True
        end_s = self.loop.time() + STOP_S
        for process in self.processes:
            process.terminate()
        while any(not process.ended for process in self.processes):
            if self.loop.time() > end_s:
                left = [process.name for process in self.processes if not process.ended]
                self.violation(f"{left} did not end within {STOP_S:.0f} s")
                break
            await self.loop.sleep(0.1)
        for process in self.processes:
            process.kill()


@contextlib.contextmanager
def tuned() -> Iterator[None]:
    """Lower the bounds that only thousands of records reach, and keep the log quiet."""
    before = [(module, name, getattr(module, name)) for module, name, _ in TUNED]
    config = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for module, name, value in TUNED:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        structlog.configure(**config)


def run(seed: int, prepare: Callable[[World], None] = lambda _: None) -> Result:
    """Run one seed and check it. ``prepare`` may break the world first."""
    random = Random(f"{seed}/order")
    shuffled = random.random() < 0.5
    loop = SimulatedLoop(random, shuffled=shuffled, first_task=seed * 1_000_003)
    asyncio.set_event_loop(loop)
    try:
        with tuned():
            return _run(seed, loop, prepare)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _run(seed: int, loop: SimulatedLoop, prepare: Callable[[World], None]) -> Result:
    world = World(seed, loop)

    def adopt(task: "asyncio.Task[Any]") -> None:
        process, work = OWNER.get(), task.get_coro()
        if process is not None and "/worker/" in getattr(work, "cr_code").co_filename:  # noqa: B009
            process.adopt(task)

    def unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Killed | asyncio.CancelledError | StuckError):
            world.violation(f"nobody handled {context['message']} {error!r}")

    loop.on_task = adopt
    loop.set_exception_handler(unhandled)
    prepare(world)
    loop.run_until_complete(world.live())
    virtual_s = loop.time()
    for text in check.violations(world):
        world.violation(text)
    check.note_windows(world)
    world.note_situations()
    if not world.violations:
        endings.begin_again(world)
    world.violations += [f"alarm: {alarm}" for alarm in world.alarms]
    _end(loop)
    return Result(
        seed=seed,
        violations=world.violations,
        windows=world.windows,
        faults=world.faults.counts,
        history=world.history,
        virtual_s=virtual_s,
        records=len(world.sendings),
        events=sum(row["last_seq"] for row in world.database.rows("lanes")),
        batches=len(world.database.tables["batches"]),
    )


def _end(loop: SimulatedLoop) -> None:
    """Let nothing be left over."""
    for _ in range(5):
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=5.0))
