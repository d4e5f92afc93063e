"""A lane's input: the records that wait for their answer, each taken once, in the log's order.

    broker ──► offer ──► queue ──► take ──► taken, a batch ──► answered
               identity            decode

A record counts once. Anything older than the newest record taken was answered before, unless the
lane's row says that it waits. Missing offsets are normal: transactions and compaction leave gaps in
the log.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import islice
from operator import attrgetter
from typing import Final, Protocol

from worker.domain.commands import Received, Unreadable
from worker.domain.state import StreamKind
from worker.domain.units import Offset
from worker.errors import LaneHalted
from worker.ports import LaneRow, Record, StreamRow
from worker.telemetry import log
from worker.topic_rules import foreign
from worker.wire.decode import VALUE_BYTES_MAX, decode_order, decode_transfer, record_sha

COMMANDS_PER_BATCH: Final = 2_000
BYTES_PER_BATCH: Final = 4 * 1_048_576
"""Memory of the records of a batch, give or take the last one."""
DECODED_BYTES_MAX: Final = 1_024
"""Memory that a decoded command takes, about. Only a record that is no command keeps its bytes."""
BYTES_PER_TAKE: Final = 262_144
"""Bytes that are decoded at once. Of the slowest JSON they take 30 ms. An order has 150 to 300."""
QUEUED_RECORDS_MAX: Final = 8_000
"""Records that may wait for their answer. Above it the partition pauses, below half it resumes."""

_by_offset: Final = attrgetter("offset")


class Source(Protocol):
    """The lane's input partition."""

    async def topic_id(self) -> str:
        """Return the id of the topic now. Empty: the brokers have none. Raises BrokerError."""

    async def bounds(self) -> tuple[int, int]:
        """Return (first offset, next offset to be written)."""

    def seek(self, offset: int) -> None:
        """Deliver from ``offset`` on."""


