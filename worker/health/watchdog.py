"""Ends a process whose lanes are stalled, so that its supervisor starts another.

A lane is stalled if work waits for it and nothing changes although broker and database answer. Only
such time counts: an outage sets the count back to zero and is no reason to restart. A database
that refuses is no reason either, because it would refuse the next process as well.

A stalled process ends at once, without a drain, because a drain could hang on the same fault.
Nothing is lost: the lane's next owner continues after the last committed batch.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.adapters.kafka.reader import AiokafkaReader
from worker.assignment import Assignments
from worker.errors import BrokerError, ParityError
from worker.exit_codes import STALLED
from worker.lane import Lane, LaneStatus
from worker.ports import System, TopicPartition
from worker.telemetry import Metrics, log

PROBE_EVERY_S: Final = 1.0
ANSWERS_S: Final = 2.5
"""How long after its last answer a silent database still counts as up."""
LOADING_FACTOR: Final = 10.0
"""Loading may take this many times the stall timeout."""
LOOKS_PER_STALL: Final = 6.0
LOOK_S_MAX: Final = 5.0
PULSE_S: Final = 0.05
"""How often the event loop is measured. A step that is much longer than this is seen."""
WAITING_RECORD_S: Final = 2.0

Mark = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One look at a lane.

    ``end`` is the next offset to be written to the lane's topic. It is None if the broker did not
    answer in time, or refuses the lane's events. A lane is ``busy`` while records, a sweep or pages
    of a settlement wait inside it. It is ``unfetched`` while its topic cannot be read.
    """

    lane: TopicPartition
    status: LaneStatus
    batch_no: int
    next_offset: int
    busy: bool
    end: int | None
    acknowledged_seq: int = 0
    refusals: int = 0
    unfetched: bool = False

    @property
    def mark(self) -> Mark:
        """Return numbers of which one changes unless the lane hangs.

        A lane that is being refused, or that publishes again what its topic lost, does not hang.
        """
        return self.batch_no, self.next_offset, self.acknowledged_seq, self.refusals

    @property
    def lags(self) -> bool:
        """Return whether work waits for the lane. A halted lane waits for an operator."""
        if self.status is LaneStatus.READY:
            end = None if self.unfetched else self.end
            return self.busy or (end is not None and self.next_offset < end)
        return self.status is not LaneStatus.HALTED


@dataclass(frozen=True, slots=True)
class Still:
    """How long a lane with lag has shown the same mark while broker and database answered."""

    mark: Mark
    seconds: float = 0.0


class Lookout:
    """Looks at every lane of the process and at the ends of their topics."""

    def __init__(
        self,
        assignments: Assignments,
        events_of: Callable[[TopicPartition], TopicPartition],
        reader: Callable[[Sequence[TopicPartition]], AiokafkaReader],
    ) -> None:
        """``events_of`` returns where the events of an input partition go."""
        self._assignments, self._events_of, self._reader = assignments, events_of, reader

    async def look(self) -> Sequence[Sighting]:
        """Return a sighting of every lane."""
        bounds = self._assignments.bounds
        lanes = tuple(self._assignments.lanes.items())
        return await asyncio.gather(*(sight(p, n, self._events_of(p), bounds) for p, n in lanes))

    async def waits(self, partition: TopicPartition, offset: int) -> bool:
        """Return whether a new consumer would get a record at ``offset`` or after it."""
        try:
            async with self._reader([partition]) as reader:
                reader.seek(partition, offset)
                return bool((await reader.poll(WAITING_RECORD_S)).get(partition))
        except BrokerError:
            return False


async def sight(
    partition: TopicPartition,
    lane: Lane,
    events: TopicPartition,
    bounds: Callable[[TopicPartition], Awaitable[tuple[int, int]]],
) -> Sighting:
    """Look at a lane and at the ends of both its topics, since it needs the leaders of both."""
    answered = None
    with contextlib.suppress(BrokerError):
        _, end = await bounds(partition)
        await bounds(events)
        lane.note_end(end)
        answered = None if lane.is_unheard else end
    return Sighting(
        lane=partition,
        status=lane.status,
        batch_no=lane.state.batch_no if lane.state else 0,
        next_offset=lane.reached,
        busy=lane.busy,
        end=answered,
        acknowledged_seq=lane.acknowledged_seq,
        refusals=lane.refusals.count,
        unfetched=bool(lane.unfetched),
    )


def watch(
    before: Mapping[TopicPartition, Still],
    sightings: Iterable[Sighting],
    *,
    elapsed_s: float,
    database_answers: bool,
) -> dict[TopicPartition, Still]:
    """Return how long each lane has been still, ``elapsed_s`` after ``before`` was found. Pure."""
    stills = {}
    for seen in sightings:
        was = before.get(seen.lane)
        counts = database_answers and seen.end is not None and seen.lags
        if was is not None and was.mark == seen.mark and counts:
            stills[seen.lane] = Still(seen.mark, was.seconds + elapsed_s)
        else:
            stills[seen.lane] = Still(seen.mark)
    return stills


