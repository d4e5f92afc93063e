"""What a lane's owner holds in memory, and the facts that a plan may need beside it.

Books and markets are complete; pockets and positions are caches. A cached pocket may be stale in
either direction, because other lanes draw from pockets: it may support a yes, never a no.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from worker.domain.book import Book, OpenOrder
from worker.domain.commands import Outcome, Side, TimeInForce
from worker.domain.events import First
from worker.domain.units import (
    AccountId,
    Lane,
    MarketId,
    Money,
    Offset,
    OrderId,
    Price,
    Quantity,
    TransferId,
)

OrderRef = tuple[MarketId, AccountId, OrderId]
TransferRef = tuple[AccountId, TransferId]
Holding = tuple[MarketId, AccountId]

CACHED_ROWS_MAX = 100_000
"""Accounts, and positions, that a lane keeps in memory."""


class StreamKind(StrEnum):
    """What a stream carries."""

    ORDERS = "ORDERS"
    TRANSFERS = "TRANSFERS"


class MarketStatus(IntEnum):
    """A market's life; only upwards, and HALTED need not be visited."""

    OPEN = 1
    HALTED = 2
    SETTLING = 3
    SETTLED = 4


class OrderStatus(IntEnum):
    """An order's life. ``leaves`` is positive exactly while OPEN."""

    OPEN = 1
    FILLED = 2
    CANCELLED = 3
    REJECTED = 4


@dataclass(frozen=True, slots=True)
class Home:
    """Which lane this is. ``partitions`` is the stream's count, fixed for life."""

    lane: Lane
    stream: str
    partition: int
    partitions: int
    kind: StreamKind
    cash_share: Money
    """The most that may have come in, net, through one transfers lane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A market's row, without its money, which only the database knows."""

    market_id: MarketId
    key: str
    operator_id: AccountId
    payout: int
    title: str
    status: MarketStatus
    outcome: Outcome | None
    market_seq: int
    opened_seq: int
    resolved_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """An order whose matching goes on in the next batch, before any other command."""

    market_id: MarketId
    order: OpenOrder
    time_in_force: TimeInForce
    offset: Offset
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A resolved market of which holders wait for their page. ``cursor``: the last account paid."""

    market_id: MarketId
    offset: Offset
    index: int
    cursor: str
    holders: int
    paid: Money
    parked: bool = False


@dataclass(slots=True)
class LaneState:
    """Everything the owner of a lane holds for it, as of batch ``batch_no``."""

    home: Home
    batch_no: int = 0
    next_offset: Offset = Offset(0)
    last_seq: int = 0
    lane_time_ms: int = 0
    last_record_sha: str = ""
    cash_in_net: int = 0
    sweep: Sweep | None = None
    settlements: tuple[Settlement, ...] = ()
    markets: dict[MarketId, Market] = field(default_factory=dict)
    books: dict[MarketId, Book] = field(default_factory=dict)
    accounts: dict[AccountId, dict[Lane, Money]] = field(default_factory=dict)
    positions: dict[Holding, int] = field(default_factory=dict)

    def book(self, market_id: MarketId) -> Book:
        """Return the market's book, empty at first."""
        book = self.books.get(market_id)
        if book is None:
            book = self.books[market_id] = Book()
        return book


@dataclass(frozen=True, slots=True)
class OrderAnswer:
    """What an order id was first answered, and what it asked."""

    side: Side
    price: Price
    quantity: Quantity
    time_in_force: TimeInForce
    first: First


@dataclass(frozen=True, slots=True)
class TransferAnswer:
    """What a transfer id was first answered, and what it asked."""

    deposit: bool
    amount: Money
    first: First


@dataclass(frozen=True, slots=True)
class DeadOrder:
    """An open order of a resolved market."""

    key: str
    account_id: AccountId
    order_id: OrderId
    leaves: Quantity


@dataclass(frozen=True, slots=True)
class Payee:
    """A holder of winning contracts. ``pocket`` is his balance in this lane, None: no row yet."""

    key: str
    account_id: AccountId
    quantity: Quantity
    pocket: Money | None


@dataclass(frozen=True, slots=True)
class Page:
    """The next dead orders and payees of a settlement; ``last`` when there are no more."""

    orders: tuple[DeadOrder, ...]
    payees: tuple[Payee, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows read for one plan, all after its records arrived; None means: read, and absent.

    ``exact_draws`` are accounts that lost a race lately, ``no_draws`` those planned without draws,
    ``internal_rejects`` offsets answered INTERNAL_REJECT, ``halts`` offsets that halt their market.
    """

    accounts: Mapping[AccountId, Mapping[Lane, Money] | None] = field(default_factory=dict)
    positions: Mapping[Holding, int] = field(default_factory=dict)
    markets: Mapping[MarketId, Market | None] = field(default_factory=dict)
    orders: Mapping[OrderRef, OrderAnswer | None] = field(default_factory=dict)
    transfers: Mapping[TransferRef, TransferAnswer | None] = field(default_factory=dict)
    pages: Mapping[MarketId, Page] = field(default_factory=dict)
    exact_draws: frozenset[AccountId] = frozenset()
    no_draws: frozenset[AccountId] = frozenset()
    internal_rejects: frozenset[Offset] = frozenset()
    halts: frozenset[Offset] = frozenset()

    def and_read(self, read: "Facts") -> "Facts":
        """Return these facts and those of a later reading, which win."""
        return replace(
            self,
            accounts={**self.accounts, **read.accounts},
            positions={**self.positions, **read.positions},
            markets={**self.markets, **read.markets},
            orders={**self.orders, **read.orders},
            transfers={**self.transfers, **read.transfers},
            pages={**self.pages, **read.pages},
        )


@dataclass(slots=True)
class Lack:
    """The facts that a plan still needs. False when there are none."""

    accounts: set[AccountId] = field(default_factory=set)
    positions: set[Holding] = field(default_factory=set)
    markets: set[MarketId] = field(default_factory=set)
    orders: set[OrderRef] = field(default_factory=set)
    transfers: set[TransferRef] = field(default_factory=set)
    pages: dict[MarketId, "PageRequest"] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.accounts
            or self.positions
            or self.markets
            or self.orders
            or self.transfers
            or self.pages
        )


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a settlement to read: up to ``rows_max`` dead orders and payees in all."""

    market: str
    outcome: Outcome
    after: str
    rows_max: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may become. Recorded with it, since it decides where a sweep is cut."""

    rows: int
    event_bytes: int = 512 * 1024
    commands: int = 1_000_000
    fills: int = 1_000_000
