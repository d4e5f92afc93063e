"""How often a step is read for, and what becomes of a step that readings do not help."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.books import (
    Desk,
    buy,
    deposit,
    market_at,
    open_market,
    resolve,
    sell,
    withdraw,
)
from tests.support.fake_store import FakeBooks
from tests.support.history import ROUTE, batches_of, lane_rows, rows_of
from tests.unit.owned_lane import Line, OwnedLane
from worker import seal
from worker.audit.event_log import LaneHistory
from worker.audit.invariants import Findings
from worker.audit.replay import replay
from worker.domain.commands import Received
from worker.domain.facts import Facts, Limits
from worker.domain.plan import Gather, PayPage
from worker.domain.state import MarketStatus
from worker.domain.transfers import Gathering
from worker.domain.units import WALLET, AccountId, Money
from worker.errors import GatheringLost

MARKET = market_at(0, "market")
ANN, BEN = AccountId("ann"), AccountId("ben")


async def crowd(makers: int) -> tuple[FakeBooks, Desk]:
    """Return a lane in which makers offer one contract each, all before Ben, and have no money."""
    books = FakeBooks.opened()
    cash, desk = await books.transfers(), await books.orders()
    names = [f"maker-{n}" for n in range(makers)]
    await cash.run(
        *(deposit(name, 100) for name in names), deposit(ANN, 9_000), deposit(BEN, 9_000)
    )
    await desk.run(open_market(MARKET))
    await desk.run(*(sell(MARKET, name, 1, 50) for name in names), sell(MARKET, BEN, 5, 60))
    await cash.run(*(withdraw(name, 100) for name in names))
    return books, desk


def check_replay(books: FakeBooks, log: list[Received]) -> None:
    """Check that every batch of the lane is planned again to the byte from what it recorded."""
    findings, stored = Findings(), batches_of(books.database)
    row = next(row for row in lane_rows(rows_of(books.database)) if row.lane == 0)
    replay(LaneHistory(row, ROUTE, log, (), stored[0]), findings)
    assert findings.violations() == ()


# A run of makers without money.


@pytest.mark.parametrize(("makers", "readings_max"), [(1, 3), (70, 6), (300, 8)])
async def test_penniless_makers_are_read_in_few_readings(makers: int, readings_max: int) -> None:
    books, desk = await crowd(makers)
    lane = await OwnedLane.taken_over(books)

    await lane.answer(buy(MARKET, ANN, 1, 60))

    assert lane.said() == ["OrderAccepted", *["UNFUNDED"] * makers, "OrderFilled"]
    assert len(lane.batches) == 1
    assert sum(lane.readings) <= readings_max
    assert lane.alarms() == set()
    check_replay(books, [*desk.log, *lane.log])


async def test_stale_purses_are_refreshed_in_one_reading() -> None:
    """The owner has cached what the makers had before they withdrew it."""
    books, desk = await crowd(70)
    desk.epoch = (await books.orders()).epoch
    lane = OwnedLane(Line(books), desk)
    for n in range(70):
        desk.state.accounts[AccountId(f"maker-{n}")] = {WALLET: Money(1)}
        desk.state.positions[MARKET, AccountId(f"maker-{n}")] = 0

    await lane.answer(buy(MARKET, ANN, 1, 60))

    assert Counter(lane.said()) == {"OrderAccepted": 1, "UNFUNDED": 70, "OrderFilled": 1}
    assert sum(lane.readings) <= 3


async def test_an_ordinary_order_costs_no_more_readings() -> None:
    books, _ = await crowd(0)
    lane = await OwnedLane.taken_over(books)
    for _ in range(3):
        await lane.answer(buy(MARKET, ANN, 1, 60))
    assert lane.readings == [2, 0, 0]


# A batch is cut where its plan first lacks something.


@pytest.mark.parametrize("readings_max", [1, 2, 3])
async def test_a_plan_that_keeps_asking_is_cut(
    monkeypatch: pytest.MonkeyPatch, readings_max: int
) -> None:
    monkeypatch.setattr(seal, "READINGS_MAX", readings_max)
    books, desk = await crowd(70)
    lane = await OwnedLane.taken_over(books)

    await lane.answer(buy(MARKET, ANN, 1, 60), sell(MARKET, BEN, 1, 60), buy(MARKET, ANN, 1, 60))

    said = ["OrderAccepted", *["UNFUNDED"] * 70, "OrderFilled"]
    assert lane.said() == [*said, "OrderAccepted", "OrderAccepted", "OrderFilled"]
    assert len(lane.batches) > 1
    assert all(batch.answered or batch.draft.makers for batch in lane.batches)
    assert max(lane.readings) <= 2 * readings_max
    assert lane.alarms() == set()
    check_replay(books, [*desk.log, *lane.log])


async def test_commands_before_a_lack_are_committed_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seal, "READINGS_MAX", 1)
    books, desk = await crowd(70)
    lane = await OwnedLane.taken_over(books)
    lane.line.hides = without("stranger")

    await lane.answer(buy(MARKET, BEN, 1, 40), buy(MARKET, "stranger", 1, 40))

    assert lane.batches[0].answered == 1
    assert lane.said() == ["OrderAccepted", "INTERNAL_REJECT"]
    check_replay(books, [*desk.log, *lane.log])


# What readings do not help is given up.


def without(account_id: str) -> Callable[[Facts], Facts]:
    """Return what hides an account from every reading."""

    def hide(facts: Facts) -> Facts:
        shown = {name: row for name, row in facts.accounts.items() if name != account_id}
        return replace(facts, accounts=shown)

    return hide


async def test_a_command_that_lacks_without_end_is_rejected() -> None:
    books, desk = await crowd(1)
    lane = await OwnedLane.taken_over(books)
    lane.line.hides = without("stranger")

    await lane.answer(buy(MARKET, "stranger", 1, 40), buy(MARKET, ANN, 1, 40))

    assert lane.said() == ["INTERNAL_REJECT", "OrderAccepted"]
    assert lane.alarms() == {"readings_exhausted", "internal_reject"}
    assert lane.state.markets[MARKET].status is MarketStatus.OPEN
    check_replay(books, [*desk.log, *lane.log])


async def test_a_sweep_that_lacks_without_end_is_parked() -> None:
    books, desk = await crowd(1)
    lane = await OwnedLane.taken_over(books)
    lane.line.hides = without("maker-0")

    await lane.answer(buy(MARKET, ANN, 1, 60), buy(MARKET, BEN, 1, 40))

    assert lane.said() == ["OrderAccepted", "MARKET_HALTED"]
    assert lane.alarms() == {"readings_exhausted", "continuation_parked"}
    check_replay(books, [*desk.log, *lane.log])


def without_pages(facts: Facts) -> Facts:
    """Hide the pages of settlements."""
    return replace(facts, pages={})


async def test_a_resolution_whose_page_never_comes_is_rejected() -> None:
    books, _ = await crowd(1)
    lane = await OwnedLane.taken_over(books)
    lane.line.hides = without_pages
    await lane.answer(resolve(MARKET), buy(MARKET, ANN, 1, 40))
    assert lane.said() == ["INTERNAL_REJECT", "OrderAccepted"]


async def test_a_settlement_whose_page_never_comes_is_parked() -> None:
    books, desk = await crowd(3)
    desk.limits = Limits(2_500, fills=1)
    await desk.run(resolve(MARKET))
    lane = await OwnedLane.taken_over(books)
    lane.line.hides = without_pages

    await lane.carry_out(PayPage(MARKET))

    assert [settlement.parked for settlement in lane.state.settlements] == [True]
    assert lane.alarms() == {"readings_exhausted", "continuation_parked"}


async def test_a_gathering_that_lacks_without_end_is_lost() -> None:
    books, _ = await crowd(1)
    lane = await OwnedLane.taken_over(books)
    lane.line.hides = without(ANN)

    with pytest.raises(GatheringLost):
        await lane.carry_out(Gather((Gathering(ANN, WALLET, Money(1)),)))
