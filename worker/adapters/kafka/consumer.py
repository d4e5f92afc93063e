"""A member of the consumer group.

A partition is born paused, at a position that is never fetched, and stays so until the
application's first ``seek``. aiokafka would otherwise take the group's offset as its position, or
raise for want of one, before the application has read its own cursor (A1, A15).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import OffsetOutOfRangeError

from worker.adapters.kafka.deadline import (
    answered_within,
    cancelled,
    require_brokers,
    seen,
    stop_within,
    translated,
)
from worker.adapters.kafka.group import Listener, round_robin, sever
from worker.adapters.kafka.settings import Deadlines
from worker.errors import BrokerError, OffsetOutOfRange
from worker.ports import Assignment, Record, TopicPartition

REBALANCE_GRACE_S: Final = 0.1
"""By so much a poll may outlast its timeout: aiokafka waits for the end of a rebalance."""

FIXED: Final[dict[str, Any]] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "isolation_level": "read_committed",
    "heartbeat_interval_ms": 1_000,
    # The reply to JoinGroup takes a rebalance, and is awaited this long (A4).
    "request_timeout_ms": 30_000,
    "max_poll_interval_ms": 60_000,
    "fetch_max_wait_ms": 50,
    # Small, so that no partition crowds out the others, and memory is bounded (A19, A32).
    "max_partition_fetch_bytes": 262_144,
}


class AiokafkaConsumer:
    """Implements `ports.Consumer`. Use it from one task; callbacks come from another."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        topics: Sequence[str],
        assignment: Assignment,
        deadlines: Deadlines,
    ) -> None:
        self._settings = settings
        self._topics = list(topics)
        self._told = assignment
        self._deadlines = deadlines
        self._kafka: AIOKafkaConsumer | None = None
        self._held: frozenset[TopicPartition] = frozenset()
        self._unsought: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._hint: asyncio.Task[None] | None = None
        self._bug: BaseException | None = None

    async def start(self) -> None:
        """Join the group; when that fails, let go of everything again."""
        self._kafka = AIOKafkaConsumer(
            **FIXED,
            **self._settings,
            session_timeout_ms=int(self._deadlines.session_s * 1_000),
            rebalance_timeout_ms=int(self._deadlines.rebalance_s * 1_000),
            partition_assignment_strategy=(round_robin(self._receive),),
        )
        require_brokers(self._kafka._client)  # noqa: SLF001
        self._kafka.subscribe(self._topics, listener=Listener(self._assigned, self._revoked))
        try:
            async with answered_within(self._deadlines.start_s, "joining the group"):
                await self._kafka.start()
        except BaseException:
            await self.close()
            raise

    async def poll(self, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return what has arrived. A dead broker looks like an idle one: ask for `bounds`."""
        kafka = self._open()
        try:
            # Cancelling is safe (A36): records are taken without an await.
            async with asyncio.timeout(timeout_s + REBALANCE_GRACE_S):
                with translated("fetching"):
                    fetched = await kafka.getmany(timeout_ms=int(timeout_s * 1_000))
        except TimeoutError:
            return {}
        except BrokerError as error:
            if isinstance(error.__cause__, OffsetOutOfRangeError):
                self._raise_out_of_range(kafka, error.__cause__)
                return {}
            raise
        return {
            TopicPartition(*partition): [
                Record(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records
            ]
            for partition, records in fetched.items()
        }

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions held, none during a rebalance."""
        return self._held

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver from ``offset`` on, unless the application has paused the partition."""
        if self._kafka is None or partition not in self._held:
            return
        self._kafka.seek(KafkaPartition(*partition), offset)
        self._unsought.discard(partition)
        self._let_flow(partition)

    def pause(self, partition: TopicPartition) -> None:
        """Fetch no more of it until `resume`; a rebalance forgets it (A22)."""
        if self._kafka is not None and partition in self._held:
            self._paused.add(partition)
            self._kafka.pause(KafkaPartition(*partition))

    def resume(self, partition: TopicPartition) -> None:
        """Fetch again, if there has been a `seek`."""
        self._paused.discard(partition)
        if self._kafka is not None and partition in self._held:
            self._let_flow(partition)

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return (first offset, next offset to be written). Held or not does not matter."""
        kafka, asked = self._open(), KafkaPartition(*partition)
        async with answered_within(self._deadlines.call_s, f"bounds of {asked}"):
            # At once, because each waits for the fetch that is under way on the connection.
            first, end = await asyncio.gather(
                kafka.beginning_offsets([asked]), kafka.end_offsets([asked])
            )
        return first[asked], end[asked]

    async def commit_hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit those of ``offsets`` that are held; whether it worked is not known."""
        held = {KafkaPartition(*p): offset for p, offset in offsets.items() if p in self._held}
        if not held or self._kafka is None or not (self._hint is None or self._hint.done()):
            return
        # Not cancelled at the deadline: aiokafka would go on (A10) and complain to the log.
        self._hint = asyncio.create_task(self._kafka.commit(held), name="kafka commit")
        self._hint.add_done_callback(seen)
        await asyncio.wait({self._hint}, timeout=self._deadlines.call_s)

    async def close(self) -> None:
        """Leave the group within ``close_s`` and a second or two. Safe to repeat."""
        kafka, self._kafka = self._kafka, None
        self._held = frozenset()
        if kafka is not None:
            await stop_within(self._deadlines.close_s, kafka.stop())
            await sever(kafka)
            await cancelled([self._hint])

    def _open(self) -> AIOKafkaConsumer:
        if self._bug is not None:
            raise self._bug
        if self._kafka is None:
            raise BrokerError("the consumer is closed")
        return self._kafka

    def _let_flow(self, partition: TopicPartition) -> None:
        if self._kafka is not None and not {partition} & (self._paused | self._unsought):
            self._kafka.resume(KafkaPartition(*partition))

    def _raise_out_of_range(self, kafka: AIOKafkaConsumer, error: OffsetOutOfRangeError) -> None:
        for partition, offset in error.args[0].items():
            ours = TopicPartition(*partition)
            if ours in self._held and ours not in self._unsought:
                self._unsought.add(ours)
                kafka.pause(partition)
                message = f"offset {offset} is not in {ours.topic}/{ours.partition}"
                raise OffsetOutOfRange(message, ours) from error

    def _receive(self, partitions: Iterable[KafkaPartition]) -> None:
        """Called in the same step that makes an assignment, before anything is fetched."""
        if self._kafka is None:
            return
        self._held = frozenset(TopicPartition(*partition) for partition in partitions)
        self._unsought = set(self._held)
        self._paused.clear()
        for partition in partitions:
            self._kafka.seek(partition, 0)
            self._kafka.pause(partition)

    async def _assigned(self, partitions: Iterable[KafkaPartition]) -> None:
        await self._tell(self._told.assigned, partitions)

    async def _revoked(self, partitions: Iterable[KafkaPartition]) -> None:
        self._held = frozenset()
        await self._tell(self._told.revoked, partitions)

    async def _tell(
        self,
        method: Callable[[Sequence[TopicPartition]], Awaitable[None]],
        partitions: Iterable[KafkaPartition],
    ) -> None:
        """Call, bounded (A4); what it raises comes out of the next poll, not into a log (A3)."""
        ordered = sorted(TopicPartition(*partition) for partition in partitions)
        if not ordered or self._kafka is None:
            return
        task = asyncio.ensure_future(method(ordered))
        try:
            await asyncio.wait({task}, timeout=self._deadlines.callback_s)
        finally:
            await cancelled([task])
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._bug = bug
