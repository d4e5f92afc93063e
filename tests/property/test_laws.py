"""What holds in every history, however lanes share, cut, repeat and lose."""

import json
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.driver import (
    ROWS_MIN,
    Committed,
    Exchange,
    Habits,
    LaneDriver,
    Sent,
    content,
    durable,
    sides,
)
from tests.support.flows import (
    RICH,
    TRADERS,
    buy,
    deposit,
    flows,
    law,
    open_market,
    poor,
    rich,
    run,
    sell,
    withdraw,
)
from worker.audit.invariants import Findings
from worker.audit.stranger import Stranger
from worker.domain import ids
from worker.domain.commands import Deposit, Side
from worker.domain.events import Deposited, Event, OrderFilled, Payout, Withdrawn
from worker.domain.plan import Answer, Batch, Gather, plan
from worker.domain.purse import Purse, Tally
from worker.domain.state import LaneState, Limits
from worker.domain.transfers import Gathering
from worker.domain.units import WALLET, AccountId, Lane, MarketId, Money, Offset
from worker.wire import events as wire_events
from worker.wire import facts as wire_facts

Wire = dict[str, Any]
seeds = st.integers(0, 2**32)
amounts_of_any = st.one_of(poor, poor, rich)


def busy(amounts: list[int], flow: list[Sent], habits: Habits) -> Exchange:
    return run(Exchange(3, 2, habits), amounts, flow, 40)


# What the events say.


@law
@given(amounts_of_any, flows(), seeds)
def test_a_stranger_can_follow(amounts: list[int], flow: list[Sent], seed: int) -> None:
    """He checks priority, prices, postings and counts; then he knows what everybody has."""
    exchange = busy(amounts, flow, Habits(rng=Random(seed), losing=0.1))
    stranger = Stranger(findings := Findings())
    for lane in exchange.lanes.values():
        kind = lane.state.home.kind
        stranger.read([json.loads(wire_events.encode(event, kind)) for event in lane.events])
    stranger.close()
    assert findings.violations() == ()
    for name in (*TRADERS, "nobody"):
        assert stranger.cash[name] == exchange.database.cash(name)
    for row in exchange.database.markets.values():
        market = stranger.markets[row.market.market_id]
        assert (market.escrow, market.seq) == (row.escrow, row.market.market_seq)
        held = {a: market.positions[a] for a in exchange.database.accounts.values()}
        assert held == {
            a: exchange.database.positions[row.market.key, ids.account_key(a)] for a in held
        }


