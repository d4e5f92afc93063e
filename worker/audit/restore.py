"""State of a lane in the middle of its history, restored from its events. Pure.

Batches of another rules version are not planned again, so a replay that reaches the present version
needs the state that they left. A new owner loads its state from the tables, which have no past. The
events show it, except for what happens without an event: a step that parks, and a market halted by
an error in the rules. Both are in the facts of the batches. The caches of a restored state are
empty, as those of a new owner.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from worker.audit.event_log import LaneHistory
from worker.audit.records import StoredBatch
from worker.domain import ids
from worker.domain.book import OpenOrder, OrderName
from worker.domain.commands import CancelOrder, PlaceOrder, Received
from worker.domain.events import (
    Deposited,
    Event,
    MarketOpened,
    MarketResolved,
    MarketSettled,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    Payout,
    Withdrawn,
)
from worker.domain.facts import Facts
from worker.domain.matching import crosses
from worker.domain.plan import Park
from worker.domain.settlement import FIRST_CURSOR
from worker.domain.state import Home, LaneState, Market, MarketStatus, Settlement, Sweep
from worker.domain.units import AccountId, MarketId, Money, Offset, Quantity
from worker.wire import events as wire_events
from worker.wire import facts as facts_text
from worker.wire import journal


def restored(home: Home, lane: LaneHistory, batches: Sequence[StoredBatch]) -> LaneState:
    """Return the state of a lane after ``batches``, which begin with its first one."""
    restoring = _Restoring(home)
    for batch in batches:
        for record in journal.decode(batch.events, lane.route):
            if record.topic == lane.route.events_topic:
                restoring.follow(wire_events.decode(record.value or b"", lane.kind))
        facts, _, step, _ = facts_text.decode(batch.facts)
        if isinstance(step, Park):
            restoring.park(step)
        restoring.halt(facts, lane, batch)
    state = restoring.state()
    if batches:
        last = batches[-1]
        state.batch_no, state.last_seq = last.batch_no, last.last_seq
        state.next_offset = Offset(last.next_offset)
        passed = [record for record in lane.inputs if record.offset < last.next_offset]
        state.last_record_sha = passed[-1].sha if passed else ""
        state.waiting = restoring.unanswered(passed)
    return state


class _Restoring:
    """Everything that the events so far have left."""

    def __init__(self, home: Home) -> None:
        self._state = LaneState(home)
        self._orders: defaultdict[MarketId, dict[OrderName, OpenOrder]] = defaultdict(dict)
        self._settlements: dict[MarketId, Settlement] = {}
        self._takers: dict[MarketId, Event] = {}
        """The last accepted order of each market."""
        self._next_index: dict[Offset, int] = {}
        """Index of the next event, by the offset of its command."""

    def follow(self, event: Event) -> None:
        """Take in an event."""
        self._state.lane_time_ms = event.time_ms
        self._next_index[event.offset] = event.index + 1
        match event.body:
            case Deposited(amount=amount):
                self._state.cash_in_net += amount
            case Withdrawn(amount=amount):
                self._state.cash_in_net -= amount
            case MarketOpened() as opened:
                self._open(event, opened)
            case _:
                pass
        if event.market_seq is not None:
            market_id = MarketId(event.subject or "")
            # A settled market is not in memory, though its commands still have answers.
            if market := self._state.markets.get(market_id):
                self._state.markets[market_id] = replace(market, market_seq=event.market_seq)
                self._follow_orders(market_id, event)
                self._follow_end(market_id, event)

    def _open(self, event: Event, opened: MarketOpened) -> None:
        market_id = MarketId(event.subject or "")
        self._state.markets[market_id] = Market(
            market_id=market_id,
            key=ids.market_key(self._state.home.stream, market_id),
            operator_id=opened.operator_id,
            payout=opened.payout,
            title=opened.title,
            status=MarketStatus.OPEN,
            outcome=None,
            market_seq=0,
            opened_seq=event.seq,
            resolved_seq=0,
        )

    def _follow_orders(self, market_id: MarketId, event: Event) -> None:
        orders = self._orders[market_id]
        match event.body:
            case OrderAccepted() as body:
                market, account = self._state.markets[market_id], ids.account_key(body.account_id)
                key = ids.order_key(market.key, account, body.order_id)
                names = (body.account_id, body.order_id)
                orders[names] = OpenOrder(
                    key, *names, body.side, body.price, body.quantity, event.seq
                )
                self._takers[market_id] = event
            case OrderFilled() as body:
                for party in (body.buyer, body.seller):
                    self._left(orders, (party.account_id, party.order_id), party.leaves_quantity)
            case OrderCancelled() as body:
                self._left(orders, (body.account_id, body.order_id), Quantity(0))
            case _:
                pass

    def _left(self, orders: dict[OrderName, OpenOrder], name: OrderName, leaves: Quantity) -> None:
        if leaves:
            orders[name] = orders[name].left(leaves)
        else:
            del orders[name]

    def _follow_end(self, market_id: MarketId, event: Event) -> None:
        """Follow the settlement of a market, each event of which has the next index."""
        market = self._state.markets[market_id]
        found = self._settlements.get(market_id)
        if isinstance(event.body, MarketResolved):
            self._state.markets[market_id] = replace(
                market,
                status=MarketStatus.SETTLING,
                outcome=event.body.outcome,
                resolved_seq=event.seq,
            )
            self._settlements[market_id] = Settlement(
                market_id=market_id,
                offset=event.offset,
                index=event.index + 1,
                cursor=FIRST_CURSOR,
                holders=0,
                paid=Money(0),
            )
        elif isinstance(event.body, MarketSettled):
            del self._settlements[market_id], self._state.markets[market_id]
        elif found is not None and event.offset == found.offset:
            self._settlements[market_id] = _paid(replace(found, index=event.index + 1), event)

    def park(self, step: Park) -> None:
        """Take in a step that gave up a settlement, or a sweep and its market."""
        if step.sweep:
            self._halt(step.market_id)
        else:
            settlement = self._settlements[step.market_id]
            self._settlements[step.market_id] = replace(settlement, parked=True)

    def unanswered(self, passed: Iterable[Received]) -> frozenset[Offset]:
        """Return the offsets of records without an answer."""
        return frozenset(r.offset for r in passed if r.offset not in self._next_index)

    def halt(self, facts: Facts, lane: LaneHistory, batch: StoredBatch) -> None:
        """Take in the markets that a batch halted because of an error in the rules."""
        offsets = facts.halts.intersection(range(batch.first_offset, batch.next_offset))
        for record in lane.inputs if offsets else ():
            if record.offset in offsets and isinstance(record.command, PlaceOrder | CancelOrder):
                self._halt(record.command.market_id)

    def _halt(self, market_id: MarketId) -> None:
        market = self._state.markets.get(market_id)
        if market is not None and market.status is MarketStatus.OPEN:
            self._state.markets[market_id] = replace(market, status=MarketStatus.HALTED)

    def state(self) -> LaneState:
        """Return the state after the last batch."""
        state = self._state
        state.settlements = tuple(self._settlements.values())
        for market_id, market in state.markets.items():
            if market.status < MarketStatus.SETTLING:
                for order in sorted(self._orders[market_id].values(), key=lambda each: each.seq):
                    state.book(market_id).add(order)
        takers = sorted(self._takers.items(), key=lambda each: each[1].seq)
        sweeps = (self._sweep(market_id, event) for market_id, event in takers)
        state.sweeps = tuple(sweep for sweep in sweeps if sweep is not None)
        for book in state.books.values():
            book.keep()
        return state

    def _sweep(self, market_id: MarketId, event: Event) -> Sweep | None:
        """Take a market's last accepted order out of its book if it was cut off before it was done.

        At rest no bid meets an ask, so such an order is one that crosses the other side.
        """
        body = event.body
        assert isinstance(body, OrderAccepted), "only an accepted order is a taker"
        market = self._state.markets.get(market_id)
        order = self._orders[market_id].get((body.account_id, body.order_id))
        if order is None or market is None or market.status is not MarketStatus.OPEN:
            return None
        book = self._state.book(market_id)
        if not crosses(order.side, order.price, book.best(order.side.opposite)):
            return None
        book.remove(order)
        return Sweep(
            market_id=market_id,
            order=order,
            time_in_force=body.time_in_force,
            offset=event.offset,
            index=self._next_index[event.offset],
        )


def _paid(settlement: Settlement, event: Event) -> Settlement:
    if not isinstance(event.body, Payout):
        return settlement
    return replace(
        settlement,
        cursor=ids.account_key(AccountId(event.body.account_id)),
        holders=settlement.holders + 1,
        paid=Money(settlement.paid + event.body.amount),
    )
