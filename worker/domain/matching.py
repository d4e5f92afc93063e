"""How an order trades: the book's rules, one taker at a time.

Order: makers best price first, oldest first within a price; every trade at the maker's price.
A fill is the largest quantity that both sides can pay for at that moment. Whoever's funds limited
it (the taker, when equal) loses its remainder. A taker that would meet its own account's order is
cancelled. A sweep that the batch's budget cannot hold goes on in the next batch.
"""

from dataclasses import dataclass

from worker.domain import ids
from worker.domain.book import Book, OpenOrder
from worker.domain.commands import Side, TimeInForce
from worker.domain.draft import ROWS_A_FILL, Draft, TradeRow
from worker.domain.events import (
    EVENT_BYTES_MAX,
    FILL_BYTES_MAX,
    CancelReason,
    OrderCancelled,
    OrderFilled,
    Party,
    Posting,
    PostingKind,
)
from worker.domain.funding import affordable, cost, locked, signed
from worker.domain.state import Market, OrderStatus, Sweep
from worker.domain.units import Money, Price, Quantity

EVENT_BYTES_A_FILL = FILL_BYTES_MAX + 2 * EVENT_BYTES_MAX
"""A fill, the maker's cancel and the taker's, at their largest."""


@dataclass(slots=True)
class Taker:
    """An accepted order on its way through the book."""

    market: Market
    order: OpenOrder
    time_in_force: TimeInForce
    leaves: Quantity
    named_makers: bool = False


def crosses(side: Side, price: Price, maker: OpenOrder | None) -> bool:
    """Return whether an order of ``side`` at ``price`` trades against ``maker``."""
    if maker is None:
        return False
    return maker.price <= price if side is Side.BUY else maker.price >= price


def match(draft: Draft, taker: Taker) -> None:
    """Trade ``taker`` until it is done, priced out or out of funds, or the budget is used up."""
    order, book = taker.order, draft.book(taker.market.market_id)
    draft.sweep = None
    while taker.leaves:
        maker = book.best(order.side.opposite)
        if maker is None or not crosses(order.side, order.price, maker):
            break
        if maker.account_id == order.account_id:
            _cancel_taker(draft, taker, CancelReason.SELF_TRADE)
            return
        if not _room(draft, taker, maker):
            _suspend(draft, taker)
            return
        if not _meet(draft, book, taker, maker):
            return
    _finish(draft, book, taker)


def resume(draft: Draft, sweep: Sweep, market: Market) -> None:
    """Go on with a sweep that an earlier batch began."""
    draft.offset, draft.index = sweep.offset, sweep.index
    match(draft, Taker(market, sweep.order, sweep.time_in_force, sweep.order.leaves))


def _room(draft: Draft, taker: Taker, maker: OpenOrder) -> bool:
    """Return whether the trade with ``maker`` still fits, and ask for whoever is not known yet."""
    if draft.fills >= draft.limits.fills:
        return False
    market_id = taker.market.market_id
    if not taker.named_makers and not draft.knows(market_id, maker.account_id):
        _name_makers(draft, taker)
    rows, quantity = ROWS_A_FILL, min(taker.leaves, maker.leaves)
    for order in (taker.order, maker):
        position = draft.position(market_id, order.account_id)
        amount = cost(order.side, maker.price, taker.market.payout, position, quantity)
        rows += draft.purse(order.account_id).rows_max(amount)
    return draft.room(rows, EVENT_BYTES_A_FILL)


