"""How workers behave while broker or database are away or slow for ten minutes, and afterwards.

Orders keep coming all the time. Nobody restarts anything: it must pass by itself.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Final

import pytest

from tests.simulation import world as simulation
from tests.simulation.faults import SLOW_S, Fault, Strike
from tests.simulation.flow import Flow
from tests.simulation.process import Process
from tests.simulation.world import Result, World, run
from worker.adapters.http import Check
from worker.errors import Unavailable
from worker.ports import System, TopicPartition
from worker.telemetry import Metrics
from worker.watchdog import Probe, Sighting, Watchdog, ready, sight

FROM_S, LASTS_S, FLOW_S, UNTIL_S = 30.0, 600.0, 660.0, 720.0
TELLS_S: Final = 15.0
"""Within so long readiness tells that something is away, and that it is back."""
STALL_S: Final = 60.0
POLL_PAUSE_S: Final = 5.0
"""A member that does not poll for a minute is expelled: a poll at least that often."""
TERM_S, DRAIN_S = 300.0, 10.0
RECORDS_MAX: Final = 4_000
CALLS_A_LANE_S: Final = 3.0
"""So many calls a second and lane, on average, are patient repetition and no busy loop."""
POLLS_A_MEMBER_S: Final = 3.0
"""The worker's polls last a tenth of that in vain; those of a simulation a second."""
STEPS_A_LANE_S: Final = 60.0
"""So many callbacks of the event loop a second and lane."""
TUNED: Final = {name: value for _, name, value in simulation.TUNED}


class Warden:
    """What a worker process has beside its lanes: probe, watchdog, readiness."""

    def __init__(self, process: Process) -> None:
        self.process, self.ended = process, 0
        loop = process.world.loop
        system, metrics = System(loop.time, loop.sleep, Random(0)), Metrics()
        self.probe = Probe(self._ask, system, metrics)
        self.watchdog = Watchdog(
            self._look,
            waits=self._waits,
            probe=self.probe,
            stall_s=STALL_S,
            system=system,
            metrics=metrics,
            end=self._end,
        )
        self._tasks = [loop.create_task(self.probe.run()), loop.create_task(self.watchdog.run())]

    def wrong(self) -> set[str]:
        """Return what readiness says is not well."""
        assignments = self.process.assignments
        assert assignments is not None, "a process begins with them"
        checks: dict[str, Check] = ready(
            joined=assignments.joined,
            draining=assignments.draining,
            lanes={p: (lane.status, lane.trouble) for p, lane in assignments.lanes.items()},
            unheard=self.watchdog.unheard,
            probe=self.probe,
        )
        return {name for name, check in checks.items() if not check.ok}

    def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()

    def _end(self) -> None:
        self.ended += 1

    async def _ask(self) -> None:
        world = self.process.world
        if world.faults.lasting(Fault.DATABASE_DOWN):
            raise Unavailable("away")
        if world.faults.lasting(Fault.SLOW):
            await world.loop.sleep(2 * SLOW_S)

    async def _look(self) -> Sequence[Sighting]:
        assignments, route = self.process.assignments, self.process.world.route
        assert assignments is not None, "a process begins with them"
        return await asyncio.gather(
            *(
                sight(
                    p, lane, TopicPartition(route(p).events_topic, p.partition), assignments.bounds
                )
                for p, lane in tuple(assignments.lanes.items())
            )
        )

    async def _waits(self, partition: TopicPartition, offset: int) -> bool:
        return self.process.world.kafka.log(partition).end > offset


@dataclass(frozen=True, slots=True)
class Second:
    """All workers together at one moment."""

    at_s: float
    wrong: set[str]
    calls: Counter[str]
    steps: int
    tasks: int
    backlog: int
    queued: int
    poll_pause_s: float
    answered: int


