"""One seed: a cluster, a database, clients and workers, with faults and then quiet.

The faults end at a virtual time. Then everything must be answered and published within `LIVELY_S`.
Afterwards the workers are asked to end, and `check` examines the result.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from tests.support.fake_database import FakeDatabase
from tests.support.fake_schema import Row
from worker import assignment, intake, publisher, takeover, topic_rules
from worker.adapters.postgres.codes import LedgerKind
from worker.domain import ids, turns
from worker.domain.state import StreamKind
from worker.errors import BrokerError
from worker.ports import Outgoing, StreamRow, TopicPartition
from worker.telemetry import Metrics
from worker.wire import journal

LIVELY_S: Final = 90.0
"""Time after the last fault in which everything must be answered and published."""
LIMBO_S: Final = 10.0
"""Time after the last fault in which every late statement arrives."""
STOP_S: Final = 20.0
ROWS_FOR_ONE: Final = 56
"""Most rows that one command, one fill or one entry of a page writes."""
EPOCH_MS: Final = 1_700_000_000_000
SENDERS_STAMP_MS: Final = 2**62
"""Time on each record, which counts only while a topic is misconfigured."""
GROUP: Final = "parity"
TUNED: Final = (
    (publisher, "QUEUED_BATCHES_MAX", 4),
    (assignment, "QUEUED_RECORDS_MAX", 12),
    (turns, "WAITING_MAX", 6),
    (intake, "COMMANDS_PER_BATCH", 16),
    (takeover, "JOURNAL_ROWS_MAX", 3),
    (fake_store, "JOURNAL_ROWS_MAX", 3),
    (fake_broker, "FETCH_RECORDS_MAX", 20),
)
"""Bounds that are usually reached by thousands of records, lowered so that a hundred reach them."""


@dataclass(slots=True)
class Result:
    """The outcome of one seed."""

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
        """Return a hash that is equal in two runs of one seed."""
        return hashlib.sha256(repr(self.history).encode()).hexdigest()


class Deaf:
    """A group member that ignores its partitions."""

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        pass

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        pass


@dataclass
class World:
    """Everything in one seed."""

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
        self._note_topics()
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

    def _note_topics(self) -> None:
        """Store the ids of the input topics with their streams."""
        found = self.kafka.describe([self.orders.topic, self.transfers.topic])
        self.orders, self.transfers = (
            replace(stream, topic_id=found[stream.topic].topic_id)
            for stream in (self.orders, self.transfers)
        )

    # Questions and notes.

    def now_ms(self) -> int:
        """Return the broker's time of day."""
        return EPOCH_MS + int(self.loop.time() * 1_000) + self._jump_ms

    def note(self, who: str, what: str, more: str = "") -> None:
        """Add a line to the history."""
        self.history.append((self.loop.time(), who, what, more))

    def violation(self, text: str) -> None:
        """Record a violation."""
        self.violations.append(text)
        self.note("", "VIOLATION", text)

    def alarm(self, process: Process, text: str) -> None:
        """Record a lane's alarm, except where it reports an injected fault as designed."""
        refused = text.startswith("fetch_failing") and self.kafka.refused
        if "54000" not in text and not refused:
            self.alarms.append(text)
        self.note(process.name, "alarm", text)

    def window(self, name: str) -> None:
        """Record that a failure window was reached."""
        self.windows[name] += 1

    def broker(self) -> FakeBroker:
        """Return a view of the cluster."""
        return self.kafka.broker(GROUP)

    def stream_of(self, topic: str) -> StreamRow:
        """Return the stream of an input topic."""
        return self.orders if topic == self.orders.topic else self.transfers

    @staticmethod
    def events_topic(kind: StreamKind) -> str:
        """Return the topic for the events of a stream."""
        return f"{kind.lower()}-events"

    def partitions(self) -> list[TopicPartition]:
        """Return the input partitions of both streams."""
        return [
            TopicPartition(stream.topic, number)
            for stream in (self.orders, self.transfers)
            for number in range(stream.partitions)
        ]

    def route(self, partition: TopicPartition) -> journal.Route:
        """Return the route of a lane's events."""
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
        """Return the owner of a lane in the database."""
        owner: str = self.lane_row(partition)["owner"]
        return owner

    def recorded_mark(self, partition: TopicPartition) -> int:
        """Return the number of a lane's last batch that the database knows as published."""
        mark: int = self.lane_row(partition)["published_batch_no"]
        return mark

    def last_published(self, partition: TopicPartition) -> int:
        """Return the highest seq in a lane's topic of events."""
        return max(map(check.seq_of, check.published(self, partition)), default=0)

    def another_is_ready(self, process: Process, partition: TopicPartition) -> bool:
        """Return whether another process accepts commands of that partition."""
        return any(other.is_ready(partition) for other in self.processes if other is not process)

    def another_holds(self, process: Process, partition: TopicPartition) -> bool:
        """Return whether another process owns that partition, in its own view and the group's."""
        return any(
            other.is_ready(partition) and other.holds(partition)
            for other in self.processes
            if other is not process
        )

    def is_stale_publisher(self, process: Process, records: Sequence[Outgoing]) -> bool:
        """Return whether the process publishes for a lane that another process owns."""
        inputs = {self.events_topic(s.kind): s.topic for s in (self.orders, self.transfers)}
        record = next((record for record in records if record.topic in inputs), None)
        if record is None:
            return False
        partition = TopicPartition(inputs[record.topic], record.partition)
        return self.owner_of(partition) != process.name

    def note_situations(self) -> None:
        """Record the situations that the actions of clients and the group have caused."""
        self.windows["expelled from the group"] += self.kafka.expelled
        self.windows["partition not the market's"] += sum(
            "WRONG_PARTITION" in row["events"] for row in self.database.rows("batches")
        )
        self.windows["market busy"] += sum(
            "MARKET_BUSY" in row["events"] for row in self.database.rows("batches")
        )
        for name, accounts in (
            ("one coin in every lane", ADVERSARIES),
            ("hot account in every lane", HOT),
        ):
            for account in map(ids.account_key, accounts):
                drawn = self._lanes_drawn_to(account)
                self.windows[name] += len(drawn) == self.orders.partitions

    def _lanes_drawn_to(self, account: str) -> set[int]:
        """Return the lanes that have drawn an account's money."""
        return {
            row["lane"]
            for row in self.database.rows("postings")
            if row["account"] == account and row["kind"] == LedgerKind.DRAW and row["amount"] > 0
        }

    # The course of events.

    async def live(self) -> None:
        """Run until everything is quiet, or report a violation when time is up."""
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
        _, _, partition, key, value = sending
        self.kafka.append([Outgoing(topic, partition, key, value, (), SENDERS_STAMP_MS)])

    @property
    def is_running(self) -> bool:
        """Return whether workers run or will be started."""
        return not self._stopping

    def begin_again(self) -> None:
        """Start a worker again after all were asked to end."""
        self._stopping = False
        self._bear()

    def _bear(self) -> None:
        """Start a process. Another replaces it when it ends."""
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
        if alive:
            self._strike_process(alive[int(strike.dice * len(alive))], fault, lasts_s)
        self._strike_cluster(strike)

    def _strike_process(self, victim: Process, fault: Fault, lasts_s: float) -> None:
        match fault:
            case Fault.ZOMBIE:
                victim.silence(lasts_s + 6.0)
            case Fault.TERM:
                victim.terminate()
            case Fault.REDELIVERED:
                self._deliver_again(victim)
            case _:
                pass  # It strikes something else.

    def _strike_cluster(self, strike: Strike) -> None:
        fault = strike.fault
        match fault:
            case Fault.BROKER_DOWN:
                self.window("W16")
                self.kafka.down = True
                self.loop.call_at(self.faults.down_until_s[fault], self._broker_up)
            case Fault.REBALANCE:
                self.loop.create_task(self._rebalances(strike.lasts_s))
            case Fault.OFFSETS_LOST:
                self.window("W13")
                self.kafka.committed.clear()
            case Fault.CLOCK_JUMP:
                self.window("W23")
                self._jump_ms += int((strike.dice - 0.5) * 7_200_000)
            case Fault.FETCH_REFUSED:
                self._refuse_fetches(strike)
            case Fault.SENDERS_STAMPS:
                self._let_senders_stamp()
            case _:
                pass  # These faults act while they last.

    @staticmethod
    def _deliver_again(process: Process) -> None:
        """Seek to the first record, as an operator's reset does."""
        for consumer in process.members():
            for partition in sorted(consumer.assignment()):
                consumer.seek(partition, 0)

    def _refuse_fetches(self, strike: Strike) -> None:
        """Let the brokers refuse the fetches of one partition, then deliver again."""
        partitions = self.partitions()
        partition = partitions[int(strike.dice * len(partitions))]

        def heal() -> None:
            self.kafka.refused.pop(partition, None)
            self.kafka.wake()

        self.kafka.refused[partition] = "the simulation refuses it"
        self.loop.call_later(strike.lasts_s, heal)

    def _let_senders_stamp(self) -> None:
        """Switch the inputs to CreateTime, and back when no such fault lasts."""
        lasts = self.faults.lasting(Fault.SENDERS_STAMPS)
        for topic in (self.orders.topic, self.transfers.topic):
            value = "CreateTime" if lasts else topic_rules.LOG_APPEND_TIME
            self.kafka.configure(topic, topic_rules.STAMPS, value)
        if lasts:
            at_s = self.faults.down_until_s[Fault.SENDERS_STAMPS]
            self.loop.call_at(at_s, self._let_senders_stamp)

    def _broker_up(self) -> None:
        self.kafka.down = self.faults.lasting(Fault.BROKER_DOWN)
        self.kafka.wake()

    async def _rebalances(self, lasts_s: float) -> None:
        """Let a member join and leave repeatedly."""
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
        """Describe the remaining work, or return an empty text."""
        for partition in self.partitions():
            row, end = self.lane_row(partition), self.kafka.log(partition).end
            if row["next_offset"] != end or row["resume"]:
                at = row["next_offset"]
                return f"{partition} is at {at} of {end}, {row['resume'][:60]!r}"
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
    """Lower the bounds that only thousands of records reach, and silence the log."""
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
            world.violation(f"unhandled: {context['message']} {error!r}")

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
    """Cancel all remaining tasks."""
    for _ in range(5):
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=5.0))
