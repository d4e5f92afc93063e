"""Readers of whole partitions from any offset, outside of every group."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

from worker.adapters.kafka.batches import Turn, UnreadableBatch, records_of
from worker.adapters.kafka.deadline import answered_within, require_brokers
from worker.adapters.kafka.group import stop_consumer
from worker.adapters.kafka.settings import Deadlines
from worker.errors import BrokerError
from worker.ports import Record, TopicEnd, TopicPartition

FIXED: Final[dict[str, Any]] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "isolation_level": "read_committed",
    "fetch_max_wait_ms": 50,
}
TAIL_POLL_S: Final = 0.1


class AiokafkaReader:
    """Reads partitions, each from its first `seek` on. Use with ``async with``."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        partitions: Iterable[TopicPartition],
        deadlines: Deadlines,
    ) -> None:
        self._settings = settings
        self._partitions = list(partitions)
        self._deadlines = deadlines
        self._kafka: AIOKafkaConsumer | None = None
        self._turn = Turn()

    async def __aenter__(self) -> Self:
        """Connect. Raises BrokerError by the deadline."""
        kafka = AIOKafkaConsumer(**{**FIXED, **self._settings}, key_deserializer=self._turn)
        require_brokers(kafka._client)  # noqa: SLF001
        try:
            async with answered_within(self._deadlines.start_s, "starting a reader"):
                await kafka.start()
            held = [KafkaPartition(*partition) for partition in self._partitions]
            kafka.assign(held)
            # No await since the assignment, so that none is fetched at the group's offset.
            for partition in held:
                kafka.seek(partition, 0)
            kafka.pause(*held)
        except BaseException:
            await stop_consumer(kafka, self._deadlines.close_s)
            raise
        self._kafka = kafka
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        """Close within ``close_s`` and a second or two."""
        kafka, self._kafka = self._kafka, None
        if kafka is not None:
            await stop_consumer(kafka, self._deadlines.close_s)

    async def ends(self) -> dict[TopicPartition, int]:
        """Return the next offset to be written of each partition."""
        asked = [KafkaPartition(*partition) for partition in self._partitions]
        async with answered_within(self._deadlines.call_s, "end offsets"):
            found = await self._open().end_offsets(asked)
        return {TopicPartition(*partition): offset for partition, offset in found.items()}

    async def starts(self) -> dict[TopicPartition, int]:
        """Return the first offset of each partition that retention has left."""
        asked = [KafkaPartition(*partition) for partition in self._partitions]
        async with answered_within(self._deadlines.call_s, "beginning offsets"):
            found = await self._open().beginning_offsets(asked)
        return {TopicPartition(*partition): offset for partition, offset in found.items()}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver from ``offset`` on."""
        self._open().seek(KafkaPartition(*partition), offset)
        self._open().resume(KafkaPartition(*partition))

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset that is fetched next."""
        return int(await self._open().position(KafkaPartition(*partition)))

    async def poll(self, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the records that arrived within ``timeout_s``. Raises BrokerError."""
        timeout_s = 0.0 if self._turn.unfinished else timeout_s
        self._turn.begin()
        async with answered_within(timeout_s + self._deadlines.call_s, "reading"):
            fetched = await self._open().getmany(timeout_ms=int(timeout_s * 1_000))
        for partition, (*_, last) in fetched.items():
            if isinstance(last, UnreadableBatch):
                where = f"{partition.topic}[{partition.partition}] at offset {last.offset}"
                raise BrokerError(f"{where}: a batch cannot be read: {last.error!r}")
        return {
            TopicPartition(*partition): records_of(records)
            for partition, records in fetched.items()
        }

    async def tail(self, partition: TopicPartition, offsets: int) -> TopicEnd:
        """Return the last ``offsets`` of a partition. Raises BrokerError by the deadline.

        Some offsets may have no record any more, or a transaction marker. So the loop ends by the
        position, not by the number of records.
        """
        asked = KafkaPartition(*partition)
        end = (await self.ends())[partition]
        self.seek(partition, max((await self.starts())[partition], end - offsets))
        found: list[Record] = []
        async with answered_within(self._deadlines.call_s, f"the tail of {asked}"):
            while await self._open().position(asked) < end:
                found.extend((await self.poll(TAIL_POLL_S)).get(partition, ()))
        return TopicEnd(end, found)

    def _open(self) -> AIOKafkaConsumer:
        if self._kafka is None:
            raise RuntimeError("the reader is not open: use it in `async with`")
        return self._kafka
