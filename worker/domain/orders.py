"""The answers to market commands: place, cancel, open, resolve.

Checks run in the order of ``Reason``. Only acceptances and the refusals in ``REMEMBERED`` become
rows. Before any other refusal of a PLACE_ORDER, a reading makes sure that the id is new.
"""

from typing import Final

from worker.domain import ids
from worker.domain.book import OpenOrder
from worker.domain.commands import CancelOrder, OpenMarket, PlaceOrder, ResolveMarket, TimeInForce
from worker.domain.draft import Draft
from worker.domain.events import (
    EVENT_BYTES_MAX,
    CancelReason,
    CancelRejected,
    CommandRejected,
    Duplicate,
    EventType,
    First,
    IdConflict,
    MarketOpened,
    OrderAccepted,
    OrderRejected,
    Reason,
)
from worker.domain.facts import OrderAnswer
from worker.domain.fills import apply, cancel
from worker.domain.funding import cost
from worker.domain.matching import End, Taker, propose
from worker.domain.rows import ROWS_PER_MARKET, OrderRow
from worker.domain.state import SWEEPS_MAX, Market, MarketStatus, OrderStatus
from worker.domain.units import (
    OPEN_ORDERS_PER_ACCOUNT_MAX,
    PAYOUT_MAX,
    PAYOUT_MIN,
    QUANTITY_MAX,
    MarketId,
    Quantity,
)

# Looked up once, because Python takes 0.06 us for a member of an enum.
_MARKET_OPEN: Final = MarketStatus.OPEN
_OPEN: Final = OrderStatus.OPEN
_GTC: Final = TimeInForce.GTC
_SUSPENDED: Final = End.SUSPENDED


def at_home(draft: Draft, key: str) -> bool:
    """Return whether ``key`` belongs to this lane's partition."""
    home = draft.state.home
    return ids.partition_of(key, home.partitions) == home.partition


def place(draft: Draft, command: PlaceOrder) -> None:
    """Answer a PLACE_ORDER and match it."""
    market = draft.market(command.market_id) if at_home(draft, command.market_id) else None
    if market is None:
        _refuse_elsewhere(draft, command)
        return
    key = ids.order_key(market.key, ids.account_key(command.account_id), command.order_id)
    known = _answer_of(draft, key, command)
    if known is not None:
        _repeat(draft, market, command, known)
        return
    if draft.book(command.market_id).get((command.account_id, command.order_id)) is not None:
        # The order rests here already. The plan runs again with its first answer.
        draft.lacking().orders.add((command.market_id, command.account_id, command.order_id))
        return
    reason = _refusal(draft, market, command)
    if reason is None:
        _propose_and_accept(draft, market, command, key)
    elif reason in (Reason.INSUFFICIENT_FUNDS, Reason.OPEN_ORDER_LIMIT):
        seq = _reject(draft, market, command, reason)
        _remember(draft, market, command, key, (seq, reason))
    else:
        _must_be_new(draft, command)
        _reject(draft, market, command, reason)


def cancel_order(draft: Draft, command: CancelOrder) -> None:
    """Answer a CANCEL_ORDER."""
    market = draft.market(command.market_id) if at_home(draft, command.market_id) else None
    rejected = (command.account_id, command.order_id)
    if market is None:
        body = CancelRejected(*rejected, _elsewhere(draft, command.market_id))
        draft.emit(command.market_id, body, None)
        return
    if market.status >= MarketStatus.SETTLING:
        body = CancelRejected(*rejected, Reason.MARKET_NOT_OPEN)
        draft.emit(command.market_id, body, market)
        return
    if command.market_id in draft.sweeps:
        # The sweep came first, and may be about to fill this order.
        draft.emit(command.market_id, CancelRejected(*rejected, Reason.MARKET_BUSY), market)
        return
    order = draft.book(command.market_id).get(rejected)
    if order is not None:
        cancel(draft, market, order, CancelReason.REQUESTED)
        return
    key = ids.order_key(market.key, ids.account_key(command.account_id), command.order_id)
    known = _answer_of(draft, key, command)
    if known is None:
        _must_be_new(draft, command)
    accepted = known is not None and known.first.reason is None
    reason = Reason.ALREADY_TERMINAL if accepted else Reason.UNKNOWN_ORDER
    draft.emit(command.market_id, CancelRejected(*rejected, reason), market)


