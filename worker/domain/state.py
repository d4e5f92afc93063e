"""The state of a lane, which its owner keeps in memory.

Books and markets are complete. Pockets and positions are caches. A cached pocket may be stale in
either direction, because other lanes draw from pockets. It may support an acceptance, which the
statement checks again, but never a refusal.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from worker.domain.book import Book, Count, OpenOrder
from worker.domain.commands import Outcome, TimeInForce
from worker.domain.units import (
    AccountId,
    LaneId,
    MarketId,
    Money,
    Offset,
)

Holding = tuple[MarketId, AccountId]

CACHED_ROWS_MAX = 100_000
"""Accounts that a lane keeps in memory, and as many positions."""
SWEEPS_MAX = 16
"""Unfinished sweeps of a lane. An order that would need another one is rejected with LIMIT."""
WAITING_MAX = 2_000
"""Commands that may wait while later ones are answered. A swept market refuses those beyond it."""


class StreamKind(StrEnum):
    """The kind of commands in a stream."""

    ORDERS = "ORDERS"
    TRANSFERS = "TRANSFERS"


class MarketStatus(IntEnum):
    """The stages of a market's life. The number only grows, and HALTED may be skipped."""

    OPEN = 1
    HALTED = 2
    SETTLING = 3
    SETTLED = 4


class OrderStatus(IntEnum):
    """The state of an order. ``leaves`` is positive exactly while OPEN."""

    OPEN = 1
    FILLED = 2
    CANCELLED = 3
    REJECTED = 4


@dataclass(frozen=True, slots=True)
class Home:
    """The identity of a lane. ``partitions`` is the stream's count, which never changes."""

    lane: LaneId
    stream: str
    partition: int
    partitions: int
    kind: StreamKind
    cash_share: Money
    """Limit of deposits less withdrawals through one transfers lane."""


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
    """An order whose matching goes on in a later batch, before other commands of its market."""

    market_id: MarketId
    order: OpenOrder
    time_in_force: TimeInForce
    offset: Offset
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A resolved market with holders still to be paid. ``cursor`` is the last account paid."""

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
    sweeps: tuple[Sweep, ...] = ()
    """Unfinished sweeps, at most one per market."""
    settlements: tuple[Settlement, ...] = ()
    waiting: frozenset[Offset] = frozenset()
    """Offsets before ``next_offset`` that are not answered: their market was busy."""
    markets: dict[MarketId, Market] = field(default_factory=dict)
    books: dict[MarketId, Book] = field(default_factory=dict)
    resting: Count = field(default_factory=Count)
    """The open orders in all books."""
    accounts: OrderedDict[AccountId, dict[LaneId, Money]] = field(default_factory=OrderedDict)
    positions: OrderedDict[Holding, int] = field(default_factory=OrderedDict)

    def book(self, market_id: MarketId) -> Book:
        """Return the market's book, empty at first."""
        book = self.books.get(market_id)
        if book is None:
            book = self.books[market_id] = Book(self.resting)
        return book

    def drop_book(self, market_id: MarketId) -> None:
        """Forget the book of a market that trades no more."""
        book = self.books.pop(market_id, None)
        if book is not None:
            self.resting.orders -= len(book)
