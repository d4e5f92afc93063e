"""An idempotent producer that sends nothing after a failure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed
from aiokafka.producer.message_accumulator import BatchBuilder

from worker.adapters.kafka.batches import AnyNamesBuilder
from worker.adapters.kafka.deadline import answered_within, cancelled, require_brokers, stop_within
from worker.adapters.kafka.settings import Deadlines
from worker.errors import BrokerError
from worker.ports import Outgoing
from worker.topic_rules import PUBLISHED_BYTES_MAX

BATCH_BYTES_MAX: Final = PUBLISHED_BYTES_MAX
RECORD_BYTES_MAX: Final = 1_000_000
"""Larger records are not sent. The broker would refuse one, and the producer be lost (A23)."""

FIXED: Final[dict[str, Any]] = {
    "enable_idempotence": True,
    "acks": "all",
    # Batches are built here, so waiting for more records is of no use.
    "linger_ms": 0,
    # A third of the time for publishing, because a frozen broker accepts connections and never
    # answers. The next request goes to another broker.
    "request_timeout_ms": 3_000,
    "max_batch_size": BATCH_BYTES_MAX,
}


class AiokafkaProducer:
    """Implements `ports.Producer`. Call `send` once at a time, or records would be mixed."""

    def __init__(self, settings: Mapping[str, Any], deadlines: Deadlines) -> None:
        self._kafka = AIOKafkaProducer(**FIXED, **settings)
        require_brokers(self._kafka.client)
        self._deadlines = deadlines
        self._usable = False

    async def start(self) -> None:
        """Get a producer id. Closes itself if that fails."""
        try:
            async with answered_within(self._deadlines.start_s, "starting a producer"):
                await self._kafka.start()
        except BaseException:
            await self.close()
            raise
        self._usable = True

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Publish each partition's records in order and return when all are acknowledged.

        aiokafka gets a batch only after the batch before it is acknowledged. It has only one batch
        of a partition in flight anyway, but after a failure it would send the next one from its
        queue. A broker accepts any sequence number from a producer id that it has not seen.
        """
        if not self._usable:
            raise BrokerError("this producer is closed or has failed: make another one")
        # Until the outcome is known. Records of a cancelled call may still arrive.
        self._usable = False
        async with answered_within(self._deadlines.send_s, f"publishing {len(records)} records"):
            for (topic, partition), own in _by_partition(records).items():
                await self._require(topic, partition)
                for batch in self._batches(own):
                    await (await self._kafka.send_batch(batch, topic, partition=partition))
        self._usable = True

    async def close(self) -> None:
        """Close within ``close_s`` and a second or two, or at once after a failure."""
        # A24: aiokafka's ``stop`` would wait without end for unacknowledged batches.
        patience_s = self._deadlines.close_s if self._usable else 0.0
        self._usable = False
        if not patience_s:
            # Otherwise an aiokafka task that nobody ends would go on waiting for them.
            self._kafka._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001
        await stop_within(patience_s, self._kafka.stop())
        await stop_within(1.0, self._kafka.client.close())
        await cancelled([self._kafka._sender.sender_task])  # noqa: SLF001

    async def _require(self, topic: str, partition: int) -> None:
        if partition not in await self._kafka.partitions_for(topic):
            raise BrokerError(f"topic {topic} has no partition {partition}")

    def _batches(self, records: Sequence[Outgoing]) -> Sequence[BatchBuilder]:
        try:
            return list(_packed(records, self._kafka.create_batch))
        except UnicodeEncodeError:
            # The headers of a dead letter are a stranger's, and their names may be any bytes (A38).
            return list(_packed(records, self._any_names))

    def _any_names(self) -> BatchBuilder:
        return AnyNamesBuilder(BATCH_BYTES_MAX, 0)


def _packed(
    records: Sequence[Outgoing], new_batch: Callable[[], BatchBuilder]
) -> Iterator[BatchBuilder]:
    batch = new_batch()
    for record in records:
        if not _added(record, batch):
            yield batch
            batch = new_batch()
            _added(record, batch)
        if batch.size() > RECORD_BYTES_MAX:
            size = f"{batch.size()} bytes, at most {RECORD_BYTES_MAX} are sent"
            raise BrokerError(f"a record for topic {record.topic} has {size}")
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