def open_market(draft: Draft, command: OpenMarket) -> None:
    """Answer an OPEN_MARKET."""
    market_id, operator_id = command.market_id, command.operator_id
    if not at_home(draft, market_id):
        _refuse(draft, command, Reason.WRONG_PARTITION, None)
        return
    market = draft.market(market_id)
    if market is not None:
        same = (market.operator_id, market.payout, market.title) == (
            operator_id,
            command.payout,
            command.title,
        )
        if same:
            first = First(EventType.MARKET_OPENED, market.opened_seq)
            draft.emit(market_id, Duplicate(first, operator_id=operator_id), market)
        else:
            _refuse(draft, command, Reason.MARKET_EXISTS, market)
        return
    if not PAYOUT_MIN <= command.payout <= PAYOUT_MAX:
        _refuse(draft, command, Reason.BAD_PAYOUT, None)
        return
    market = Market(
        market_id=market_id,
        key=ids.market_key(draft.state.home.stream, market_id),
        operator_id=operator_id,
        payout=command.payout,
        title=command.title,
        status=MarketStatus.OPEN,
        outcome=None,
        market_seq=0,
        opened_seq=draft.seq + 1,
        resolved_seq=0,
    )
    draft.markets[market_id] = market
    draft.new_markets.add(market_id)
    draft.emit(market_id, MarketOpened(operator_id, command.payout, command.title), market)


def resolves(market: Market | None, command: ResolveMarket) -> bool:
    """Return whether a RESOLVE_MARKET is to be carried out in ``market``."""
    return (
        market is not None and market.operator_id == command.operator_id and market.outcome is None
    )


def resolve_refused(draft: Draft, command: ResolveMarket) -> bool:
    """Answer a RESOLVE_MARKET that changes nothing. Return False if it must be carried out."""
    if not at_home(draft, command.market_id):
        _refuse(draft, command, Reason.WRONG_PARTITION, None)
        return True
    market = draft.market(command.market_id)
    if market is None:
        _refuse(draft, command, Reason.UNKNOWN_MARKET, None)
    elif market.operator_id != command.operator_id:
        _refuse(draft, command, Reason.NOT_OPERATOR, market)
    elif command.market_id in draft.sweeps:
        _refuse(draft, command, Reason.MARKET_BUSY, market)
    elif market.outcome is None:
        return False
    elif market.outcome is command.outcome:
        first = First(EventType.MARKET_RESOLVED, market.resolved_seq)
        body = Duplicate(first, operator_id=command.operator_id)
        draft.emit(command.market_id, body, market)
    else:
        _refuse(draft, command, Reason.ALREADY_RESOLVED, market)
    return True


def _refuse(
    draft: Draft, command: OpenMarket | ResolveMarket, reason: Reason, market: Market | None
) -> None:
    body = CommandRejected(reason, operator_id=command.operator_id)
    draft.emit(command.market_id, body, market)


def _elsewhere(draft: Draft, market_id: MarketId) -> Reason:
    return Reason.UNKNOWN_MARKET if at_home(draft, market_id) else Reason.WRONG_PARTITION


def _refuse_elsewhere(draft: Draft, command: PlaceOrder) -> None:
    reason = _elsewhere(draft, command.market_id)
    draft.emit(command.market_id, OrderRejected(command.account_id, command.order_id, reason), None)


def _answer_of(draft: Draft, key: str, command: PlaceOrder | CancelOrder) -> OrderAnswer | None:
    """Return the first answer to an order id, from this batch or as read, if one is known."""
    row = draft.new_orders.get(key)
    if row is not None:
        kind = EventType.ORDER_REJECTED if row.reason else EventType.ORDER_ACCEPTED
        first = First(kind, row.seq, row.reason)
        return OrderAnswer(row.side, row.price, row.quantity, row.time_in_force, first)
    return draft.facts.orders.get((command.market_id, command.account_id, command.order_id))


def _must_be_new(draft: Draft, command: PlaceOrder | CancelOrder) -> None:
    """Ask for the first answer to an id, unless a reading has shown that the id is new."""
    ref = (command.market_id, command.account_id, command.order_id)
    if ref not in draft.facts.orders and command.market_id not in draft.new_markets:
        draft.lacking().orders.add(ref)


