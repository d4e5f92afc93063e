"""Accounts with more pockets than a batch has rows. Their money is drawn in parts."""

from dataclasses import replace

import pytest

from tests.support.books import (
    account_key,
    buy,
    deposit,
    market_at,
    open_market,
    sell,
    transfers_home,
    withdraw,
)
from tests.support.fake_store import FakeBooks
from tests.unit.owned_lane import OwnedLane
from worker.domain.state import StreamKind
from worker.domain.units import WALLET

MARKET = market_at(0, "m")
LANES = 900


async def _spread(rows: int, *, transfers: bool = False, **owns: int) -> OwnedLane:
    """Return a lane with accounts whose money is in equal parts in 840 other lanes."""
    books = FakeBooks.opened()
    first = books.database.register("others", "others", StreamKind.ORDERS, LANES).first_lane
    cash = await books.transfers()
    for name, each in owns.items():
        await cash.run(deposit(name, 840 * each))
        key, tables = account_key(name), books.database.tables["pockets"]
        tables[key, WALLET]["balance"] = 0
        for number in range(first, first + 840):
            tables[key, number] = {"account": key, "lane": number, "balance": each}
            books.database._pockets[key].append(number)
    lane = await OwnedLane.taken_over(books, transfers_home() if transfers else None)
    lane.committer.owner = replace(lane.committer.owner, rows=rows)
    return lane


@pytest.mark.parametrize("rows", [1_000, 2_500])
@pytest.mark.parametrize("maker_owns", [99, 840 * 99], ids=["both", "taker"])
async def test_fill_from_many_pockets_is_drawn_in_parts(rows: int, maker_owns: int) -> None:
    lane = await _spread(rows, taker=1, maker=maker_owns)
    await lane.answer(open_market(MARKET), sell(MARKET, "maker", 840, 1))
    await lane.answer(buy(MARKET, "taker", 840, 1))
    assert lane.said()[-2:] == ["OrderAccepted", "OrderFilled"]
    assert lane.alarms() == set()
    assert len(lane.batches) < 12
    assert all(batch.draft.rows() <= rows for batch in lane.batches)


@pytest.mark.parametrize("rows", [1_000, 2_500])
async def test_withdrawal_from_many_pockets_is_drawn_in_parts(rows: int) -> None:
    lane = await _spread(rows, transfers=True, ann=10)
    await lane.answer(withdraw("ann", 8_400), deposit("ann", 1))
    assert lane.said() == ["Withdrawn", "Deposited"]
    assert lane.alarms() == set()
    assert all(batch.draft.rows() <= rows for batch in lane.batches)
