"""The lanes of this process: one for each partition that the consumer group assigns to it.

The group's callbacks only start and stop lanes. A lane loads in its own task, and drops the records
that arrive before it is READY, because its ``seek`` repeats them. Polling never stops, even without
partitions or while all are paused, or the group would expel this member.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from worker.errors import (
    BrokerError,
    EventsLost,
    Fenced,
    FetchFailed,
    LaneHalted,
    OffsetOutOfRange,
    Reload,
    StoreError,
)
from worker.intake import QUEUED_RECORDS_MAX
from worker.lane import Lane, LaneStatus
from worker.ports import Broker, Consumer, System, TopicPartition
from worker.refusals import RefusalMonitor
from worker.telemetry import Metrics, log

POLL_S: Final = 0.1
DRAIN_S: Final = 4.0
"""How long a revoked lane may take to finish its batch. Cancelling it is just as safe."""
CANCEL_S: Final = 1.0
HINT_EVERY_S: Final = 5.0
BACKOFF_CAP_S: Final = 5.0
GOOD_S: Final = 60.0
"""How long a member or a lane must last for its next failure to count as the first."""

QUEUE_BYTES: Final = 64 * 1_048_576
"""Memory of all records of the process that wait for their answer, give or take a fetch."""
QUEUE_BYTES_MIN: Final = 262_144
"""Part of it that any lane may use, however many lanes there are."""
RESUMED_BELOW: Final = 0.5
"""Used part of a lane's queue below which its partition is fetched again."""
UNREAD: Final = "the topic cannot be read"

LaneMaker = Callable[[TopicPartition, RefusalMonitor], Lane | None]
"""Makes the lane of a partition. None: the stream does not have the partition."""


class _Partition:
    """The input partition of a lane, see ``intake.Source``."""

    def __init__(self, broker: Broker, consumer: Consumer, partition: TopicPartition) -> None:
        self._broker, self._consumer, self._partition = broker, consumer, partition

    async def topic_id(self) -> str:
        topic = self._partition.topic
        found = (await self._broker.describe([topic])).get(topic)
        return found.topic_id if found else ""

    async def bounds(self) -> tuple[int, int]:
        return await self._consumer.bounds(self._partition)

    def seek(self, offset: int) -> None:
        self._consumer.seek(self._partition, offset)
        self._consumer.resume(self._partition)


