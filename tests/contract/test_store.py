"""Promises of any `ports.Store`, tested on every implementation.

Neutral by construction: they know a way to make stores over one set of books, and nothing else.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import NamedTuple, Protocol

import pytest

from tests.support.books import (
    ORDERS,
    Desk,
    account_key,
    buy,
    cancel,
    deposit,
    given,
    market_at,
    market_key,
    open_market,
    open_orders,
    opened,
    orders_home,
    resolve,
    sell,
    transfers_home,
    withdraw,
)
from tests.support.fake_store import DistantLine, FakeBooks
from worker.domain import ids
from worker.domain.commands import Outcome, Side, TimeInForce
from worker.domain.events import EventType, First, Reason
from worker.domain.facts import Facts, Lack, Limits, OrderAnswer, PageRequest, TransferAnswer
from worker.domain.plan import PayPage
from worker.domain.state import MarketStatus
from worker.domain.units import (
    WALLET,
    AccountId,
    LaneId,
    MarketId,
    Money,
    OrderId,
    Price,
    Quantity,
    TransferId,
)
from worker.errors import Conflict, ParityError, Refused
from worker.ports import JOURNAL_ROWS_MAX, Statement, Store
from worker.wire import resume as resume_text

LANE, OTHER_LANE, TRANSFERS_LANE = LaneId(0), LaneId(1), LaneId(2)
MARKET, SECOND, ELSEWHERE = market_at(0, "market"), market_at(0, "second"), market_at(1, "far")
ANN, BEN, CAT = AccountId("ann"), AccountId("ben"), AccountId("cat")


class Database(Protocol):
    """Books with an orders stream of two lanes and a transfers stream of one."""

    def store(self) -> Store: ...


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator[Database]:
    async with opened(database_url) as books:
        yield books


@pytest.fixture
async def postgres_in_steps(database_url: str) -> AsyncIterator[Database]:
    async with opened(database_url, in_steps=True) as books:
        yield books


@pytest.fixture
def fake() -> Database:
    return FakeBooks.opened()


@pytest.fixture
def fake_at_a_distance() -> Database:
    """Return books whose calls take time, so that two of them overlap."""
    return FakeBooks.opened(DistantLine())


@pytest.fixture(
    params=[
        "fake",
        "fake_at_a_distance",
        pytest.param("postgres", marks=pytest.mark.integration),
        pytest.param("postgres_in_steps", marks=pytest.mark.integration),
    ]
)
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


async def _desk(database: Database, partition: int = 0) -> Desk:
    return await Desk.open(database.store(), orders_home(partition))


async def _with_money(database: Database, *accounts: str) -> Desk:
    """Deposit 10,000 for each and return the transfers desk."""
    desk = await Desk.open(database.store(), transfers_home())
    await desk.run(*[deposit(account, 10_000, f"{account}-first") for account in accounts])
    return desk


async def _traded(database: Database) -> Desk:
    """Ann bought 10 from Ben at 60. Ben offers 5 more at 70, and Cat bids 3 at 20."""
    await _with_money(database, ANN, BEN, CAT)
    desk = await _desk(database)
    await desk.run(
        open_market(MARKET),
        sell(MARKET, BEN, 10, 60, "sold"),
        buy(MARKET, ANN, 10, 60, "bought"),
        sell(MARKET, BEN, 5, 70, "offer"),
        buy(MARKET, CAT, 3, 20, "bid"),
    )
    return desk


# Taking over.


async def test_a_new_lane_begins_at_nothing(database: Database) -> None:
    row = await database.store().take_over(ORDERS, 1, "me")
    assert (row.lane, row.epoch, row.batch_no, row.next_offset) == (OTHER_LANE, 1, 0, 0)
    assert (row.last_seq, row.published_batch_no, row.lane_time_ms) == (0, 0, 0)
    assert (row.resume, row.last_record_sha, row.cash_in_net) == ("", "", 0)


async def test_take_over_raises_its_lane_epoch_alone(database: Database) -> None:
    store = database.store()
    epochs = [(await store.take_over(ORDERS, 0, "me")).epoch for _ in range(3)]
    assert epochs == [1, 2, 3]
    assert (await store.take_over(ORDERS, 1, "me")).epoch == 1


@pytest.mark.parametrize(("stream", "partition"), [("unknown", 0), (ORDERS, 2)])
async def test_unregistered_lane_cannot_be_taken_over(
    database: Database, stream: str, partition: int
) -> None:
    with pytest.raises(ParityError, match="not registered"):
        await database.store().take_over(stream, partition, "me")


async def test_new_owner_finds_the_last_commit(database: Database) -> None:
    desk = await _traded(database)
    row = await database.store().take_over(ORDERS, 0, "heir")
    state = desk.state
    assert (row.epoch, row.batch_no) == (desk.epoch + 1, state.batch_no)
    assert (row.next_offset, row.last_record_sha) == (5, f"{4:064x}")
    assert (row.last_seq, row.lane_time_ms) == (state.last_seq, 1_004)


async def test_unfinished_work_survives_a_take_over(database: Database) -> None:
    desk = await _traded(database)
    await desk.run(buy(MARKET, ANN, 2, 70), buy(MARKET, CAT, 3, 70))
    desk.limits = Limits(2_500, fills=1)
    await desk.run(resolve(MARKET))
    row = await database.store().take_over(ORDERS, 0, "heir")
    assert resume_text.decode(row.resume) == ((), desk.state.settlements, frozenset())
    assert len(desk.state.settlements) == 1


async def test_new_owner_gets_the_net_cash(database: Database) -> None:
    desk = await _with_money(database, ANN, BEN)
    await desk.run(withdraw(ANN, 3_000))
    reopened = await Desk.open(database.store(), transfers_home())
    assert reopened.state.cash_in_net == 17_000


async def test_lane_loaded_again_plans_the_same(
    database: Database,
) -> None:
    desk = await _traded(database)
    heir = await _desk(database)
    assert heir.state.markets == desk.state.markets
    commands = (buy(MARKET, ANN, 7, 70, "more"), sell(MARKET, ANN, 3, 20, "less"))
    mine, theirs = await desk.prepared(*commands), await heir.prepared(*commands)
    assert mine.rows == theirs.rows


# Committing.


@pytest.mark.shows("W4")
async def test_owner_of_an_earlier_epoch_is_refused(
    database: Database,
) -> None:
    desk = await _traded(database)
    statement = await desk.prepared(cancel(MARKET, CAT, "bid"))
    await database.store().take_over(ORDERS, 0, "heir")
    await _is_refused(desk, statement)
    standing = await desk.store.standing(LANE, statement.batch_no)
    assert (standing.epoch, standing.plan_hash) == (desk.epoch + 1, None)


@pytest.mark.shows("W2")
async def test_a_statement_is_committed_once(database: Database) -> None:
    desk = await _traded(database)
    statement = await desk.prepared(cancel(MARKET, CAT, "bid"))
    await desk.store.commit(statement)
    await _is_refused(desk, statement)
    standing = await desk.store.standing(LANE, statement.batch_no)
    assert (standing.batch_no, standing.plan_hash) == (statement.batch_no, statement.plan_hash)


async def test_first_of_two_plans_wins(database: Database) -> None:
    desk = await _traded(database)
    mine = await desk.prepared(cancel(MARKET, CAT, "bid"))
    other = await desk.prepared(cancel(MARKET, BEN, "offer"))
    await desk.store.commit(mine)
    await _is_refused(desk, other)
    standing = await desk.store.standing(LANE, mine.batch_no)
    assert standing.plan_hash == mine.plan_hash != other.plan_hash


async def test_plan_hash_is_the_same_for_every_owner(database: Database) -> None:
    desk = await _traded(database)
    mine = await desk.prepared(cancel(MARKET, CAT, "bid"))
    desk.owner, desk.epoch = "heir", desk.epoch + 1
    theirs = await desk.prepared(cancel(MARKET, CAT, "bid"))
    assert theirs.plan_hash == mine.plan_hash
    assert theirs.parameters != mine.parameters


async def test_batch_without_its_money_is_refused(
    database: Database,
) -> None:
    await _with_money(database, ANN, BEN, CAT)
    here, there = await _desk(database, 0), await _desk(database, 1)
    await here.run(open_market(MARKET), sell(MARKET, BEN, 160, 50))
    await there.run(open_market(ELSEWHERE), sell(ELSEWHERE, CAT, 160, 50))
    statement = await here.prepared(buy(MARKET, ANN, 160, 50))
    await there.run(buy(ELSEWHERE, ANN, 160, 50))
    with pytest.raises(Refused) as caught:
        await here.store.commit(statement)
    assert caught.value.constraint == "batches_pockets_missed"
    assert (await here.store.standing(LANE, statement.batch_no)).batch_no == here.state.batch_no


async def test_one_of_two_lanes_gets_the_money(database: Database) -> None:
    await _with_money(database, ANN, BEN, CAT)
    here, there = await _desk(database, 0), await _desk(database, 1)
    await here.run(open_market(MARKET), sell(MARKET, BEN, 160, 50))
    await there.run(open_market(ELSEWHERE), sell(ELSEWHERE, CAT, 160, 50))
    tries = [
        (here, await here.prepared(buy(MARKET, ANN, 160, 50))),
        (there, await there.prepared(buy(ELSEWHERE, ANN, 160, 50))),
    ]
    answers = await asyncio.gather(
        *(desk.store.commit(statement) for desk, statement in tries), return_exceptions=True
    )
    lost = [answer for answer in answers if answer is not None]
    assert len(lost) == 1
    assert isinstance(lost[0], Refused | Conflict)
    for (desk, statement), answer in zip(tries, answers, strict=True):
        standing = await desk.store.standing(statement.lane, statement.batch_no)
        assert standing.plan_hash == (None if answer else statement.plan_hash)
    desk, statement = tries[answers.index(lost[0])]
    with pytest.raises(Refused) as caught:
        await desk.store.commit(statement)
    assert caught.value.constraint == "batches_pockets_missed"


@pytest.mark.shows("W19")
async def test_taken_order_id_is_refused_by_its_key(database: Database) -> None:
    desk = await _traded(database)
    statement = await desk.prepared(buy(MARKET, ANN, 1, 10, "bought"))
    with pytest.raises(Refused) as caught:
        await desk.store.commit(statement)
    assert caught.value.constraint == "orders_pkey"


@pytest.mark.shows("W19")
async def test_taken_transfer_id_is_refused_by_its_key(
    database: Database,
) -> None:
    desk = await _with_money(database, ANN)
    statement = await desk.prepared(deposit(ANN, 1, "ann-first"))
    with pytest.raises(Refused) as caught:
        await desk.store.commit(statement)
    assert caught.value.constraint == "transfers_pkey"


async def test_the_published_mark_never_falls(database: Database) -> None:
    desk = await _traded(database)
    for mark in (1, 0):
        desk.published_batch_no = mark
        await desk.run(cancel(MARKET, ANN, "none"))
    row = await database.store().take_over(ORDERS, 0, "heir")
    assert row.published_batch_no == 1


async def _is_refused(desk: Desk, statement: Statement) -> None:
    before = await desk.store.standing(LANE, 0)
    with pytest.raises(Refused):
        await desk.store.commit(statement)
    assert await desk.store.standing(LANE, 0) == before


# The journal.


async def test_journal_returns_the_same_bytes_in_order(database: Database) -> None:
    desk = await _traded(database)
    statements = []
    for account, order_id in ((CAT, "bid"), (BEN, "offer"), (ANN, "never-was")):
        batch = await desk.answer(cancel(MARKET, account, order_id))
        statements.append(desk.statement(batch))
        await desk.store.commit(statements[-1])
        batch.adopt()
    first, last = statements[0].batch_no, statements[-1].batch_no
    rows = await desk.store.journal(LANE, first, last)
    assert [row.batch_no for row in rows] == [first, first + 1, last]
    assert [row.events for row in rows] == [given(s, "events") for s in statements]
    assert [r.batch_no for r in await desk.store.journal(LANE, first + 1, first + 1)] == [first + 1]


async def test_journal_ends_with_the_last_batch(database: Database) -> None:
    desk = await _traded(database)
    rows = await desk.store.journal(LANE, 1, 10_000)
    assert [row.batch_no for row in rows] == list(range(1, desk.state.batch_no + 1))
    assert not await desk.store.journal(OTHER_LANE, 1, 10)
    assert not await desk.store.journal(LANE, 2, 1)


async def test_journal_returns_at_most_its_limit(database: Database) -> None:
    desk = await _desk(database)
    for n in range(JOURNAL_ROWS_MAX + 2):
        await desk.run(cancel(f"{MARKET}", ANN, f"{n}"))
    rows = await desk.store.journal(LANE, 2, 10_000)
    assert [row.batch_no for row in rows] == list(range(2, JOURNAL_ROWS_MAX + 2))


async def test_a_lane_without_a_batch_has_no_plan(database: Database) -> None:
    standing = await (await _desk(database)).store.standing(LANE, 1)
    assert (standing.epoch, standing.batch_no, standing.plan_hash) == (1, 0, None)


# Loading.


async def test_unsettled_markets_of_the_lane_are_loaded(
    database: Database,
) -> None:
    desk, far = await _desk(database), await _desk(database, 1)
    await far.run(open_market(ELSEWHERE))
    names = [market_at(0, name) for name in ("open", "halted", "settled")]
    await desk.run(*[open_market(name, 250) for name in names])
    await desk.halt(names[1])
    await desk.run(resolve(names[2]))
    found = {market.market_id: market for market in await desk.store.markets(LANE)}
    assert found == {name: desk.state.markets[name] for name in names[:2]}
    assert found[names[1]].status is MarketStatus.HALTED
    assert found[names[0]].payout == 250


async def test_open_orders_are_loaded_oldest_first(database: Database) -> None:
    desk = await _traded(database)
    await desk.run(open_market(SECOND), sell(SECOND, ANN, 9, 90, "other"), buy(MARKET, ANN, 2, 70))
    await desk.run(buy(MARKET, ANN, 4, 10, "gone"), buy(MARKET, ANN, 6, 10, "last"))
    await desk.run(cancel(MARKET, ANN, "gone"))
    found = await open_orders(desk.store, LANE)
    assert [(m, o.order_id, o.leaves) for m, o in found] == [
        (MARKET, "offer", 3),
        (MARKET, "bid", 3),
        (SECOND, "other", 9),
        (MARKET, "last", 6),
    ]
    _, first = found[0]
    assert (first.account_id, first.side, first.price) == (BEN, Side.SELL, 70)
    assert not await open_orders(desk.store, OTHER_LANE)


async def test_orders_of_a_resolved_market_are_dead(
    database: Database,
) -> None:
    desk = await _traded(database)
    await desk.run(open_market(SECOND), sell(SECOND, ANN, 9, 90, "kept"))
    await desk.halt(SECOND)
    desk.limits = Limits(2_500, fills=1)
    await desk.run(resolve(MARKET))
    assert [order.order_id for _, order in await open_orders(desk.store, LANE)] == ["kept"]


# Reading.


async def test_absent_rows_are_reported_as_absent(database: Database) -> None:
    desk = await _desk(database)
    facts = await desk.store.read(
        desk.home,
        Lack(
            accounts={ANN},
            positions={(MARKET, ANN)},
            markets={MARKET},
            orders={(MARKET, ANN, OrderId("o"))},
            transfers={(ANN, TransferId("t"))},
        ),
    )
    assert facts == Facts(
        accounts={ANN: None},
        positions={(MARKET, ANN): 0},
        markets={MARKET: None},
        orders={(MARKET, ANN, OrderId("o")): None},
        transfers={(ANN, TransferId("t")): None},
    )


async def test_nothing_lacking_is_nothing_read(database: Database) -> None:
    desk = await _desk(database)
    assert await desk.store.read(desk.home, Lack()) == Facts()


async def test_pockets_and_positions_are_read_as_committed(database: Database) -> None:
    desk = await _traded(database)
    lack = Lack(accounts={ANN, BEN, CAT}, positions={(MARKET, ANN), (MARKET, BEN), (MARKET, CAT)})
    facts = await desk.store.read(desk.home, lack)
    assert facts.positions == {(MARKET, ANN): 10, (MARKET, BEN): -10, (MARKET, CAT): 0}
    drawn = 10_000 // 4
    assert facts.accounts == {
        ANN: {WALLET: 10_000 - drawn, LANE: drawn - 600},
        BEN: {WALLET: 10_000 - drawn, LANE: drawn - 400},
        CAT: {WALLET: 10_000},
    }


async def test_pocket_of_a_transfers_lane_is_its_own(
    database: Database,
) -> None:
    cash = await _with_money(database, ANN)
    await cash.run(withdraw(ANN, 100))
    desk = await _desk(database)
    lack = Lack(accounts={ANN})
    shown = [(await lane.store.read(lane.home, lack)).accounts[ANN] for lane in (cash, desk)]
    assert [set(pockets or {}) for pockets in shown] == [{WALLET, TRANSFERS_LANE}, {WALLET}]


async def test_market_is_read_without_its_money(database: Database) -> None:
    desk = await _traded(database)
    await desk.run(resolve(MARKET, Outcome.NO))
    read = (await desk.store.read(desk.home, Lack(markets={MARKET}))).markets[MARKET]
    assert read is not None
    assert (read.key, read.operator_id, read.payout) == (market_key(MARKET), "op", 100)
    assert (read.status, read.outcome) == (MarketStatus.SETTLED, Outcome.NO)
    assert (read.title, read.opened_seq) == (MARKET, 1)
    assert read.resolved_seq == 7
    assert read.market_seq == desk.state.last_seq


async def test_first_answers_of_orders_are_read(database: Database) -> None:
    desk = await _traded(database)
    await desk.run(buy(MARKET, CAT, 1_000, 99, "dear"))
    names = [(MARKET, BEN, OrderId("sold")), (MARKET, CAT, OrderId("dear"))]
    read = (await desk.store.read(desk.home, Lack(orders=set(names)))).orders
    assert read[names[0]] == OrderAnswer(
        Side.SELL, Price(60), Quantity(10), TimeInForce.GTC, First(EventType.ORDER_ACCEPTED, 2)
    )
    assert read[names[1]] == OrderAnswer(
        Side.BUY,
        Price(99),
        Quantity(1_000),
        TimeInForce.GTC,
        First(EventType.ORDER_REJECTED, 7, Reason.INSUFFICIENT_FUNDS),
    )


async def test_first_answers_of_transfers_are_read(database: Database) -> None:
    desk = await _with_money(database, ANN)
    await desk.run(withdraw(ANN, 10, "out"), withdraw(ANN, 10**6, "much"))
    names = [(ANN, TransferId(name)) for name in ("ann-first", "out", "much")]
    read = (await desk.store.read(desk.home, Lack(transfers=set(names)))).transfers
    assert read == {
        names[0]: TransferAnswer(True, Money(10_000), First(EventType.DEPOSITED, 1)),
        names[1]: TransferAnswer(False, Money(10), First(EventType.WITHDRAWN, 2)),
        names[2]: TransferAnswer(
            False,
            Money(10**6),
            First(EventType.TRANSFER_REJECTED, 3, Reason.INSUFFICIENT_FUNDS),
        ),
    }


# A settlement's pages.


class Shown(NamedTuple):
    """A page: order ids, (account, contracts, pocket) of payees, and whether it is the last."""

    orders: list[str]
    payees: list[tuple[str, int, int | None]]
    last: bool


async def _page(
    desk: Desk, rows_max: int, outcome: Outcome = Outcome.YES, after: str = ids.NO_MARKET
) -> Shown:
    request = PageRequest(market_key(MARKET), outcome, after, rows_max)
    facts = await desk.store.read(desk.home, Lack(pages={MARKET: request}))
    page = facts.pages[MARKET]
    payees = [(payee.account_id, int(payee.quantity), payee.pocket) for payee in page.payees]
    return Shown([order.order_id for order in page.orders], list(payees), page.last)


async def _with_four_winners(database: Database) -> tuple[Desk, list[str]]:
    """Four accounts hold 1 to 4 contracts. Ben sold them, and has two offers left."""
    winners = sorted((f"winner-{n}" for n in range(1, 5)), key=account_key)
    await _with_money(database, BEN, *winners)
    desk = await _desk(database)
    await desk.run(open_market(MARKET), sell(MARKET, BEN, 10, 50))
    await desk.run(*[buy(MARKET, name, int(name[-1]), 50) for name in winners])
    await desk.run(sell(MARKET, BEN, 1, 90, "offer-1"), sell(MARKET, BEN, 1, 91, "offer-2"))
    return desk, winners


async def test_page_has_dead_orders_before_payees(database: Database) -> None:
    desk, winners = await _with_four_winners(database)
    orders, payees, last = await _page(desk, 3)
    assert sorted(orders) == ["offer-1", "offer-2"]
    assert payees == [(winners[0], int(winners[0][-1]), 2_500 - 50 * int(winners[0][-1]))]
    assert not last


@pytest.mark.parametrize(("rows_max", "last"), [(2, False), (5, False), (6, True), (7, True)])
async def test_last_page_is_marked_exactly(database: Database, rows_max: int, last: bool) -> None:
    desk, _ = await _with_four_winners(database)
    assert (await _page(desk, rows_max)).last is last


async def test_page_continues_after_the_last_payee(database: Database) -> None:
    desk, winners = await _with_four_winners(database)
    _, payees, last = await _page(desk, 6, after=account_key(winners[1]))
    assert [account for account, _, _ in payees] == winners[2:]
    assert last


async def test_the_other_outcome_pays_the_other_side(database: Database) -> None:
    desk, _ = await _with_four_winners(database)
    _, payees, last = await _page(desk, 9, Outcome.NO)
    assert [(account, quantity) for account, quantity, _ in payees] == [(BEN, 10)]
    assert last


async def test_a_settlement_in_pages_pays_everyone_once(database: Database) -> None:
    desk, winners = await _with_four_winners(database)
    desk.limits = Limits(2_500, fills=1)
    await desk.run(resolve(MARKET))
    payouts = []
    while desk.state.settlements:
        payouts += (await desk.carry_out(PayPage(MarketId(MARKET)))).draft.payouts
    assert sorted(row.account for row in payouts) == [account_key(name) for name in winners]
    facts = await desk.store.read(desk.home, Lack(accounts={AccountId(name) for name in winners}))
    assert {name: sum((pockets or {}).values()) for name, pockets in facts.accounts.items()} == {
        name: 10_000 + 50 * int(name[-1]) for name in winners
    }


# Letting go.


async def test_closed_store_may_be_used_again(database: Database) -> None:
    desk = await _traded(database)
    await desk.store.close()
    await desk.store.close()
    await desk.run(cancel(MARKET, CAT, "bid"))
    standing = await desk.store.standing(LANE, desk.state.batch_no)
    assert standing.batch_no == desk.state.batch_no


async def test_plan_hash_covers_the_plan_alone(database: Database) -> None:
    """The mark of the published batches may differ in another try to commit the plan."""
    desk = await _traded(database)
    batch = await desk.answer(cancel(MARKET, CAT, "bid"))
    statement = desk.statement(batch)
    desk.published_batch_no = 1
    later = desk.statement(replace(batch))
    batch.discard()
    assert statement.parameters != later.parameters
    assert (statement.rows, statement.plan_hash) == (later.rows, later.plan_hash)
    assert statement.bytes >= statement.facts_bytes + statement.resume_bytes
