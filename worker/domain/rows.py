"""Rows that a batch writes, in the domain's form and not in that of the tables."""

from dataclasses import dataclass

from producers.language import value
from worker.domain.commands import Outcome, Side, TimeInForce
from worker.domain.events import Reason
from worker.domain.facts import OrderRef, TransferRef
from worker.domain.state import MarketStatus, OrderStatus
from worker.domain.units import (
    LaneId,
    Money,
    OrderId,
    Price,
    Quantity,
    TransferId,
)

# The row budget: how many rows of the tables each part of a batch may write.

ROWS_ALWAYS = 2
"""The lane's row and the batch's."""
ROWS_PER_POCKET = 1
ROWS_PER_DRAW = 2
"""Both postings of a draw. Its pocket is counted separately."""
ROWS_PER_SOURCE = ROWS_PER_POCKET + ROWS_PER_DRAW
"""A further pocket that is drawn from, with its draw."""
ROWS_PER_TRANSFER = 3
"""The transfer and its two postings."""
ROWS_PER_WITHDRAWAL = 8
"""The transfer, its two postings, the own pocket, and what goes back from there to the wallet."""
ROWS_PER_PAYOUT = 2
"""The ``payouts`` row and its posting."""
ROWS_PER_PAYEE = ROWS_PER_PAYOUT + ROWS_PER_POCKET
ROWS_PER_PAGE = 6
"""Lane, batch, market, the escrow's posting, and two to spare."""
ROWS_PER_TRADE = 3
"""The trade and its two postings."""
ROWS_PER_POSITION = 2
"""The position and its collateral's posting."""
ROWS_PER_MARKET = 2
"""The market and its escrow's posting."""
ROWS_PER_FILL = 12
"""Trade, its two postings, two positions, two collaterals, market, escrow, two orders, and one to
spare. Pockets and draws are counted separately."""
ROWS_PER_COMMAND = ROWS_PER_FILL + 2 * ROWS_PER_POCKET
"""Rows that a further command needs room for: a fill, and the own pockets of both sides."""
ROWS_PER_ORDER = 5
"""Rows of an order with half a fill, about. Estimates how many orders fit into a batch."""


@dataclass(slots=True)
class OrderRow:
    """An order that the batch inserts, in its final state."""

    key: str
    market: str
    account: str
    order_id: OrderId
    side: Side
    price: Price
    quantity: Quantity
    time_in_force: TimeInForce
    leaves: Quantity
    status: OrderStatus
    seq: int
    reason: Reason | None
    ref: OrderRef


@value
class TradeRow:
    """A trade, from which the database derives the money."""

    key: str
    market: str
    buyer: str
    seller: str
    price: Price
    quantity: Quantity
    seq: int


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A deposit or withdrawal with its first answer. Money moves only without a ``reason``."""

    key: str
    account: str
    transfer_id: TransferId
    deposit: bool
    amount: Money
    seq: int
    reason: Reason | None
    ref: TransferRef


@dataclass(frozen=True, slots=True)
class PayoutRow:
    """A holder to be paid. The database derives the amount."""

    market: str
    account: str
    outcome: Outcome


@dataclass(slots=True)
class MarketChange:
    """All that changes of one market's row, apart from its money."""

    events: int = 0
    status: MarketStatus | None = None
    outcome: Outcome | None = None
    resolved_seq: int = 0


@value
class DrawRow:
    """Money moved between two pockets of one account."""

    cause: str
    account: str
    source: LaneId
    target: LaneId
    amount: Money


@value
class PocketRow:
    """A pocket that the batch moves, named once. A ``new`` pocket has no row yet."""

    account: str
    lane: LaneId
    need: Money
    new: bool
