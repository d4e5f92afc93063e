"""Facts: the rows read for one plan, those that a plan still lacks, and the limits of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from worker.domain.commands import Outcome, Side, TimeInForce
from worker.domain.events import First
from worker.domain.state import Holding, Market
from worker.domain.units import (
    AccountId,
    LaneId,
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


@dataclass(frozen=True, slots=True)
class OrderAnswer:
    """The first request with an order id, and its answer."""

    side: Side
    price: Price
    quantity: Quantity
    time_in_force: TimeInForce
    first: First


@dataclass(frozen=True, slots=True)
class TransferAnswer:
    """The first request with a transfer id, and its answer."""

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
    """A holder of winning contracts. ``pocket`` is its balance in this lane, None without a row."""

    key: str
    account_id: AccountId
    quantity: Quantity
    pocket: Money | None


@dataclass(frozen=True, slots=True)
class Page:
    """The next dead orders and payees of a settlement. No others follow the ``last`` page."""

    orders: tuple[DeadOrder, ...]
    payees: tuple[Payee, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows read for one plan, all after its records arrived. None is a row that does not exist.

    ``exact_draws`` are accounts that lost a race lately, ``no_draws`` those planned without draws,
    ``internal_rejects`` offsets answered INTERNAL_REJECT, ``halts`` offsets that halt their market.
    """

    accounts: Mapping[AccountId, Mapping[LaneId, Money] | None] = field(default_factory=dict)
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
        """Return these facts, updated by those of a later reading."""
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
    commands: int = 0
    """Commands that the plan answered before it first lacked something."""
    makers: int = 0
    """Makers that the plan met before it first lacked something."""
    ahead: int = 0
    """Makers asked for in case the makers before them cannot pay."""

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
    """A page of a settlement to be read: up to ``rows_max`` dead orders and payees in all."""

    market: str
    outcome: Outcome
    after: str
    rows_max: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest size of a batch. Recorded with it, since the size decides where a sweep is cut.

    ``makers`` counts the orders that takers meet, whether or not the two trade. ``open_orders`` is
    the most that may rest in all books of the lane together.
    """

    rows: int
    event_bytes: int = 512 * 1024
    commands: int = 1_000_000
    fills: int = 1_000_000
    makers: int = 1_000_000
    open_orders: int = 1_000_000_000
