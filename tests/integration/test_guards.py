"""The database commits right batches only, and refuses every wrong one whole.

Each case takes a good statement, makes one thing of it wrong, sends it and compares all tables
before and after. The good statements themselves commit, so it is the wrong thing that is refused.
"""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from random import Random

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import PostgresServer
from tests.support import dialect
from tests.support.books import (
    TIMEOUT_S,
    Books,
    Desk,
    Row,
    account_key,
    altered,
    buy,
    cancel,
    deposit,
    given,
    market_at,
    market_key,
    open_market,
    opened,
    rescaled,
    resolve,
    rows_of,
    sell,
    withdraw,
)
from tests.support.databases import created
from worker.adapters.postgres.books import Books as TableReader
from worker.adapters.postgres.parameters import TABLES
from worker.audit import full_audit
from worker.domain import ids
from worker.domain.commands import Command, Outcome
from worker.domain.facts import Limits
from worker.domain.plan import PayPage
from worker.domain.units import WALLET, LaneId, OrderId, TransferId
from worker.errors import Poison, Refused, StoreError
from worker.ports import Statement

OPEN, HALTED, SETTLING, SETTLED = (
    market_at(0, name) for name in ("open", "halted", "settling", "settled")
)
NEW, ELSEWHERE = market_at(0, "new"), market_at(1, "elsewhere")
NOWHERE = "11111111-2222-5333-8444-555555555555"
TOO_MUCH = 10**15


@dataclass
class World:
    """Markets in every state, with holders, resting orders, and money in wallets and pockets."""

    books: Books
    cash: Desk
    lane: Desk
    other_lane: Desk

    async def trade(self) -> Statement:
        """Dan buys from Ben, draws from his wallet, and leaves a rest. Ben has a pocket here."""
        return await self.lane.prepared(buy(OPEN, "dan", 8, 70, "taken"))

    async def trade_on(self) -> Statement:
        """Return the same trade when Dan has bought 2 of Ben's 5 before: 3 are left."""
        await self.lane.run(buy(OPEN, "dan", 2, 70))
        return await self.trade()

    async def pay(self) -> Statement:
        """Return the last page of the market that is being settled."""
        batch = await self.lane.plan(PayPage(SETTLING))
        statement = self.lane.statement(batch)
        batch.discard()
        return statement

    async def resolution(self) -> Statement:
        """Return the flip of the open market, with its only page."""
        return await self.lane.prepared(resolve(OPEN))

    async def transfers(self) -> Statement:
        """Eve's first deposit, and a withdrawal that Ann draws from her wallet."""
        return await self.cash.prepared(deposit("eve", 500, "eve-1"), withdraw("ann", 700, "ann-2"))

    async def opening(self) -> Statement:
        """Return the opening of a market."""
        return await self.lane.prepared(open_market(NEW))

    async def nothing(self) -> Statement:
        """Return a batch that only answers: no row but the lane's and its own."""
        return await self.lane.prepared(cancel(OPEN, "ann", "never-was"))

    async def refused(self, statement: Statement) -> StoreError:
        """Send a wrong statement; nothing may change. Return the refusal."""
        before = await self.books.dump()
        with pytest.raises((Refused, Poison)) as caught:
            await self.lane.store.commit(statement)
        assert await self.books.dump() == before
        return caught.value


async def build(books: Books) -> World:
    """Return the world over empty books. Of two holders in the market being settled one is paid."""
    cash, lane, other = await books.transfers(), await books.orders(0), await books.orders(1)
    names = ("ann", "ben", "cat", "dan", "fay")
    await cash.run(*[deposit(name, 100_000, f"{name}-1") for name in names])
    for market in (OPEN, HALTED, SETTLING, SETTLED, ELSEWHERE):
        await _trade_in(other if market == ELSEWHERE else lane, market)
    await lane.halt(HALTED)
    await lane.run(resolve(SETTLED))
    await lane.settle()
    lane.limits = Limits(2_500, fills=1)
    await lane.run(resolve(SETTLING))
    await lane.carry_out(PayPage(SETTLING))
    lane.limits = Limits(2_500)
    return World(books, cash, lane, other)


