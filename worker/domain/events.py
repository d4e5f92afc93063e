"""Events, which report what happened and are published after the commit.

``Event`` has the fields that all events share, such as ``seq``. Its ``body`` is a frozen value that
says what happened. Every input offset gets exactly one answer, with index 0. The events that follow
from the answer have index 1, 2, …
"""

from enum import StrEnum
from typing import Final

from producers.language import value
from worker.domain.commands import Outcome, Side, TimeInForce, Unreadable
from worker.domain.units import (
    AccountId,
    MarketId,
    Money,
    Offset,
    OrderId,
    Price,
    Quantity,
    TransferId,
)

ESCROW_NAME: Final = "$escrow"
"""Name of the market's escrow in an event's postings. It is no legal account id."""


class Reason(StrEnum):
    """Reasons to refuse a command, in the order in which the checks run."""

    MALFORMED = "MALFORMED"
    INTERNAL_REJECT = "INTERNAL_REJECT"
    WRONG_PARTITION = "WRONG_PARTITION"
    UNKNOWN_MARKET = "UNKNOWN_MARKET"
    MARKET_EXISTS = "MARKET_EXISTS"
    NOT_OPERATOR = "NOT_OPERATOR"
    ALREADY_RESOLVED = "ALREADY_RESOLVED"
    MARKET_NOT_OPEN = "MARKET_NOT_OPEN"
    MARKET_HALTED = "MARKET_HALTED"
    MARKET_BUSY = "MARKET_BUSY"
    BAD_PAYOUT = "BAD_PAYOUT"
    BAD_PRICE = "BAD_PRICE"
    BAD_QTY = "BAD_QTY"
    BAD_AMOUNT = "BAD_AMOUNT"
    UNKNOWN_ACCOUNT = "UNKNOWN_ACCOUNT"
    OPEN_ORDER_LIMIT = "OPEN_ORDER_LIMIT"
    LANE_ORDER_LIMIT = "LANE_ORDER_LIMIT"
    LIMIT = "LIMIT"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    FUNDS_IN_USE = "FUNDS_IN_USE"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    ALREADY_TERMINAL = "ALREADY_TERMINAL"


REMEMBERED: Final = frozenset({Reason.OPEN_ORDER_LIMIT, Reason.INSUFFICIENT_FUNDS})
"""Refusals that stay the answer when the same id is sent again."""


class CancelReason(StrEnum):
    """Reasons for which the rest of an order left the book, or never reached it."""

    REQUESTED = "REQUESTED"
    IOC = "IOC"
    UNFUNDED = "UNFUNDED"
    FUNDS_IN_USE = "FUNDS_IN_USE"
    SELF_TRADE = "SELF_TRADE"
    MARKET_RESOLVED = "MARKET_RESOLVED"


class PostingKind(StrEnum):
    """The part of a trade's money that a posting moves."""

    PRICE = "PRICE"
    COLLATERAL = "COLLATERAL"


class EventType(StrEnum):
    """The ``type`` of an event on the wire."""

    ORDER_ACCEPTED = "ORDER_ACCEPTED"
    ORDER_FILLED = "ORDER_FILLED"
    ORDER_CANCELLED = "ORDER_CANCELLED"
    ORDER_REJECTED = "ORDER_REJECTED"
    CANCEL_REJECTED = "CANCEL_REJECTED"
    COMMAND_REJECTED = "COMMAND_REJECTED"
    DUPLICATE = "DUPLICATE"
    ID_CONFLICT = "ID_CONFLICT"
    MARKET_OPENED = "MARKET_OPENED"
    MARKET_RESOLVED = "MARKET_RESOLVED"
    PAYOUT = "PAYOUT"
    MARKET_SETTLED = "MARKET_SETTLED"
    DEPOSITED = "DEPOSITED"
    WITHDRAWN = "WITHDRAWN"
    TRANSFER_REJECTED = "TRANSFER_REJECTED"


@value
class OrderAccepted:
    """A valid order that its account could fund as its only order. Precedes the first fill."""

    account_id: AccountId
    order_id: OrderId
    side: Side
    price: Price
    quantity: Quantity
    time_in_force: TimeInForce


@value
class Party:
    """One side of a trade. ``leaves_quantity`` of the order stay open after the trade."""

    account_id: AccountId
    order_id: OrderId
    leaves_quantity: Quantity
    taker: bool


@value
class Posting:
    """One ledger movement of a trade. An ``account_id`` of None is the market's escrow."""

    account_id: AccountId | None
    amount: Money
    kind: PostingKind


