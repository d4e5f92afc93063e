"""The ports to Kafka, the database and time, on which the worker depends.

Each is small enough for a fake. The same contract tests run on the fake and on the real thing.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple, Protocol

from worker.domain.book import OpenOrder
from worker.domain.facts import Facts, Lack
from worker.domain.plan import Batch
from worker.domain.state import Home, Market, StreamKind
from worker.domain.units import LaneId, MarketId

Sleep = Callable[[float], Awaitable[None]]
"""Suspends the caller for a number of seconds."""
Monotonic = Callable[[], float]
"""Seconds of a clock that never goes back, for deadlines and metrics but never for order."""


@dataclass(frozen=True, slots=True)
class System:
    """Time and randomness, which vary from run to run. A simulation passes its own."""

    clock: Monotonic
    sleep: Sleep
    random: Random

    async def turn(self) -> None:
        """Let everything else run that is ready. Call it within long work."""
        await self.sleep(0)

    async def back_off(self, tries: int, *, cap_s: float) -> None:
        """Pause with full jitter, up to 20 ms after the first try and twice as long each time."""
        most_s = 0.01 * 2.0 ** min(tries, 16)
        await self.sleep(self.random.uniform(0, min(most_s, cap_s)))


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a healthy worker, with its present state in words."""

    ok: bool
    says: str


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


RECORD_FRAME_BYTES = 512
HEADER_FRAME_BYTES = 160
"""Memory of a record and of a header in addition to their content, roughly."""


def size_of(
    key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
) -> int:
    """Return roughly how many bytes of memory a record takes."""
    content = len(key or b"") + len(value or b"") + RECORD_FRAME_BYTES
    return content + sum(
        HEADER_FRAME_BYTES + len(name) + len(part or b"") for name, part in headers
    )


class Record(NamedTuple):
    """A fetched record. ``by_broker``: the stamp is the broker's LogAppendTime."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    by_broker: bool = True

    @property
    def arrival_ms(self) -> int:
        """Return the broker's stamp. A sender's own is any number and counts as no time, as 0."""
        return self.timestamp_ms if self.by_broker else 0

    @property
    def size(self) -> int:
        """Return roughly how many bytes of memory the record takes."""
        return size_of(self.key, self.value, self.headers)


class Outgoing(NamedTuple):
    """A record to be published to an explicit partition."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as the brokers have it now.

    ``settings`` has those of ``topic_rules.DESCRIBED`` that the brokers know. ``topic_id`` is empty
    if the brokers have no ids. ``replicas`` counts those of the partition with fewest.
    """

    partitions: int
    settings: Mapping[str, str]
    topic_id: str = ""
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class TopicEnd:
    """The next offset that a partition will write, and the last records before it."""

    end: int
    records: Sequence[Record]


class Assignment(Protocol):
    """The consumer's callbacks about its partitions. Neither may raise or take long."""

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Take over these partitions. No record arrives before the first ``seek``."""

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Give up these partitions, which may already have another owner."""


