"""A lane's events, from journal to topic: in order, at least once, byte for byte.

One idempotent producer, one send in flight. On any error the producer is thrown away, because
what it numbered is lost, and publishing goes on with what the topic lacks. So the first occurrence
of every ``seq`` is in order and without gaps, and a repeat is identical.
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
from worker.telemetry import LaneMetrics, log
from worker.wire import journal

QUEUED_BATCHES_MAX: Final = 32
"""Committed batches that may wait to be published; then the lane takes no more."""
RECORDS_A_SEND: Final = 5_000
BACKOFF_CAP_S: Final = 5.0
TAIL_OFFSETS: Final = 200
"""So many of the last records are looked at: repeats, or another stream's, may stand among them."""


class Publisher:
    """Publishes what a lane has committed."""

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
        self._changed = asyncio.Condition()
        self.acknowledged_seq = 0
        self._there_seq = 0
        self.seen_seq = 0
        """The highest that ever stood at the topic's end, though there may be a gap before it."""
        self._ended_by: Exception | None = None
        self.published_batch_no = 0
        self._failed = False

    async def published_seq(self) -> int | None:
        """Return up to which seq the topic has the lane's events; None: they have all expired.

        Events up to there are not published again: whoever wrote the last of them had written all
        before it. What stands behind a gap does not count, because the brokers lost what was in it.
        Raises BrokerError.
        """
        topic, partition = self._route.events_topic, self._route.partition
        tail = await self._broker.tail(TopicPartition(topic, partition), TAIL_OFFSETS)
        seqs, whole = [self._seq(record) for record in tail.records], len(tail.records) == tail.end
        self.seen_seq = max([self.seen_seq, *seqs])
        self._there_seq = _reached(seqs, whole=whole)
        self.acknowledged_seq = max(self.acknowledged_seq, self._there_seq)
        return self._there_seq if self._there_seq or whole else None

    def last_seq(self, row: JournalRow) -> int:
        """Return the last seq of a batch; 0 when it has no event."""
        return self._last_seq(journal.decode(row.events, self._route))

    def _seq(self, record: Record | Outgoing) -> int:
        return journal.seq_of(record.headers, self._route)

    def _last_seq(self, records: Sequence[Outgoing]) -> int:
        # A dead letter carries headers of strangers.
        own = (self._seq(r) for r in reversed(records) if r.topic == self._route.events_topic)
        return next(own, 0)

    async def put(self, row: JournalRow) -> None:
        """Queue a committed batch, waiting while the queue is full. Batches come in order.

        Raises what ended ``run``, when nothing is published any more.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: not self.full or self._ended_by is not None)
            if self._ended_by is not None:
                raise self._ended_by
            self._waiting.append(row)
            self._changed.notify_all()

    @property
    def full(self) -> bool:
        """Return whether ``put`` would wait."""
        return len(self._waiting) >= QUEUED_BATCHES_MAX

    @property
    def failing(self) -> bool:
        """Return whether the brokers did not take what waits, when last asked."""
        return self._failed and bool(self._waiting)

    async def drained(self) -> None:
        """Wait until all that was queued is acknowledged."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting)

    async def flush(self) -> None:
        """Publish what is queued, and no more. Raises BrokerError."""
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
        """Publish for ever, each time with another producer. Raises EventsLost."""
        failures = 0
        while True:
            try:
                if failures:
                    await self._require_kept()
                await self._publish_all()
            except BrokerError as error:
                failures += 1
                self._failed = True
                self._metrics.publish_failed()
                log.warning("publish_failed", **self._metrics.names, error=str(error))
                await self._system.back_off(failures, cap_s=BACKOFF_CAP_S)

    async def _require_kept(self) -> None:
        """Raise EventsLost when the topic does not have what it acknowledged: it is another one."""
        seq = await self.published_seq()
        if seq is not None and seq < self.acknowledged_seq:
            raise EventsLost(
                f"event {self.acknowledged_seq} was published, the topic ends at {seq}"
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
        taken = 0
        for row in self._waiting:
            if taken and len(records) >= RECORDS_A_SEND:
                break
            records.extend(self._missing(journal.decode(row.events, self._route)))
            taken += 1
        if records:
            await producer.send(records)
            self.acknowledged_seq = max(self.acknowledged_seq, self._last_seq(records))
        self._failed = False
        async with self._changed:
            for _ in range(taken):
                number = self._waiting.popleft().batch_no
                self.published_batch_no = max(self.published_batch_no, number)
            self._changed.notify_all()
        self._metrics.published(len(records))

    def _missing(self, records: list[Outgoing]) -> list[Outgoing]:
        """Return what the topics lack of a batch, and its dead letters: nobody looked for them."""
        if not self._there_seq:
            return records
        events_topic, there_seq = self._route.events_topic, self._there_seq
        missing = [r for r in records if r.topic != events_topic or self._seq(r) > there_seq]
        if records and len(missing) == len(records):
            self._there_seq = 0
        return missing


def _reached(seqs: Iterable[int], *, whole: bool) -> int:
    """Return how far seqs go without a gap, from the first on; from 1 on if they are ``whole``."""
    reached = 0
    for seq in seqs:
        if seq == reached + 1 or not (reached or whole):
            reached = seq
    return reached
