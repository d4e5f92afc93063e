"""Is this process well? What /livez and /readyz say, and when the process is better ended.

A lane stands still while something waits for it and nothing gets on, although broker and database
answer: only such time counts, so an outage is no reason to restart, and starts the count anew. Nor
is a database that answers no, and says why: whoever comes next would be told the same.
Then the process ends at once, without a drain, since whatever hangs would hang that too. Nothing is
lost by it: the next owner of the lane goes on behind the last batch that was committed.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.adapters.http import Check
from worker.errors import BrokerError, ParityError
from worker.lane import Lane, LaneStatus
from worker.ports import System, TopicPartition
from worker.telemetry import Metrics, log

EXIT_CODE: Final = 70
"""EX_SOFTWARE: whoever starts workers starts another one."""
PROBE_EVERY_S: Final = 1.0
ANSWERS_S: Final = 2.5
"""For so long after it answered a database that says nothing is taken to be there."""
READY_S: Final = 10.0
"""And for so long by /readyz."""
LOADING_FACTOR: Final = 10.0
"""A lane may load its books for so many times as long as it may stand still."""
LOOKS_A_STALL: Final = 6.0
LOOK_S_MAX: Final = 5.0
PULSE_S: Final = 0.25

Mark = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A lane as it was seen.

    ``end`` is the next offset to be written to its topic; None: the broker did not say in time, or
    does not take the lane's events.
    ``busy``: records, a sweep or pages of a settlement wait inside of it.
    """

    lane: TopicPartition
    status: LaneStatus
    batch_no: int
    next_offset: int
    busy: bool
    end: int | None
    acknowledged_seq: int = 0
    refusals: int = 0

    @property
    def mark(self) -> Mark:
        """What changes while nothing hangs: it gets on, fills its topic again, or is told no."""
        return self.batch_no, self.next_offset, self.acknowledged_seq, self.refusals

    @property
    def lags(self) -> bool:
        """Whether something waits for the lane. For a halted one an operator decides."""
        if self.status is LaneStatus.READY:
            return self.busy or (self.end is not None and self.next_offset < self.end)
        return self.status is not LaneStatus.HALTED


@dataclass(frozen=True, slots=True)
class Still:
    """For how long a lane with lag has been seen to stand still, all else being well."""

    mark: Mark
    seconds: float = 0.0


async def sight(
    partition: TopicPartition,
    lane: Lane,
    events: TopicPartition,
    bounds: Callable[[TopicPartition], Awaitable[tuple[int, int]]],
) -> Sighting:
    """Look at a lane and the ends of both its topics: it needs the leaders of both."""
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
        next_offset=lane.state.next_offset if lane.state else 0,
        busy=lane.busy,
        end=answered,
        acknowledged_seq=lane.acknowledged_seq,
        refusals=lane.refusals.count,
    )


def watch(
    before: Mapping[TopicPartition, Still],
    sightings: Iterable[Sighting],
    *,
    elapsed_s: float,
    database_answers: bool,
) -> dict[TopicPartition, Still]:
    """Return how long each lane has stood still, ``elapsed_s`` after ``before`` was found. Pure."""
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
    """Return the lanes that have stood still for too long. Pure."""
    return [
        seen
        for seen in sightings
        if stills[seen.lane].seconds
        > stall_s * (1.0 if seen.status is LaneStatus.READY else LOADING_FACTOR)
    ]


class Probe:
    """Asks the database, all the time, whether it is there."""

    def __init__(
        self, ask: Callable[[], Awaitable[None]], system: System, metrics: Metrics
    ) -> None:
        self._ask, self._system, self._metrics = ask, system, metrics
        self._answered_at_s: float | None = None
        self.error = "not asked yet"

    async def run(self) -> None:
        """Ask until cancelled; a change is logged, an outage is not logged again and again."""
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
        """Return whether the database is there now, as far as is known."""
        return not self.error and self.answered_within(ANSWERS_S)

    def answered_within(self, seconds: float) -> bool:
        """Return whether the database has answered lately."""
        at = self._answered_at_s
        return at is not None and self._system.clock() - at <= seconds


class Watchdog:
    """Looks at the lanes, again and again."""

    def __init__(  # noqa: PLR0913 - all by keyword, each a thing that it watches or is told by
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
        """``waits``: is there a record at or behind that offset? ``end`` ends the process."""
        self._look, self._waits, self._probe = look, waits, probe
        self._stall_s, self._system = stall_s, system
        self._metrics, self._end = metrics, end
        self._every_s = min(stall_s / LOOKS_A_STALL, LOOK_S_MAX)
        self._looked_at_s = system.clock()
        self._stills: dict[TopicPartition, Still] = {}
        self.stalled: list[Sighting] = []
        self.unheard: list[TopicPartition] = []
        """Lanes of whose topics the broker said nothing, or whose events it refused, lately."""

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
        """Look once; end the process if a lane has stood still for too long."""
        sightings = await self._look()
        self.unheard = [seen.lane for seen in sightings if seen.end is None]
        now_s = self._system.clock()
        # A process that was suspended has seen nothing of the time that passed.
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
                "lane_stands_still",
                topic=seen.lane.topic,
                partition=seen.lane.partition,
                status=seen.status,
                next_offset=seen.next_offset,
                end=seen.end,
                seconds=round(self._stills[seen.lane].seconds, 1),
                exit_code=EXIT_CODE,
                reason="broker and database answer, this process does not get on: it is ended",
            )
        if self.stalled:
            self._end()

    async def _is_real(self, seen: Sighting) -> bool:
        """Whether a record waits: what lies before the end may be marks of transactions only."""
        if seen.busy or seen.status is not LaneStatus.READY:
            return True
        real = await self._waits(seen.lane, seen.next_offset)
        if not real:
            self._stills[seen.lane] = Still(seen.mark)
        return real


def live(watchdog: Watchdog | None) -> dict[str, Check]:
    """Return what /livez says. That it says anything shows that the event loop turns."""
    still = watchdog.stalled if watchdog is not None else []
    names = ", ".join(f"{seen.lane.topic}[{seen.lane.partition}]" for seen in still)
    return {"lanes": Check(not still, f"standing still: {names}" if still else "getting on")}


def ready(
    *,
    joined: bool,
    draining: bool,
    lanes: Mapping[TopicPartition, tuple[LaneStatus, str]],
    unheard: Sequence[TopicPartition],
    probe: Probe,
) -> dict[str, Check]:
    """Return what /readyz says. A worker that holds no lane is ready: it is a spare one."""
    answers = probe.answered_within(READY_S)
    silent = ", ".join(f"{lane.topic}[{lane.partition}]" for lane in sorted(unheard))
    waiting = [
        f"{lane.topic}[{lane.partition}] {status}{f': {reason}' if reason else ''}"
        for lane, (status, reason) in sorted(lanes.items())
        if reason or status is not LaneStatus.READY
    ]
    return {
        "group": Check(joined, "joined" if joined else "not joined"),
        "lanes": Check(not waiting, "; ".join(waiting) or f"{len(lanes)} READY"),
        "broker": Check(not silent, f"no answer on {silent}" if silent else "answers"),
        "database": Check(answers, "answers" if answers else probe.error or "silent"),
        "draining": Check(not draining, "yes" if draining else "no"),
    }
