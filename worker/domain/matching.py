"""Matching: a proposal of the trades that an order makes. ``fills.apply`` carries it out.

Makers trade best price first and oldest first within a price, always at the maker's price. A fill
is the largest quantity that both sides can pay for at that moment. The side whose money limited it
loses its remainder, which is the taker when both are equal. A taker that would meet an order of its
own account is cancelled. Meetings that the batch's budget cannot hold are left to the next batch.

A proposal changes neither book nor purses nor positions, so a condition on the whole order is one
comparison in ``orders._propose_and_accept``, between the proposal and the acceptance:

    fill or kill        ``proposal.end is End.FILLED``
    post only           ``not proposal.meetings``
    minimum quantity    ``order.leaves - proposal.leaves >= minimum``
    reduce only         the order's quantity is cut to the position before it is proposed

``End.SUSPENDED`` is no verdict on the order, because earlier commands may have used the budget. A
rule that refuses then ends the batch before the order (``draft.cut``, and the check of the room in
``plan._may_follow``). It may refuse only if the order is the first command of its batch.
"""

from collections.abc import Sequence
from enum import Enum, auto
from itertools import islice
from typing import Final

from producers.language import value
from worker.domain.book import OpenOrder
from worker.domain.commands import Side, TimeInForce
from worker.domain.draft import Draft
from worker.domain.events import EVENT_BYTES_MAX, FILL_BYTES_MAX, CancelReason
from worker.domain.funding import affordable, cost, signed
from worker.domain.purse import Draw, Purse
from worker.domain.rows import (
    ROWS_PER_DRAW,
    ROWS_PER_FILL,
    ROWS_PER_MARKET,
    ROWS_PER_POSITION,
    ROWS_PER_SOURCE,
    ROWS_PER_TRADE,
)
from worker.domain.state import Market
from worker.domain.units import AccountId, LaneId, Money, Price, Quantity

EVENT_BYTES_PER_FILL = FILL_BYTES_MAX + 2 * EVENT_BYTES_MAX
"""A fill, the maker's cancel and the taker's, at their largest."""
NAMED_AHEAD_PER_UNFUNDED = 4
"""Makers asked for beyond a taker's quantity, for each maker of the batch that could not pay.

The number of readings for a run of makers without money then grows with the run's logarithm.
"""


@value
class Taker:
    """An order on its way through the book. ``order.leaves`` is the quantity left."""

    market: Market
    order: OpenOrder
    time_in_force: TimeInForce


@value
class Leg:
    """One side of a fill: the amount paid, its draws, and the position before and after."""

    amount: Money
    draws: Sequence[Draw]
    before: int
    after: int


@value
class Fill:
    """A trade with ``maker``, an order of the book."""

    maker: OpenOrder
    quantity: Quantity
    taker_leg: Leg
    maker_leg: Leg


@value
class Cancel:
    """The end of a maker that cannot pay for all that it offers."""

    maker: OpenOrder
    reason: CancelReason


@value
class Collect:
    """Draws of an account whose next fill would draw from more pockets than a batch holds."""

    account_id: AccountId
    draws: Sequence[Draw]


class End(Enum):
    """The result for a taker after its last meeting."""

    FILLED = auto()
    OPEN = auto()
    """No further maker crosses the taker."""
    SUSPENDED = auto()
    """The batch has no room for a further meeting."""
    CANCELLED = auto()


# Looked up once, because Python takes 0.06 us for a member of an enum.
_BUY: Final = Side.BUY
_FILLED: Final = End.FILLED
_OPEN: Final = End.OPEN
_SUSPENDED: Final = End.SUSPENDED


@value
class Proposal:
    """The meetings of a taker. ``leaves`` is the quantity that the taker has left after them."""

    meetings: list[Fill | Cancel | Collect]
    makers: int
    """Orders that the taker met. One order may have both a fill and a cancel."""
    rows: int
    """Rows that the meetings add to the batch, at most."""
    leaves: Quantity
    end: End
    reason: CancelReason | None
    """The reason if the end is CANCELLED."""


