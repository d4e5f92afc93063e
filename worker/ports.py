"""Everything that the worker depends on: Kafka, the database, time.

Each port is small enough for a fake; the same contract tests run on the fake and the real one.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol

from worker.domain.book import OpenOrder
from worker.domain.plan import Batch
from worker.domain.state import Facts, Home, Lack, Market, StreamKind
from worker.domain.units import Lane, MarketId

Sleep = Callable[[float], Awaitable[None]]
"""Suspend for a number of seconds."""
Monotonic = Callable[[], float]
"""Seconds of a clock that never goes back. For deadlines and metrics only, never for order."""


@dataclass(frozen=True, slots=True)
class System:
    """What varies from run to run: time and dice. A simulation passes its own."""

    clock: Monotonic
    sleep: Sleep
    random: Random

    async def back_off(self, tries: int, *, cap_s: float) -> None:
        """Pause with full jitter: up to 20 ms after the first try, doubling, never above a cap."""
        most_s = 0.01 * 2.0 ** min(tries, 16)
        await self.sleep(self.random.uniform(0, min(most_s, cap_s)))


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class Record(NamedTuple):
    """A record as it was fetched. ``timestamp_ms`` is the broker's LogAppendTime."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Outgoing(NamedTuple):
    """A record to be published to an explicit partition."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """What the broker says of a topic."""

    partitions: int
    log_append_time: bool


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a partition: the next offset to be written, and what is left just before it."""

    end: int
    records: Sequence[Record]


class Assignment(Protocol):
    """Told by the consumer who owns what. Neither method may raise or take long."""

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Note that these are ours from now on. Nothing arrives before the first ``seek``."""

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Give these up; they may already be someone else's."""


class Consumer(Protocol):
    """A member of the consumer group. Positions are set by ``seek``; the broker's are hints."""

    async def start(self) -> None:
        """Join the group. Raises BrokerError by the deadline."""

    async def poll(self, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return what has arrived, waiting at most ``timeout_s``. Must be called all the time.

        Raises OffsetOutOfRange (``args[1]`` is the TopicPartition) once; the partition is silent
        until the next ``seek``. Raises BrokerError when the consumer must be thrown away and made
        anew. A dead broker just gives nothing. What it returns is handed on without an ``await``
        in between: a ``seek`` that slipped in would make a lane accept a gap.
        """

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions held now."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver from ``offset`` on. A partition no longer held is ignored."""

    def pause(self, partition: TopicPartition) -> None:
        """Fetch no more of it; what is buffered is dropped and fetched again later."""

    def resume(self, partition: TopicPartition) -> None:
        """Fetch again. Pausing and resuming are idempotent."""

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return (first offset, next offset to be written). Raises BrokerError by the deadline."""

    async def commit_hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell lag tools how far we are. Best effort, bounded, never raises BrokerError."""

    async def close(self) -> None:
        """Leave the group, within a bound, whatever state the broker is in."""


class Producer(Protocol):
    """An idempotent producer. After any error it is dead: close it and make another."""

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Publish in order; return when all are acknowledged. Raises BrokerError by a deadline."""

    async def close(self) -> None:
        """Let go of it, within a bound."""


class Broker(Protocol):
    """Kafka."""

    async def consumer(self, topics: Sequence[str], assignment: Assignment) -> Consumer:
        """Return a group member that is not started yet."""

    async def producer(self) -> Producer:
        """Return a started idempotent producer. Raises BrokerError by the deadline."""

    async def describe(self, topics: Sequence[str]) -> Mapping[str, TopicDescription]:
        """Return what exists of ``topics``. Raises BrokerError by the deadline."""

    async def tail(self, partition: TopicPartition, offsets: int) -> Tail:
        """Return the last ``offsets`` of a partition. Raises BrokerError by the deadline."""

    async def close(self) -> None:
        """Let go of shared connections, within a bound."""


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane as its new owner finds it. ``resume`` is text of ``wire.resume``."""

    lane: Lane
    epoch: int
    batch_no: int
    next_offset: int
    last_record_sha: str
    resume: str
    last_seq: int
    published_batch_no: int
    lane_time_ms: int
    cash_in_net: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a lane stands; ``plan_hash`` is that of the batch asked for, None: no such row."""

    epoch: int
    batch_no: int
    plan_hash: str | None


@dataclass(frozen=True, slots=True)
class Seal:
    """What a batch row holds beside its plan. Texts are of ``wire``."""

    epoch: int
    owner: str
    published_batch_no: int
    facts: str
    events: str
    resume: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A batch ready to be sent, any number of times: always the same bytes.

    ``plan_hash`` covers every parameter but epoch and owner.
    """

    lane: Lane
    batch_no: int
    plan_hash: str
    parameters: tuple[object, ...]
    rows: tuple[object, ...]
    """What it writes, without facts and events: the same rows are the same plan again."""
    bytes: int
    facts_bytes: int
    resume_bytes: int


@dataclass(frozen=True, slots=True)
class JournalRow:
    """The events of one committed batch, text of ``wire.journal``."""

    batch_no: int
    events: str


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A registered stream. ``lane = first_lane + partition``."""

    stream: str
    topic: str
    kind: StreamKind
    partitions: int
    first_lane: int


class Store(Protocol):
    """The database as one lane sees it: one connection, made when needed, one call at a time.

    Every method raises Unavailable when no connection could be made, Conflict, Refused, Poison,
    Unfit, or OutcomeUnknown; after the last two the connection is gone and the next call makes a
    new one.
    """

    async def take_over(self, stream: str, partition: int, owner: str) -> LaneRow:
        """Raise the lane's epoch. Doing it twice does no harm."""

    async def markets(self, lane: Lane) -> Sequence[Market]:
        """Return the lane's markets that are not settled."""

    async def open_orders(self, lane: Lane) -> Sequence[tuple[MarketId, OpenOrder]]:
        """Return the lane's open orders of markets that are not resolved, oldest first."""

    async def read(self, home: Home, lack: Lack) -> Facts:
        """Read everything that is lacking, in one snapshot (a settlement's page in its own)."""

    def statement(self, batch: Batch, seal: Seal) -> Statement:
        """Return the statement that commits ``batch``. No I/O."""

    async def commit(self, statement: Statement) -> None:
        """Run it. Returning means: committed."""

    async def standing(self, lane: Lane, batch_no: int) -> Standing:
        """Return where the lane stands, and which plan won batch ``batch_no``."""

    async def journal(self, lane: Lane, first: int, last: int) -> Sequence[JournalRow]:
        """Return the batches ``first`` to ``last`` in order, at most ``JOURNAL_ROWS_MAX``."""

    async def close(self) -> None:
        """Let go of the connection, within a bound."""


JOURNAL_ROWS_MAX = 64
