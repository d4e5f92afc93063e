"""Publishing of a lane's events from its journal, in order, at least once, byte for byte.

There is one idempotent producer with one send in flight. After any error the producer is replaced,
because its sequence numbers are lost, and publishing goes on with the events that the topic lacks.
So the first occurrences of all ``seq`` are in order and without gaps, and every repeat is
identical.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from worker.errors import BrokerError, EventsLost
from worker.ports import (
    Broker,
    JournalRow,
    Outgoing,
    Producer,
    Record,
    System,
    TopicPartition,
)
from worker.retry import retry
from worker.telemetry import LaneMetrics, log
from worker.wire import journal

QUEUED_BATCHES_MAX: Final = 32
"""Committed batches that may wait to be published. The lane takes no commands beyond that."""
QUEUED_BYTES_MAX: Final = 2 * 1_048_576
"""Their size, give or take a batch."""
RECORDS_PER_SEND: Final = 5_000
BYTES_PER_SEND: Final = 1_048_576
"""Journal text that is decoded at once, give or take a batch. It takes the event loop 20 ms."""
BACKOFF_CAP_S: Final = 5.0
TAIL_OFFSETS: Final = 200
"""Number of trailing records to inspect. Some may be repeats or another stream's."""


class Publisher:
    """Publishes the committed batches of a lane."""

    def __init__(
        self,
        broker: Broker,
        route: journal.Route,
        *,
        system: System,
        metrics: LaneMetrics,
    ) -> None:
        self._broker = broker
        self._route = route
        self._system = system
        self._metrics = metrics
        self._waiting: deque[JournalRow] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Condition()
        self.acknowledged_seq = 0
        self._there_seq = 0
        self.seen_seq = 0
        """The highest seq ever seen at the topic's end. There may be a gap before it."""
        self._ended_by: Exception | None = None
        self.published_batch_no = 0
        self._failed = False

    async def published_seq(self) -> int | None:
        """Return the last seq up to which the topic has all events, or None if all have expired.

        Events up to it are not published again, since their publisher wrote them in order. Events
        after a gap do not count, because the brokers lost those in the gap. Raises BrokerError.
        """
        topic, partition = self._route.events_topic, self._route.partition
        tail = await self._broker.tail(TopicPartition(topic, partition), TAIL_OFFSETS)
        seqs, whole = [self._seq(record) for record in tail.records], len(tail.records) == tail.end
        self.seen_seq = max([self.seen_seq, *seqs])
        self._there_seq = _reached(seqs, whole=whole)
        self.acknowledged_seq = max(self.acknowledged_seq, self._there_seq)
        return self._there_seq if self._there_seq or whole else None

    def last_seq(self, row: JournalRow) -> int:
        """Return the last seq of a batch, or 0 if the batch has no event."""
        return self._last_seq(journal.decode(row.events, self._route))

    def _seq(self, record: Record | Outgoing) -> int:
        return journal.seq_of(record.headers, self._route)

    def _last_seq(self, records: Sequence[Outgoing]) -> int:
        # The headers of a dead letter are those of its original.
        own = (self._seq(r) for r in reversed(records) if r.topic == self._route.events_topic)
        return next(own, 0)

    async def put(self, row: JournalRow) -> None:
        """Queue a committed batch, in order, after a wait while the queue is full.

        Raises the error that ended ``run``, if one did.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: not self.full or self._ended_by is not None)
            self.require_running()
            self._waiting.append(row)
            self._waiting_bytes += len(row.events)
            self._changed.notify_all()

    def require_running(self) -> None:
        """Raise the error that ended ``run``, if one did."""
        if self._ended_by is not None:
            raise self._ended_by

    @property
    def full(self) -> bool:
        """Return whether ``put`` would wait."""
        count, size = len(self._waiting), self._waiting_bytes
        return count >= QUEUED_BATCHES_MAX or size >= QUEUED_BYTES_MAX

    @property
    def failing(self) -> bool:
        """Return whether the last attempt to publish failed and batches wait."""
        return self._failed and bool(self._waiting)

    async def drained(self) -> None:
        """Wait until all queued batches are acknowledged."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting)

    async def flush(self) -> None:
        """Publish the queued batches. Raises BrokerError after the first failure."""
        producer = await self._broker.producer()
        try:
            while self._waiting:
                await self._publish_next(producer)
        finally:
            await producer.close()

    async def run(self) -> None:
        """Publish until cancelled. Raises EventsLost."""
        try:
            await self._publish()
        except Exception as error:
            async with self._changed:
                self._ended_by = error
                self._changed.notify_all()
            raise

    async def _publish(self) -> None:
        """Publish until cancelled, after each failure with a new producer. Raises EventsLost."""
        has_failed = False

        async def publish() -> None:
            if has_failed:
                await self._require_kept()
            await self._publish_all()

        def failed(error: Exception) -> None:
            nonlocal has_failed
            has_failed = self._failed = True
            self._metrics.publish_failed()
            log.warning("publish_failed", **self._metrics.names, error=str(error))

        await retry(
            publish,
            BrokerError,
            cap_s=BACKOFF_CAP_S,
            tries=None,
            system=self._system,
            failed=failed,
        )

    async def _require_kept(self) -> None:
        """Raise EventsLost if the topic lacks events that it acknowledged."""
        seq = await self.published_seq()
        if seq is not None and seq < self.acknowledged_seq:
            raise EventsLost(
                f"event {self.acknowledged_seq} was published, but the topic ends at {seq}"
            )

    async def _publish_all(self) -> None:
        """Publish with one producer until it fails."""
        producer = await self._broker.producer()
        try:
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: bool(self._waiting))
                await self._publish_next(producer)
        finally:
            await producer.close()

    async def _publish_next(self, producer: Producer) -> None:
        """Send as many whole batches as fit one send, at least one."""
        records: list[Outgoing] = []
        taken = size = 0
        for row in self._waiting:
            if taken and (len(records) >= RECORDS_PER_SEND or size >= BYTES_PER_SEND):
                break
            size += len(row.events)
            records.extend(self._missing(journal.decode(row.events, self._route)))
            taken += 1
        if records:
            await producer.send(records)
            self.acknowledged_seq = max(self.acknowledged_seq, self._last_seq(records))
        self._failed = False
        async with self._changed:
            for _ in range(taken):
                row = self._waiting.popleft()
                self._waiting_bytes -= len(row.events)
                self.published_batch_no = max(self.published_batch_no, row.batch_no)
            self._changed.notify_all()
        self._metrics.published(len(records))

    def _missing(self, records: list[Outgoing]) -> list[Outgoing]:
        """Return the events of a batch that the topic lacks, and all of its dead letters."""
        if not self._there_seq:
            return records
        events_topic, there_seq = self._route.events_topic, self._there_seq
        missing = [r for r in records if r.topic != events_topic or self._seq(r) > there_seq]
        if records and len(missing) == len(records):
            self._there_seq = 0
        return missing


def _reached(seqs: Iterable[int], *, whole: bool) -> int:
    """Return the last seq before a gap, counted from the first one, or from 1 if ``whole``."""
    reached = 0
    for seq in seqs:
        if seq == reached + 1 or not (reached or whole):
            reached = seq
    return reached
