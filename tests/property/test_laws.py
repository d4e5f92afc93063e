"""Laws of every history, whether lanes share accounts, cut batches, repeat or lose them."""

import json
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.flows import RICH, TRADERS, flows, law, open_market, poor, rich, run
from tests.support.books import buy, deposit, in_order, sell, withdraw
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
from tests.support.history import assert_restored, lane_history
from worker.audit.independent import IndependentReplay
from worker.audit.invariants import Findings
from worker.audit.replay import Replayed, replay
from worker.domain import fills, ids
from worker.domain import orders as order_rules
from worker.domain.commands import Deposit, Side
from worker.domain.digest import RULES
from worker.domain.draft import Draft
from worker.domain.events import Deposited, Event, OrderFilled, Payout, Withdrawn
from worker.domain.facts import Limits
from worker.domain.fills import apply
from worker.domain.matching import Proposal, Taker
from worker.domain.plan import AnswerCommands, Batch, Gather, plan
from worker.domain.purse import Purse, Tally
from worker.domain.rows import ROWS_PER_MARKET
from worker.domain.state import LaneState
from worker.domain.transfers import Gathering
from worker.domain.units import WALLET, AccountId, LaneId, MarketId, Money, Offset
from worker.wire import events as wire_events
from worker.wire import facts as wire_facts

Wire = dict[str, Any]
seeds = st.integers(0, 2**32)
amounts_of_any = st.one_of(poor, poor, rich)


def busy(amounts: list[int], flow: list[Sent], habits: Habits) -> Exchange:
    return run(Exchange(3, 2, habits), amounts, flow, 40)


# Events.