class Intake:
    """The records of one partition between the broker and their batch."""

    def __init__(self, stream: StreamRow, partition: int) -> None:
        self.name = f"{stream.topic}[{partition}]"
        self._stream = stream
        self._decode = decode_order if stream.kind is StreamKind.ORDERS else decode_transfer
        self._queue: deque[Record] = deque()
        self._expected = 0
        self.first = 0
        """The first offset that was there at the start."""
        self._unchecked_sha = ""
        self._taken_sizes: list[int] = []
        self._taken_bytes = 0
        """Memory of the taken records that do not wait."""
        self.backlog_bytes = 0
        """Memory of the records at the lane's cursor and beyond it."""
        self._waiting: frozenset[Offset] = frozenset()
        self._missing: set[int] = set()
        """Offsets that wait and were not read again yet."""
        self.taken: list[Received] = []
        """The decoded commands without an answer: those that wait, and those of the next batch."""

    @property
    def backlog(self) -> int:
        """Return how many records wait for their answer."""
        return len(self._queue) + len(self.taken)

    @property
    def beyond_cursor(self) -> int:
        """Return how many records wait for their answer at the lane's cursor or beyond it."""
        return self.backlog - len(self._waiting) + len(self._missing)

    async def seek(self, row: LaneRow, waiting: frozenset[Offset], source: Source) -> None:
        """Begin at the cursor, or at the first record that waits.

        A lane that has answered nothing begins at the first record that is left. In any other lane
        the record before the cursor is read again where it still exists, to compare it with the
        record that was answered there. Raises LaneHalted if another topic is there, or a shorter
        one.
        """
        await self._check_topic(source)
        first, end = await source.bounds()
        if not row.next_offset and first:
            self.first = self._expected = first
            log.warning("lane_begins_late", topic=self.name, first_offset=first)
            source.seek(first)
            return
        if not first <= min(waiting, default=row.next_offset) or not row.next_offset <= end:
            raise LaneHalted(
                f"{self.name} holds offsets {first} to {end} and the lane's next offset is"
                f" {row.next_offset}: truncated, recreated, or past its retention"
            )
        self._expected = row.next_offset
        again = bool(row.last_record_sha) and first < row.next_offset
        self._unchecked_sha = row.last_record_sha if again else ""
        self._waiting, self._missing = waiting, set(waiting)
        source.seek(min(row.next_offset - again, *waiting, row.next_offset))

    def offer(self, records: Sequence[Record]) -> None:
        """Queue fetched records, except those that were answered before.

        Raises LaneHalted if the record before the cursor is not the record that was answered, or
        a record that waits is gone.
        """
        for record in records:
            if record.offset in self._missing:
                self._missing.discard(record.offset)
                self._queue.append(record)
                self.backlog_bytes += record.size
            elif self._unchecked_sha and record.offset < self._expected:
                self._check_identity(record)
            elif record.offset >= self._expected:
                self._require_waiting()
                # The log no longer has the record before the cursor: nothing is left to compare.
                self._unchecked_sha = ""
                self._queue.append(record)
                self.backlog_bytes += record.size
                self._expected = record.offset + 1

    def take(self, ahead: int = 0) -> list[Received]:
        """Decode queued records until the batch is full, and return the batch.

        ``ahead`` commands may be added, for a lane in which many cannot be answered yet.
        Records that would keep the event loop for long are left to the next batch.
        """
        more, decoded = max(ahead, len(self._waiting)), 0
        room = COMMANDS_PER_BATCH + more - len(self.taken)
        for record in list(islice(self._queue, max(room, 0))):
            if self._taken_bytes >= BYTES_PER_BATCH:
                break
            if decoded >= BYTES_PER_TAKE:
                break
            decoded += _decoded_bytes(record)
            self._queue.popleft()
            received = self._decoded(record)
            self.taken.append(received)
            size = 0 if received.offset in self._waiting else _kept_bytes(record, received)
            self._taken_sizes.append(size)
            self._taken_bytes += size
            self.backlog_bytes -= record.size - size
        return self.taken

    def answered(self, next_offset: Offset, waiting: frozenset[Offset]) -> None:
        """Drop the commands before ``next_offset`` that do not wait: a commit has answered them."""
        passed = bisect_left(self.taken, next_offset, key=_by_offset)
        kept = [at for at in range(passed) if self.taken[at].offset in waiting] if waiting else []
        size = sum(self._taken_sizes[:passed])
        self.backlog_bytes -= size
        self._taken_bytes -= size
        self.taken[:passed] = [self.taken[at] for at in kept]
        # Their number has a bound of its own, so they take no room from the queue.
        self._taken_sizes[:passed] = [0] * len(kept)
        self._waiting = waiting

    def _decoded(self, record: Record) -> Received:
        key, value, headers = record.key, record.value, record.headers
        return Received(
            Offset(record.offset),
            record.arrival_ms,
            record_sha(key, value, headers),
            self._decode(key, value, headers),
        )

    def _require_waiting(self) -> None:
        if self._missing:
            raise LaneHalted(
                f"record {min(self._missing)} of {self.name} waits for its answer and is gone:"
                " truncated, recreated, or past its retention"
            )

    async def _check_topic(self, source: Source) -> None:
        """Raise LaneHalted if the topic has another id than the one that this stream reads."""
        known_id = self._stream.topic_id
        if known_id and (why := foreign(self._stream.topic, known_id, await source.topic_id())):
            raise LaneHalted(why)

    def _check_identity(self, record: Record) -> None:
        if record.offset == self._expected - 1:
            if record_sha(record.key, record.value, record.headers) != self._unchecked_sha:
                raise LaneHalted(
                    f"record {record.offset} of {self.name} is not the one that was answered: the"
                    " topic was recreated. RUNBOOK, 'The input topic is not what it was', brings it"
                    " back"
                )
            self._unchecked_sha = ""


def _kept_bytes(record: Record, received: Received) -> int:
    """Return how much memory a decoded record takes."""
    is_kept = isinstance(received.command, Unreadable)
    return record.size if is_kept else min(record.size, DECODED_BYTES_MAX)


def _decoded_bytes(record: Record) -> int:
    """Return how many bytes of a record are read as JSON. Larger values are refused unread."""
    size = len(record.value or b"")
    return size if size <= VALUE_BYTES_MAX else 0
