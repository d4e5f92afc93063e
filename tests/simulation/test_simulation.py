"""The real worker under seeded faults, and mutants that the seeds must catch.

`make simulate SEED=N` prints the history of a seed that fails here.
"""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from random import Random

import pytest

from tests.simulation.faults import Fault
from tests.simulation.loop import SimulatedLoop, StuckError
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.report import Report
from tests.simulation.windows import FAULTS, REACHED
from tests.simulation.world import run
from tests.support.fake_database import FakeDatabase, Transaction
from worker.domain.state import StreamKind
from worker.errors import Conflict

SEEDS, SEEDS_MAX = 60, 600


@dataclass
class Explored:
    """The seeds from 0 on that all tests together have run so far."""

    report: Report = field(default_factory=Report)

    def more(self) -> None:
        """Run the next seed."""
        self.report.add(run(self.report.seeds))

    def meets(self, what: tuple[Fault, str] | str) -> bool:
        """Run more seeds until one reaches ``what``, and return whether one does."""
        while not self.report.has_met(what) and self.report.seeds < SEEDS_MAX:
            self.more()
        return self.report.has_met(what)


@pytest.fixture(scope="module")
def explored() -> Explored:
    """Return the report of some seeds."""
    found = Explored()
    for _ in range(SEEDS):
        found.more()
    return found


def test_seeds_show_no_violation(explored: Explored) -> None:
    report = explored.report
    assert not report.failed, "\n".join(report.lines(1.0))
    assert sum(report.faults.values()) > 10 * SEEDS
    assert report.events > 50 * SEEDS


@pytest.mark.shows("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10", "W11", "W12")
@pytest.mark.shows("W13", "W14", "W15", "W16", "W17", "W18", "W19", "W20", "W21", "W22", "W23")
def test_failure_windows_are_reached_and_safe(
    explored: Explored, request: pytest.FixtureRequest
) -> None:
    assert _shown(request) == set(REACHED)
    for window in REACHED:
        assert explored.meets(window), window
    assert not explored.report.failed


@pytest.mark.shows("F1", "F2", "F3", "F4", "F5", "F6", "F7", "F9", "F10", "F12", "F14", "F15")
@pytest.mark.shows(
    "F16", "F17", "F18", "F19", "F20", "F22", "F23", "F26", "F27", "F31", "F32", "F35"
)
@pytest.mark.shows("F36", "F40", "F41", "F43", "F44", "F45", "F46", "F47", "F48", "F59", "F61")
@pytest.mark.shows("F35", "F64")
def test_faults_strike_and_are_safe(explored: Explored, request: pytest.FixtureRequest) -> None:
    assert _shown(request) == set(FAULTS)
    for name, marks in FAULTS.items():
        for met in marks:
            assert explored.meets(met), (name, met)
    assert not explored.report.failed


def _shown(request: pytest.FixtureRequest) -> set[str]:
    return {name for mark in request.node.iter_markers("shows") for name in mark.args}


@pytest.mark.parametrize("seed", [3, 13])
def test_seed_gives_one_history(seed: int) -> None:
    first, second = run(seed), run(seed)
    assert first.history == second.history
    assert len(first.history) > 100


def test_history_does_not_depend_on_hash_seeds() -> None:
    script = "from tests.simulation.world import run; print(run(7).digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert digests == {f"{run(7).digest}\n"}


@pytest.mark.parametrize("mutant", [pytest.param(m, id=m.name) for m in MUTANTS])
def test_simulation_catches_its_mutants(mutant: Mutant) -> None:
    with mutant.applied():
        assert any(
            run(seed).violations for seed in range(mutant.first, mutant.first + mutant.seeds)
        )


def test_first_committer_wins() -> None:
    database = FakeDatabase()
    database.register("s", "s", StreamKind.ORDERS, 1)
    row = database.rows("lanes")[0]
    one, other, elsewhere = (Transaction(database) for _ in range(3))
    one.update("lanes", row, epoch=1)
    other.update("lanes", row, epoch=2)
    elsewhere.insert("accounts", {"account": "a", "account_id": "ann"})
    one.commit()
    with pytest.raises(Conflict):
        other.commit()
    elsewhere.commit()
    assert [row["epoch"] for row in database.rows("lanes")] == [1]


def test_time_passes_only_when_nothing_is_ready() -> None:
    loop = SimulatedLoop(Random(0), shuffled=True)
    order: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await loop.sleep(seconds)
        order.append((name, loop.time()))

    async def main() -> None:
        await asyncio.gather(sleeper("day", 86_400.0), sleeper("hour", 3_600.0))

    loop.run_until_complete(main())
    assert order == [("hour", 3_600.0), ("day", 86_400.0)]
    with pytest.raises(StuckError):
        loop.run_until_complete(loop.create_future())
    loop.close()