def stalled(
    stills: Mapping[TopicPartition, Still], sightings: Iterable[Sighting], stall_s: float
) -> list[Sighting]:
    """Return the lanes that have been still for too long. Pure."""
    return [
        seen
        for seen in sightings
        if stills[seen.lane].seconds
        > stall_s * (1.0 if seen.status is LaneStatus.READY else LOADING_FACTOR)
    ]


class Probe:
    """Asks the database every second whether it answers."""

    def __init__(
        self, ask: Callable[[], Awaitable[None]], system: System, metrics: Metrics
    ) -> None:
        self._ask, self._system, self._metrics = ask, system, metrics
        self._answered_at_s: float | None = None
        self.error = "not asked yet"

    async def run(self) -> None:
        """Ask until cancelled. Only the beginning and the end of an outage are logged."""
        while True:
            before = self.error
            try:
                await self._ask()
            except ParityError as error:
                self.error = str(error) or type(error).__name__
                self._metrics.database_answers.set(0)
                if not before:
                    log.warning("database_does_not_answer", error=self.error)
            else:
                self._answered_at_s, self.error = self._system.clock(), ""
                self._metrics.database_answers.set(1)
                if before:
                    log.info("database_answers")
            await self._system.sleep(PROBE_EVERY_S)

    @property
    def answers(self) -> bool:
        """Return whether the database is up now, as far as is known."""
        return not self.error and self.answered_within(ANSWERS_S)

    def answered_within(self, seconds: float) -> bool:
        """Return whether the database has answered in the last ``seconds``."""
        at = self._answered_at_s
        return at is not None and self._system.clock() - at <= seconds


class Watchdog:
    """Looks at the lanes again and again, and ends the process if one is stalled."""

    def __init__(  # noqa: PLR0913 - all by keyword: two questions, what they depend on, one action
        self,
        look: Callable[[], Awaitable[Sequence[Sighting]]],
        *,
        waits: Callable[[TopicPartition, int], Awaitable[bool]],
        probe: Probe,
        stall_s: float,
        system: System,
        metrics: Metrics,
        end: Callable[[], None],
    ) -> None:
        """``waits``: is there a record at or after that offset? ``end`` ends the process."""
        self._look, self._waits, self._probe = look, waits, probe
        self._stall_s, self._system = stall_s, system
        self._metrics, self._end = metrics, end
        self._every_s = min(stall_s / LOOKS_PER_STALL, LOOK_S_MAX)
        self._looked_at_s = system.clock()
        self._stills: dict[TopicPartition, Still] = {}
        self.stalled: list[Sighting] = []
        self.unheard: list[TopicPartition] = []
        """Lanes for which the broker did not answer at the last look, or refused events."""

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._system.sleep(self._every_s)
            await self.look()

    async def pulse(self) -> None:
        """Measure by how much the event loop is late, until cancelled."""
        while True:
            began_s = self._system.clock()
            await self._system.sleep(PULSE_S)
            self._metrics.loop_lag.observe(max(0.0, self._system.clock() - began_s - PULSE_S))

    async def look(self) -> None:
        """Look once, and end the process if a lane has been still for too long."""
        sightings = await self._look()
        self.unheard = [seen.lane for seen in sightings if seen.end is None]
        now_s = self._system.clock()
        # A process that was suspended did not see what happened in that time.
        elapsed_s = min(now_s - self._looked_at_s, 2 * self._every_s)
        self._looked_at_s = now_s
        self._stills = watch(
            self._stills,
            sightings,
            elapsed_s=elapsed_s,
            database_answers=self._probe.answers,
        )
        found = stalled(self._stills, sightings, self._stall_s)
        self.stalled = [seen for seen in found if await self._is_real(seen)]
        self._metrics.stalled.set(len(self.stalled))
        for seen in self.stalled:
            log.error(
                "lane_stalled",
                topic=seen.lane.topic,
                partition=seen.lane.partition,
                status=seen.status,
                next_offset=seen.next_offset,
                end=seen.end,
                seconds=round(self._stills[seen.lane].seconds, 1),
                exit_code=STALLED,
                reason="broker and database answer and the lane makes no progress: process ends",
            )
        if self.stalled:
            self._end()

    async def _is_real(self, seen: Sighting) -> bool:
        """Return whether work waits: offsets before the end may be transaction markers only."""
        if seen.busy or seen.status is not LaneStatus.READY:
            return True
        real = await self._waits(seen.lane, seen.next_offset)
        if not real:
            self._stills[seen.lane] = Still(seen.mark)
        return real
