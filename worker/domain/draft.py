"""A batch while it is being planned: what it reads, what it will write, what it will say.

Everything here lies over the lane's state and leaves it as it is, except the books, which undo.
``adopt`` makes the draft the state; it runs after the commit, and cannot fail.
"""

from dataclasses import dataclass, field, replace

from worker.domain.book import Book
from worker.domain.commands import Outcome, Received, Side, TimeInForce
from worker.domain.events import Body, DeadLetter, Event, Reason, size_bound
from worker.domain.purse import Purse, Tally
from worker.domain.state import (
    CACHED_ROWS_MAX,
    Facts,
    Lack,
    LaneState,
    Limits,
    Market,
    MarketStatus,
    OrderRef,
    OrderStatus,
    Settlement,
    Sweep,
    TransferRef,
)
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

ROWS_ALWAYS = 2
"""The lane's row and the batch's."""
ROWS_A_FILL = 12
"""Trade, its two postings, two positions, two collaterals, market, escrow, two orders, and one to
spare; pockets and draws are counted apart."""


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
    """What was traded; the database derives the money."""

    key: str
    market: str
    buyer: str
    seller: str
    price: Price
    quantity: Quantity
    seq: int


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A deposit or withdrawal with its first answer; the money moves only without a ``reason``."""

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
    """A holder to be paid; the database knows how much."""

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


@dataclass(slots=True)
class Draft:
    """The batch being planned. ``offset``, ``index`` and ``time_ms`` stamp what is emitted next."""

    state: LaneState
    facts: Facts
    limits: Limits
    lack: Lack = field(default_factory=Lack)
    offset: Offset = Offset(0)
    index: int = 0
    time_ms: int = 0
    seq: int = 0
    event_bytes: int = 0
    answered: int = 0
    fills: int = 0
    next_offset: Offset = Offset(0)
    last_record_sha: str = ""
    cash_in_net: int = 0
    sweep: Sweep | None = None
    settlements: dict[MarketId, Settlement] = field(default_factory=dict)
    entries: list[Event | DeadLetter] = field(default_factory=list)
    markets: dict[MarketId, Market] = field(default_factory=dict)
    market_changes: dict[MarketId, MarketChange] = field(default_factory=dict)
    new_markets: set[MarketId] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    purses: dict[AccountId, Purse] = field(default_factory=dict)
    positions: dict[tuple[MarketId, AccountId], int] = field(default_factory=dict)
    new_accounts: list[AccountId] = field(default_factory=list)
    new_orders: dict[str, OrderRow] = field(default_factory=dict)
    changed_orders: dict[str, tuple[Quantity, OrderStatus]] = field(default_factory=dict)
    trades: list[TradeRow] = field(default_factory=list)
    transfers: dict[str, TransferRow] = field(default_factory=dict)
    payouts: list[PayoutRow] = field(default_factory=list)
    books: dict[MarketId, Book] = field(default_factory=dict)

    @classmethod
    def over(cls, state: LaneState, facts: Facts, limits: Limits) -> "Draft":
        """Return an empty draft over ``state``."""
        return cls(
            state,
            facts,
            limits,
            seq=state.last_seq,
            time_ms=state.lane_time_ms,
            next_offset=state.next_offset,
            last_record_sha=state.last_record_sha,
            cash_in_net=state.cash_in_net,
            sweep=state.sweep,
            settlements={s.market_id: s for s in state.settlements},
        )

    # What it reads.

    def market(self, market_id: MarketId) -> Market | None:
        """Return the market as the batch has it so far; None: unknown, or not read yet."""
        market = self.markets.get(market_id) or self.state.markets.get(market_id)
        if market is None:
            if market_id not in self.facts.markets:
                self.lack.markets.add(market_id)
                return None
            market = self.facts.markets[market_id]
            if market is not None:
                self.markets[market_id] = market
        return market

    def book(self, market_id: MarketId) -> Book:
        """Return the market's book; what is done to it is undone if the batch fails."""
        book = self.books.get(market_id)
        if book is None:
            book = self.books[market_id] = self.state.book(market_id)
        return book

    def position(self, market_id: MarketId, account_id: AccountId) -> int:
        """Return the account's signed contracts; 0 and a lack when they were not read yet."""
        holding = (market_id, account_id)
        quantity = self.positions.get(holding)
        if quantity is None:
            quantity = self.facts.positions.get(holding)
        if quantity is None:
            quantity = self.state.positions.get(holding)
        if quantity is not None:
            return quantity
        if market_id not in self.new_markets:
            self.lack.positions.add(holding)
        return 0

    def knows(self, market_id: MarketId, account_id: AccountId) -> bool:
        """Return whether position and pockets of a maker are at hand."""
        holding = (market_id, account_id)
        return (
            account_id in self.purses
            or account_id in self.facts.accounts
            or account_id in self.state.accounts
        ) and (
            holding in self.positions
            or holding in self.facts.positions
            or holding in self.state.positions
        )

    def purse(self, account_id: AccountId) -> Purse:
        """Return the account's purse; unknown cash and a lack when it was not read yet."""
        purse = self.purses.get(account_id)
        if purse is None:
            purse = self.purses[account_id] = self._open(account_id)
            purse.draws_allowed = account_id not in self.facts.no_draws
            purse.exact_draws = account_id in self.facts.exact_draws
        return purse

    def _open(self, account_id: AccountId) -> Purse:
        home, read, cached = self.state.home.lane, self.facts.accounts, self.state.accounts
        if account_id in read:
            row = read[account_id]
            return Purse(home, dict(row or {}), row is not None, fresh=True, tally=self.tally)
        if account_id in cached:
            return Purse(home, dict(cached[account_id]), True, fresh=False, tally=self.tally)
        self.lack.accounts.add(account_id)
        return Purse(home, {}, True, fresh=False, tally=self.tally, known=False)

    def pockets_of(self, account_id: AccountId) -> int:
        """Return how many pockets the account is known to have, without opening its purse."""
        if account_id in self.purses:
            return len(self.purses[account_id].pockets)
        known = self.facts.accounts.get(account_id) or self.state.accounts.get(account_id)
        return len(known or ())

    def refresh(self, account_id: AccountId, purse: Purse) -> bool:
        """Return whether a no may rest on this purse; if not, ask for a fresh reading."""
        if not purse.fresh:
            self.lack.accounts.add(account_id)
        return purse.fresh

    # What it will say.

    def begin(self, received: Received) -> None:
        """Start answering a command: what is emitted next is its index 0."""
        self.offset = received.offset
        self.index = 0
        self.time_ms = max(self.time_ms, received.time_ms)

    def end(self, received: Received) -> None:
        """Pass a command that has been answered."""
        self.answered += 1
        self.next_offset = Offset(received.offset + 1)
        self.last_record_sha = received.sha

    def emit(self, subject: MarketId | AccountId | None, body: Body, market: Market | None) -> int:
        """Add the next event; return its seq. ``market`` None: it has no ``market_seq``."""
        self.seq += 1
        market_seq = None
        if market is not None:
            change = self.change(market.market_id)
            change.events += 1
            market_seq = market.market_seq + change.events
        self.entries.append(
            Event(self.seq, self.offset, self.index, self.time_ms, subject, market_seq, body)
        )
        self.index += 1
        self.event_bytes += size_bound(body)
        return self.seq

    def change(self, market_id: MarketId) -> MarketChange:
        """Return what changes of the market's row."""
        change = self.market_changes.get(market_id)
        if change is None:
            change = self.market_changes[market_id] = MarketChange()
        return change

    # What it will write.

    def order_left(self, key: str, leaves: Quantity, status: OrderStatus) -> None:
        """Note the new state of an order, whether the batch inserts or changes its row."""
        row = self.new_orders.get(key)
        if row is None:
            self.changed_orders[key] = (leaves, status)
        else:
            row.leaves, row.status = leaves, status

    def rows(self) -> int:
        """Return an upper bound of the rows that the statement writes so far."""
        return (
            ROWS_ALWAYS
            + len(self.new_accounts)
            + len(self.new_orders)
            + len(self.changed_orders)
            + 3 * len(self.trades)
            + 2 * len(self.positions)
            + 2 * len(self.market_changes)
            + 3 * len(self.transfers)
            + 2 * len(self.payouts)
            + self.tally.rows
        )

    def room(self, rows: int, event_bytes: int) -> bool:
        """Return whether that much more still fits the budgets."""
        return (
            self.rows() + rows <= self.limits.rows
            and self.event_bytes + event_bytes <= self.limits.event_bytes
        )

    # How it ends.

    def undo(self) -> None:
        """Leave the state as it was."""
        for book in self.books.values():
            book.undo()

    def adopt(self) -> None:
        """Make the draft the lane's state."""
        state = self.state
        state.batch_no += 1
        state.next_offset = self.next_offset
        state.last_seq = self.seq
        state.lane_time_ms = self.time_ms
        state.last_record_sha = self.last_record_sha
        state.cash_in_net = self.cash_in_net
        state.sweep = self.sweep
        state.settlements = tuple(self.settlements.values())
        for book in self.books.values():
            book.keep()
        self._adopt_markets()
        self._adopt_caches()

    def _adopt_markets(self) -> None:
        state = self.state
        for market_id, change in self.market_changes.items():
            market = self.markets.get(market_id) or state.markets[market_id]
            state.markets[market_id] = replace(market, market_seq=market.market_seq + change.events)
        for market_id in self.market_changes:
            if state.markets[market_id].status >= MarketStatus.SETTLING:
                state.books.pop(market_id, None)
            if state.markets[market_id].status is MarketStatus.SETTLED:
                del state.markets[market_id]

    def _adopt_caches(self) -> None:
        state = self.state
        state.positions.update(self.facts.positions)
        state.positions.update(self.positions)
        for account_id, purse in self.purses.items():
            if purse.known and purse.exists:
                state.accounts[account_id] = purse.pockets
        for cache in (state.positions, state.accounts):
            while len(cache) > CACHED_ROWS_MAX:
                del cache[next(iter(cache))]  # type: ignore[arg-type]
