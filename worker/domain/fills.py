"""Fills: the execution of a proposal of ``matching.propose``, in the draft and in the book."""

from typing import Final

from worker.domain import ids
from worker.domain.book import Book, OpenOrder
from worker.domain.commands import Side, TimeInForce
from worker.domain.draft import Draft
from worker.domain.events import (
    CancelReason,
    OrderCancelled,
    OrderFilled,
    Party,
    Posting,
    PostingKind,
)
from worker.domain.funding import locked
from worker.domain.matching import Collect, End, Fill, Leg, Proposal, Taker, propose
from worker.domain.rows import TradeRow
from worker.domain.state import Market, OrderStatus, Sweep
from worker.domain.units import Money, Quantity

# Looked up once, because Python takes 0.06 us for a member of an enum.
_SELL: Final = Side.SELL
_PRICE: Final = PostingKind.PRICE
_COLLATERAL: Final = PostingKind.COLLATERAL
_OPEN: Final = OrderStatus.OPEN
_FILLED: Final = OrderStatus.FILLED
_SUSPENDED: Final = End.SUSPENDED
_IOC: Final = TimeInForce.IOC


def apply(draft: Draft, taker: Taker, proposal: Proposal) -> None:
    """Trade and cancel as proposed, then finish the taker."""
    book, leaves = draft.book(taker.market.market_id), taker.order.leaves
    for meeting in proposal.meetings:
        if isinstance(meeting, Fill):
            leaves = Quantity(leaves - meeting.quantity)
            _fill(draft, book, taker, meeting, leaves)
        elif isinstance(meeting, Collect):
            draft.purse(meeting.account_id).pay(0, meeting.draws)
        else:
            draft.unfunded += 1
            cancel(draft, taker.market, _open(book, meeting.maker), meeting.reason)
    draft.makers += proposal.makers
    draft.sweeps.pop(taker.market.market_id, None)
    _end(draft, book, taker, proposal)


def resume(draft: Draft, sweep: Sweep, market: Market) -> None:
    """Continue a sweep that an earlier batch began."""
    draft.offset, draft.index = sweep.offset, sweep.index
    taker = Taker(market, sweep.order, sweep.time_in_force)
    apply(draft, taker, propose(draft, taker))


def cancel(draft: Draft, market: Market, order: OpenOrder, reason: CancelReason) -> None:
    """Take an open order out of the book and emit the cancellation."""
    draft.book(market.market_id).remove(order)
    _cancel(draft, market, order, reason)


def _cancel(draft: Draft, market: Market, order: OpenOrder, reason: CancelReason) -> None:
    draft.order_left(order.key, Quantity(0), OrderStatus.CANCELLED)
    body = OrderCancelled(order.account_id, order.order_id, order.leaves, reason)
    draft.emit(market.market_id, body, market)


def _open(book: Book, maker: OpenOrder) -> OpenOrder:
    """Return a maker as its last fill left it."""
    order = book.get(maker.name)
    assert order is not None, "a maker that could not pay for all is still open"
    return order


def _fill(draft: Draft, book: Book, taker: Taker, fill: Fill, leaves: Quantity) -> None:
    order, maker, market_id = taker.order, fill.maker, taker.market.market_id
    maker_leaves = Quantity(maker.leaves - fill.quantity)
    book.fill(maker, fill.quantity)
    draft.fills += 1
    status = _OPEN if maker_leaves else _FILLED
    draft.order_left(maker.key, maker_leaves, status)
    for account_id, leg in (
        (order.account_id, fill.taker_leg),
        (maker.account_id, fill.maker_leg),
    ):
        draft.purse(account_id).pay(leg.amount, leg.draws)
        draft.positions[market_id, account_id] = leg.after
    legs = [
        (Party(order.account_id, order.order_id, leaves, taker=True), fill.taker_leg),
        (Party(maker.account_id, maker.order_id, maker_leaves, taker=False), fill.maker_leg),
    ]
    if order.side is _SELL:
        legs.reverse()
    _record(draft, taker, fill, legs)


def _record(draft: Draft, taker: Taker, fill: Fill, legs: list[tuple[Party, Leg]]) -> None:
    """Emit the fill and note the trade. ``legs`` are the buyer's and the seller's."""
    (buyer, _), (seller, _) = legs
    market, price, quantity = taker.market, fill.maker.price, fill.quantity
    key = ids.trade_key(draft.state.home.lane, draft.offset, draft.index)
    postings = _postings(market, Money(price * quantity), legs)
    body = OrderFilled(key, price, quantity, taker.order.side, buyer, seller, postings)
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


def _postings(market: Market, amount: Money, legs: list[tuple[Party, Leg]]) -> tuple[Posting, ...]:
    """Return the price, and the collateral that each side locks or releases."""
    (buyer, _), (seller, _) = legs
    postings = [
        Posting(buyer.account_id, Money(-amount), _PRICE),
        Posting(seller.account_id, amount, _PRICE),
    ]
    escrow = 0
    for party, leg in legs:
        locks = locked(market.payout, leg.before, leg.after)
        if locks:
            postings.append(Posting(party.account_id, Money(-locks), _COLLATERAL))
            escrow += locks
    if escrow:
        postings.append(Posting(None, Money(escrow), _COLLATERAL))
    return tuple(postings)


def _end(draft: Draft, book: Book, taker: Taker, proposal: Proposal) -> None:
    """Rest, cancel or suspend the taker's remainder, if there is one."""
    order, market = taker.order.left(proposal.leaves), taker.market
    if proposal.end is _SUSPENDED:
        _suspend(draft, taker, order)
    elif proposal.reason is not None:
        _cancel(draft, market, order, proposal.reason)
    elif not order.leaves:
        draft.order_left(order.key, order.leaves, _FILLED)
    elif taker.time_in_force is _IOC:
        _cancel(draft, market, order, CancelReason.IOC)
    else:
        draft.order_left(order.key, order.leaves, _OPEN)
        book.add(order)


def _suspend(draft: Draft, taker: Taker, order: OpenOrder) -> None:
    """Leave the rest to a later batch. Until then the market's other commands wait."""
    draft.order_left(order.key, order.leaves, _OPEN)
    market_id = taker.market.market_id
    draft.sweeps[market_id] = Sweep(
        market_id=market_id,
        order=order,
        time_in_force=taker.time_in_force,
        offset=draft.offset,
        index=draft.index,
    )
