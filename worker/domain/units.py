"""Numbers with a unit in their type, and their limits. Some are of the language of senders."""

from typing import Final, NewType

from producers.language import (
    ID_PATTERN,
    JSON_INTEGER_MAX,
    PAYOUT_MAX,
    PAYOUT_MIN,
    QUANTITY_MAX,
    TITLE_CHARS_MAX,
    TRANSFER_MAX,
    AccountId,
    MarketId,
    Money,
    OrderId,
    Price,
    Quantity,
    TransferId,
)

__all__ = [
    "CASH_MAX",
    "ESCROW",
    "ID_PATTERN",
    "JSON_INTEGER_MAX",
    "OPEN_ORDERS_PER_ACCOUNT_MAX",
    "OPEN_ORDERS_PER_LANE_MAX",
    "OUTSIDE",
    "PAYOUT_MAX",
    "PAYOUT_MIN",
    "QUANTITY_MAX",
    "TITLE_CHARS_MAX",
    "TRANSFER_MAX",
    "WALLET",
    "AccountId",
    "LaneId",
    "MarketId",
    "Money",
    "Offset",
    "OrderId",
    "Price",
    "Quantity",
    "TransferId",
]

LaneId = NewType("LaneId", int)
"""One partition of one stream, numbered over all streams. The number -1 is the wallet."""
Offset = NewType("Offset", int)
"""A Kafka offset of the input partition."""

WALLET: Final = LaneId(-1)
"""The pocket that deposits go to."""
ESCROW: Final = LaneId(-2)
"""Pseudo-lane of a market's escrow in the ledger. The account is the market."""
OUTSIDE: Final = LaneId(-3)
"""Pseudo-lane of EXTERNAL in the ledger: money that enters or leaves. It has no balance row."""

CASH_MAX: Final = Money(9 * 10**15)
"""Limit of all cash of the exchange. Each transfers lane keeps to an equal share of the limit."""
OPEN_ORDERS_PER_ACCOUNT_MAX: Final = 1_000
"""Resting orders of one account in one market."""
OPEN_ORDERS_PER_LANE_MAX: Final = 1_000_000
"""Resting orders in all books of a lane, unless a setting says otherwise."""
