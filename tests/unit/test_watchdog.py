"""When a process is ended: only for a lane that stands still while everything else answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from worker.adapters.http import Check
from worker.errors import Unavailable
from worker.lane import LaneStatus
from worker.ports import System, TopicPartition
from worker.telemetry import Metrics
from worker.watchdog import (
    ANSWERS_S,
    LOADING_FACTOR,
    READY_S,
    Probe,
    Sighting,
    Still,
    Watchdog,
    live,
    ready,
    stalled,
    watch,
)

LANE = TopicPartition("orders", 3)
OTHER = TopicPartition("orders", 4)
BUSY = Sighting(lane=LANE, status=LaneStatus.READY, batch_no=7, next_offset=100, busy=True, end=200)
STALL_S = 60.0


def seconds_of(*looks: Sighting, database_answers: bool = True) -> float:
    """Return for how long the lane is said to have stood still after looks ten seconds apart."""
    stills: Mapping[TopicPartition, Still] = {}
    for seen in looks:
        stills = watch(stills, [seen], elapsed_s=10.0, database_answers=database_answers)
    return stills[LANE].seconds


def test_the_first_look_counts_nothing() -> None:
    assert seconds_of(BUSY) == 0.0


def test_a_lane_with_lag_that_does_not_get_on_stands_still() -> None:
    assert seconds_of(BUSY, BUSY, BUSY) == 20.0


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(replace(BUSY, batch_no=8), id="a batch that passes no offset"),
        pytest.param(replace(BUSY, next_offset=101), id="an offset"),
        pytest.param(replace(BUSY, acknowledged_seq=9), id="events that the topic had lost"),
        pytest.param(replace(BUSY, refusals=1), id="the database says no"),
        pytest.param(replace(BUSY, end=None), id="the broker does not answer"),
        pytest.param(replace(BUSY, busy=False, end=100), id="nothing waits any more"),
        pytest.param(replace(BUSY, status=LaneStatus.HALTED), id="halted: an operator decides"),
    ],
)
def test_the_count_begins_anew(later: Sighting) -> None:
    assert seconds_of(BUSY, BUSY, later) == 0.0
    assert seconds_of(BUSY, BUSY, later, later if later.mark == BUSY.mark else BUSY) == 0.0


def test_while_the_database_is_silent_nothing_counts() -> None:
    assert seconds_of(BUSY, BUSY, BUSY, database_answers=False) == 0.0


def test_an_outage_erases_what_was_counted_before() -> None:
    stills = watch({}, [BUSY], elapsed_s=10.0, database_answers=True)
    stills = watch(stills, [BUSY], elapsed_s=50.0, database_answers=True)
    stills = watch(stills, [BUSY], elapsed_s=10.0, database_answers=False)
    stills = watch(stills, [BUSY], elapsed_s=10.0, database_answers=True)

    assert stills[LANE].seconds == 10.0


def test_an_idle_lane_never_stands_still() -> None:
    idle = replace(BUSY, busy=False, end=100)

    assert seconds_of(idle, idle, idle) == 0.0


def test_records_that_do_not_even_arrive_are_lag() -> None:
    unfetched = replace(BUSY, busy=False)

    assert seconds_of(unfetched, unfetched) == 10.0


def test_a_lane_that_was_given_away_is_forgotten() -> None:
    other = replace(BUSY, lane=OTHER)
    stills = watch({}, [BUSY, other], elapsed_s=10.0, database_answers=True)
    stills = watch(stills, [other], elapsed_s=10.0, database_answers=True)
    stills = watch(stills, [BUSY, other], elapsed_s=10.0, database_answers=True)

    assert (stills[LANE].seconds, stills[OTHER].seconds) == (0.0, 20.0)


@pytest.mark.parametrize(
    ("status", "seconds", "is_stalled"),
    [
        (LaneStatus.READY, STALL_S, False),
        (LaneStatus.READY, STALL_S + 0.1, True),
        (LaneStatus.LOADING, STALL_S + 0.1, False),
        (LaneStatus.LOADING, STALL_S * LOADING_FACTOR + 0.1, True),
    ],
)
def test_only_what_lasts_is_a_stall(status: LaneStatus, seconds: float, is_stalled: bool) -> None:
    seen = replace(BUSY, status=status)

    found = stalled({LANE: Still(seen.mark, seconds)}, [seen], STALL_S)

    assert found == ([seen] if is_stalled else [])


# The loop around it.


@dataclass
class Time:
    """A clock that only pauses move."""

    now_s: float = 1_000.0
    paused: list[float] = field(default_factory=list)

    def system(self) -> System:
        return System(lambda: self.now_s, self.sleep, Random(7))

    async def sleep(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.now_s += seconds


@dataclass
class Kennel:
    """A watchdog with everything it looks at."""

    sighting: Sighting = BUSY
    database: bool = True
    record_waits: bool = True
    time: Time = field(default_factory=Time)
    metrics: Metrics = field(default_factory=Metrics)
    ended: int = 0
    asked: list[tuple[TopicPartition, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.probe = Probe(self._ask, _once(self.time), self.metrics)
        self.watchdog = Watchdog(
            self._look,
            waits=self._waits,
            probe=self.probe,
            stall_s=STALL_S,
            system=self.time.system(),
            metrics=self.metrics,
            end=self._end,
        )

    async def watch_for(self, seconds: float) -> None:
        until_s = self.time.now_s + seconds
        while self.time.now_s < until_s:
            self.time.now_s += 5.0
            await self.probe_once()
            await self.watchdog.look()

    async def probe_once(self) -> None:
        with pytest.raises(Once):
            await self.probe.run()

    async def _look(self) -> Sequence[Sighting]:
        return [self.sighting]

    async def _ask(self) -> None:
        if not self.database:
            raise Unavailable("no route")

    async def _waits(self, lane: TopicPartition, offset: int) -> bool:
        self.asked.append((lane, offset))
        return self.record_waits

    def _end(self) -> None:
        self.ended += 1


class Once(Exception):
    """Ends a loop that has no end."""


def _once(time: Time) -> System:
    async def sleep(_seconds: float) -> None:
        raise Once

    sleeping: Callable[[float], Awaitable[None]] = sleep
    return System(lambda: time.now_s, sleeping, Random(7))


async def test_a_lane_that_stands_still_ends_the_process() -> None:
    kennel = Kennel()

    await kennel.watch_for(STALL_S)
    assert kennel.ended == 0
    assert live(kennel.watchdog)["lanes"].ok

    await kennel.watch_for(20)
    assert kennel.ended > 0
    assert live(kennel.watchdog)["lanes"] == Check(ok=False, says="standing still: orders[3]")
    assert kennel.asked == []


async def test_an_outage_of_the_database_ends_nothing_however_long() -> None:
    kennel = Kennel(database=False)

    await kennel.watch_for(100 * STALL_S)

    assert kennel.ended == 0


async def test_an_outage_of_the_broker_ends_nothing_however_long() -> None:
    kennel = Kennel(sighting=replace(BUSY, end=None))

    await kennel.watch_for(100 * STALL_S)

    assert kennel.ended == 0


async def test_a_database_that_says_no_ends_nothing_however_long() -> None:
    kennel = Kennel()

    for _ in range(100):
        await kennel.watch_for(STALL_S - 10)
        kennel.sighting = replace(kennel.sighting, refusals=kennel.sighting.refusals + 1)

    assert kennel.ended == 0
    assert kennel.asked == []


async def test_a_lane_that_hangs_after_it_was_told_no_ends_the_process() -> None:
    kennel = Kennel(sighting=replace(BUSY, refusals=7))

    await kennel.watch_for(STALL_S + 20)

    assert kennel.ended > 0


async def test_after_an_outage_a_lane_has_its_whole_time_again() -> None:
    kennel = Kennel()
    await kennel.watch_for(STALL_S - 10)
    kennel.database = False
    await kennel.watch_for(10 * STALL_S)
    kennel.database = True

    await kennel.watch_for(STALL_S - 10)

    assert kennel.ended == 0


async def test_a_consumer_that_gets_nothing_though_a_record_waits_is_a_stall() -> None:
    kennel = Kennel(sighting=replace(BUSY, busy=False))

    await kennel.watch_for(STALL_S + 20)

    assert kennel.ended > 0
    assert kennel.asked[0] == (LANE, 100)


async def test_an_offset_that_only_marks_a_transaction_is_no_lag() -> None:
    kennel = Kennel(sighting=replace(BUSY, busy=False, end=101), record_waits=False)

    await kennel.watch_for(10 * STALL_S)

    assert kennel.ended == 0
    assert kennel.asked


async def test_the_time_of_a_suspended_process_does_not_count() -> None:
    kennel = Kennel()
    await kennel.watch_for(10)

    kennel.time.now_s += 86_400.0
    await kennel.probe_once()
    await kennel.watchdog.look()

    assert kennel.ended == 0


async def test_a_database_that_says_no_is_not_taken_to_be_there_a_moment_longer() -> None:
    kennel = Kennel()
    await kennel.probe_once()
    kennel.database = False
    await kennel.probe_once()

    assert not kennel.probe.answers
    assert kennel.probe.answered_within(ANSWERS_S)


# What health says.


async def test_the_probe_remembers_when_it_was_answered() -> None:
    kennel = Kennel()
    assert not kennel.probe.answered_within(READY_S)

    await kennel.probe_once()
    assert kennel.probe.answers

    kennel.time.now_s += ANSWERS_S + 0.1
    assert not kennel.probe.answers

    await kennel.probe_once()
    kennel.time.now_s += READY_S
    kennel.database = False
    await kennel.probe_once()
    assert not kennel.probe.answers
    assert kennel.probe.answered_within(READY_S)
    assert kennel.probe.error == "no route"

    kennel.time.now_s += 0.1
    assert not kennel.probe.answered_within(READY_S)


@dataclass
class State:
    """What readiness looks at; as it is here, all is well."""

    joined: bool = True
    draining: bool = False
    database: bool = True
    broker: bool = True
    lanes: dict[TopicPartition, tuple[LaneStatus, str]] = field(default_factory=dict)

    async def wrong(self) -> list[str]:
        kennel = Kennel(database=self.database)
        if not self.broker:
            kennel.sighting = replace(BUSY, end=None)
        await kennel.probe_once()
        await kennel.watchdog.look()
        checks = ready(
            joined=self.joined,
            draining=self.draining,
            lanes=self.lanes,
            unheard=kennel.watchdog.unheard,
            probe=kennel.probe,
        )
        return [name for name, check in checks.items() if not check.ok]


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        pytest.param(State(), [], id="without a partition it is a spare one"),
        pytest.param(State(lanes={LANE: (LaneStatus.READY, "")}), [], id="all is well"),
        pytest.param(State(joined=False), ["group"], id="not in the group"),
        pytest.param(State(draining=True), ["draining"], id="draining"),
        pytest.param(State(database=False), ["database"], id="no database"),
        pytest.param(State(broker=False), ["broker"], id="no broker"),
        pytest.param(
            State(lanes={LANE: (LaneStatus.READY, ""), OTHER: (LaneStatus.LOADING, "")}),
            ["lanes"],
            id="a lane that loads",
        ),
        pytest.param(
            State(lanes={LANE: (LaneStatus.READY, "42P01")}), ["lanes"], id="told no, for long"
        ),
        pytest.param(
            State(lanes={LANE: (LaneStatus.HALTED, "truncated")}), ["lanes"], id="a halted lane"
        ),
    ],
)
async def test_readiness(state: State, wrong: list[str]) -> None:
    assert await state.wrong() == wrong
