"""Commands that upstream services may send: one frozen value each, already well-formed.

A well-formed command has all fields of its type and no other, and its numbers are integers that
JSON keeps exact. Whether a price fits its market, or an amount its limit, is a rule. A broken rule
is answered with a rejection, so the ranges of these numbers are wider here.
"""

from typing import Final

from producers.language import (
    CancelOrder,
    Deposit,
    MarketCommand,
    OpenMarket,
    Outcome,
    PlaceOrder,
    ResolveMarket,
    Side,
    TimeInForce,
    TransferCommand,
    Withdraw,
    value,
)
from worker.domain.units import AccountId, MarketId, Offset

__all__ = [
    "HEADER_NAME_ERRORS",
    "CancelOrder",
    "Command",
    "Deposit",
    "MarketCommand",
    "OpenMarket",
    "Outcome",
    "PlaceOrder",
    "Received",
    "ResolveMarket",
    "Side",
    "TimeInForce",
    "TransferCommand",
    "Unreadable",
    "Withdraw",
]

HEADER_NAME_ERRORS: Final = "surrogateescape"
"""How a header's name is decoded from its bytes, and encoded to the same bytes again.

Kafka calls a name a string, but brokers take any bytes. Bytes that are no UTF-8 become lone
surrogates, which only this error handler can encode.
"""


@value(kw_only=True)
class Unreadable:
    """A record that is no command. ``detail`` says what is wrong with it.

    The bytes go to the dead letters. ``market_id`` and ``account_id`` are set where readable.
    """

    detail: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    market_id: MarketId | None = None
    account_id: AccountId | None = None


Command = MarketCommand | TransferCommand | Unreadable


@value
class Received:
    """A command and its place in the partition.

    ``time_ms`` is the broker's LogAppendTime. ``sha`` is the SHA-256 of the record in hex, by which
    a recreated topic is recognised.
    """

    offset: Offset
    time_ms: int
    sha: str
    command: Command
