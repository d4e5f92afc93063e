"""The mix of all faults for a minute. `make chaos` plays the mix for any time."""

from collections import Counter

import pytest

from tests.chaos.mix import KINDS, Front, Move, mix, wanted
from tests.chaos.run import Options, run

SHORT_S = 70.0


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(480)
@pytest.mark.shows("W2", "W6", "W7", "W16", "W20", "F23", "F32", "F36", "F69")
async def test_one_minute_of_all_faults_loses_nothing() -> None:
    result = await run(Options(length_s=SHORT_S, seed=1, rate=60.0))

    assert not result.violations
    assert result.kills_and_cuts >= result.wanted
    assert result.records > 1_000


def test_seed_determines_the_faults() -> None:
    for front in Front:
        short, long = mix(7, 60.0)[front], mix(7, 600.0)[front]
        assert short == long[: len(short)]
        assert mix(7, 600.0)[front] == long != mix(8, 600.0)[front]


@pytest.mark.parametrize("seed", range(20))
def test_ten_minutes_bring_every_kind_of_fault(seed: int) -> None:
    moves = [move for front in mix(seed, 600.0).values() for move in front]
    counts = Counter(move.name for move in moves)

    assert counts.keys() == KINDS.keys()
    assert sum(map(_kills_or_cuts, moves)) > 1.3 * wanted(600.0)


def _kills_or_cuts(move: Move) -> bool:
    return KINDS[move.name].sort in {"kills", "cuts"}
