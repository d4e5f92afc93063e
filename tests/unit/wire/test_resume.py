"""What is left to do comes back from its text as it went."""

import pytest

from worker.domain.book import OpenOrder
from worker.domain.commands import Side, TimeInForce
from worker.domain.state import Settlement, Sweep
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


@pytest.mark.parametrize("sweep", [None, SWEEP], ids=["no sweep", "a sweep"])
@pytest.mark.parametrize("settlements", [(), (SETTLEMENT,), (SETTLEMENT, PARKED)], ids=len)
def test_what_is_left_to_do_comes_back_as_it_went(
    sweep: Sweep | None, settlements: tuple[Settlement, ...]
) -> None:
    assert resume.decode(resume.encode(sweep, settlements)) == (sweep, settlements)


def test_nothing_left_to_do_is_no_text() -> None:
    assert resume.encode(None, ()) == ""