@dataclass
class Watched:
    """A run in which something is away, seen second by second."""

    strikes: Sequence[Strike]
    every_s: float = 0.5
    """How often a client wants something."""
    seconds: list[Second] = field(default_factory=list)
    wardens: dict[Process, Warden] = field(default_factory=dict)
    ended_at_s: dict[Process, float] = field(default_factory=dict)
    lanes: int = 0

    def run(self) -> Result:
        """Let it happen, and check what is left as in every seed."""
        return run(0, self._prepare)

    def _prepare(self, world: World) -> None:
        world.faults.calm(UNTIL_S, self.strikes)
        partitions = (world.orders.partitions, world.transfers.partitions)
        flow = Flow(Random(0), *partitions, until_s=min(FLOW_S, RECORDS_MAX * self.every_s))
        world.sendings = flow.steady(self.every_s)
        self.lanes = world.orders.partitions + world.transfers.partitions
        world.loop.create_task(self._watch(world))

    async def _watch(self, world: World) -> None:
        while world.is_running:
            await world.loop.sleep(1.0)
            for process in world.processes:
                if process not in self.wardens:
                    self.wardens[process] = Warden(process)
            for process, warden in self.wardens.items():
                if process.ended and process not in self.ended_at_s:
                    self.ended_at_s[process] = world.loop.time()
                    warden.stop()
            self.seconds.append(self._see(world))
        for warden in self.wardens.values():
            warden.stop()

    def _see(self, world: World) -> Second:
        alive = {p: w for p, w in self.wardens.items() if p not in self.ended_at_s}
        members = [process.assignments for process in alive if process.assignments]
        lanes = [lane for member in members for lane in member.lanes.values()]
        publishers = [p for process in alive for p in process.publishers.values()]
        return Second(
            at_s=world.loop.time(),
            wrong=set().union(*(warden.wrong() for warden in alive.values())),
            calls=sum((process.calls for process in self.wardens), Counter()),
            steps=world.loop.steps,
            tasks=len(asyncio.all_tasks()),
            backlog=max((lane.backlog for lane in lanes), default=0),
            queued=max((len(publisher._waiting) for publisher in publishers), default=0),
            poll_pause_s=max(
                (member._system.clock() - member.polled_at_s for member in members), default=0.0
            ),
            answered=sum(world.lane_row(p)["next_offset"] for p in world.partitions()),
        )

    # What the tests ask.

    def between(self, first_s: float, last_s: float) -> list[Second]:
        """Return what was seen between these times."""
        return [second for second in self.seconds if first_s <= second.at_s <= last_s]

    @property
    def trouble(self) -> list[Second]:
        """Return what was seen while it lasted, once that could be known."""
        return self.between(FROM_S + TELLS_S, FROM_S + LASTS_S - 1.0)

    @staticmethod
    def is_bounded(seconds: Sequence[Second]) -> bool:
        """Return whether what waited was never more than what may wait."""
        records = TUNED["QUEUED_RECORDS_MAX"] + TUNED["FETCH_RECORDS_MAX"]
        return all(
            second.backlog <= records and second.queued <= TUNED["QUEUED_BATCHES_MAX"]
            for second in seconds
        )


# In trouble for ten minutes.

AWAY: Final = {
    "database": (Fault.DATABASE_DOWN,),
    "broker": (Fault.BROKER_DOWN,),
    "events topic": (Fault.OUTPUT_DOWN,),
    "events refused": (Fault.PRODUCE_REFUSED,),
}
TROUBLES: Final = {**AWAY, "both slow": (Fault.SLOW, Fault.BROKER_SLOW)}
every_trouble = pytest.mark.parametrize("what", TROUBLES)
every_outage = pytest.mark.parametrize("what", AWAY)


@cache
def watched(what: str) -> tuple[Watched, Result]:
    """Return a run in which that is in trouble, and how it ended."""
    found = Watched([Strike(FROM_S, fault, LASTS_S, 0.0) for fault in TROUBLES[what]])
    return found, found.run()


