"""Some cheap attacks for a moment. `make hostile` runs every kind for longer, and judges times."""

import math
import sys

import pytest

from tests.hostile.gauges import longest_lag_ms
from tests.hostile.honest import Measured, Waits
from tests.hostile.kinds import KINDS
from tests.hostile.run import Options, Phase, Result, strike
from worker.embedded import EmbeddedKafka


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits and measures memory")
@pytest.mark.integration
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["header-names", "resolutions", "damaged-batch", "http-odd"])
async def test_attack_leaves_every_innocent_order_answered(
    database_url: str, kafka_server: EmbeddedKafka, name: str
) -> None:
    result = await strike(database_url, kafka_server, name, Options(seconds=3.0))

    assert result.failures == []
    assert result.halted == KINDS[name].halts
    assert result.attacks >= 20
    assert result.attacked.measured.lane.orders >= 20


def test_unanswered_orders_wait_until_the_end() -> None:
    waits = Waits.of([0.001 * n for n in range(1, 100)] + [60.0], unanswered=1)

    assert (waits.orders, waits.unanswered) == (100, 1)
    assert (waits.p50_ms, waits.p99_ms, waits.longest_ms) == (51.0, 99.0, 60_000.0)


@pytest.mark.parametrize(
    ("halted", "ended", "consistent", "failures"),
    [
        (False, 0, True, ["1 innocent orders without an answer"]),
        (True, 0, True, []),
        (True, 2, False, ["2 workers ended by themselves", "the books do not balance"]),
    ],
)
def test_result_names_each_failure(
    halted: bool, ended: int, consistent: bool, failures: list[str]
) -> None:
    """An order in a lane that may halt needs no answer."""
    answered, lost = Waits(10, 0, 5.0, 10.0, 10.0), Waits(10, 1, 5.0, 3_000.0, 3_000.0)
    calm = Phase(Measured(answered, answered, 0.0), 80, 5.0)
    result = Result(
        name="some",
        does="something",
        calm=calm,
        attacked=Phase(Measured(answered, lost, 0.0), 90, 5.0),
        attacks=1,
        halted=halted,
        ended=ended,
        consistent=consistent,
    )

    assert result.failures == failures
    assert result.missed == ([] if halted else ["an order waited 3.0 s"])


def test_longest_lag_is_the_last_grown_bound() -> None:
    """One worker was late by 0.1 s at most before, and another has just begun."""
    before = {(1, 0.005): 90.0, (1, 0.1): 100.0, (1, math.inf): 100.0}
    after = {(1, 0.005): 190.0, (1, 0.1): 200.0, (1, math.inf): 200.0}
    another = {(2, 0.005): 3.0, (2, 0.1): 3.0, (2, math.inf): 4.0}

    assert longest_lag_ms(before, after) == 5.0
    assert longest_lag_ms(before, {**after, (1, 0.005): 189.0}) == 100.0
    assert math.isinf(longest_lag_ms(before, {**after, **another}))
