"""An idempotent producer that never goes past a failure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed
from aiokafka.producer.message_accumulator import BatchBuilder

from worker.adapters.kafka.deadline import answered_within, cancelled, require_brokers, stop_within
from worker.adapters.kafka.settings import Deadlines
from worker.errors import BrokerError
from worker.ports import Outgoing

BATCH_BYTES_MAX: Final = 524_288
"""The events of one database batch, in half of what a broker takes (``max.message.bytes``)."""
RECORD_BYTES_MAX: Final = 1_000_000
"""A larger record is not sent: the broker would refuse it, and the producer be lost (A23)."""

FIXED: Final[dict[str, Any]] = {
    "enable_idempotence": True,
    "acks": "all",
    # Batches are built here, so there is nothing to wait for.
    "linger_ms": 0,
    "request_timeout_ms": 10_000,
    "max_batch_size": BATCH_BYTES_MAX,
}


class AiokafkaProducer:
    """Implements `ports.Producer`. One `send` at a time: two would mix their records."""

    def __init__(self, settings: Mapping[str, Any], deadlines: Deadlines) -> None:
        self._kafka = AIOKafkaProducer(**FIXED, **settings)
        require_brokers(self._kafka.client)
        self._deadlines = deadlines
        self._usable = False

    async def start(self) -> None:
        """Get a producer id; when that fails, let go of everything again."""
        try:
            async with answered_within(self._deadlines.start_s, "starting a producer"):
                await self._kafka.start()
        except BaseException:
            await self.close()
            raise
        self._usable = True

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Publish, each partition in order, and return when all are acknowledged.

        A batch is handed over when the one before it is acknowledged. aiokafka has only one batch
        of a partition in flight anyway; but with the next one in its queue it would send that after
        a failure too, and a broker takes any sequence from a producer id it has not seen yet.
        """
        if not self._usable:
            raise BrokerError("this producer is closed or has failed before")
        # Until the end is known: also for the cancelled, whose records may still arrive.
        self._usable = False
        async with answered_within(self._deadlines.send_s, f"publishing {len(records)} records"):
            for (topic, partition), own in _by_partition(records).items():
                await self._require(topic, partition)
                for batch in self._batches(own):
                    await (await self._kafka.send_batch(batch, topic, partition=partition))
        self._usable = True

    async def close(self) -> None:
        """Let go within ``close_s`` and a second or two; at once after a failure."""
        # A24: with unacknowledged batches aiokafka's ``stop`` would wait for them for ever.
        patience_s = self._deadlines.close_s if self._usable else 0.0
        self._usable = False
        if not patience_s:
            # Or a task of its own, which nobody ends, would go on waiting for them.
            self._kafka._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001
        await stop_within(patience_s, self._kafka.stop())
        await stop_within(1.0, self._kafka.client.close())
        await cancelled([self._kafka._sender.sender_task])  # noqa: SLF001

    async def _require(self, topic: str, partition: int) -> None:
        if partition not in await self._kafka.partitions_for(topic):
            raise BrokerError(f"there is no partition {partition} in {topic}")

    def _batches(self, records: Sequence[Outgoing]) -> Iterator[BatchBuilder]:
        batch = self._kafka.create_batch()
        for record in records:
            if not _added(record, batch):
                yield batch
                batch = self._kafka.create_batch()
                _added(record, batch)
            if batch.size() > RECORD_BYTES_MAX:
                raise BrokerError(f"a record of {batch.size()} bytes for {record.topic}")
        yield batch


def _added(record: Outgoing, batch: BatchBuilder) -> bool:
    headers = list(record.headers)
    metadata = batch.append(
        timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=headers
    )
    return metadata is not None


def _by_partition(records: Sequence[Outgoing]) -> dict[tuple[str, int], list[Outgoing]]:
    parts: dict[tuple[str, int], list[Outgoing]] = {}
    for record in records:
        parts.setdefault((record.topic, record.partition), []).append(record)
    return parts