def _repeat(draft: Draft, market: Market, command: PlaceOrder, known: OrderAnswer) -> None:
    asked = (command.side, command.price, command.quantity, command.time_in_force)
    same = asked == (known.side, known.price, known.quantity, known.time_in_force)
    answer = Duplicate if same else IdConflict
    body = answer(known.first, account_id=command.account_id, order_id=command.order_id)
    draft.emit(command.market_id, body, market)


def _refusal(draft: Draft, market: Market, command: PlaceOrder) -> Reason | None:
    """Return the reason to refuse the order, if there is one."""
    if market.status is not _MARKET_OPEN:
        halted = market.status is MarketStatus.HALTED
        return Reason.MARKET_HALTED if halted else Reason.MARKET_NOT_OPEN
    if command.market_id in draft.sweeps:
        return Reason.MARKET_BUSY
    if not 0 < command.price < market.payout:
        return Reason.BAD_PRICE
    if not 0 < command.quantity <= QUANTITY_MAX:
        return Reason.BAD_QTY
    return _refusal_of_account(draft, market, command)


def _refusal_of_account(draft: Draft, market: Market, command: PlaceOrder) -> Reason | None:
    account_id = command.account_id
    purse = draft.purse(account_id)
    if not purse.exists:
        return Reason.UNKNOWN_ACCOUNT
    if command.time_in_force is _GTC:
        if draft.book(command.market_id).open_orders(account_id) >= OPEN_ORDERS_PER_ACCOUNT_MAX:
            return Reason.OPEN_ORDER_LIMIT
        if draft.state.resting.orders >= draft.limits.open_orders:
            return Reason.LANE_ORDER_LIMIT
    position = draft.position(command.market_id, account_id)
    alone = cost(command.side, command.price, market.payout, position, command.quantity)
    if alone > purse.total and draft.refresh(account_id, purse):
        return Reason.INSUFFICIENT_FUNDS
    return None


def _reject(draft: Draft, market: Market, command: PlaceOrder, reason: Reason) -> int:
    body = OrderRejected(command.account_id, command.order_id, reason)
    return draft.emit(command.market_id, body, market)


def _remember(
    draft: Draft, market: Market, command: PlaceOrder, key: str, first: tuple[int, Reason | None]
) -> None:
    """Insert the order's row with its first answer, which is a seq and the reason of a refusal."""
    seq, reason = first
    draft.new_orders[key] = OrderRow(
        key=key,
        market=market.key,
        account=ids.account_key(command.account_id),
        order_id=command.order_id,
        side=command.side,
        price=command.price,
        quantity=command.quantity,
        time_in_force=command.time_in_force,
        leaves=Quantity(0) if reason else command.quantity,
        status=OrderStatus.REJECTED if reason else _OPEN,
        seq=seq,
        reason=reason,
        ref=(command.market_id, command.account_id, command.order_id),
    )


def _refuse_sweep(draft: Draft, market: Market, command: PlaceOrder) -> None:
    """Reject an order that even a batch of its own could not finish."""
    if draft.answered or draft.entries:
        draft.cut = True
        return
    _must_be_new(draft, command)
    _reject(draft, market, command, Reason.LIMIT)


def _propose_and_accept(draft: Draft, market: Market, command: PlaceOrder, key: str) -> None:
    seq = draft.seq + 1
    order = OpenOrder(
        key,
        command.account_id,
        command.order_id,
        command.side,
        command.price,
        command.quantity,
        seq,
    )
    taker = Taker(market, order, command.time_in_force)
    rows = 1 if market.market_id in draft.market_changes else 1 + ROWS_PER_MARKET
    proposal = propose(draft, taker, rows=rows, event_bytes=EVENT_BYTES_MAX)
    # Nothing has changed so far, so an order with a condition can be refused by its proposal here.
    if proposal.end is _SUSPENDED and len(draft.sweeps) >= SWEEPS_MAX:
        _refuse_sweep(draft, market, command)
        return
    body = OrderAccepted(
        command.account_id,
        command.order_id,
        command.side,
        command.price,
        command.quantity,
        command.time_in_force,
    )
    draft.emit(command.market_id, body, market)
    _remember(draft, market, command, key, (seq, None))
    apply(draft, taker, proposal)
