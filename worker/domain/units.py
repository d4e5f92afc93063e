"""Numbers with a unit in their type, and their limits.

All money is in one unnamed smallest unit (``payout`` 100 makes it a cent). Everything that can
travel on the wire stays below 2**53, so that every JSON reader keeps it exact.
"""

from typing import Final, NewType

MarketId = NewType("MarketId", str)
"""The client's name of a market, ``[A-Za-z0-9._:-]{1,64}``. Also the record key of its commands."""
AccountId = NewType("AccountId", str)
"""The client's name of an account; same alphabet."""
OrderId = NewType("OrderId", str)
"""The client's name of an order, unique per market and account, for ever."""
TransferId = NewType("TransferId", str)
"""The client's name of a deposit or withdrawal, unique per account, for ever."""
Lane = NewType("Lane", int)
"""One partition of one stream, numbered over all streams; -1 is the wallet."""
Price = NewType("Price", int)
"""Money per contract, strictly between 0 and the market's payout."""
Quantity = NewType("Quantity", int)
"""Contracts."""
Money = NewType("Money", int)
"""An amount in the smallest unit; signed where it is a change."""
Offset = NewType("Offset", int)
"""A Kafka offset of the input partition."""

WALLET: Final = Lane(-1)
"""The pocket where deposits land."""
ESCROW: Final = Lane(-2)
"""Pseudo-lane of a market's escrow in the ledger; the account is the market."""
OUTSIDE: Final = Lane(-3)
"""Pseudo-lane of EXTERNAL in the ledger: money that enters or leaves. It has no balance row."""

JSON_INTEGER_MAX: Final = 2**53 - 1
PAYOUT_MIN: Final = 2
PAYOUT_MAX: Final = 1_000_000
QUANTITY_MAX: Final = 10**9
TRANSFER_MAX: Final = Money(10**13)
CASH_MAX: Final = Money(9 * 10**15)
"""All cash of the exchange; divided among the transfer lanes, each of which keeps its share."""
OPEN_ORDERS_MAX: Final = 1_000
"""Resting orders of one account in one market."""
TITLE_CHARS_MAX: Final = 200