def _lines(result: Result, *names: str) -> list[tuple[float, str, str, str]]:
    """Return what history tells by these names, from the beginning of trouble to the stop."""
    return [line for line in result.history if line[2] in names and FROM_S < line[0] < UNTIL_S]


@every_trouble
@pytest.mark.shows("F24", "F25", "F33", "F34", "F64", "W11", "W16")
def test_all_is_answered_once_it_is_over_and_nobody_restarted_anything(what: str) -> None:
    found, result = watched(what)
    assert result.violations == []
    assert result.records == found.seconds[-1].answered > 2_000
    assert _lines(result, "begins") == []
    assert [warden.ended for warden in found.wardens.values()] == [0] * len(found.wardens)


@every_trouble
@pytest.mark.shows("F24", "F25", "F33", "F34")
def test_no_member_leaves_or_is_late(what: str) -> None:
    found, result = watched(what)
    assert max(second.poll_pause_s for second in found.trouble) < POLL_PAUSE_S
    assert _lines(result, "assigned", "revoked", "leave", "consumer") == []


@every_trouble
@pytest.mark.shows("F24", "F25", "F33", "F34")
def test_what_does_not_answer_is_asked_again_but_not_in_a_hurry(what: str) -> None:
    found, _ = watched(what)
    first, last = found.trouble[0], found.trouble[-1]
    seconds = last.at_s - first.at_s
    made = last.calls - first.calls
    assert made.pop("poll") / seconds < POLLS_A_MEMBER_S * len(found.wardens)
    assert sum(made.values()) / seconds < CALLS_A_LANE_S * found.lanes
    assert (last.steps - first.steps) / seconds < STEPS_A_LANE_S * found.lanes


@every_trouble
@pytest.mark.shows("F24", "F25", "F33", "F34", "W11")
def test_what_waits_meanwhile_is_bounded(what: str) -> None:
    found, _ = watched(what)
    assert found.is_bounded(found.trouble)
    most_before = max(second.tasks for second in found.between(10.0, FROM_S))
    assert max(second.tasks for second in found.trouble) <= most_before + 2 * found.lanes


@every_outage
@pytest.mark.shows("F24", "F33", "F34", "F64")
def test_readiness_tells_while_it_lasts_and_no_longer(what: str) -> None:
    found, _ = watched(what)
    over_s = FROM_S + LASTS_S + TELLS_S
    assert all(second.wrong == set() for second in found.between(10.0, FROM_S))
    told = {"database" if what == "database" else "broker"}
    assert all(second.wrong == told for second in found.trouble)
    assert all(second.wrong == set() for second in found.between(over_s, UNTIL_S))


@pytest.mark.shows("F25")
def test_who_is_slow_is_ready_and_gets_on() -> None:
    found, _ = watched("both slow")
    assert all(second.wrong == set() for second in found.trouble)
    minutes = [second.answered for second in found.trouble[::60]]
    assert minutes == sorted(set(minutes))


@every_outage
@pytest.mark.shows("F9")
def test_a_worker_that_is_asked_to_end_meanwhile_ends_in_time(what: str) -> None:
    strikes = [Strike(FROM_S, fault, LASTS_S, 0.0) for fault in AWAY[what]]
    found = Watched([*strikes, Strike(TERM_S, Fault.TERM, 0.0, 0.0)])
    result = found.run()
    first, *_, successor = found.wardens
    assert found.ended_at_s[first] < TERM_S + DRAIN_S
    assert [line[1] for line in _lines(result, "begins")] == [successor.name]
    assert result.violations == []


@pytest.mark.shows("F66")
def test_thousands_of_records_at_once_are_taken_little_by_little() -> None:
    found = Watched([], every_s=0.001)
    result = found.run()
    assert result.violations == []
    assert result.records > 3_000
    assert found.is_bounded(found.seconds)
    assert all(second.wrong == set() for second in found.between(10.0, UNTIL_S))
    assert max(second.poll_pause_s for second in found.seconds) < POLL_PAUSE_S
