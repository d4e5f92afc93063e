"""What happened: facts, published after the commit. One frozen value per event.

``Event`` carries what every event has (``seq`` and so on); ``body`` says what happened. Every input
offset gets exactly one answer, index 0; what follows from it has index 1, 2, …
"""

from enum import StrEnum
from typing import Final

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
from worker.domain.values import value

ESCROW_NAME: Final = "$escrow"
"""The market's escrow among an event's postings; no legal account id."""


class Reason(StrEnum):
    """Why a command was refused, in the order in which the checks run."""

    MALFORMED = "MALFORMED"
    INTERNAL_REJECT = "INTERNAL_REJECT"
    WRONG_PARTITION = "WRONG_PARTITION"
    UNKNOWN_MARKET = "UNKNOWN_MARKET"
    MARKET_EXISTS = "MARKET_EXISTS"
    NOT_OPERATOR = "NOT_OPERATOR"
    ALREADY_RESOLVED = "ALREADY_RESOLVED"
    DUPLICATE_ID_DIFFERENT_PAYLOAD = "DUPLICATE_ID_DIFFERENT_PAYLOAD"
    MARKET_NOT_OPEN = "MARKET_NOT_OPEN"
    MARKET_HALTED = "MARKET_HALTED"
    BAD_PAYOUT = "BAD_PAYOUT"
    BAD_PRICE = "BAD_PRICE"
    BAD_QTY = "BAD_QTY"
    BAD_AMOUNT = "BAD_AMOUNT"
    UNKNOWN_ACCOUNT = "UNKNOWN_ACCOUNT"
    OPEN_ORDER_LIMIT = "OPEN_ORDER_LIMIT"
    LIMIT = "LIMIT"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    FUNDS_IN_USE = "FUNDS_IN_USE"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    ALREADY_TERMINAL = "ALREADY_TERMINAL"


REMEMBERED: Final = frozenset({Reason.OPEN_ORDER_LIMIT, Reason.INSUFFICIENT_FUNDS})
"""Refusals that stay the answer when the same id is sent again."""


class CancelReason(StrEnum):
    """Why the rest of an order left the book, or never reached it."""

    REQUESTED = "REQUESTED"
    IOC = "IOC"
    UNFUNDED = "UNFUNDED"
    FUNDS_IN_USE = "FUNDS_IN_USE"
    SELF_TRADE = "SELF_TRADE"
    MARKET_RESOLVED = "MARKET_RESOLVED"


class PostingKind(StrEnum):
    """Which part of a trade's money a posting is."""

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
    MARKET_OPENED = "MARKET_OPENED"
    MARKET_RESOLVED = "MARKET_RESOLVED"
    PAYOUT = "PAYOUT"
    MARKET_SETTLED = "MARKET_SETTLED"
    DEPOSITED = "DEPOSITED"
    WITHDRAWN = "WITHDRAWN"
    TRANSFER_REJECTED = "TRANSFER_REJECTED"


@value
class OrderAccepted:
    """The order is valid and its account could fund it alone. Precedes the first fill."""

    account_id: AccountId
    order_id: OrderId
    side: Side
    price: Price
    quantity: Quantity
    time_in_force: TimeInForce


@value
class Party:
    """One side of a trade; ``leaves_quantity`` is what stays open after it."""

    account_id: AccountId
    order_id: OrderId
    leaves_quantity: Quantity
    taker: bool


@value
class Posting:
    """One ledger movement of a trade; ``account_id`` None is the market's escrow."""

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
    """Anything else that was refused; ``detail`` tells the sender what to mend."""

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
    """The command is known, its content the same; nothing changed."""

    first: First
    account_id: AccountId | None = None
    order_id: OrderId | None = None
    transfer_id: TransferId | None = None
    operator_id: AccountId | None = None


@value
class MarketOpened:
    """Trading may start."""

    operator_id: AccountId
    payout: int
    title: str


@value
class MarketResolved:
    """The outcome stands; open orders are dead from here on."""

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
    """All is paid: ``holders`` accounts, ``paid`` in all. The escrow is empty."""

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

    ``subject`` names whose history it belongs to: a market's or (transfers) an account's id, None
    where the input could not be read; it is also the record's key. ``market_seq`` is None without
    a market of this lane.
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
"""An event's line in the journal, at most, when nothing more is known of it."""
FILL_BYTES_MAX: Final = 1_600
_TITLE_CHARACTER_BYTES: Final = 12
_ORIGINAL_BYTES_MAX: Final = 96 * 1024


def size_bound(entry: Body | DeadLetter) -> int:
    """Return bytes that an entry's journal line does not exceed. Budgets count with it."""
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
