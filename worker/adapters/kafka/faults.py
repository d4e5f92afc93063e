"""Errors of a fetch, each kept with its partition.

A fetch asks for many partitions at once, and the brokers answer for each. aiokafka raises some of
these answers out of a poll without the name of the partition, repeats others in a busy loop, and
skips a record for one of them (A40). Here such an answer is taken out of the response. Its
partition pauses for a while, longer each time, and all others continue.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from aiokafka.errors import (
    KafkaStorageError,
    LeaderNotAvailableError,
    NoError,
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    ReplicaNotAvailableError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest

from worker.adapters.kafka.batches import has_whole_batch
from worker.errors import BatchUnreadable, FetchFailed, FetchRefused
from worker.ports import Monotonic, TopicPartition

READS_MAX: Final = 3
"""Fetches of a batch that cannot be parsed. The network may have damaged the first ones."""
PAUSE_MIN_S: Final = 0.1
PAUSE_MAX_S: Final = 5.0
REPORTED_AFTER_S: Final = 1.0
"""How long the brokers may refuse a partition in silence, as when its leader moves."""


OPEN_TRANSACTION_S: Final = 60.0
"""How long an open transaction may hold back the records after its beginning in silence."""
SEEN_S: Final = 10.0
"""Age of the last fetch after which nothing is known about open transactions."""

HoldBack = Callable[[TopicPartition], None]


class Kind(Enum):
    """The origin of an error, which decides how long it may last."""

    MOVING = auto()
    """The leader is somewhere else, or not ready. Lasts as long as it lasts."""
    REFUSED = auto()
    """The broker has the partition and does not return its records."""
    UNREADABLE = auto()
    """The records arrive and cannot be parsed."""


_MOVING: Final = frozenset(
    {
        LeaderNotAvailableError.errno,
        NotLeaderForPartitionError.errno,
        UnknownTopicOrPartitionError.errno,
        ReplicaNotAvailableError.errno,
        KafkaStorageError.errno,
        # Codes for which aiokafka has no class: fenced and unknown leader epoch, offset not
        # available yet, unknown and inconsistent topic id.
        74, 75, 78, 100, 103,
    }
)  # fmt: skip
_LEFT: Final = (
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)
"""Errors that aiokafka may see, since it looks for the leader, or raises with the partition."""


@dataclass(slots=True)
class _Fault:
    kind: Kind
    offset: int
    began_s: float
    count: int = 0
    retry_at_s: float = 0.0
    error: Exception | None = None


@dataclass(slots=True)
class _OpenTransaction:
    began_s: float
    seen_s: float
    held: int


class FetchFaults:
    """The partitions of a consumer that cannot be fetched now, and why.

    A transaction that a client left open is no error. The brokers hold back all later records of
    the partition until it ends, so its lane reports it too.
    """

    def __init__(self, clock: Monotonic, refused_s: float) -> None:
        self._clock, self._refused_s = clock, refused_s
        self._faults: dict[TopicPartition, _Fault] = {}
        self._open: dict[TopicPartition, _OpenTransaction] = {}

    def watch(self, client: Any, hold_back: HoldBack) -> None:  # noqa: ANN401 - aiokafka's own
        """Sift the responses to the fetches of ``client``.

        ``hold_back`` is called with each partition that a response has an error for.
        """
        send = client.send

        async def sent(node_id: int, request: Any, **options: Any) -> Any:  # noqa: ANN401
            response = await send(node_id, request, **options)
            if isinstance(request, FetchRequest):
                self._sift(response, hold_back)
            return response

        client.send = sent

    def failed(
        self, partition: TopicPartition, kind: Kind, error: Exception, offset: int = -1
    ) -> None:
        """Note an error. The partition must not be fetched before `due` returns it."""
        fault = self._faults.get(partition)
        if fault is None or (fault.kind, fault.offset) != (kind, offset):
            fault = self._faults[partition] = _Fault(kind, offset, self._clock())
        pause_s = min(PAUSE_MIN_S * 2.0 ** min(fault.count, 16), PAUSE_MAX_S)
        fault.count, fault.error = fault.count + 1, error
        fault.retry_at_s = self._clock() + pause_s

    def read(self, partition: TopicPartition) -> None:
        """Note that records arrived and were parsed."""
        self._faults.pop(partition, None)

    def clear(self) -> None:
        """Forget everything, after a new assignment."""
        self._faults.clear()
        self._open.clear()

    def waits(self, partition: TopicPartition) -> bool:
        """Return whether it is too early to fetch a partition again."""
        fault = self._faults.get(partition)
        return fault is not None and fault.retry_at_s > self._clock()

    def due(self) -> Collection[TopicPartition]:
        """Return the failing partitions that may be fetched again."""
        now_s = self._clock()
        return [at for at, fault in self._faults.items() if fault.retry_at_s <= now_s]

    def reasons(self) -> Mapping[TopicPartition, str]:
        """Return what each failing partition waits for."""
        now_s = self._clock()
        held = {
            at: f"an open transaction of another client has held back {found.held} offsets of"
            f" {at.topic}/{at.partition} for {now_s - found.began_s:.0f} s"
            for at, found in self._open.items()
            if now_s - found.began_s >= OPEN_TRANSACTION_S and now_s - found.seen_s <= SEEN_S
        }
        failed = {
            at: _text(at, fault)
            for at, fault in self._faults.items()
            if fault.kind is Kind.UNREADABLE or now_s - fault.began_s >= REPORTED_AFTER_S
        }
        return held | failed

    def hopeless(self) -> FetchFailed | None:
        """Return the error of a partition that failed for too long, and forget it."""
        for partition, fault in self._faults.items():
            text, lasted_s = _text(partition, fault), self._clock() - fault.began_s
            found: FetchFailed | None = None
            if fault.kind is Kind.UNREADABLE and fault.count >= READS_MAX:
                found = BatchUnreadable(text, partition)
            elif fault.kind is Kind.REFUSED and lasted_s >= self._refused_s:
                found = FetchRefused(f"{text}, for {lasted_s:.0f} s", partition)
            if found is not None:
                del self._faults[partition]
                found.__cause__ = fault.error
                return found
        return None

    def _sift(self, response: Any, hold_back: HoldBack) -> None:  # noqa: ANN401 - aiokafka's own
        """Take errors out of a response, except those that aiokafka treats well."""
        response.topics = [
            (topic, [item for item in items if self._is_left(topic, item, hold_back)])
            for topic, items in response.topics
        ]

    def _is_left(self, topic: str, item: tuple[Any, ...], hold_back: HoldBack) -> bool:
        number, code, *_, records = item
        partition, known = TopicPartition(topic, number), for_code(code)
        if known is OffsetOutOfRangeError:
            return True
        if known is NoError and (not records or has_whole_batch(records)):
            self._note_open(partition, item)
            fault = self._faults.get(partition)
            if fault is not None and fault.kind is not Kind.UNREADABLE:
                self.read(partition)
            return True
        if known is NoError:
            text = f"a fetch of {len(records)} bytes ends within its first batch"
            self.failed(partition, Kind.REFUSED, RecordTooLargeError(text))
        else:
            kind = Kind.MOVING if code in _MOVING else Kind.REFUSED
            self.failed(partition, kind, known(f"code {code}"))
        hold_back(partition)
        return known in _LEFT

    def _note_open(self, partition: TopicPartition, item: tuple[Any, ...]) -> None:
        _, _, end, stable, *_ = item
        if not isinstance(stable, int) or stable >= end:
            self._open.pop(partition, None)
            return
        now_s = self._clock()
        found = self._open.setdefault(partition, _OpenTransaction(now_s, now_s, 0))
        found.seen_s, found.held = now_s, end - stable


def _text(partition: TopicPartition, fault: _Fault) -> str:
    where = f"{partition.topic}/{partition.partition}"
    if fault.kind is Kind.UNREADABLE:
        return f"the batch at offset {fault.offset} of {where}: {fault.error!r}"
    return f"the brokers return no records of {where}: {fault.error!r}"