@law
@given(amounts_of_any, flows(), seeds)
def test_independent_replay_follows_the_events(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    """The replay checks priority, prices, postings and counts, and ends with all balances."""
    exchange = busy(amounts, flow, Habits(rng=Random(seed), losing=0.1))
    replay = IndependentReplay(findings := Findings())
    for lane in exchange.lanes.values():
        kind = lane.state.home.kind
        replay.read([json.loads(wire_events.encode(event, kind)) for event in lane.events])
    replay.close()
    assert findings.violations() == ()
    for name in (*TRADERS, "nobody"):
        assert replay.cash[name] == exchange.database.cash(name)
    for row in exchange.database.rows("markets"):
        market = replay.markets[row["market_id"]]
        assert (market.escrow, market.seq) == (row["escrow"], row["market_seq"])
        held = {a: market.positions[a] for a in exchange.database.names()}
        assert held == {a: exchange.database.position(row["market"], a) for a in held}


@law
@given(amounts_of_any, flows(), seeds)
def test_events_give_the_state_of_a_lane(amounts: list[int], flow: list[Sent], seed: int) -> None:
    rng, batches = Random(seed), Counter[LaneId]()

    def look(lane: LaneDriver, done: Committed) -> None:
        batches[done.home.lane] += 1
        if rng.random() < 0.2:
            assert batches[done.home.lane] == len(lane.journal)
            assert_restored(lane.state, lane.log, lane.journal)

    busy(amounts, flow, Habits(rng=Random(seed), losing=0.1, after=look))


@law
@given(amounts_of_any, flows(), seeds)
def test_replay_leaves_batches_of_other_rules_alone(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    """Later batches are planned again, if their facts have everything that a new owner reads."""
    rng = Random(seed)
    exchange = busy(amounts, flow, Habits(rng=Random(seed), losing=0.1, forgetful=True))
    for lane in exchange.lanes.values():
        batches = [b._replace(rules=rng.choice((RULES, RULES - 1))) for b in lane.journal]
        findings, others = Findings(), sum(batch.rules != RULES for batch in batches)
        found = replay(lane_history(lane.state, lane.log, batches), findings)
        assert findings.violations() == ()
        assert found == Replayed(len(batches) - others, others)


@law
@given(amounts_of_any, flows(), seeds)
def test_every_ordered_contract_is_filled_cancelled_or_open(
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
        for market_id, order in exchange.database.reading.open_orders(lane)
    }
    assert +(asked - gone) == live
    assert not gone - asked


def name_in(event: Wire) -> tuple[str, ...]:
    return event["market_id"], event["account_id"], event["order_id"]


@law
@given(amounts_of_any, flows(), seeds)
def test_every_offset_has_exactly_one_answer(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    """Neither the seqs of a lane or market nor the indexes of an offset have a gap."""
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


# Memory and tables. The driver itself checks after every batch that the books are the open orders
# of the tables, that escrow = payout x open interest, and that no cash came or went.


@law
@given(amounts_of_any, flows(), seeds)
def test_books_are_uncrossed_and_show_their_depth(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    """The best order, the depth and the orders per account agree with the open orders."""

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
def test_gathered_cash_leaves_the_transfers_lanes(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    """Cash that no withdrawal took is in the wallet again, from which every lane can draw."""
    exchange = busy(amounts, flow, Habits(rng=Random(seed), losing=0.5))
    for name in exchange.database.names():
        pockets = exchange.database.pockets(name)
        assert not any(pockets.get(lane) for lane in exchange.database.transfer_lanes)


# Batches.


@law
@given(flows(), seeds)
def test_batch_cuts_change_no_answer(flow: list[Sent], seed: int) -> None:
    """If all can pay, only the order between long work and answers of other markets differs."""
    whole, cut = whole_and_cut(flow, seed)
    assert timeless(whole) == timeless(cut)


@law
@given(flows(without=("resolve",)), seeds)
def test_batch_cuts_change_nothing_within_a_market(flow: list[Sent], seed: int) -> None:
    whole, cut = whole_and_cut(flow, seed)
    assert by_market(whole) == by_market(cut)


def whole_and_cut(flow: list[Sent], seed: int) -> tuple[Exchange, Exchange]:
    """Run the same records twice, with whole batches and with cut ones.

    No account is opened, since other lanes would see a new account at different times.
    """
    flow = [
        sent
        for sent in flow
        if not isinstance(sent.command, Deposit) or sent.command.account_id in TRADERS
    ]
    whole = busy([RICH] * 6, flow, Habits())
    return whole, busy([RICH] * 6, flow, Habits(rng=Random(seed)))


def by_market(exchange: Exchange) -> dict[str, list[Wire]]:
    """Return the events of each market in their order, and those of each lane without a market."""
    found: dict[str, list[Wire]] = {}
    for event in sorted(exchange.events, key=lambda event: (event["lane"], event["seq"])):
        for fields in (event, event.get("first", {})):
            fields.pop("seq", None)
        del event["time_ms"]
        found.setdefault(f"{event['lane']}/{event.get('market_id')}", []).append(event)
    return found


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
def test_discarded_plan_leaves_no_trace(amounts: list[int], flow: list[Sent], seed: int) -> None:
    busy(amounts, flow, Habits(rng=Random(seed), losing=0.1, thorough=True))


@law
@given(amounts_of_any, flows(), seeds)
def test_rollback_leaves_no_trace(amounts: list[int], flow: list[Sent], seed: int) -> None:
    """Commands answered on trial change neither the batch nor its consequences."""
    habits = Habits(rng=Random(seed), losing=0.1, thorough=True, hesitant=True)
    busy(amounts, flow, habits)


@law
@given(poor, flows(), seeds)
def test_batch_follows_from_its_records_and_facts(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    """A replay without take-overs and without readings writes and publishes the same."""
    exchange = busy(amounts, flow, Habits(rng=Random(seed), losing=0.1))
    states = {lane: LaneState(driver.state.home) for lane, driver in exchange.lanes.items()}
    for done in exchange.batches:
        facts, limits, recorded, _ = wire_facts.decode(done.stored.facts)
        log, stored = exchange.lanes[done.home.lane].log, done.stored
        step = wire_facts.step_of(recorded, log, stored.first_offset, stored.next_offset)
        batch = plan(states[done.home.lane], step, facts, limits)
        assert isinstance(batch, Batch)
        assert content(batch) == done.content
        batch.adopt()
    for lane, driver in exchange.lanes.items():
        assert durable(states[lane]) == durable(driver.state)


# Pockets.


class Pockets:
    """The pockets of one account during a batch (DESIGN.md, "Pockets and draws")."""

    def __init__(self, home: LaneId, before: dict[LaneId, int], *, exact: bool) -> None:
        self.home, self.exact = home, exact
        self.before, self.now = before, dict(before)
        self.history = {lane: [balance] for lane, balance in before.items()}
        self.draws: Counter[LaneId] = Counter()

    def add(self, lane: LaneId, amount: int) -> None:
        self.now[lane] = self.now.get(lane, 0) + amount
        self.history.setdefault(lane, [0]).append(self.now[lane])

    def pay(self, amount: int) -> None:
        """Draw from the wallet first, then from the largest pocket, then from the lowest lane."""
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

    def moved(self) -> dict[LaneId, tuple[int, bool]]:
        """Return the need of each pocket that moved, and whether the pocket is new."""
        return {
            lane: (balances[0] - min(balances), lane not in self.before)
            for lane, balances in self.history.items()
            if len(balances) > 1
        }


def movements(event: Event) -> Iterator[tuple[AccountId, int, LaneId | None, bool]]:
    """Yield account, amount, target pocket (None is the lane's), and whether draws are exact."""
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
    """Return the pockets' history in a batch, from its events and the balances before it."""
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
    """``need`` is the deepest point. Sources are the wallet, the largest, then the lowest lane."""
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


@law
@given(amounts_of_any, flows(), seeds)
def test_proposal_counts_all_rows_it_adds(amounts: list[int], flow: list[Sent], seed: int) -> None:
    """A sweep that goes on also writes its order and market, for which its batch has room."""

    def counted(draft: Draft, taker: Taker, proposal: Proposal) -> None:
        own = 0 if taker.order.key in draft.new_orders else 1 + ROWS_PER_MARKET
        before = draft.rows()
        apply(draft, taker, proposal)
        assert draft.rows() - before <= proposal.rows + own

    with patch.object(fills, "apply", counted), patch.object(order_rules, "apply", counted):
        busy(amounts, flow, Habits(rng=Random(seed), losing=0.1))


def spread(exchange: Exchange, names: tuple[str, ...], markets: tuple[str, ...]) -> None:
    """Leave each of ``names`` with a pocket in the lane of each market, besides the wallet."""
    for name in names:
        for market in markets:
            exchange.feed(
                [
                    Sent(sell(market, "maker", 1, 5, f"{name}-m"), 0),
                    Sent(buy(market, name, 1, 5, f"{name}-t"), 0),
                ]
            )
    for name in names:
        pockets = exchange.database.pockets(name)
        assert sum(balance > 0 for balance in pockets.values()) == 1 + len(exchange.lanes) - 1


@pytest.mark.parametrize("rows", range(ROWS_MIN, 100, 3))
def test_withdrawals_from_many_pockets_keep_to_the_rows(rows: int) -> None:
    exchange, names = Exchange(5, 1), ("ann", "bob", "cyd", "dan")
    exchange.feed(Sent(deposit(name, 1_000, "in"), 0) for name in (*names, "maker"))
    markets = tuple(market_in(partition, 5) for partition in range(5))
    exchange.feed(Sent(open_market(market), 0) for market in markets)
    spread(exchange, names, markets)
    exchange.send(Sent(withdraw(name, 1_000 - 25, "out"), 0) for name in names)
    lane = exchange.lanes[LaneId(5)]
    while lane.waiting:
        done = exchange.run(lane, in_order(lane.state, lane.waiting), Limits(rows=rows))
        assert done.rows <= rows
    assert [exchange.database.cash(name) for name in names] == [0] * 4


@pytest.mark.parametrize("rows", range(ROWS_MIN, 100, 3))
def test_trades_of_many_accounts_keep_to_the_rows(rows: int) -> None:
    exchange = Exchange(1, 1)
    exchange.feed([Sent(open_market(MarketId("m")), 0)])
    exchange.feed(Sent(deposit(f"a-{n}", 100, "in"), 0) for n in range(24))
    for n in range(0, 24, 2):
        exchange.send([Sent(sell("m", f"a-{n}", 1, 5, "ask"), 0)])
        exchange.send([Sent(buy("m", f"a-{n + 1}", 1, 5, "bid"), 0)])
    lane = exchange.lanes[LaneId(0)]
    while lane.busy:
        done = exchange.run(lane, in_order(lane.state, lane.waiting), Limits(rows=rows))
        assert done.rows <= rows
    assert len(lane.events) == 1 + 12 * 3


def test_accounts_with_many_pockets_trade_within_few_rows() -> None:
    """Only pockets that a fill would draw from count. Otherwise the sweep would never end."""
    exchange, names = Exchange(8, 1, Habits(forgetful=True)), ("ann", "bob")
    exchange.feed(Sent(deposit(name, 1_000, "in"), 0) for name in (*names, "maker"))
    markets = tuple(market_in(partition, 8) for partition in range(8))
    exchange.feed(Sent(open_market(market), 0) for market in markets)
    spread(exchange, names, markets)
    exchange.feed([Sent(buy(markets[0], "ann", 60, 5, "bid"), 0)])
    exchange.send([Sent(sell(markets[0], "bob", 60, 5, "ask"), 0)])
    lane = exchange.lanes[LaneId(0)]
    done = exchange.run(lane, AnswerCommands(lane.waiting), Limits(rows=ROWS_MIN))
    assert done.batch.draft.fills == 1


def test_draws_come_from_wallet_then_largest_pocket() -> None:
    """If two pockets have equal balances, that of the lowest lane comes first."""
    balances = {3: 7, 0: 50, 1: 7, 2: 9, -1: 1, 4: 0}
    pockets = {LaneId(lane): Money(balance) for lane, balance in balances.items()}
    purse = Purse(LaneId(0), pockets, exists=True, fresh=True, tally=Tally())
    assert purse.sources() == [WALLET, LaneId(2), LaneId(1), LaneId(3)]


def market_in(partition: int, partitions: int) -> MarketId:
    names = (MarketId(f"m-{number}") for number in range(1_000))
    return next(name for name in names if ids.partition_of(name, partitions) == partition)


def test_refused_withdrawal_returns_gathered_cash() -> None:
    exchange = Exchange(1, 1)
    exchange.feed([Sent(deposit("ann", 60, "in"), 0)])
    lane, ann = exchange.lanes[LaneId(1)], AccountId("ann")
    exchange.run(lane, Gather((Gathering(ann, WALLET, Money(50)),)))
    exchange.feed([Sent(withdraw("ann", 100, "out"), 0)])
    assert exchange.events[-1]["reason"] == "INSUFFICIENT_FUNDS"
    assert exchange.database.pockets(ann) == {WALLET: 60, LaneId(1): 0}


def test_withdrawal_draws_only_its_amount() -> None:
    exchange = Exchange(1, 1)
    exchange.feed([Sent(deposit("ann", 1_000, "in"), 0), Sent(withdraw("ann", 10, "out"), 0)])
    pockets = exchange.database.pockets("ann")
    assert pockets == {WALLET: 990, LaneId(1): 0}