def crosses(side: Side, price: Price, maker: OpenOrder | None) -> bool:
    """Return whether an order of ``side`` at ``price`` trades against ``maker``."""
    if maker is None:
        return False
    return maker.price <= price if side is _BUY else maker.price >= price


def propose(draft: Draft, taker: Taker, *, rows: int = 0, event_bytes: int = 0) -> Proposal:
    """Return the proposal for ``taker``. The draft notes the facts that the proposal lacks.

    ``rows`` and ``event_bytes`` are set aside for the taker's acceptance.
    """
    order = taker.order
    maker = draft.book(taker.market.market_id).best(order.side.opposite)
    if not crosses(order.side, order.price, maker):
        return Proposal([], 0, 0, order.leaves, _OPEN, None)
    return _Walk(draft, taker, rows, event_bytes).proposal()


class _Trader:
    """One account during a walk: its purse and position as the meetings so far leave them."""

    __slots__ = (
        "_drawn",
        "_holds",
        "_moves",
        "_pockets",
        "own",
        "position",
        "purse",
        "spendable",
        "total",
    )

    def __init__(self, purse: Purse, position: int, *, holds: bool) -> None:
        self.purse, self.position = purse, position
        self.own: int = purse.own
        self.total: int = purse.total
        self.spendable: int = self.total if purse.draws_allowed else self.own
        self._pockets = purse.pockets
        self._drawn: set[LaneId] = set()
        # Whether the batch writes its own pocket and its position already.
        self._moves, self._holds = purse.home in purse.moved, holds

    def rows_max(self, amount: int) -> int:
        """Return the rows that paying ``amount`` may add, as ``Purse.rows_max``."""
        return self.purse.rows_max(amount, self.own, self._pockets)

    def draws(self, amount: int) -> list[Draw]:
        """Return the draws that paying ``amount`` takes."""
        return self.purse.draws(amount, self.own, self._pockets)

    def trade(self, amount: Money, change: int) -> tuple[Leg, int]:
        """Pay ``amount`` and change the position. Return the leg and the rows that it adds."""
        rows, draws = 0, _NO_DRAWS
        if self.purse.known:
            if amount > self.own:
                draws = self.draws(amount)
                rows += self._draw(draws)
            self.own -= amount
            self.total -= amount
            self.spendable -= amount
            rows += not self._moves
            self._moves = True
        if not self._holds:
            rows += ROWS_PER_POSITION
            self._holds = True
        before, self.position = self.position, self.position + change
        return Leg(amount, draws, before, self.position), rows

    def _draw(self, draws: Sequence[Draw]) -> int:
        if not self._drawn:
            # A copy of the purse's own, which a proposal must not change.
            self._pockets = dict(self._pockets)
        rows, purse = 0, self.purse
        for source, amount in draws:
            self._pockets[source] = Money(self._pockets[source] - amount)
            self.own += amount
            if source not in self._drawn:
                self._drawn.add(source)
                rows += source not in purse.moved
                rows += 0 if source in purse.drawn else ROWS_PER_DRAW
        return rows


_NO_DRAWS: Sequence[Draw] = ()