@value
class OrderFilled:
    """One trade, at the maker's price. The postings sum to zero."""

    trade_id: str
    price: Price
    quantity: Quantity
    taker_side: Side
    buyer: Party
    seller: Party
    postings: tuple[Posting, ...]


@value
class OrderCancelled:
    """The rest of an order is gone. Answers a CANCEL_ORDER that worked."""

    account_id: AccountId
    order_id: OrderId
    cancelled_quantity: Quantity
    reason: CancelReason


@value
class OrderRejected:
    """A PLACE_ORDER that was refused."""

    account_id: AccountId
    order_id: OrderId
    reason: Reason


@value
class CancelRejected:
    """A CANCEL_ORDER that was refused."""

    account_id: AccountId
    order_id: OrderId
    reason: Reason


@value
class CommandRejected:
    """Any other command that was refused. ``detail`` says what the sender must fix."""

    reason: Reason
    detail: str | None = None
    operator_id: AccountId | None = None
    account_id: AccountId | None = None


@value
class First:
    """The first answer to an id that was sent again."""

    type: EventType
    seq: int
    reason: Reason | None = None


@value
class Duplicate:
    """A command that was sent before, with the same content. Nothing changed."""

    first: First
    account_id: AccountId | None = None
    order_id: OrderId | None = None
    transfer_id: TransferId | None = None
    operator_id: AccountId | None = None


@value
class IdConflict:
    """The id belongs to an order or transfer of other content, which stays as it is.

    A rejection would be taken for the end of that order, since it has the same id.
    """

    first: First
    account_id: AccountId | None = None
    order_id: OrderId | None = None
    transfer_id: TransferId | None = None


@value
class MarketOpened:
    """Trading may start."""

    operator_id: AccountId
    payout: int
    title: str


@value
class MarketResolved:
    """The market has its final outcome. Its open orders are dead from here on."""

    operator_id: AccountId
    outcome: Outcome


@value
class Payout:
    """A holder of ``quantity`` winning contracts was paid ``amount`` from the escrow."""

    account_id: AccountId
    quantity: Quantity
    amount: Money


@value
class MarketSettled:
    """All ``holders`` accounts are paid, ``paid`` in total. The escrow is empty."""

    holders: int
    paid: Money


@value
class Deposited:
    """Money came in."""

    transfer_id: TransferId
    amount: Money


@value
class Withdrawn:
    """Money went out."""

    transfer_id: TransferId
    amount: Money


@value
class TransferRejected:
    """A deposit or withdrawal that was refused."""

    transfer_id: TransferId
    amount: Money
    reason: Reason


Body = (
    OrderAccepted
    | OrderFilled
    | OrderCancelled
    | OrderRejected
    | CancelRejected
    | CommandRejected
    | Duplicate
    | IdConflict
    | MarketOpened
    | MarketResolved
    | Payout
    | MarketSettled
    | Deposited
    | Withdrawn
    | TransferRejected
)


@value
class Event:
    """One event of a lane. ``seq`` has no gaps in the lane, ``market_seq`` none in the market.

    ``subject`` is the id of the market, or of the account for transfers, to whose history the event
    belongs. It is also the record's key, and None if the input could not be read. ``market_seq`` is
    None without a market of this lane.
    """

    seq: int
    offset: Offset
    index: int
    time_ms: int
    subject: MarketId | AccountId | None
    market_seq: int | None
    body: Body


@value
class DeadLetter:
    """The original of a record that was answered MALFORMED, with that answer's ``seq``."""

    seq: int
    offset: Offset
    time_ms: int
    reason: Reason
    original: Unreadable


EVENT_BYTES_MAX: Final = 700
"""Bytes of an event's line in the journal, at most, unless its type has a bound of its own."""
FILL_BYTES_MAX: Final = 1_600
_TITLE_CHARACTER_BYTES: Final = 12
_ORIGINAL_BYTES_MAX: Final = 96 * 1024


def size_bound(entry: Body | DeadLetter) -> int:
    """Return an upper bound of the bytes of an entry's journal line, as budgets count them."""
    match entry:
        case OrderFilled():
            return FILL_BYTES_MAX
        case MarketOpened():
            return EVENT_BYTES_MAX + _TITLE_CHARACTER_BYTES * len(entry.title)
        case DeadLetter():
            original = entry.original
            size = len(original.key or b"") + len(original.value or b"")
            size += sum(len(name) * 4 + len(value or b"") + 16 for name, value in original.headers)
            return min(_ORIGINAL_BYTES_MAX, size * 4 // 3 + 2_048)
        case _:
            return EVENT_BYTES_MAX