class Assignments:
    """A member of the consumer group, and the lanes of its partitions."""

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        make_lane: LaneMaker,
        *,
        metrics: Metrics,
        system: System,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self._queue_bytes = queue_bytes
        self._broker, self._topics, self._make_lane = broker, topics, make_lane
        self._metrics, self._system = metrics, system
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}
        self._paused: set[TopicPartition] = set()
        self._consumer: Consumer | None = None
        self._stopping = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lanes: dict[TopicPartition, Lane] = {}
        self.joined = False
        self.cut_off = 0
        """Lanes that had not finished their batch and published it when this member had to end."""
        self.polled_at_s = system.clock()

    async def run(self) -> None:
        """Be a member of the group until ``stop``, with a new consumer after each failure."""
        failures = 0
        while not self._stopping.is_set():
            began = self._system.clock()
            try:
                await self._be_member()
            except BrokerError as error:
                lasted_s = self._system.clock() - began
                failures = 1 if lasted_s > GOOD_S else failures + 1
                log.warning("consumer_failed", error=str(error))
                await self._system.back_off(failures, cap_s=BACKOFF_CAP_S)

    def stop(self) -> None:
        """Leave the group as soon as every lane has finished its batch."""
        self._stopping.set()

    @property
    def draining(self) -> bool:
        """Return whether ``stop`` was called."""
        return self._stopping.is_set()

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return (first offset, next offset to be written). Raises BrokerError by the deadline."""
        if self._consumer is None:
            raise BrokerError("this worker is not a member of the consumer group yet")
        return await self._consumer.bounds(partition)

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Start a lane for each partition, unless this member is about to leave."""
        self._metrics.rebalances.inc()
        consumer = self._consumer
        for partition in partitions:
            if consumer is not None and partition not in self._tasks:
                work = self._own(partition, consumer)
                task = asyncio.create_task(work, name=f"lane-{partition}")
                task.add_done_callback(self._note_failure)
                self._tasks[partition] = task
        self._metrics.assigned.set(len(self._tasks))

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Stop the lanes, and wait a few seconds for their batches in hand."""
        tasks = {self._tasks.pop(p) for p in partitions if p in self._tasks}
        lanes = {p: self.lanes[p] for p in partitions if p in self.lanes}
        for lane in lanes.values():
            lane.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DRAIN_S)
            self.cut_off += len(late) if self.draining else 0
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=CANCEL_S)
        for partition, lane in lanes.items():
            if self.lanes.get(partition) is lane:
                del self.lanes[partition]
                lane.forget()
                self._paused.discard(partition)
        self._metrics.assigned.set(len(self._tasks))

    async def _be_member(self) -> None:
        consumer = self._consumer = await self._broker.consumer(self._topics, self)
        hinting: asyncio.Task[None] | None = None
        try:
            await consumer.start()
            self.joined = True
            hinting = asyncio.create_task(self._hint(consumer), name="hint")
            while not self._stopping.is_set():
                if self._failed.done():
                    self._failed.result()
                await self._poll(consumer)
        finally:
            self.joined = False
            # Until it is closed it is a member, and may be assigned partitions even now.
            self._consumer = None
            if hinting is not None:
                hinting.cancel()
            await self.revoked(tuple(self._tasks))
            await consumer.close()

    async def _poll(self, consumer: Consumer) -> None:
        """Pass on fetched records, and pause the partitions of lanes that have enough."""
        try:
            arrived = await consumer.poll(POLL_S)
        except FetchFailed as error:
            self._halt(error)
            return
        self.polled_at_s = self._system.clock()
        for partition, records in arrived.items():
            if partition in self.lanes:
                self.lanes[partition].offer(records)
        faults = consumer.faults()
        for partition, lane in self.lanes.items():
            lane.note_fetch(faults.get(partition, ""))
            lane.note_position(consumer.position(partition))
            self._regulate(consumer, partition, lane)

    def _regulate(self, consumer: Consumer, partition: TopicPartition, lane: Lane) -> None:
        if partition in self._paused:
            if self._fullness(lane) < RESUMED_BELOW and lane.status is LaneStatus.READY:
                self._paused.discard(partition)
                consumer.resume(partition)
        elif self._fullness(lane) > 1.0 or lane.status is LaneStatus.HALTED:
            self._paused.add(partition)
            consumer.pause(partition)

    def _fullness(self, lane: Lane) -> float:
        """Return the used part of a lane's queue. More than 1: no more records are fetched."""
        share = max(self._queue_bytes // len(self.lanes), QUEUE_BYTES_MIN)
        return max(lane.beyond_cursor / QUEUED_RECORDS_MAX, lane.backlog_bytes / share)

    async def _own(self, partition: TopicPartition, consumer: Consumer) -> None:
        """Run a lane. While the partition is assigned, take over again after each failure."""
        failures, refusals = 0, RefusalMonitor()
        while self._tasks.get(partition) is asyncio.current_task():
            began_s = self._system.clock()
            lane = self._make_lane(partition, refusals)
            if lane is None:
                return
            self.lanes[partition] = lane
            try:
                await lane.run(_Partition(self._broker, consumer, partition))
            except LaneHalted:
                return
            except (Fenced, Reload, EventsLost, StoreError, BrokerError) as error:
                lasted_s = self._system.clock() - began_s
                failures = 1 if lasted_s > GOOD_S else failures + 1
                log.warning("lane_lost", partition=partition, error=repr(error))
            else:
                return
            if self._stopping.is_set():
                return
            # A take-over costs more than a poll, so the first pause is up to 80 ms and not 20.
            await self._system.back_off(failures + 2, cap_s=BACKOFF_CAP_S)

    def _halt(self, error: FetchFailed) -> None:
        text = "the cursor is not in the topic" if isinstance(error, OffsetOutOfRange) else UNREAD
        for partition in [p for p in self.lanes if p in error.args]:
            self.lanes[partition].halt(f"{text}: {error.args[0]}")

    def _note_failure(self, task: "asyncio.Task[None]") -> None:
        """End the process after a bug in a lane: the other lanes would hide the failure."""
        if not task.cancelled() and task.exception() is not None and not self._failed.done():
            self._failed.set_exception(task.exception() or AssertionError)

    async def _hint(self, consumer: Consumer) -> None:
        """Report the lanes' positions to tools that show lag. Nothing here reads them."""
        while True:
            await self._system.sleep(HINT_EVERY_S)
            await consumer.commit_hint(self._positions())

    def _positions(self) -> Mapping[TopicPartition, int]:
        return {
            partition: lane.reached
            for partition, lane in self.lanes.items()
            if lane.state is not None and lane.status is LaneStatus.READY
        }