class _Walk:
    """A taker's way through an unchanged book. Counts rows and bytes as the draft will."""

    __slots__ = (
        "_bytes_left",
        "_draft",
        "_fills_left",
        "_is_first",
        "_leaves",
        "_makers",
        "_makers_left",
        "_market",
        "_may_name",
        "_meetings",
        "_order",
        "_rows",
        "_rows_left",
        "_traders",
        "_unfunded",
        "_writes_market",
    )

    def __init__(self, draft: Draft, taker: Taker, rows: int, event_bytes: int) -> None:
        limits = draft.limits
        self._draft, self._market, self._order = draft, taker.market, taker.order
        self._leaves: int = taker.order.leaves
        self._rows_left = limits.rows - draft.rows() - rows
        self._bytes_left = limits.event_bytes - draft.event_bytes - event_bytes
        self._makers_left = limits.makers - draft.makers
        self._fills_left = limits.fills - draft.fills
        self._rows = self._makers = self._unfunded = 0
        self._meetings: list[Fill | Cancel | Collect] = []
        # Nothing is set aside for a sweep that goes on: it begins its batch.
        self._is_first = not rows
        self._traders: dict[AccountId, _Trader] = {}
        self._may_name = True
        # The acceptance writes the market's row.
        self._writes_market = rows > 0 or taker.market.market_id in draft.market_changes

    def proposal(self) -> Proposal:
        """Walk until the taker is done, priced out or out of money, or the budget is used up."""
        order = self._order
        for maker in self._draft.book(self._market.market_id).priority(order.side.opposite):
            if not crosses(order.side, order.price, maker):
                break
            if maker.account_id == order.account_id:
                return self._ended(End.CANCELLED, CancelReason.SELF_TRADE)
            if self._makers >= self._makers_left or self._fills_left <= 0:
                return self._ended(_SUSPENDED)
            ended = self._meet(maker)
            if ended is not None:
                return ended
        return self._ended(_OPEN)

    def _ended(self, end: End, reason: CancelReason | None = None) -> Proposal:
        leaves = Quantity(self._leaves)
        return Proposal(self._meetings, self._makers, self._rows, leaves, end, reason)

    def _meet(self, maker: OpenOrder) -> Proposal | None:
        """Meet one maker. Return the proposal if the taker's way ends there."""
        if self._may_name and maker.account_id not in self._traders:
            self._name_makers(maker)
        order, price, payout = self._order, maker.price, self._market.payout
        taker, other = self._trader(order.account_id), self._trader(maker.account_id)
        wanted = min(self._leaves, maker.leaves)
        taker_pays = cost(order.side, price, payout, taker.position, wanted)
        maker_pays = cost(maker.side, price, payout, other.position, wanted)
        # An account with enough in its own pocket needs one row, and no look at the others.
        rows = 1 if taker_pays <= taker.own else taker.rows_max(taker_pays)
        rows += 1 if maker_pays <= other.own else other.rows_max(maker_pays)
        if (
            self._rows + ROWS_PER_FILL + rows > self._rows_left
            or self._bytes_left < EVENT_BYTES_PER_FILL
        ):
            if self._is_first and not self._meetings:
                self._collect(
                    (order.account_id, taker, taker_pays), (maker.account_id, other, maker_pays)
                )
            return self._ended(_SUSPENDED)
        if taker_pays <= taker.spendable and maker_pays <= other.spendable:
            self._fill(maker, wanted, (taker, taker_pays), (other, maker_pays))
            self._makers += 1
            return None if self._leaves else self._ended(_FILLED)
        return self._meet_poor(maker, taker, other, wanted)

    def _collect(self, *payers: tuple[AccountId, _Trader, Money]) -> None:
        """Draw part of what the fill takes, so that it fits into one of the next batches."""
        account_id, trader, amount = max(payers, key=lambda payer: payer[1].rows_max(payer[2]))
        # Its own pocket and the taker's order are written as well.
        draws_max = (self._rows_left - 2) // ROWS_PER_SOURCE
        draws = trader.draws(amount)[: max(0, draws_max)]
        if draws:
            self._meetings.append(Collect(account_id, draws))

    def _meet_poor(
        self, maker: OpenOrder, taker: _Trader, other: _Trader, wanted: int
    ) -> Proposal | None:
        """Trade what both can pay for, then cancel the order whose money limited the quantity."""
        order, price, payout = self._order, maker.price, self._market.payout
        taker_can = self._affords(order, price, taker, wanted)
        maker_can = self._affords(maker, price, other, wanted)
        quantity = min(taker_can, maker_can)
        if quantity:
            taker_pays = cost(order.side, price, payout, taker.position, quantity)
            maker_pays = cost(maker.side, price, payout, other.position, quantity)
            self._fill(maker, quantity, (taker, taker_pays), (other, maker_pays))
        # Counted last, so that facts that this meeting lacked count as lacking before the maker.
        self._makers += 1
        if taker_can <= maker_can:
            return self._ended(End.CANCELLED, self._unfunded_reason(order, price, taker))
        self._cancel(maker, self._unfunded_reason(maker, price, other), is_written=quantity > 0)
        return None

    def _fill(
        self,
        maker: OpenOrder,
        quantity: int,
        taker: tuple[_Trader, Money],
        other: tuple[_Trader, Money],
    ) -> None:
        signed_quantity = signed(self._order.side, quantity)
        taker_leg, taker_rows = taker[0].trade(taker[1], signed_quantity)
        maker_leg, maker_rows = other[0].trade(other[1], -signed_quantity)
        self._meetings.append(Fill(maker, Quantity(quantity), taker_leg, maker_leg))
        self._leaves -= quantity
        self._fills_left -= 1
        self._bytes_left -= FILL_BYTES_MAX
        self._rows += ROWS_PER_TRADE + taker_rows + maker_rows
        self._write(maker)

    def _cancel(self, maker: OpenOrder, reason: CancelReason, *, is_written: bool) -> None:
        self._meetings.append(Cancel(maker, reason))
        self._unfunded += 1
        self._bytes_left -= EVENT_BYTES_MAX
        if not is_written:
            self._write(maker)

    def _write(self, maker: OpenOrder) -> None:
        """Count the rows of a maker and of its market, unless the batch writes them already."""
        draft = self._draft
        self._rows += maker.key not in draft.new_orders and maker.key not in draft.changed_orders
        if not self._writes_market:
            self._writes_market = True
            self._rows += ROWS_PER_MARKET

    # Money.

    def _affords(self, order: OpenOrder, price: Price, trader: _Trader, wanted: int) -> Quantity:
        side, payout, position = order.side, self._market.payout, trader.position
        can = affordable(side, price, payout, position, cash=trader.spendable, wanted=wanted)
        if can < wanted:
            lacked = bool(self._draft.lack)
            self._draft.refresh(order.account_id, trader.purse)
            self._note_lack(lacked)
        return can

    def _unfunded_reason(self, order: OpenOrder, price: Price, trader: _Trader) -> CancelReason:
        """Return FUNDS_IN_USE if all pockets together can pay for one contract, else UNFUNDED."""
        one = cost(order.side, price, self._market.payout, trader.position, 1)
        return CancelReason.FUNDS_IN_USE if one <= trader.total else CancelReason.UNFUNDED

    # Facts.

    def _trader(self, account_id: AccountId) -> _Trader:
        trader = self._traders.get(account_id)
        if trader is None:
            draft, market_id = self._draft, self._market.market_id
            position, purse = draft.position(market_id, account_id), draft.purse(account_id)
            holds = (market_id, account_id) in draft.positions
            trader = self._traders[account_id] = _Trader(purse, position, holds=holds)
        return trader

    def _name_makers(self, maker: OpenOrder) -> None:
        """Ask at once for all makers that the taker may meet from an unknown maker on."""
        draft, order, market_id = self._draft, self._order, self._market.market_id
        if draft.knows(market_id, maker.account_id):
            return
        self._may_name = False
        lacked = bool(draft.lack)
        makers_max = max(1, (self._rows_left - self._rows) // ROWS_PER_FILL)
        makers_max = min(makers_max, self._makers_left - self._makers)
        leaves = self._leaves
        ahead_max = NAMED_AHEAD_PER_UNFUNDED * (draft.unfunded + self._unfunded)
        makers = islice(draft.book(market_id).priority(order.side.opposite), self._makers, None)
        for count, named in enumerate(makers):
            if count >= makers_max or not crosses(order.side, order.price, named):
                break
            if leaves <= 0:
                if draft.lack.ahead >= ahead_max:
                    break
                draft.lack.ahead += 1
            leaves -= named.leaves
            draft.position(market_id, named.account_id)
            draft.purse(named.account_id)
        self._note_lack(lacked)

    def _note_lack(self, lacked: bool) -> None:
        """Note how many makers were met before the plan first lacked something."""
        draft = self._draft
        if draft.lack and not lacked:
            draft.lack.makers = draft.makers + self._makers
