"""Whole partitions read from any offset, outside of every group: for proofs and for onlookers."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

from worker.adapters.kafka.deadline import answered_within, require_brokers, stop_within
from worker.adapters.kafka.settings import Deadlines
from worker.ports import Record, Tail, TopicPartition

FIXED: Final[dict[str, Any]] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "isolation_level": "read_committed",
    "fetch_max_wait_ms": 50,
}
TAIL_POLL_S: Final = 0.1


class AiokafkaReader:
    """Reads partitions. Nothing is fetched of one before its `seek`. Use with ``async with``."""

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

    async def __aenter__(self) -> Self:
        """Connect. Raises BrokerError by the deadline."""
        kafka = AIOKafkaConsumer(**{**FIXED, **self._settings})
        require_brokers(kafka._client)  # noqa: SLF001
        try:
            async with answered_within(self._deadlines.start_s, "starting a reader"):
                await kafka.start()
            held = [KafkaPartition(*partition) for partition in self._partitions]
            kafka.assign(held)
            # In one step with the assignment, so that none is fetched at the group's offset.
            for partition in held:
                kafka.seek(partition, 0)
            kafka.pause(*held)
        except BaseException:
            await stop_within(self._deadlines.close_s, kafka.stop())
            raise
        self._kafka = kafka
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        """Let go of it, within a bound."""
        kafka, self._kafka = self._kafka, None
        if kafka is not None:
            await stop_within(self._deadlines.close_s, kafka.stop())

    async def ends(self) -> dict[TopicPartition, int]:
        """Return the next offset to be written of each partition."""
        asked = [KafkaPartition(*partition) for partition in self._partitions]
        async with answered_within(self._deadlines.call_s, "end offsets"):
            found = await self._open().end_offsets(asked)
        return {TopicPartition(*partition): offset for partition, offset in found.items()}

    async def starts(self) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has."""
        asked = [KafkaPartition(*partition) for partition in self._partitions]
        async with answered_within(self._deadlines.call_s, "beginning offsets"):
            found = await self._open().beginning_offsets(asked)
        return {TopicPartition(*partition): offset for partition, offset in found.items()}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver from ``offset`` on."""
        self._open().seek(KafkaPartition(*partition), offset)
        self._open().resume(KafkaPartition(*partition))

    async def poll(self, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return what has arrived, waiting at most ``timeout_s``. Raises BrokerError."""
        async with answered_within(timeout_s + self._deadlines.call_s, "reading"):
            fetched = await self._open().getmany(timeout_ms=int(timeout_s * 1_000))
        return {
            TopicPartition(*partition): [
                Record(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records
            ]
            for partition, records in fetched.items()
        }

    async def tail(self, partition: TopicPartition, offsets: int) -> Tail:
        """Return the last ``offsets`` of a partition. Raises BrokerError by the deadline.

        Some of them may hold no record any more, or the mark of a transaction: what counts is how
        far the position got.
        """
        asked = KafkaPartition(*partition)
        end = (await self.ends())[partition]
        self.seek(partition, max((await self.starts())[partition], end - offsets))
        found: list[Record] = []
        async with answered_within(self._deadlines.call_s, f"the tail of {asked}"):
            while await self._open().position(asked) < end:
                found.extend((await self.poll(TAIL_POLL_S)).get(partition, ()))
        return Tail(end, found)

    def _open(self) -> AIOKafkaConsumer:
        if self._kafka is None:
            raise RuntimeError("the reader is not open: use it in `async with`")
        return self._kafka
