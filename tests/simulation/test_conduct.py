"""Behaviour of workers while broker or database are unreachable or slow for ten minutes.

Orders arrive all the time. The workers must recover without a restart.
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
from worker.errors import Unavailable
from worker.health.serve import ready
from worker.health.topic_watch import LOOK_EVERY_S
from worker.health.watchdog import Probe, Sighting, Watchdog, sight
from worker.ports import Check, System, TopicPartition
from worker.telemetry import Metrics

FROM_S, LASTS_S, FLOW_S, UNTIL_S = 30.0, 600.0, 660.0, 720.0
NOTICED_S: Final = 15.0
"""Time in which readiness reports an outage, and its end."""
STALL_S: Final = 60.0
POLL_PAUSE_S: Final = 5.0
"""Longest pause between polls. The group expels a member that does not poll for a minute."""
TERM_S, DRAIN_S = 300.0, 10.0
RECORDS_MAX: Final = 4_000
CALLS_PER_LANE_S: Final = 3.0
"""Calls per lane and second. A loop without pauses would make many more."""
POLLS_PER_MEMBER_S: Final = 3.0
"""Polls per member and second. An idle poll of the simulation lasts a second."""
STEPS_PER_LANE_S: Final = 60.0
"""Callbacks of the event loop per lane and second."""
TUNED: Final = {name: value for _, name, value in simulation.TUNED}


class Warden:
    """Probe, watchdog and readiness of a worker process."""

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
        """Return the names of the readiness checks that fail."""
        assignments = self.process.assignments
        assert assignments is not None, "a process begins with them"
        checks: dict[str, Check] = ready(
            joined=assignments.joined,
            draining=assignments.draining,
            lanes={p: (lane.status, lane.trouble) for p, lane in assignments.lanes.items()},
            unheard=self.watchdog.unheard,
            topics={},
            probe=self.probe,
        )
        return {name for name, check in checks.items() if not check.ok}

    def stop(self) -> None:
        """Stop probe and watchdog."""
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
    """Measures of all workers together at one moment."""

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
    """A run with an outage, measured every second."""

    strikes: Sequence[Strike]
    every_s: float = 0.5
    """Interval between two commands of clients."""
    seconds: list[Second] = field(default_factory=list)
    wardens: dict[Process, Warden] = field(default_factory=dict)
    ended_at_s: dict[Process, float] = field(default_factory=dict)
    lanes: int = 0

    def run(self) -> Result:
        """Run the simulation, with the checks of every seed at the end."""
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

    # Results.

    def between(self, first_s: float, last_s: float) -> list[Second]:
        """Return the measures between two times."""
        return [second for second in self.seconds if first_s <= second.at_s <= last_s]

    @property
    def trouble(self) -> list[Second]:
        """Return the measures during the trouble, without the time to notice it."""
        return self.between(FROM_S + NOTICED_S, FROM_S + LASTS_S - 1.0)

    @staticmethod
    def is_bounded(seconds: Sequence[Second]) -> bool:
        """Return whether the waiting records and batches stayed within their bounds."""
        records = TUNED["QUEUED_RECORDS_MAX"] + TUNED["FETCH_RECORDS_MAX"]
        return all(
            second.backlog <= records and second.queued <= TUNED["QUEUED_BATCHES_MAX"]
            for second in seconds
        )


# Ten minutes of trouble.

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
    """Return a run with one kind of trouble, and its result."""
    found = Watched([Strike(FROM_S, fault, LASTS_S, 0.0) for fault in TROUBLES[what]])
    return found, found.run()


def _lines(result: Result, *names: str) -> list[tuple[float, str, str, str]]:
    """Return the lines of history with these names, from the beginning of the trouble on."""
    return [line for line in result.history if line[2] in names and FROM_S < line[0] < UNTIL_S]


@every_trouble
@pytest.mark.shows("F24", "F25", "F33", "F34", "F64", "W11", "W16")
def test_everything_is_answered_without_a_restart(what: str) -> None:
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
def test_silent_servers_are_asked_again_slowly(what: str) -> None:
    found, _ = watched(what)
    first, last = found.trouble[0], found.trouble[-1]
    seconds = last.at_s - first.at_s
    made = last.calls - first.calls
    assert made.pop("poll") / seconds < POLLS_PER_MEMBER_S * len(found.wardens)
    watching = len(found.wardens) / LOOK_EVERY_S
    assert sum(made.values()) / seconds < CALLS_PER_LANE_S * found.lanes + watching
    assert (last.steps - first.steps) / seconds < STEPS_PER_LANE_S * found.lanes


@every_trouble
@pytest.mark.shows("F24", "F25", "F33", "F34", "W11")
def test_waiting_work_is_bounded(what: str) -> None:
    found, _ = watched(what)
    assert found.is_bounded(found.trouble)
    most_before = max(second.tasks for second in found.between(10.0, FROM_S))
    assert max(second.tasks for second in found.trouble) <= most_before + 2 * found.lanes


@every_outage
@pytest.mark.shows("F24", "F33", "F34", "F64")
def test_readiness_fails_only_during_the_trouble(what: str) -> None:
    found, _ = watched(what)
    over_s = FROM_S + LASTS_S + NOTICED_S
    assert all(second.wrong == set() for second in found.between(10.0, FROM_S))
    wrong = {"database" if what == "database" else "broker"}
    assert all(second.wrong == wrong for second in found.trouble)
    assert all(second.wrong == set() for second in found.between(over_s, UNTIL_S))


@pytest.mark.shows("F25")
def test_slow_worker_stays_ready_and_progresses() -> None:
    found, _ = watched("both slow")
    assert all(second.wrong == set() for second in found.trouble)
    minutes = [second.answered for second in found.trouble[::60]]
    assert minutes == sorted(set(minutes))


@every_outage
@pytest.mark.shows("F9")
def test_worker_ends_in_time_during_trouble(what: str) -> None:
    strikes = [Strike(FROM_S, fault, LASTS_S, 0.0) for fault in AWAY[what]]
    found = Watched([*strikes, Strike(TERM_S, Fault.TERM, 0.0, 0.0)])
    result = found.run()
    first, *_, successor = found.wardens
    assert found.ended_at_s[first] < TERM_S + DRAIN_S
    assert [line[1] for line in _lines(result, "begins")] == [successor.name]
    assert result.violations == []


@pytest.mark.shows("F66")
def test_large_backlog_is_taken_in_batches() -> None:
    found = Watched([], every_s=0.001)
    result = found.run()
    assert result.violations == []
    assert result.records > 3_000
    assert found.is_bounded(found.seconds)
    assert all(second.wrong == set() for second in found.between(10.0, UNTIL_S))
    assert max(second.poll_pause_s for second in found.seconds) < POLL_PAUSE_S
