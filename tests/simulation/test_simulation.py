"""The real worker through what goes wrong, seed by seed, and mutants of it that must be caught.

`python -m tests.simulation --seed N --history` shows what happened in a seed that fails here.
"""

import asyncio
import os
import subprocess
import sys
from random import Random

import pytest

from tests.simulation.loop import SimulatedLoop, StuckError
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.report import Report
from tests.simulation.world import run
from tests.support.fake_store import FakeDatabase, Transaction
from worker.domain.state import StreamKind
from worker.errors import Conflict

SEEDS = 60


def test_no_seed_shows_a_violation() -> None:
    report = Report()
    for seed in range(SEEDS):
        report.add(run(seed))
    assert not report.failed, "\n".join(report.lines(1.0))
    assert report.seeds == SEEDS
    assert sum(report.faults.values()) > 10 * SEEDS
    assert report.events > 50 * SEEDS


@pytest.mark.parametrize("seed", [3, 13])
def test_one_seed_gives_one_history(seed: int) -> None:
    first, second = run(seed), run(seed)
    assert first.history == second.history
    assert len(first.history) > 100


def test_a_history_does_not_depend_on_the_interpreters_hashes() -> None:
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
def test_a_mutant_is_caught(mutant: Mutant) -> None:
    with mutant.applied():
        assert any(
            run(seed).violations for seed in range(mutant.first, mutant.first + mutant.seeds)
        )


def test_the_first_committer_wins() -> None:
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
