"""The watchdog ends a process only if a lane is stalled while broker and database answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from worker.errors import Unavailable
from worker.health.serve import READY_S, live, ready
from worker.health.watchdog import (
    ANSWERS_S,
    LOADING_FACTOR,
    Probe,
    Sighting,
    Still,
    Watchdog,
    stalled,
    watch,
)
from worker.lane import LaneStatus
from worker.ports import Check, System, TopicPartition
from worker.telemetry import Metrics

LANE = TopicPartition("orders", 3)
OTHER = TopicPartition("orders", 4)
BUSY = Sighting(lane=LANE, status=LaneStatus.READY, batch_no=7, next_offset=100, busy=True, end=200)
STALL_S = 60.0


def seconds_of(*looks: Sighting, database_answers: bool = True) -> float:
    """Return how long the lane counts as still after looks that are ten seconds apart."""
    stills: Mapping[TopicPartition, Still] = {}
    for seen in looks:
        stills = watch(stills, [seen], elapsed_s=10.0, database_answers=database_answers)
    return stills[LANE].seconds


IDLE = replace(BUSY, busy=False, end=100)
UNFETCHED = replace(BUSY, busy=False)


@pytest.mark.parametrize(
    ("looks", "database_answers", "seconds"),
    [
        pytest.param([BUSY], True, 0.0, id="the first look"),
        pytest.param([BUSY] * 3, True, 20.0, id="a busy lane without progress"),
        pytest.param([BUSY] * 3, False, 0.0, id="a silent database"),
        pytest.param([IDLE] * 3, True, 0.0, id="an idle lane"),
        pytest.param([UNFETCHED] * 2, True, 10.0, id="records that are never fetched"),
    ],
)
def test_only_time_without_progress_counts(
    looks: list[Sighting], database_answers: bool, seconds: float
) -> None:
    assert seconds_of(*looks, database_answers=database_answers) == seconds


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(replace(BUSY, batch_no=8), id="a batch without an offset"),
        pytest.param(replace(BUSY, next_offset=101), id="an offset"),
        pytest.param(replace(BUSY, acknowledged_seq=9), id="events that the topic had lost"),
        pytest.param(replace(BUSY, refusals=1), id="the database refuses"),
        pytest.param(replace(BUSY, end=None), id="the broker does not answer"),
        pytest.param(replace(BUSY, busy=False, end=100), id="nothing waits"),
        pytest.param(replace(BUSY, status=LaneStatus.HALTED), id="halted: an operator decides"),
    ],
)
def test_change_restarts_the_count(later: Sighting) -> None:
    assert seconds_of(BUSY, BUSY, later) == 0.0
    assert seconds_of(BUSY, BUSY, later, later if later.mark == BUSY.mark else BUSY) == 0.0


def test_unfetched_lane_is_not_stalled() -> None:
    """The topic cannot be read. Work inside the lane must go on nevertheless."""
    unread = replace(UNFETCHED, unfetched=True)
    assert seconds_of(*[unread] * 5) == 0
    assert seconds_of(*[replace(unread, busy=True)] * 5) > 0


def test_outage_restarts_the_count() -> None:
    stills = watch({}, [BUSY], elapsed_s=10.0, database_answers=True)
    stills = watch(stills, [BUSY], elapsed_s=50.0, database_answers=True)
    stills = watch(stills, [BUSY], elapsed_s=10.0, database_answers=False)
    stills = watch(stills, [BUSY], elapsed_s=10.0, database_answers=True)

    assert stills[LANE].seconds == 10.0


def test_revoked_lane_is_forgotten() -> None:
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
def test_stall_needs_the_whole_timeout(
    status: LaneStatus, seconds: float, is_stalled: bool
) -> None:
    seen = replace(BUSY, status=status)

    found = stalled({LANE: Still(seen.mark, seconds)}, [seen], STALL_S)

    assert found == ([seen] if is_stalled else [])


# The loop.


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now_s: float = 1_000.0
    paused: list[float] = field(default_factory=list)

    def system(self) -> System:
        return System(lambda: self.now_s, self.sleep, Random(7))

    async def sleep(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.now_s += seconds


@dataclass
class Kennel:
    """A watchdog and everything that it looks at."""

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
    """Ends an endless loop."""


def _once(time: Time) -> System:
    async def sleep(_seconds: float) -> None:
        raise Once

    sleeping: Callable[[float], Awaitable[None]] = sleep
    return System(lambda: time.now_s, sleeping, Random(7))


async def test_stalled_lane_ends_process() -> None:
    kennel = Kennel()

    await kennel.watch_for(STALL_S)
    assert kennel.ended == 0
    assert live(kennel.watchdog.stalled)["lanes"].ok

    await kennel.watch_for(20)
    assert kennel.ended > 0
    found = live(kennel.watchdog.stalled)
    assert found["lanes"] == Check(ok=False, says="stalled: orders[3]")
    assert kennel.asked == []


@pytest.mark.parametrize(
    "without",
    [
        pytest.param({"database": False}, id="database"),
        pytest.param({"sighting": replace(BUSY, end=None)}, id="broker"),
    ],
)
async def test_outage_ends_nothing(without: dict[str, Any]) -> None:
    kennel = Kennel(**without)

    await kennel.watch_for(100 * STALL_S)

    assert kennel.ended == 0


async def test_refusing_database_ends_nothing() -> None:
    kennel = Kennel()

    for _ in range(100):
        await kennel.watch_for(STALL_S - 10)
        kennel.sighting = replace(kennel.sighting, refusals=kennel.sighting.refusals + 1)

    assert kennel.ended == 0
    assert kennel.asked == []


async def test_lane_stalled_after_refusals_ends_process() -> None:
    kennel = Kennel(sighting=replace(BUSY, refusals=7))

    await kennel.watch_for(STALL_S + 20)

    assert kennel.ended > 0


async def test_outage_gives_lane_its_whole_time() -> None:
    kennel = Kennel()
    await kennel.watch_for(STALL_S - 10)
    kennel.database = False
    await kennel.watch_for(10 * STALL_S)
    kennel.database = True

    await kennel.watch_for(STALL_S - 10)

    assert kennel.ended == 0


async def test_consumer_without_waiting_record_is_stalled() -> None:
    kennel = Kennel(sighting=replace(BUSY, busy=False))

    await kennel.watch_for(STALL_S + 20)

    assert kennel.ended > 0
    assert kennel.asked[0] == (LANE, 100)


async def test_transaction_marker_is_no_lag() -> None:
    kennel = Kennel(sighting=replace(BUSY, busy=False, end=101), record_waits=False)

    await kennel.watch_for(10 * STALL_S)

    assert kennel.ended == 0
    assert kennel.asked


async def test_suspended_time_does_not_count() -> None:
    kennel = Kennel()
    await kennel.watch_for(10)

    kennel.time.now_s += 86_400.0
    await kennel.probe_once()
    await kennel.watchdog.look()

    assert kennel.ended == 0


async def test_refusing_database_does_not_answer() -> None:
    kennel = Kennel()
    await kennel.probe_once()
    kennel.database = False
    await kennel.probe_once()

    assert not kennel.probe.answers
    assert kennel.probe.answered_within(ANSWERS_S)


# Readiness.


async def test_probe_remembers_last_answer() -> None:
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
    """Everything that readiness depends on. Without changes the worker is ready."""

    joined: bool = True
    draining: bool = False
    database: bool = True
    broker: bool = True
    lanes: dict[TopicPartition, tuple[LaneStatus, str]] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)

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
            topics=self.topics,
            probe=kennel.probe,
        )
        return [name for name, check in checks.items() if not check.ok]


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        pytest.param(State(), [], id="a spare without lanes"),
        pytest.param(State(lanes={LANE: (LaneStatus.READY, "")}), [], id="everything works"),
        pytest.param(State(joined=False), ["group"], id="not in the group"),
        pytest.param(State(topics={"t": "is compacted"}), ["topics"], id="a compacted topic"),
        pytest.param(State(draining=True), ["draining"], id="draining"),
        pytest.param(State(database=False), ["database"], id="no database"),
        pytest.param(State(broker=False), ["broker"], id="no broker"),
        pytest.param(
            State(lanes={LANE: (LaneStatus.READY, ""), OTHER: (LaneStatus.LOADING, "")}),
            ["lanes"],
            id="a loading lane",
        ),
        pytest.param(
            State(lanes={LANE: (LaneStatus.READY, "42P01")}), ["lanes"], id="a refused lane"
        ),
        pytest.param(
            State(lanes={LANE: (LaneStatus.HALTED, "truncated")}), ["lanes"], id="a halted lane"
        ),
    ],
)
async def test_readiness_names_failed_checks(state: State, wrong: list[str]) -> None:
    assert await state.wrong() == wrong
