"""The rest of the work survives the way through its text."""

import json
from dataclasses import replace

import pytest

from worker.domain.book import OpenOrder
from worker.domain.commands import Side, TimeInForce
from worker.domain.state import SWEEPS_MAX, WAITING_MAX, Settlement, Sweep
from worker.domain.turns import SETTLEMENTS_MAX
from worker.domain.units import AccountId, MarketId, Money, Offset, OrderId, Price, Quantity
from worker.wire import resume

SWEEP = Sweep(
    market_id=MarketId("m-1"),
    order=OpenOrder("key", AccountId("ann"), OrderId("o-1"), Side.SELL, Price(40), Quantity(7), 11),
    time_in_force=TimeInForce.IOC,
    offset=Offset(5),
    index=3,
)
SETTLEMENT = Settlement(
    market_id=MarketId("m-2"), offset=Offset(6), index=2, cursor="after", holders=4, paid=Money(500)
)
PARKED = Settlement(
    market_id=MarketId("m-3"),
    offset=Offset(7),
    index=1,
    cursor="",
    holders=0,
    paid=Money(0),
    parked=True,
)


OTHER = replace(SWEEP, market_id=MarketId("m-4"), offset=Offset(9))


@pytest.mark.parametrize("sweeps", [(), (SWEEP,), (SWEEP, OTHER)], ids=len)
@pytest.mark.parametrize("settlements", [(), (SETTLEMENT,), (SETTLEMENT, PARKED)], ids=len)
@pytest.mark.parametrize("waiting", [(), (0,), (7, 8, 9, 11, 20, 21)], ids=len)
def test_resume_text_round_trips(
    sweeps: tuple[Sweep, ...], settlements: tuple[Settlement, ...], waiting: tuple[int, ...]
) -> None:
    offsets = frozenset(map(Offset, waiting))
    text = resume.encode(sweeps, settlements, offsets)
    assert resume.decode(text) == (sweeps, settlements, offsets)


def test_no_work_left_is_an_empty_text() -> None:
    assert resume.encode((), (), ()) == ""


def test_single_sweep_of_earlier_rules_is_read() -> None:
    (sweep,) = json.loads(resume.encode([SWEEP], (), ()))["sweeps"]
    earlier = json.dumps({"settlements": [], "sweep": sweep})
    assert resume.decode(earlier) == ((SWEEP,), (), frozenset())


def test_fullest_resume_text_fits() -> None:
    """Ids of 64 characters, large numbers, and offsets of which every second one waits."""
    name, large = "x" * 64, 2**53
    order = replace(
        SWEEP.order,
        key="k" * 36,
        account_id=AccountId(name),
        order_id=OrderId(name),
        leaves=Quantity(10**9),
        seq=large,
    )
    market_id, offset = MarketId(name), Offset(large)
    sweep = replace(SWEEP, order=order, market_id=market_id, offset=offset, index=large)
    settlement = replace(
        SETTLEMENT,
        market_id=market_id,
        offset=offset,
        index=large,
        cursor="k" * 36,
        holders=large,
        paid=Money(large),
    )
    waiting = (Offset(large + 2 * n) for n in range(WAITING_MAX))
    text = resume.encode([sweep] * SWEEPS_MAX, [settlement] * (SETTLEMENTS_MAX + 1), waiting)
    assert len(text) < resume.BYTES_MAX
