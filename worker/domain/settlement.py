"""Resolution: one flip, then pages that pay the winners and close the dead orders.

The flip kills the open orders and makes the payments due, for every observer at once. Pages only
carry the payments out. The payees of a page are read as facts, and the database derives how much
each is paid. A page that runs twice is refused by the key of ``payouts``.
"""

from dataclasses import replace

from worker.domain.commands import Outcome, ResolveMarket
from worker.domain.draft import Draft
from worker.domain.events import (
    EVENT_BYTES_MAX,
    CancelReason,
    MarketResolved,
    MarketSettled,
    OrderCancelled,
    Payout,
)
from worker.domain.facts import Page, PageRequest, Payee
from worker.domain.purse import Purse
from worker.domain.rows import ROWS_PER_PAGE, ROWS_PER_PAYEE, PayoutRow
from worker.domain.state import Market, MarketStatus, OrderStatus, Settlement
from worker.domain.units import LaneId, MarketId, Money, Quantity

FIRST_CURSOR = "00000000-0000-0000-0000-000000000000"
"""The smallest uuid, before every account."""


def flip(draft: Draft, command: ResolveMarket, market: Market) -> None:
    """Resolve the market and pay its first page in the same batch."""
    resolved = replace(
        market, status=MarketStatus.SETTLING, outcome=command.outcome, resolved_seq=draft.seq + 1
    )
    draft.markets[command.market_id] = resolved
    body = MarketResolved(command.operator_id, command.outcome)
    seq = draft.emit(command.market_id, body, resolved)
    change = draft.change(command.market_id)
    change.status, change.outcome, change.resolved_seq = resolved.status, command.outcome, seq
    draft.settlements[command.market_id] = Settlement(
        market_id=command.market_id,
        offset=draft.offset,
        index=draft.index,
        cursor=FIRST_CURSOR,
        holders=0,
        paid=Money(0),
    )
    page(draft, command.market_id)


def page(draft: Draft, market_id: MarketId) -> None:
    """Pay the next holders and close the next dead orders of a resolved market."""
    settlement = draft.settlements[market_id]
    market = draft.market(market_id)
    assert market is not None, "a market that is being settled is in memory"
    assert market.outcome is not None, "a market that is being settled has its outcome"
    found = draft.facts.pages.get(market_id)
    if found is None:
        draft.lacking().pages[market_id] = _request(draft, market, market.outcome, settlement)
        return
    draft.offset, draft.index = settlement.offset, settlement.index
    _close(draft, market, found)
    paid = sum(_pay(draft, market, market.outcome, payee) for payee in found.payees)
    settlement = replace(
        settlement,
        index=draft.index,
        cursor=found.payees[-1].key if found.payees else settlement.cursor,
        holders=settlement.holders + len(found.payees),
        paid=Money(settlement.paid + paid),
    )
    if found.last:
        _end(draft, market, settlement)
    else:
        draft.settlements[market_id] = settlement


def _request(draft: Draft, market: Market, outcome: Outcome, settlement: Settlement) -> PageRequest:
    """Return a request for as many dead orders, then payees, as the budget holds."""
    limits = draft.limits
    rows = min(limits.rows - ROWS_PER_PAGE, limits.fills * ROWS_PER_PAYEE)
    events = limits.event_bytes // EVENT_BYTES_MAX - 2
    most = max(1, min(rows // ROWS_PER_PAYEE, events))
    return PageRequest(market.key, outcome, settlement.cursor, most)


def _close(draft: Draft, market: Market, found: Page) -> None:
    for order in found.orders:
        draft.order_left(order.key, Quantity(0), OrderStatus.CANCELLED)
        body = OrderCancelled(
            order.account_id, order.order_id, order.leaves, CancelReason.MARKET_RESOLVED
        )
        draft.emit(market.market_id, body, market)


def _pay(draft: Draft, market: Market, outcome: Outcome, payee: Payee) -> int:
    amount = Money(payee.quantity * market.payout)
    draft.payouts.append(PayoutRow(market.key, payee.key, outcome))
    draft.emit(market.market_id, Payout(payee.account_id, payee.quantity, amount), market)
    purse = _purse_of_payee(draft, payee)
    purse.move(purse.home, amount)
    return amount


def _purse_of_payee(draft: Draft, payee: Payee) -> Purse:
    """Return a purse whose pocket in this lane is as the page read it, with or without a row."""
    home: LaneId = draft.state.home.lane
    cached = draft.state.accounts.get(payee.account_id)
    pockets = dict(cached or {})
    pockets.pop(home, None)
    if payee.pocket is not None:
        pockets[home] = payee.pocket
    purse = Purse(home, pockets, exists=cached is not None, fresh=False, tally=draft.tally)
    draft.purses[payee.account_id] = purse
    return purse


def _end(draft: Draft, market: Market, settlement: Settlement) -> None:
    del draft.settlements[market.market_id]
    body = MarketSettled(settlement.holders, settlement.paid)
    draft.emit(market.market_id, body, market)
    draft.change(market.market_id).status = MarketStatus.SETTLED
    draft.markets[market.market_id] = replace(market, status=MarketStatus.SETTLED)