class Consumer(Protocol):
    """A member of the consumer group. Only ``seek`` sets its positions."""

    async def start(self) -> None:
        """Join the group. Raises BrokerError by the deadline."""

    async def poll(self, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the records that arrived within ``timeout_s``. Call it without long breaks.

        Raises FetchFailed once, with the TopicPartition in ``args[1]``. The partition then delivers
        nothing until its next ``seek``. Raises BrokerError if the consumer must be replaced. A dead
        broker raises nothing and delivers nothing.

        Pass the records on before the next ``await``. Otherwise a ``seek`` in between would make a
        lane accept a gap.
        """

    def faults(self) -> Mapping[TopicPartition, str]:
        """Return why partitions cannot be fetched at present. They are tried again, with pauses."""

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that this member holds now."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver from ``offset`` on. Ignores a partition that is not held."""

    def position(self, partition: TopicPartition) -> int:
        """Return the offset from which on nothing is delivered yet. 0: not known.

        Everything before it was delivered, or is no record, as the end of a transaction.
        """

    def pause(self, partition: TopicPartition) -> None:
        """Stop fetching a partition. Buffered records are delivered, or fetched again, later."""

    def resume(self, partition: TopicPartition) -> None:
        """Fetch a partition again. Pausing and resuming are idempotent."""

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return (first offset, next offset to be written). Raises BrokerError by the deadline."""

    async def commit_hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets for tools that show lag, within a bound. Never raises BrokerError."""

    async def close(self) -> None:
        """Leave the group within a bound, in any state of the broker."""


class Producer(Protocol):
    """An idempotent producer. After any error it must be closed and replaced."""

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Publish in order until all are acknowledged. Raises BrokerError by a deadline."""

    async def close(self) -> None:
        """Close the producer within a bound."""


class Broker(Protocol):
    """A Kafka cluster. It holds no connection: callers close their consumers and producers."""

    async def consumer(self, topics: Sequence[str], assignment: Assignment) -> Consumer:
        """Return a group member. It is not started yet."""

    async def producer(self) -> Producer:
        """Return a started idempotent producer. Raises BrokerError by the deadline."""

    async def describe(self, topics: Sequence[str]) -> Mapping[str, TopicDescription]:
        """Return those of ``topics`` that exist. Raises BrokerError by the deadline."""

    async def tail(self, partition: TopicPartition, offsets: int) -> TopicEnd:
        """Return the last ``offsets`` of a partition. Raises BrokerError by the deadline."""

    async def starts(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the first offset of each partition. Raises BrokerError by the deadline."""


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane as its new owner reads it. ``resume`` is text of ``wire.resume``."""

    lane: LaneId
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
    """A lane's present epoch and batch. ``plan_hash`` is None if the batch asked for is missing."""

    epoch: int
    batch_no: int
    plan_hash: str | None


@dataclass(frozen=True, slots=True)
class Seal:
    """The fields of a batch row in addition to its plan. Texts are of ``wire``."""

    epoch: int
    owner: str
    published_batch_no: int
    facts: str
    plan_facts: str
    """The facts without ``published_batch_no``, on which no plan depends."""
    events: str
    resume: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A batch that can be sent any number of times, always as the same bytes.

    ``plan_hash`` is the plan digest of ``domain.digest``.
    """

    lane: LaneId
    batch_no: int
    plan_hash: str
    parameters: tuple[object, ...]
    rows: tuple[object, ...]
    """The rows without facts and events. Equal rows mean the same plan."""
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
    """A registered stream. ``lane = first_lane + partition``.

    ``topic_id`` is the id of the topic that the stream was registered for, or that an operator
    accepted since. It is empty if the brokers had no ids, and then nothing is compared.
    """

    stream: str
    topic: str
    kind: StreamKind
    partitions: int
    first_lane: int
    topic_id: str = ""


OrderCursor = tuple[str, str]
"""The last market and order of a page, as the store names them."""
BEFORE_ORDERS: Final[OrderCursor] = ("", "")
"""The place before the first page."""


@dataclass(frozen=True, slots=True)
class OpenOrders:
    """A page of a lane's open orders, which may be empty. ``last`` is None on the last page."""

    orders: Sequence[tuple[MarketId, OpenOrder]]
    last: OrderCursor | None


class Store(Protocol):
    """The database of one lane, with one connection, made when needed, and one call at a time.

    Every method raises Unavailable when no connection could be made, Conflict, Refused, Poison,
    Misconfigured or OutcomeUnknown. After the last two the connection is closed, and the next call
    makes a new one.
    """

    async def take_over(self, stream: str, partition: int, owner: str) -> LaneRow:
        """Raise the lane's epoch. Repeating it does no harm."""

    async def markets(self, lane: LaneId) -> Sequence[Market]:
        """Return the lane's markets that are not settled."""

    async def open_orders(self, lane: LaneId, after: OrderCursor) -> OpenOrders:
        """Return a page of the lane's open orders of markets that are not resolved.

        The orders of one market follow each other, within it in no order that means anything.
        """

    async def read(self, home: Home, lack: Lack) -> Facts:
        """Read all lacking facts in one snapshot, but a settlement's page in a separate one."""

    def statement(self, batch: Batch, seal: Seal) -> Statement:
        """Return the statement that commits ``batch``. No I/O."""

    async def commit(self, statement: Statement) -> None:
        """Run the statement and return when it is committed."""

    async def standing(self, lane: LaneId, batch_no: int) -> Standing:
        """Return the lane's present epoch and batch, and the plan that won ``batch_no``."""

    async def journal(self, lane: LaneId, first: int, last: int) -> Sequence[JournalRow]:
        """Return the batches ``first`` to ``last`` in order, at most ``JOURNAL_ROWS_MAX``."""

    async def close(self) -> None:
        """Close the connection within a bound."""


JOURNAL_ROWS_MAX = 8
"""Batches read at once. Each may have more than 512 KiB, and all lanes may read together."""