async def _trade_in(desk: Desk, market: str) -> None:
    """Ann holds 10 and Fay 1. Ben sold them, and offers 5 more."""
    await desk.run(
        open_market(market),
        sell(market, "ben", 11, 60, "filled"),
        buy(market, "ann", 10, 60),
        buy(market, "fay", 1, 60),
        sell(market, "ben", 5, 70, "resting"),
    )


in_shared_world = pytest.mark.asyncio(loop_scope="module")
WAYS = [pytest.param(False, id="one statement"), pytest.param(True, id="in steps")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=WAYS)
async def world(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, migrated_database: str
) -> AsyncIterator[World]:
    """The world of all tests of this file that commit nothing."""
    name = f"world_{uuid.uuid4().hex}"
    async with (
        created(postgres_server.url, name, migrated_database) as made,
        dialect.way(made) as url,
        opened(url, in_steps=request.param) as books,
    ):
        yield await build(books)


@pytest.fixture(params=WAYS)
async def fresh(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A world of the test's own."""
    async with opened(database_url, in_steps=request.param) as books:
        yield await build(books)


Edit = Callable[[Statement], Statement]
Good = Callable[[World], Awaitable[Statement]]


def having(table: str, row: int | Row = 0, /, **values: object) -> Edit:
    """Change columns of one row, named by its number or by what it holds."""

    def change(rows: list[Row]) -> None:
        found = rows[row] if isinstance(row, int) else _found(rows, row)
        assert found.keys() >= values.keys()
        found.update(values)

    return lambda statement: altered(statement, table, change)


def without(table: str, **held: object) -> Edit:
    """Leave out one row."""
    return lambda s: altered(s, table, lambda rows: rows.remove(_found(rows, held)))


def twice(table: str) -> Edit:
    """Repeat the first row."""
    return lambda s: altered(s, table, lambda rows: rows.append(rows[0]))


def also(table: str, **row: object) -> Edit:
    """Add a row: the first one with these columns changed, or a new one."""
    return lambda s: altered(s, table, lambda rows: rows.append({**(rows or [{}])[0], **row}))


def none_of(table: str) -> Edit:
    return lambda s: altered(s, table, lambda rows: rows.clear())


def stating(**scalars: object) -> Edit:
    return lambda s: rescaled(s, **scalars)


def shifted(name: str, by: int) -> Edit:
    """Move one of the numbers of the batch itself."""
    return lambda s: rescaled(s, **{name: given(s, name) + by})


def all_of(*edits: Edit) -> Edit:
    def edit(statement: Statement) -> Statement:
        for one in edits:
            statement = one(statement)
        return statement

    return edit


def _found(rows: list[Row], held: Row) -> Row:
    (row,) = [row for row in rows if held.items() <= row.items()]
    return row


def _old_order(market: str, account: str, order_id: str) -> str:
    return ids.order_key(market_key(market), account_key(account), OrderId(order_id))


@dataclass(frozen=True)
class Wrong:
    what: str
    good: Good
    edit: Edit
    refused_by: str


ANN, BEN, CAT, DAN, FAY = map(account_key, ("ann", "ben", "cat", "dan", "fay"))
DANS_WALLET: Row = {"account": DAN, "lane": WALLET}
DANS_POCKET: Row = {"account": DAN, "lane": 0}
BENS_POCKET: Row = {"account": BEN, "lane": 0}
IN_OPEN: Row = {"market": market_key(OPEN)}
IN_SETTLING: Row = {"market": market_key(SETTLING)}
FLIPPED: Row = {"status": 3, "outcome": 1, "resolved_seq": 99}
A_POCKET: Row = {"lane": 0, "need": 0, "fresh": 0}
GOING_ON = having("market_changes", status=0)
"""The page is not the last."""

# fmt: off
FENCE = [
    Wrong("an epoch that has passed", World.trade, shifted("epoch", -1), "batches_fence"),
    Wrong("an epoch to come", World.trade, shifted("epoch", 1), "batches_fence"),
    Wrong("a batch number that has passed", World.trade, shifted("batch_no", -1),
          "batches_fence"),
    Wrong("a batch number to come", World.trade, shifted("batch_no", 1), "batches_fence"),
    Wrong("another lane", World.nothing, stating(lane=1), "batches_fence"),
    Wrong("a lane that is not there", World.nothing, stating(lane=77), "batches_fence"),
    Wrong("offsets that go back", World.nothing, stating(next_offset=0), "batches_order"),
    Wrong("seqs that go back", World.nothing, stating(last_seq=0), "batches_order"),
    Wrong("a gap in the seqs", World.nothing, shifted("first_seq", 1), "batches_fence"),
    Wrong("seqs used twice", World.nothing, shifted("first_seq", -1), "batches_fence"),
    Wrong("offsets passed over", World.nothing, shifted("first_offset", 1), "batches_fence"),
    Wrong("offsets passed twice", World.nothing, shifted("first_offset", -1), "batches_fence"),
    Wrong("lane time that goes back", World.nothing, stating(lane_time_ms=1), "batches_fence"),
    Wrong("more published than there is", World.nothing, stating(published_batch_no=999),
          "lanes_published"),
    Wrong("an endless continuation", World.nothing, stating(resume="x" * 65_537), "lanes_resume"),
    Wrong("another batch's id", World.nothing, stating(batch_id=ids.batch_key(LaneId(0), 1)),
          "batches_pkey"),
    Wrong("no facts", World.nothing, stating(facts=None), "batches.facts"),
    Wrong("no events", World.nothing, stating(events=None), "batches.events"),
]

POCKETS = [
    Wrong("an overdrawn pocket whose need is hidden", World.trade,
          all_of(having("trades", price=1, quantity=100_000),
                 having("pockets", BENS_POCKET, need=0),
                 having("draws", amount=100_000),
                 having("pockets", DANS_WALLET, need=100_000)),
          "pockets_balance"),
    Wrong("a fresh pocket that pays before it gets", World.trade,
          all_of(none_of("draws"), having("pockets", DANS_WALLET, need=0)), "pockets_balance"),
    Wrong("a draw from a wallet that holds less", World.trade,
          all_of(having("draws", amount=TOO_MUCH), having("pockets", DANS_WALLET, need=0)),
          "pockets_balance"),
    Wrong("a need that is not met", World.trade, having("pockets", BENS_POCKET, need=TOO_MUCH),
          "batches_pockets_missed"),
    Wrong("a pocket that is not named", World.trade, without("pockets", account=BEN),
          "batches_pockets_missed"),
    Wrong("a wallet that is not named", World.trade, without("pockets", account=DAN, lane=WALLET),
          "batches_pockets_missed"),
    Wrong("a pocket that is absent", World.trade, having("pockets", DANS_POCKET, fresh=0),
          "batches_pockets_missed"),
    Wrong("a fresh pocket that exists", World.pay, having("pockets", fresh=1), "pockets_pkey"),
    Wrong("a fresh pocket with a need", World.trade, having("pockets", DANS_POCKET, need=1),
          "batches_pockets_missed"),
    Wrong("a pocket neither fresh nor there", World.trade, having("pockets", DANS_POCKET, fresh=2),
          "batches_pockets_missed"),
    Wrong("a need that is null", World.trade, having("pockets", BENS_POCKET, need=None),
          "batches_pockets_missed"),
    Wrong("a pocket of nobody", World.trade, having("pockets", BENS_POCKET, account=NOWHERE),
          "batches_pockets_missed"),
]

TRADES = [
    Wrong("a market that is not there", World.trade, having("trades", market=NOWHERE),
          "batches_markets_missed"),
    Wrong("a market of another lane", World.trade, having("trades", market=market_key(ELSEWHERE)),
          "batches_markets_missed"),
    Wrong("a market that the batch itself opens", World.opening,
          all_of(also("trades", trade=NOWHERE, market=market_key(NEW), buyer=ANN, seller=BEN,
                      price=50, quantity=1, seq=1),
                 also("pockets", account=ANN, **A_POCKET),
                 also("pockets", account=BEN, **A_POCKET)),
          "batches_markets_missed"),
    Wrong("a halted market", World.trade, having("trades", market=market_key(HALTED)),
          "batches_trades_not_open"),
    Wrong("a resolved market", World.trade, having("trades", market=market_key(SETTLING)),
          "batches_trades_not_open"),
    Wrong("a settled market", World.trade, having("trades", market=market_key(SETTLED)),
          "markets_settled"),
    Wrong("a market that the batch resolves", World.trade, having("market_changes", **FLIPPED),
          "batches_resolved_and_traded"),
    Wrong("a market that the batch pays", World.trade,
          all_of(having("trades", market=market_key(SETTLING)),
                 also("payees", account=ANN, outcome=1, **IN_SETTLING),
                 also("pockets", account=ANN, **A_POCKET)),
          "batches_resolved_and_traded"),
    Wrong("a trade with oneself", World.trade, having("trades", buyer=BEN), "trades_parties"),
    Wrong("a price of nothing", World.trade, having("trades", price=0), "trades_price"),
    Wrong("a negative price", World.trade, having("trades", price=-70), "trades_price"),
    Wrong("the payout as price", World.trade, having("trades", price=100),
          "batches_trades_mispriced"),
    Wrong("a price above the payout", World.trade, having("trades", price=150),
          "batches_trades_mispriced"),
    Wrong("no contracts", World.trade, having("trades", quantity=0), "trades_quantity"),
    Wrong("negative contracts", World.trade, having("trades", quantity=-5), "trades_quantity"),
    Wrong("too many contracts", World.trade, having("trades", quantity=10**9 + 1),
          "trades_quantity"),
    Wrong("a fractional price", World.trade, having("trades", price=69.5), "22P02"),
    Wrong("a whole price written as a fraction", World.trade, having("trades", price=70.0),
          "22P02"),
    Wrong("a boolean price", World.trade, having("trades", price=True), "22P02"),
    Wrong("a worded price", World.trade, having("trades", price="seventy"), "22P02"),
    Wrong("a price as a list", World.trade, having("trades", price=[70]), "22P02"),
    Wrong("a price beyond 64 bits", World.trade, having("trades", price=2**63), "22003"),
    Wrong("money beyond 64 bits", World.trade, having("trades", price=2**62, quantity=4),
          "22003"),
    Wrong("a trade twice", World.trade, twice("trades"), "trades_pkey"),
    Wrong("a trade of an earlier batch", World.trade,
          having("trades", trade=ids.trade_key(LaneId(0), 2, 1)), "trades_pkey"),
    Wrong("a buyer from outside", World.trade, having("trades", buyer=ids.EXTERNAL),
          "postings_external"),
    Wrong("a seller from outside", World.trade, having("trades", seller=ids.EXTERNAL),
          "postings_external"),
    Wrong("an account without a row that pays", World.trade,
          all_of(having("trades", buyer=NOWHERE),
                 also("pockets", account=NOWHERE, lane=0, need=0, fresh=1)),
          "pockets_balance"),
]

RESOLUTION = [
    Wrong("a holder that lost", World.pay, also("payees", account=BEN), "payouts_quantity"),
    Wrong("a loser paid for the other outcome", World.pay, also("payees", account=BEN, outcome=2),
          "batches_payees_missed"),
    Wrong("a winner with the other outcome", World.pay,
          all_of(having("payees", outcome=2), GOING_ON), "batches_payees_missed"),
    Wrong("a winner with no outcome", World.pay, all_of(having("payees", outcome=None), GOING_ON),
          "batches_payees_missed"),
    Wrong("a winner paid twice at once", World.pay, twice("payees"), "payouts_pkey"),
    Wrong("a winner paid again", World.pay, also("payees", market=market_key(SETTLED), account=ANN),
          "payouts_pkey"),
    Wrong("a winner paid again for the other outcome", World.pay,
          all_of(having("payees", account=FAY, outcome=2), GOING_ON,
                 having("pockets", account=FAY)),
          "batches_payees_missed"),
    Wrong("a payee without a position", World.pay, also("payees", account=CAT),
          "batches_payees_missed"),
    Wrong("a payee from outside", World.pay, also("payees", account=ids.EXTERNAL),
          "batches_payees_missed"),
    Wrong("a payee of a market that goes on", World.pay, also("payees", account=ANN, **IN_OPEN),
          "batches_payees_missed"),
    Wrong("a payee of an undecided market, undecided", World.pay,
          also("payees", account=ANN, outcome=0, **IN_OPEN), "payouts.quantity"),
    Wrong("a payee of another lane's market", World.resolution,
          also("payees", market=market_key(ELSEWHERE)), "batches_payees_missed"),
    Wrong("an end with escrow left", World.pay, none_of("payees"), "markets_settled"),
    Wrong("an end of an open market", World.resolution,
          all_of(none_of("payees"), having("market_changes", status=4, outcome=0)),
          "markets_lifecycle"),
    Wrong("an outcome without an end", World.resolution, having("market_changes", status=0),
          "markets_lifecycle"),
    Wrong("an end without an outcome", World.resolution,
          all_of(none_of("payees"), having("market_changes", status=3, outcome=0)),
          "markets_lifecycle"),
    Wrong("a resolved market opened again", World.pay, having("market_changes", status=1),
          "batches_markets_missed"),
    Wrong("a resolved market halted", World.pay, having("market_changes", status=2),
          "batches_markets_missed"),
    Wrong("a settled market settled again", World.pay,
          also("market_changes", market=market_key(SETTLED)), "batches_markets_missed"),
    Wrong("another outcome", World.pay, having("market_changes", outcome=2),
          "batches_markets_missed"),
    Wrong("the same outcome again", World.pay, having("market_changes", outcome=1),
          "batches_markets_missed"),
    Wrong("both outcomes at once", World.resolution, also("market_changes", outcome=2),
          "markets_settled"),
    Wrong("an outcome that does not exist", World.resolution,
          all_of(none_of("payees"), having("market_changes", outcome=3)), "markets_lifecycle"),
    Wrong("the market of another lane", World.resolution,
          also("market_changes", market=market_key(ELSEWHERE)), "batches_markets_missed"),
    Wrong("an event of another lane's market", World.nothing,
          also("market_changes", market=market_key(ELSEWHERE)), "batches_markets_missed"),
    Wrong("a market that is not there", World.resolution, also("market_changes", market=NOWHERE),
          "batches_markets_missed"),
    Wrong("events that go back", World.pay, having("market_changes", events=-1),
          "batches_markets_missed"),
    Wrong("a market opened twice", World.opening, twice("markets"), "markets_pkey"),
    Wrong("a market that is open already", World.opening, having("markets", **IN_OPEN),
          "markets_pkey"),
    Wrong("a market that pays nothing", World.opening, having("markets", payout=0),
          "markets_payout"),
    Wrong("a market that pays too much", World.opening, having("markets", payout=10**6 + 1),
          "markets_payout"),
    Wrong("a market that opens resolved", World.opening, having("markets", status=3),
          "markets_lifecycle"),
    Wrong("a market in no state", World.opening, having("markets", status=0), "markets_lifecycle"),
]

TRANSFERS = [
    Wrong("a draw from an escrow", World.trade, having("draws", source=-2), "postings.amount"),
    Wrong("a draw from outside", World.trade, having("draws", source=-3), "postings.amount"),
    Wrong("a draw into an escrow", World.trade, having("draws", target=-2), "postings.amount"),
    Wrong("a draw to outside", World.trade, having("draws", target=-3), "postings.amount"),
    Wrong("a draw of nothing", World.trade, having("draws", amount=0), "postings.amount"),
    Wrong("a draw backwards", World.trade, having("draws", amount=-500), "postings.amount"),
    Wrong("a draw backwards from a pocket that can pay", World.nothing,
          all_of(also("draws", cause=NOWHERE, account=BEN, source=WALLET, target=0, amount=-5),
                 also("pockets", account=BEN, lane=WALLET, need=0, fresh=0),
                 also("pockets", account=BEN, lane=0, need=5, fresh=0)),
          "postings.amount"),
    Wrong("a draw of null", World.trade, having("draws", amount=None), "postings.amount"),
    Wrong("a fractional draw", World.trade, having("draws", amount=0.5), "22P02"),
    Wrong("a draw that stays where it is", World.trade, having("draws", target=-1),
          "postings_pkey"),
    Wrong("a draw twice", World.trade, twice("draws"), "postings_pkey"),
    Wrong("a draw of the outside's", World.trade, having("draws", account=ids.EXTERNAL),
          "postings_external"),
    Wrong("a draw of somebody else's", World.trade, having("draws", account=CAT),
          "pockets_balance"),
    Wrong("a deposit of nothing", World.transfers, having("transfers", amount=0),
          "transfers_amount"),
    Wrong("a negative deposit", World.transfers, having("transfers", amount=-1),
          "transfers_amount"),
    Wrong("a negative withdrawal", World.transfers, having("transfers", 1, amount=-1),
          "transfers_amount"),
    Wrong("a deposit too large", World.transfers, having("transfers", amount=10**13 + 1),
          "transfers_amount"),
    Wrong("a fractional deposit", World.transfers, having("transfers", amount=0.5), "22P02"),
    Wrong("a boolean deposit", World.transfers, having("transfers", amount=True), "22P02"),
    Wrong("a deposit of null", World.transfers, having("transfers", amount=None),
          "transfers.amount"),
    Wrong("neither deposit nor withdrawal", World.transfers, having("transfers", deposit=None),
          "transfers.deposit"),
    Wrong("a deposit to the outside", World.transfers, having("transfers", account=ids.EXTERNAL),
          "postings_external"),
    Wrong("a withdrawal from the outside", World.transfers,
          having("transfers", 1, account=ids.EXTERNAL), "postings_external"),
    Wrong("a deposit to somebody who is not named", World.transfers,
          having("transfers", account=BEN), "batches_pockets_missed"),
    Wrong("a withdrawal without the money", World.transfers,
          all_of(none_of("draws"), having("transfers", 1, amount=10**6)), "pockets_balance"),
    Wrong("a transfer twice", World.transfers, twice("transfers"), "transfers_pkey"),
    Wrong("a transfer of an earlier batch", World.transfers,
          having("transfers", transfer=ids.transfer_key(ANN, TransferId("ann-1"))),
          "transfers_pkey"),
    Wrong("an account twice", World.transfers, twice("accounts"), "accounts_pkey"),
    Wrong("an account that is there", World.transfers, having("accounts", account=ANN),
          "accounts_pkey"),
]

ORDERS = [
    Wrong("leaves that rise", World.trade, having("order_changes", leaves=6, status=1),
          "batches_orders_missed"),
    Wrong("leaves of null", World.trade, having("order_changes", leaves=None),
          "batches_orders_missed"),
    Wrong("negative leaves", World.trade, having("order_changes", leaves=-1), "orders_leaves"),
    Wrong("a filled order with leaves", World.trade, having("order_changes", leaves=1),
          "orders_leaves"),
    Wrong("an open order without leaves", World.trade, having("order_changes", status=1),
          "orders_leaves"),
    Wrong("an order rejected late", World.trade, having("order_changes", status=4),
          "orders_reason"),
    Wrong("an order of another lane", World.trade,
          having("order_changes", order_key=_old_order(ELSEWHERE, "ben", "resting")),
          "batches_orders_missed"),
    Wrong("an order closed before", World.trade,
          having("order_changes", order_key=_old_order(OPEN, "ben", "filled")),
          "batches_orders_missed"),
    Wrong("an order closed twice at once", World.trade, twice("order_changes"),
          "batches_orders_missed"),
    Wrong("an order that is not there", World.trade, having("order_changes", order_key=NOWHERE),
          "batches_orders_missed"),
    Wrong("a change of an order that the batch inserts", World.trade,
          also("order_changes", order_key=_old_order(OPEN, "dan", "taken")),
          "batches_orders_missed"),
    Wrong("a new order twice", World.trade, twice("orders"), "orders_pkey"),
    Wrong("a new order that is known", World.trade,
          having("orders", order_key=_old_order(OPEN, "ben", "filled")), "orders_pkey"),
    Wrong("an order of nothing", World.trade, having("orders", quantity=0, leaves=0, status=3),
          "orders_quantity"),
    Wrong("an order at no price", World.trade, having("orders", price=0), "orders_quantity"),
    Wrong("an order on no side", World.trade, having("orders", side=3), "orders_terms"),
    Wrong("an order in force for no time", World.trade, having("orders", time_in_force=0),
          "orders_terms"),
    Wrong("an order with more leaves than contracts", World.trade, having("orders", leaves=9),
          "orders_leaves"),
    Wrong("an accepted order with a reason", World.trade, having("orders", reason="LATE"),
          "orders_reason"),
]

FILLED_ORDERS = [
    Wrong("leaves that rise to less than was asked for", World.trade_on,
          having("order_changes", leaves=4, status=1), "batches_orders_missed"),
]
# fmt: on


def _cases(cases: list[Wrong]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("wrong", [pytest.param(c, id=c.what) for c in cases])


@in_shared_world
@_cases(FENCE)
async def test_the_fence_refuses(world: World, wrong: Wrong) -> None:
    await _is_refused(world, wrong)


@in_shared_world
@_cases(POCKETS)
async def test_no_pocket_moves_with(world: World, wrong: Wrong) -> None:
    await _is_refused(world, wrong)


@in_shared_world
@_cases(TRADES)
async def test_nothing_is_traded_with(world: World, wrong: Wrong) -> None:
    await _is_refused(world, wrong)


@in_shared_world
@_cases(RESOLUTION)
async def test_no_market_turns_with(world: World, wrong: Wrong) -> None:
    await _is_refused(world, wrong)


@in_shared_world
@_cases(TRANSFERS)
async def test_no_money_comes_or_goes_with(world: World, wrong: Wrong) -> None:
    await _is_refused(world, wrong)


@in_shared_world
@_cases(ORDERS)
async def test_no_order_is_written_with(world: World, wrong: Wrong) -> None:
    await _is_refused(world, wrong)


@_cases(FILLED_ORDERS)
async def test_no_order_is_written_after_a_fill_with(fresh: World, wrong: Wrong) -> None:
    await _is_refused(fresh, wrong)


async def _is_refused(world: World, wrong: Wrong) -> None:
    statement = await wrong.good(world)
    error = await world.refused(wrong.edit(statement))
    # Taken apart, several guards may see the same wrong; which one speaks first does not matter.
    assert world.books.in_steps or _name(error) == wrong.refused_by, str(error)


GOODS = [World.trade, World.pay, World.resolution, World.transfers, World.opening, World.nothing]
good_ones = pytest.mark.parametrize("good", GOODS, ids=lambda good: good.__name__)


@good_ones
async def test_the_good_batch_itself_is_committed(fresh: World, good: Good) -> None:
    await fresh.lane.store.commit(await good(fresh))


@good_ones
async def test_a_batch_that_was_committed_is_refused_again(fresh: World, good: Good) -> None:
    statement = await good(fresh)
    await fresh.lane.store.commit(statement)
    assert isinstance(await fresh.refused(statement), Refused)


async def test_fence_refuses_a_repeated_empty_batch(fresh: World) -> None:
    statement = await fresh.nothing()
    await fresh.lane.store.commit(statement)
    assert _name(await fresh.refused(statement)) == "batches_fence"


@in_shared_world
@good_ones
async def test_null_in_any_column_is_refused(world: World, good: Good) -> None:
    statement = await good(world)
    before = await world.books.dump()
    for table in TABLES:
        for number, row in enumerate(rows_of(statement, table)):
            for column in row:
                wrong = having(table, number, **{column: None})(statement)
                with pytest.raises((Refused, Poison)):
                    await world.lane.store.commit(wrong)
    assert await world.books.dump() == before


def _name(error: StoreError) -> str:
    """Return the constraint, for a NOT NULL its column, and for what is no batch the SQLSTATE."""
    if isinstance(error, Poison):
        return error.sqlstate
    if error.constraint:
        return error.constraint
    cause = error.__cause__
    assert isinstance(cause, asyncpg.NotNullViolationError)
    return f"{cause.table_name}.{cause.column_name}"


SEQ_DIFFERS = """
    SELECT market_id, market_seq FROM markets m
     WHERE market_seq <> (SELECT count(*) FROM batches b, string_to_table(b.events, E'\\n') AS e
                           WHERE b.lane = m.lane AND e LIKE m.market_id || E'\\t%'
                             AND e LIKE '%"market_seq":%')"""
"""A market's seq counts its events, which no rule of the audit of tables looks for."""


@dataclass
class Flow:
    """Random good commands over every lane, with few accounts, little money and small batches."""

    desks: list[Desk]
    cash: Desk
    random: Random

    MARKETS = tuple(
        (at, market_at(at, f"m{n}"), (100, 2, 1_000)[n]) for at in (0, 1) for n in range(3)
    )
    ACCOUNTS = tuple(f"account-{n}" for n in range(8))

    async def run(self, rounds: int) -> None:
        await self.cash.run(*[deposit(account, 20_000, "first") for account in self.ACCOUNTS])
        for at, market, payout in self.MARKETS:
            await self.desks[at].run(open_market(market, payout))
        for turn in range(rounds):
            at = self.random.randrange(2)
            desk = self.desks[at]
            desk.limits = Limits(
                self.random.choice([120, 400, 2_500]), fills=self.random.choice([1, 3, 99])
            )
            await desk.run(*[self._order(at) for _ in range(self.random.randint(1, 25))])
            await self.cash.run(*[self._transfer(turn, n) for n in range(self.random.randrange(3))])

    async def resolve(self) -> None:
        """Settle one market of each lane, and leave another half paid."""
        for at, outcome in ((0, Outcome.YES), (1, Outcome.NO)):
            desk = self.desks[at]
            settled, settling, _ = [market for lane, market, _ in self.MARKETS if lane == at]
            desk.limits = Limits(2_500, fills=2)
            await desk.run(resolve(settled, outcome))
            await desk.settle()
            await desk.run(resolve(settling, outcome))
            while not (await desk.carry_out(PayPage(settling))).draft.payouts:
                pass

    def _order(self, at: int) -> Command:
        _, market, payout = self.random.choice([m for m in self.MARKETS if m[0] == at])
        account = self.random.choice(self.ACCOUNTS)
        name = f"{account}-{self.random.randrange(400)}"
        if self.random.random() < 0.1:
            return cancel(market, account, name)
        side = self.random.choice([buy, sell])
        return side(
            market, account, self.random.randint(1, 30), self.random.randint(1, payout - 1), name
        )

    def _transfer(self, turn: int, number: int) -> Command:
        account = self.random.choice(self.ACCOUNTS)
        amount, name = self.random.randint(1, 3_000), f"{turn}-{number}"
        if self.random.random() < 0.3:
            return deposit(account, amount, name)
        return withdraw(account, amount, name)


async def test_every_sum_is_right_after_random_flow(database_url: str) -> None:
    async with opened(database_url) as books:
        desks = [await books.orders(0), await books.orders(1)]
        flow = Flow(desks, await books.transfers(), Random(20_261_123))
        await flow.run(120)
        await flow.resolve()
        tables = TableReader(dialect.direct(database_url), timeout_s=TIMEOUT_S)
        assert (await full_audit(tables, time.monotonic)).violations == ()
        assert await books.rows(SEQ_DIFFERS) == []
        await _flow_was_eventful(books)


async def _flow_was_eventful(books: Books) -> None:
    (seen,) = await books.rows("""
        SELECT (SELECT count(*) FROM trades),
               (SELECT count(*) FROM postings WHERE kind = 4 AND lane >= 0 AND amount < 0),
               (SELECT count(*) FROM postings WHERE kind = 2 AND lane = -2 AND amount < 0),
               (SELECT count(*) FROM transfers WHERE NOT deposit AND reason = ''),
               (SELECT count(*) FROM orders WHERE status = 4),
               (SELECT count(*) FROM lanes WHERE batch_no > 50),
               (SELECT count(*) FROM markets WHERE status = 3 AND escrow > 0),
               (SELECT count(*) FROM markets WHERE status = 4)""")
    names = ("trades", "draws between lanes", "collateral released", "withdrawals", "refusals")
    assert all(count > 10 for count in seen[: len(names)]), dict(zip(names, seen, strict=False))
    assert seen[len(names) :] == (3, 2, 2)