@law
@given(amounts_of_any, flows(), seeds)
def test_every_contract_asked_for_is_filled_cancelled_or_open(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    exchange = busy(amounts, flow, Habits(rng=Random(seed), losing=0.1))
    asked: Counter[tuple[str, ...]] = Counter()
    gone: Counter[tuple[str, ...]] = Counter()
    for event in exchange.events:
        match event["type"]:
            case "ORDER_ACCEPTED":
                asked[name_in(event)] += event["quantity"]
            case "ORDER_CANCELLED":
                assert event["cancelled_quantity"] > 0
                gone[name_in(event)] += event["cancelled_quantity"]
            case "ORDER_FILLED":
                assert event["quantity"] > 0
                for party in (event["buyer"], event["seller"]):
                    name = name_in(event | party)
                    gone[name] += event["quantity"]
                    assert party["leaves_quantity"] == asked[name] - gone[name] >= 0
            case _:
                pass
    live = {
        (market_id, order.account_id, order.order_id): order.leaves
        for lane in exchange.lanes
        for market_id, orders in exchange.database.open_orders(lane).items()
        for order in orders
    }
    assert +(asked - gone) == live
    assert not gone - asked


def name_in(event: Wire) -> tuple[str, ...]:
    return event["market_id"], event["account_id"], event["order_id"]


@law
@given(amounts_of_any, flows(), seeds)
def test_every_offset_has_one_answer_and_nothing_is_missing(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    exchange = busy(amounts, flow, Habits(rng=Random(seed), losing=0.1))
    for lane in exchange.lanes.values():
        assert [event.seq for event in lane.events] == list(range(1, len(lane.events) + 1))
        indexes: dict[Offset, list[int]] = {record.offset: [] for record in lane.log}
        for event in lane.events:
            indexes[event.offset].append(event.index)
        for said in indexes.values():
            assert said == list(range(len(said)))
            assert said
    markets: dict[str, list[int]] = {}
    for wire in sorted(exchange.events, key=lambda wire: wire["seq"]):
        if "market_seq" in wire:
            markets.setdefault(wire["market_id"], []).append(wire["market_seq"])
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in markets.values())


# What memory and tables hold. The driver itself looks after every batch whether the books are the
# open orders of the tables, escrow = payout x open interest, and no cash came or went.


@law
@given(amounts_of_any, flows(), seeds)
def test_no_book_is_crossed_and_its_depth_is_the_sum_of_its_orders(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    def look(lane: LaneDriver, _: Committed) -> None:
        for book in lane.state.books.values():
            bids, asks = sides(book)
            assert not bids or not asks or bids[0].price < asks[0].price
            for side, orders in ((Side.BUY, bids), (Side.SELL, asks)):
                prices = list(dict.fromkeys(order.price for order in orders))
                assert prices == sorted(prices, reverse=side is Side.BUY)
                at = {p: [o.leaves for o in orders if o.price == p] for p in prices[:2]}
                assert book.depth(side, 2) == [(p, sum(at[p]), len(at[p])) for p in at]
                assert book.best(side) == (orders[0] if orders else None)
            owners = Counter(order.account_id for order in bids + asks)
            assert all(
                book.open_orders(AccountId(name)) == owners[AccountId(name)] for name in TRADERS
            )

    busy(amounts, flow, Habits(rng=Random(seed), losing=0.1, after=look))


@law
@given(poor, flows(), seeds)
def test_what_no_withdrawal_took_is_back_where_lanes_can_draw(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    exchange = busy(amounts, flow, Habits(rng=Random(seed), losing=0.5))
    for pockets in exchange.database.pockets.values():
        assert not any(pockets.get(lane) for lane in exchange.database.transfer_lanes)


# Batches.


@law
@given(flows(), seeds)
def test_where_batches_are_cut_does_not_show(flow: list[Sent], seed: int) -> None:
    """Where all can pay, only the order between a settlement's pages and other answers differs."""
    whole, cut = whole_and_cut(flow, seed)
    assert timeless(whole) == timeless(cut)


@law
@given(flows(without=("resolve",)), seeds)
def test_without_a_settlement_the_cuts_do_not_show_at_all(flow: list[Sent], seed: int) -> None:
    whole, cut = whole_and_cut(flow, seed)
    assert whole.events == cut.events


def whole_and_cut(flow: list[Sent], seed: int) -> tuple[Exchange, Exchange]:
    """Run the same records twice. No account is opened: other lanes see that sooner or later."""
    flow = [
        sent
        for sent in flow
        if not isinstance(sent.command, Deposit) or sent.command.account_id in TRADERS
    ]
    whole = busy([RICH] * 6, flow, Habits())
    return whole, busy([RICH] * 6, flow, Habits(rng=Random(seed)))


def timeless(exchange: Exchange) -> list[Wire]:
    events = sorted(exchange.events, key=lambda e: (e["lane"], e["offset"], e["index"]))
    for event in events:
        for name in ("seq", "market_seq", "time_ms"):
            event.pop(name, None)
        if "first" in event:
            del event["first"]["seq"]
    return events


@law
@given(poor, flows(), seeds)
def test_a_plan_that_is_not_adopted_leaves_nothing_behind(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    busy(amounts, flow, Habits(rng=Random(seed), losing=0.1, thorough=True))


@law
@given(poor, flows(), seeds)
def test_a_batch_is_its_records_and_its_facts(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    """Whoever replays them, without take-overs and without reading, writes and says the same."""
    exchange = busy(amounts, flow, Habits(rng=Random(seed), losing=0.1))
    states = {lane: LaneState(driver.state.home) for lane, driver in exchange.lanes.items()}
    for done in exchange.batches:
        facts, limits, step, _ = wire_facts.decode(done.facts_text)
        batch = plan(states[done.home.lane], step or Answer(done.answered), facts, limits)
        assert isinstance(batch, Batch)
        assert content(batch) == done.content
        batch.adopt()
    for lane, driver in exchange.lanes.items():
        assert durable(states[lane]) == durable(driver.state)


# Pockets.


class Pockets:
    """The pockets of one account while a batch goes on, by the words of design §3."""

    def __init__(self, home: Lane, before: dict[Lane, int], *, exact: bool) -> None:
        self.home, self.exact = home, exact
        self.before, self.now = before, dict(before)
        self.history = {lane: [balance] for lane, balance in before.items()}
        self.draws: Counter[Lane] = Counter()

    def add(self, lane: Lane, amount: int) -> None:
        self.now[lane] = self.now.get(lane, 0) + amount
        self.history.setdefault(lane, [0]).append(self.now[lane])

    def pay(self, amount: int) -> None:
        """Wallet first, then the largest, then the lowest lane."""
        others = {lane: money for lane, money in self.now.items() if money and lane != self.home}
        while others and self.now.get(self.home, 0) < amount:
            largest = max(others.values())
            source = WALLET if WALLET in others else min(p for p in others if others[p] == largest)
            short = amount - self.now.get(self.home, 0)
            held = others.pop(source)
            drawn = min(held, short if self.exact else max(short, held // 4))
            self.draws[source] += drawn
            self.add(source, -drawn)
            self.add(self.home, drawn)
        self.add(self.home, -amount)

    def moved(self) -> dict[Lane, tuple[int, bool]]:
        """Return need, and whether the pocket is new, of all that moved."""
        return {
            lane: (balances[0] - min(balances), lane not in self.before)
            for lane, balances in self.history.items()
            if len(balances) > 1
        }


def movements(event: Event) -> Iterator[tuple[AccountId, int, Lane | None, bool]]:
    """Yield account, amount, the pocket where it goes (None: the lane's), and whether exactly."""
    body = event.body
    match body:
        case OrderFilled():
            for party in (body.buyer, body.seller):
                own = [p.amount for p in body.postings if p.account_id == party.account_id]
                yield party.account_id, sum(own), None, False
        case Payout():
            yield body.account_id, body.amount, None, False
        case Deposited() if event.subject is not None:
            yield AccountId(event.subject), body.amount, WALLET, False
        case Withdrawn() if event.subject is not None:
            yield AccountId(event.subject), -body.amount, None, True


def pockets_by_the_book(done: Committed) -> dict[str, Pockets]:
    """Return what the pockets go through in a batch, from its events and what it knew before."""
    home = done.home.lane
    known = {a: dict(pockets) for a, pockets in done.pockets_before.items()}
    for page in done.batch.facts.pages.values():
        for payee in page.payees:
            known[payee.account_id].pop(home, None)
            if payee.pocket is not None:
                known[payee.account_id][home] = payee.pocket
    exact = done.batch.facts.exact_draws
    found = {a: Pockets(home, dict(known[a]), exact=a in exact) for a in known}
    for event in done.batch.draft.entries:
        for account_id, amount, lane, exactly in (
            movements(event) if isinstance(event, Event) else ()
        ):
            pockets = found[account_id]
            pockets.exact = pockets.exact or exactly
            if lane is None and amount < 0:
                pockets.pay(-amount)
            else:
                pockets.add(home if lane is None else lane, amount)
    return {ids.account_key(a): pockets for a, pockets in found.items()}


@law
@given(amounts_of_any, flows(), seeds)
def test_draws_and_needs_are_those_of_the_design(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    """``need`` is the deepest point; sources are the wallet, then the largest, then the lowest."""
    exchange = busy(amounts, flow, Habits(rng=Random(seed)))
    for done in exchange.batches:
        expected = pockets_by_the_book(done)
        assert {(row.account, row.lane): (row.need, row.new) for row in done.pockets} == {
            (account, lane): moved
            for account, pockets in expected.items()
            for lane, moved in pockets.moved().items()
        }
        assert {(row.account, row.source): row.amount for row in done.draws} == {
            (account, lane): amount
            for account, pockets in expected.items()
            for lane, amount in pockets.draws.items()
        }


def spread(exchange: Exchange, names: tuple[str, ...], markets: tuple[str, ...]) -> None:
    """Leave each of ``names`` with a pocket in the lane of each market, besides the wallet."""
    for name in names:
        for market in markets:
            exchange.feed(
                [
                    Sent(sell(market, "maker", f"{name}-m", price=5, quantity=1), 0),
                    Sent(buy(market, name, f"{name}-t", price=5, quantity=1), 0),
                ]
            )
    for name in names:
        pockets = exchange.database.pockets[ids.account_key(AccountId(name))]
        assert sum(balance > 0 for balance in pockets.values()) == 1 + len(exchange.lanes) - 1


@pytest.mark.parametrize("rows", range(ROWS_MIN, 100, 3))
def test_withdrawals_from_many_pockets_keep_to_the_rows(rows: int) -> None:
    exchange, names = Exchange(5, 1), ("ann", "bob", "cyd", "dan")
    exchange.feed(Sent(deposit(name, "in", 1_000), 0) for name in (*names, "maker"))
    markets = tuple(market_in(partition, 5) for partition in range(5))
    exchange.feed(Sent(open_market(market), 0) for market in markets)
    spread(exchange, names, markets)
    exchange.send(Sent(withdraw(name, "out", 1_000 - 25), 0) for name in names)
    lane = exchange.lanes[Lane(5)]
    while lane.waiting:
        done = exchange.run(lane, Answer(lane.waiting), Limits(rows=rows))
        assert done.rows <= rows
    assert [exchange.database.cash(name) for name in names] == [0] * 4


@pytest.mark.parametrize("rows", range(ROWS_MIN, 100, 3))
def test_trades_of_many_accounts_keep_to_the_rows(rows: int) -> None:
    exchange = Exchange(1, 1)
    exchange.feed([Sent(open_market(MarketId("m")), 0)])
    exchange.feed(Sent(deposit(f"a-{n}", "in", 100), 0) for n in range(24))
    for n in range(0, 24, 2):
        exchange.send([Sent(sell("m", f"a-{n}", "ask", price=5, quantity=1), 0)])
        exchange.send([Sent(buy("m", f"a-{n + 1}", "bid", price=5, quantity=1), 0)])
    lane = exchange.lanes[Lane(0)]
    while lane.busy:
        done = exchange.run(lane, Answer(lane.waiting), Limits(rows=rows))
        assert done.rows <= rows
    assert len(lane.events) == 1 + 12 * 3


def test_accounts_with_many_pockets_trade_within_few_rows() -> None:
    """Only the pockets that a fill would draw from count; else the sweep would stand for ever."""
    exchange, names = Exchange(8, 1, Habits(forgetful=True)), ("ann", "bob")
    exchange.feed(Sent(deposit(name, "in", 1_000), 0) for name in (*names, "maker"))
    markets = tuple(market_in(partition, 8) for partition in range(8))
    exchange.feed(Sent(open_market(market), 0) for market in markets)
    spread(exchange, names, markets)
    exchange.feed([Sent(buy(markets[0], "ann", "bid", price=5, quantity=60), 0)])
    exchange.send([Sent(sell(markets[0], "bob", "ask", price=5, quantity=60), 0)])
    lane = exchange.lanes[Lane(0)]
    done = exchange.run(lane, Answer(lane.waiting), Limits(rows=ROWS_MIN))
    assert done.batch.draft.fills == 1


def test_sources_are_the_wallet_then_the_largest_then_the_lowest_lane() -> None:
    balances = {3: 7, 0: 50, 1: 7, 2: 9, -1: 1, 4: 0}
    pockets = {Lane(lane): Money(balance) for lane, balance in balances.items()}
    purse = Purse(Lane(0), pockets, exists=True, fresh=True, tally=Tally())
    assert purse.sources() == [WALLET, Lane(2), Lane(1), Lane(3)]


def market_in(partition: int, partitions: int) -> MarketId:
    names = (MarketId(f"m-{number}") for number in range(1_000))
    return next(name for name in names if ids.partition_of(name, partitions) == partition)


def test_what_was_gathered_in_vain_goes_back_to_the_wallet() -> None:
    exchange = Exchange(1, 1)
    exchange.feed([Sent(deposit("ann", "in", 60), 0)])
    lane, ann = exchange.lanes[Lane(1)], AccountId("ann")
    exchange.run(lane, Gather((Gathering(ann, WALLET, Money(50)),)))
    exchange.feed([Sent(withdraw("ann", "out", 100), 0)])
    assert exchange.events[-1]["reason"] == "INSUFFICIENT_FUNDS"
    assert exchange.database.pockets[ids.account_key(ann)] == {WALLET: 60, Lane(1): 0}


def test_a_withdrawal_takes_along_no_more_than_goes_out() -> None:
    exchange = Exchange(1, 1)
    exchange.feed([Sent(deposit("ann", "in", 1_000), 0), Sent(withdraw("ann", "out", 10), 0)])
    pockets = exchange.database.pockets[ids.account_key(AccountId("ann"))]
    assert pockets == {WALLET: 990, Lane(1): 0}
