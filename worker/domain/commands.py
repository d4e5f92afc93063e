"""What upstream services may ask: one frozen value per command, already well-formed.

Well-formed means typed, closed and within JSON's integers. Whether a price fits its market or an
amount its limit is a rule, and rules answer with a rejection, so those ranges are wider here.
"""

from enum import StrEnum

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


class Side(StrEnum):
    """Which way the taker trades the YES contract."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        """The side that it trades against."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(StrEnum):
    """What becomes of the quantity that does not fill at once."""

    GTC = "GTC"
    IOC = "IOC"


class Outcome(StrEnum):
    """How a market resolved."""

    YES = "YES"
    NO = "NO"


@value(kw_only=True)
class PlaceOrder:
    """Buy or sell up to ``quantity`` contracts at ``price`` or better."""

    market_id: MarketId
    account_id: AccountId
    order_id: OrderId
    side: Side
    price: Price
    quantity: Quantity
    time_in_force: TimeInForce


@value(kw_only=True)
class CancelOrder:
    """Take the rest of an order out of the book."""

    market_id: MarketId
    account_id: AccountId
    order_id: OrderId


@value(kw_only=True)
class OpenMarket:
    """Start trading contracts that pay ``payout`` each."""

    market_id: MarketId
    operator_id: AccountId
    payout: int
    title: str


@value(kw_only=True)
class ResolveMarket:
    """End a market: every winning contract is paid. Only its opener may."""

    market_id: MarketId
    operator_id: AccountId
    outcome: Outcome


@value(kw_only=True)
class Deposit:
    """Bring money in from outside, into the account's wallet. The first one creates the account."""

    account_id: AccountId
    transfer_id: TransferId
    amount: Money


@value(kw_only=True)
class Withdraw:
    """Send money outside, from all of the account's pockets."""

    account_id: AccountId
    transfer_id: TransferId
    amount: Money


@value(kw_only=True)
class Unreadable:
    """A record that is no command. ``detail`` says what is wrong; the bytes go to the dead letters.

    ``market_id`` and ``account_id`` stand where they could be read.
    """

    detail: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    market_id: MarketId | None = None
    account_id: AccountId | None = None


MarketCommand = PlaceOrder | CancelOrder | OpenMarket | ResolveMarket
TransferCommand = Deposit | Withdraw
Command = MarketCommand | TransferCommand | Unreadable


@value
class Received:
    """A command as it lies in its partition.

    ``time_ms`` is the broker's LogAppendTime; ``sha`` the SHA-256 of the record, hex, by which a
    recreated topic is recognised.
    """

    offset: Offset
    time_ms: int
    sha: str
    command: Command
