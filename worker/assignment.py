"""Who owns what: the consumer group's word becomes lanes, and lanes end when it is taken back.

Callbacks only start and stop; a lane loads in its own task, and what arrives for it before it is
READY is dropped, because ``seek`` brings it back. Polling never stops, also without partitions and
while everything is paused, or the group would forget this member.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from worker.commit import Refusals, Reload
from worker.errors import BrokerError, EventsLost, Fenced, LaneHalted, OffsetOutOfRange, StoreError
from worker.lane import QUEUED_RECORDS_MAX, Lane, LaneStatus
from worker.ports import Broker, Consumer, System, TopicPartition
from worker.telemetry import Metrics, log

POLL_S: Final = 0.1
DRAIN_S: Final = 4.0
"""How long a revoked lane may take to finish its batch; cut short, it is just as safe."""
CANCEL_S: Final = 1.0
HINT_EVERY_S: Final = 5.0
BACKOFF_CAP_S: Final = 5.0
GOOD_MEMBER_S: Final = 60.0
"""After that long in the group, a failure counts as the first again."""

LaneMaker = Callable[[TopicPartition], Lane | None]
"""Makes a lane; None for a partition that the stream does not have."""


class _Partition:
    """A lane's view of its input."""

    def __init__(self, consumer: Consumer, partition: TopicPartition) -> None:
        self._consumer, self._partition = consumer, partition

    async def bounds(self) -> tuple[int, int]:
        return await self._consumer.bounds(self._partition)

    def seek(self, offset: int) -> None:
        self._consumer.seek(self._partition, offset)
        self._consumer.resume(self._partition)


class Assignments:
    """Holds the lanes of this process and feeds them."""

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        make_lane: LaneMaker,
        *,
        metrics: Metrics,
        system: System,
    ) -> None:
        self._broker, self._topics, self._make_lane = broker, topics, make_lane
        self._metrics, self._system = metrics, system
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}
        self._paused: set[TopicPartition] = set()
        self._consumer: Consumer | None = None
        self._stopping = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lanes: dict[TopicPartition, Lane] = {}
        self.joined = False
        self.polled_at_s = system.clock()

    async def run(self) -> None:
        """Be a member of the group until ``stop``; rebuild the consumer when it breaks."""
        failures = 0
        while not self._stopping.is_set():
            began = self._system.clock()
            try:
                await self._be_member()
            except BrokerError as error:
                lasted_s = self._system.clock() - began
                failures = 1 if lasted_s > GOOD_MEMBER_S else failures + 1
                log.warning("consumer_failed", error=str(error))
                await self._system.back_off(failures, cap_s=BACKOFF_CAP_S)

    def stop(self) -> None:
        """Stop taking; finish what is in hand."""
        self._stopping.set()

    @property
    def draining(self) -> bool:
        """Return whether ``stop`` was called."""
        return self._stopping.is_set()

    async def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Return (first offset, next offset to be written). Raises BrokerError by the deadline."""
        if self._consumer is None:
            raise BrokerError("not a member of the group yet")
        return await self._consumer.bounds(partition)

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Start a lane for each partition; none for a consumer that is about to leave."""
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
        """Stop the lanes; wait for their batch in hand, but not for long."""
        tasks = {self._tasks.pop(p) for p in partitions if p in self._tasks}
        lanes = {p: self.lanes[p] for p in partitions if p in self.lanes}
        for lane in lanes.values():
            lane.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DRAIN_S)
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
            # It is a member until it is closed, and may be given partitions even now.
            self._consumer = None
            if hinting is not None:
                hinting.cancel()
            await self.revoked(tuple(self._tasks))
            await consumer.close()

    async def _poll(self, consumer: Consumer) -> None:
        """Hand on what arrived; pause whoever has enough."""
        try:
            arrived = await consumer.poll(POLL_S)
        except OffsetOutOfRange as error:
            self._halt(error)
            return
        self.polled_at_s = self._system.clock()
        for partition, records in arrived.items():
            if partition in self.lanes:
                self.lanes[partition].offer(records)
        for partition, lane in self.lanes.items():
            self._regulate(consumer, partition, lane)

    def _regulate(self, consumer: Consumer, partition: TopicPartition, lane: Lane) -> None:
        if partition in self._paused:
            if lane.backlog < QUEUED_RECORDS_MAX // 2 and lane.status is LaneStatus.READY:
                self._paused.discard(partition)
                consumer.resume(partition)
        elif lane.backlog > QUEUED_RECORDS_MAX or lane.status is LaneStatus.HALTED:
            self._paused.add(partition)
            consumer.pause(partition)

    async def _own(self, partition: TopicPartition, consumer: Consumer) -> None:
        """Run a lane; while still assigned, take over again after a jittered delay."""
        failures, refusals = 0, Refusals()
        while self._tasks.get(partition) is asyncio.current_task():
            lane = self._make_lane(partition)
            if lane is None:
                return
            self.lanes[partition] = lane
            try:
                await lane.run(_Partition(consumer, partition), refusals)
            except LaneHalted:
                return
            except (Fenced, Reload, EventsLost, StoreError, BrokerError) as error:
                failures += 1
                log.warning("lane_lost", partition=partition, error=repr(error))
            else:
                return
            if self._stopping.is_set():
                return
            await self._system.back_off(failures + 2, cap_s=BACKOFF_CAP_S)

    def _halt(self, error: OffsetOutOfRange) -> None:
        for partition in [p for p in self.lanes if p in error.args]:
            self.lanes[partition].halt(f"the cursor is not in the topic: {error.args[0]}")

    def _note_failure(self, task: "asyncio.Task[None]") -> None:
        """A bug in a lane ends the process: it must not go on half alive."""
        if not task.cancelled() and task.exception() is not None and not self._failed.done():
            self._failed.set_exception(task.exception() or AssertionError)

    async def _hint(self, consumer: Consumer) -> None:
        """Tell lag tools how far the lanes are."""
        while True:
            await self._system.sleep(HINT_EVERY_S)
            await consumer.commit_hint(self._positions())

    def _positions(self) -> Mapping[TopicPartition, int]:
        return {
            partition: lane.state.next_offset
            for partition, lane in self.lanes.items()
            if lane.state is not None and lane.status is LaneStatus.READY
        }
