"""A member of the consumer group.

A new partition is paused, at a position that is never fetched, until the application's first
``seek``. Otherwise aiokafka would start at the group's offset, or raise if there is none, before
the application has read its own cursor (A1, A15).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from worker.adapters.kafka.batches import Turn, UnreadableBatch, records_of
from worker.adapters.kafka.deadline import (
    answered_within,
    cancelled,
    require_brokers,
    seen,
    translated,
)
from worker.adapters.kafka.faults import FetchFaults, Kind
from worker.adapters.kafka.group import Listener, round_robin, stop_consumer
from worker.adapters.kafka.settings import Deadlines
from worker.adapters.system import system
from worker.errors import BrokerError, OffsetOutOfRange
from worker.ports import Assignment, Record, TopicPartition

REBALANCE_GRACE_S: Final = 0.1
"""Extra time for a poll, because aiokafka waits for the end of a rebalance."""

FIXED: Final[dict[str, Any]] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "isolation_level": "read_committed",
    "heartbeat_interval_ms": 1_000,
    # The reply to JoinGroup comes after the rebalance, and is awaited this long (A4).
    "request_timeout_ms": 30_000,
    "max_poll_interval_ms": 60_000,
    "fetch_max_wait_ms": 50,
    # Small, to bound memory and to leave room for other partitions (A19, A32).
    "max_partition_fetch_bytes": 262_144,
    # Of a response. Only its first batch may be larger, as large as its topic allows.
    "fetch_max_bytes": 8_388_608,
}


class AiokafkaConsumer:
    """Implements `ports.Consumer`. Use it from one task. Another task calls the assignment."""

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
        self._turn = Turn()
        self._faults = FetchFaults(system().clock, deadlines.refused_s)
        self._hint: asyncio.Task[None] | None = None
        self._bug: BaseException | None = None

    async def start(self) -> None:
        """Join the group. Closes itself if that fails."""
        self._kafka = AIOKafkaConsumer(
            **FIXED,
            **self._settings,
            key_deserializer=self._turn,
            session_timeout_ms=int(self._deadlines.session_s * 1_000),
            rebalance_timeout_ms=int(self._deadlines.rebalance_s * 1_000),
            partition_assignment_strategy=(round_robin(self._receive),),
        )
        require_brokers(self._kafka._client)  # noqa: SLF001
        self._faults.watch(self._kafka._client, self._hold_back)  # noqa: SLF001
        self._kafka.subscribe(self._topics, listener=Listener(self._assigned, self._revoked))
        try:
            async with answered_within(self._deadlines.start_s, "joining the group"):
                await self._kafka.start()
        except BaseException:
            await self.close()
            raise

    async def poll(self, timeout_s: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the records that arrived. Ask for `bounds` to see whether the broker is alive."""
        kafka = self._open()
        fetcher: Any = kafka._fetcher  # noqa: SLF001
        if fetcher.error_future.done():
            raise BrokerError("aiokafka's fetcher has ended, by a bug")
        self._raise_hopeless(kafka)
        for partition in self._faults.due():
            self._let_flow(partition)
        if self._turn.unfinished:
            timeout_s = 0.0
            # Otherwise nothing else would run while a large batch is unpacked.
            await asyncio.sleep(0)  # noqa: TID251 - no pause
        self._turn.begin()
        try:
            # Cancelling is safe (A36), since records are taken without an await.
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
        # A partition that has more to deliver waits until the others had their turn.
        for served in fetched.keys() & fetcher._records.keys():  # noqa: SLF001
            fetcher._records.move_to_end(served)  # noqa: SLF001
        return {
            TopicPartition(*partition): records_of(readable)
            for partition, records in fetched.items()
            if (readable := self._readable(TopicPartition(*partition), records))
        }

    def faults(self) -> Mapping[TopicPartition, str]:
        """Return why partitions cannot be fetched at present."""
        return self._faults.reasons()

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions held. There are none during a rebalance."""
        return self._held

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver from ``offset`` on, unless the application paused the partition."""
        if self._kafka is None or partition not in self._held:
            return
        self._kafka.seek(KafkaPartition(*partition), offset)
        self._unsought.discard(partition)
        self._let_flow(partition)

    def position(self, partition: TopicPartition) -> int:
        """Return the offset that is fetched next. 0 before the first `seek`."""
        if self._kafka is None or partition not in self._held or partition in self._unsought:
            return 0
        subscription: Any = self._kafka._subscription.subscription  # noqa: SLF001
        assignment = subscription and subscription.assignment
        if not assignment or KafkaPartition(*partition) not in assignment.tps:
            return 0
        return int(assignment.state_value(KafkaPartition(*partition)).position)

    def pause(self, partition: TopicPartition) -> None:
        """Stop fetching a partition until `resume`. A rebalance forgets the pause (A22)."""
        if self._kafka is not None and partition in self._held:
            self._paused.add(partition)
            self._kafka.pause(KafkaPartition(*partition))

    def resume(self, partition: TopicPartition) -> None:
        """Fetch a partition again, unless its first `seek` is still missing."""
        self._paused.discard(partition)
        if self._kafka is not None and partition in self._held:
            self._let_flow(partition)

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return (first offset, next offset to be written) of any partition, held or not."""
        kafka, asked = self._open(), KafkaPartition(*partition)
        async with answered_within(self._deadlines.call_s, f"bounds of {asked}"):
            # Both at once, because each waits for the present fetch on the connection.
            first, end = await asyncio.gather(
                kafka.beginning_offsets([asked]), kafka.end_offsets([asked])
            )
        return first[asked], end[asked]

    async def commit_hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit those of ``offsets`` that are held. The result is not reported."""
        held = {KafkaPartition(*p): offset for p, offset in offsets.items() if p in self._held}
        if not held or self._kafka is None or not (self._hint is None or self._hint.done()):
            return
        # Not cancelled at the deadline, since aiokafka would go on and log an error (A10).
        self._hint = asyncio.create_task(self._kafka.commit(held), name="kafka commit")
        self._hint.add_done_callback(seen)
        await asyncio.wait({self._hint}, timeout=self._deadlines.call_s)

    async def close(self) -> None:
        """Leave the group within ``close_s`` and a second or two. Closing twice is safe."""
        kafka, self._kafka = self._kafka, None
        self._held = frozenset()
        if kafka is not None:
            await stop_consumer(kafka, self._deadlines.close_s)
            await cancelled([self._hint])

    def _open(self) -> AIOKafkaConsumer:
        if self._bug is not None:
            raise self._bug
        if self._kafka is None:
            raise BrokerError("the consumer is closed")
        return self._kafka

    def _let_flow(self, partition: TopicPartition) -> None:
        stopped = self._paused | self._unsought
        if self._kafka is None or partition in stopped or self._faults.waits(partition):
            return
        self._kafka.resume(KafkaPartition(*partition))

    def _hold_back(self, partition: TopicPartition) -> None:
        if self._kafka is not None and partition in self._held:
            self._kafka.pause(KafkaPartition(*partition))

    def _raise_out_of_range(self, kafka: AIOKafkaConsumer, error: OffsetOutOfRangeError) -> None:
        for partition, offset in error.args[0].items():
            ours = TopicPartition(*partition)
            if ours in self._held and ours not in self._unsought:
                self._unsought.add(ours)
                kafka.pause(partition)
                message = f"offset {offset} is not in {ours.topic}[{ours.partition}]"
                raise OffsetOutOfRange(message, ours) from error

    def _readable(
        self, partition: TopicPartition, fetched: list[Any]
    ) -> list["ConsumerRecord[Any, Any]"]:
        """Return the records of a fetch. Takes note of an unreadable batch at their end."""
        last = fetched[-1]
        if not isinstance(last, UnreadableBatch):
            self._faults.read(partition)
            return fetched
        self._faults.failed(partition, Kind.UNREADABLE, last.error, last.offset)
        self._hold_back(partition)
        return fetched[:-1]

    def _raise_hopeless(self, kafka: AIOKafkaConsumer) -> None:
        error = self._faults.hopeless()
        if error is not None:
            self._unsought.add(error.args[1])
            kafka.pause(KafkaPartition(*error.args[1]))
            raise error

    def _receive(self, partitions: Iterable[KafkaPartition]) -> None:
        """Take a new assignment. aiokafka calls this before it fetches any of it."""
        if self._kafka is None:
            return
        self._held = frozenset(TopicPartition(*partition) for partition in partitions)
        self._unsought = set(self._held)
        self._paused.clear()
        self._faults.clear()
        self._turn.release()
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
        """Call within a bound (A4). Its error is raised by the next poll, not only logged (A3)."""
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