def _name_makers(draft: Draft, taker: Taker) -> None:
    """Ask for all makers that this order may meet: one round trip, not one per maker."""
    taker.named_makers = True
    order, market_id = taker.order, taker.market.market_id
    makers_max = max(1, (draft.limits.rows - draft.rows()) // ROWS_A_FILL)
    leaves = int(taker.leaves)
    for count, maker in enumerate(draft.book(market_id).priority(order.side.opposite)):
        if count >= makers_max or leaves <= 0 or not crosses(order.side, order.price, maker):
            return
        leaves -= maker.leaves
        draft.position(market_id, maker.account_id)
        draft.purse(maker.account_id)


def _meet(draft: Draft, book: Book, taker: Taker, maker: OpenOrder) -> bool:
    """Trade with one maker; return whether the taker may go on."""
    wanted = min(taker.leaves, maker.leaves)
    taker_can = _affords(draft, taker.market, taker.order, maker.price, wanted)
    maker_can = _affords(draft, taker.market, maker, maker.price, wanted)
    quantity = min(taker_can, maker_can)
    if quantity:
        _fill(draft, book, taker, maker, quantity)
    if quantity == wanted:
        return True
    if taker_can <= maker_can:
        _cancel_taker(draft, taker, _unfunded(draft, taker.market, taker.order, maker.price))
        return False
    rest = book.get(maker.name)
    assert rest is not None, "a maker that could not pay for all is still open"
    cancel(draft, taker.market, rest, _unfunded(draft, taker.market, rest, maker.price))
    return True


def _affords(draft: Draft, market: Market, order: OpenOrder, price: Price, wanted: int) -> Quantity:
    purse = draft.purse(order.account_id)
    position = draft.position(market.market_id, order.account_id)
    quantity = affordable(
        order.side, price, market.payout, position, cash=purse.spendable, wanted=wanted
    )
    if quantity < wanted:
        draft.refresh(order.account_id, purse)
    return quantity


def _unfunded(draft: Draft, market: Market, order: OpenOrder, price: Price) -> CancelReason:
    """Tell an account that has the money elsewhere from one that has it nowhere."""
    purse = draft.purse(order.account_id)
    position = draft.position(market.market_id, order.account_id)
    if cost(order.side, price, market.payout, position, 1) <= purse.total:
        return CancelReason.FUNDS_IN_USE
    return CancelReason.UNFUNDED


def _fill(draft: Draft, book: Book, taker: Taker, maker: OpenOrder, quantity: Quantity) -> None:
    order, market, price = taker.order, taker.market, maker.price
    taker.leaves = Quantity(taker.leaves - quantity)
    maker_leaves = Quantity(maker.leaves - quantity)
    book.fill(maker, quantity)
    draft.fills += 1
    status = OrderStatus.OPEN if maker_leaves else OrderStatus.FILLED
    draft.order_left(maker.key, maker_leaves, status)
    legs = [
        (
            Party(order.account_id, order.order_id, taker.leaves, taker=True),
            _settle(draft, market, order, price, quantity),
        ),
        (
            Party(maker.account_id, maker.order_id, maker_leaves, taker=False),
            _settle(draft, market, maker, price, quantity),
        ),
    ]
    if order.side is Side.SELL:
        legs.reverse()
    _record(draft, taker, price, quantity, legs)


def _settle(draft: Draft, market: Market, order: OpenOrder, price: Price, quantity: int) -> Money:
    """Pay one side of a fill and turn its position; return the collateral that it locks."""
    purse = draft.purse(order.account_id)
    before = draft.position(market.market_id, order.account_id)
    after = before + signed(order.side, quantity)
    amount = cost(order.side, price, market.payout, before, quantity)
    purse.cover(amount)
    purse.move(purse.home, -amount)
    draft.positions[market.market_id, order.account_id] = after
    return locked(market.payout, before, after)


def _record(
    draft: Draft, taker: Taker, price: Price, quantity: Quantity, legs: list[tuple[Party, Money]]
) -> None:
    """Emit the fill and note the trade. ``legs``: the buyer, the seller, and what each locks."""
    (buyer, _), (seller, _) = legs
    amount = Money(price * quantity)
    postings = [
        Posting(buyer.account_id, Money(-amount), PostingKind.PRICE),
        Posting(seller.account_id, amount, PostingKind.PRICE),
    ]
    for party, locks in legs:
        if locks:
            postings.append(Posting(party.account_id, Money(-locks), PostingKind.COLLATERAL))
    escrow = sum(locks for _, locks in legs)
    if escrow:
        postings.append(Posting(None, Money(escrow), PostingKind.COLLATERAL))
    market = taker.market
    key = ids.trade_key(draft.state.home.lane, draft.offset, draft.index)
    body = OrderFilled(key, price, quantity, taker.order.side, buyer, seller, tuple(postings))
    seq = draft.emit(market.market_id, body, market)
    draft.trades.append(
        TradeRow(
            key,
            market.key,
            ids.account_key(buyer.account_id),
            ids.account_key(seller.account_id),
            price,
            quantity,
            seq,
        )
    )


def cancel(draft: Draft, market: Market, order: OpenOrder, reason: CancelReason) -> None:
    """Take an open order out of the book and say so."""
    draft.book(market.market_id).remove(order)
    draft.order_left(order.key, Quantity(0), OrderStatus.CANCELLED)
    draft.emit(
        market.market_id,
        OrderCancelled(order.account_id, order.order_id, order.leaves, reason),
        market,
    )


def _cancel_taker(draft: Draft, taker: Taker, reason: CancelReason) -> None:
    order = taker.order
    draft.order_left(order.key, Quantity(0), OrderStatus.CANCELLED)
    draft.emit(
        taker.market.market_id,
        OrderCancelled(order.account_id, order.order_id, taker.leaves, reason),
        taker.market,
    )


def _finish(draft: Draft, book: Book, taker: Taker) -> None:
    """Give the remainder its place, or its end."""
    if not taker.leaves:
        draft.order_left(taker.order.key, taker.leaves, OrderStatus.FILLED)
    elif taker.time_in_force is TimeInForce.IOC:
        _cancel_taker(draft, taker, CancelReason.IOC)
    else:
        draft.order_left(taker.order.key, taker.leaves, OrderStatus.OPEN)
        book.add(taker.order.left(taker.leaves))


def _suspend(draft: Draft, taker: Taker) -> None:
    """Leave the rest to the next batch, which finishes it before any other command."""
    draft.order_left(taker.order.key, taker.leaves, OrderStatus.OPEN)
    draft.sweep = Sweep(
        market_id=taker.market.market_id,
        order=taker.order.left(taker.leaves),
        time_in_force=taker.time_in_force,
        offset=draft.offset,
        index=draft.index,
    )
