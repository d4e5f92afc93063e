"""A batch while it is being planned: the facts it reads, and its future rows and events.

A draft overlays the lane's state and leaves the state unchanged, except the books, which ``undo``
restores. ``adopt`` makes the draft the state. It runs after the commit, and cannot fail.
"""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

from worker.domain.book import Book
from worker.domain.commands import Received
from worker.domain.events import Body, DeadLetter, Event, size_bound
from worker.domain.facts import Facts, Lack, Limits
from worker.domain.purse import Purse, Tally
from worker.domain.rows import (
    ROWS_ALWAYS,
    ROWS_PER_MARKET,
    ROWS_PER_PAYOUT,
    ROWS_PER_POSITION,
    ROWS_PER_TRADE,
    ROWS_PER_TRANSFER,
    MarketChange,
    OrderRow,
    PayoutRow,
    TradeRow,
    TransferRow,
)
from worker.domain.state import (
    CACHED_ROWS_MAX,
    LaneState,
    Market,
    MarketStatus,
    OrderStatus,
    Settlement,
    Sweep,
)
from worker.domain.units import (
    AccountId,
    MarketId,
    Offset,
    Quantity,
)


def _by_order(sweep: Sweep) -> int:
    return sweep.order.seq


@dataclass(slots=True)
class Draft:
    """The batch being planned. ``offset``, ``index`` and ``time_ms`` belong to the next event.

    It has a field for each table that it writes and for each cursor that it moves. They are not in
    groups, since each rule changes fields of several, and ``marks`` copies all of them by name.
    """

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
    makers: int = 0
    """Orders that takers met."""
    cut: bool = False
    """Whether the batch ends before the present command."""
    unfunded: int = 0
    """Makers among them that were cancelled for lack of money."""
    next_offset: Offset = Offset(0)
    last_record_sha: str = ""
    cash_in_net: int = 0
    sweeps: dict[MarketId, Sweep] = field(default_factory=dict)
    waiting: set[Offset] = field(default_factory=set)
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
            sweeps={s.market_id: s for s in state.sweeps},
            waiting=set(state.waiting),
            settlements={s.market_id: s for s in state.settlements},
        )

    # Reading.

    def market(self, market_id: MarketId) -> Market | None:
        """Return the market as the batch has it so far, or None if it is unknown or not read."""
        market = self.markets.get(market_id) or self.state.markets.get(market_id)
        if market is None:
            if market_id not in self.facts.markets:
                self.lacking().markets.add(market_id)
                return None
            market = self.facts.markets[market_id]
            if market is not None:
                self.markets[market_id] = market
        return market

    def book(self, market_id: MarketId) -> Book:
        """Return the market's book. Changes to the book are undone if the batch fails."""
        book = self.books.get(market_id)
        if book is None:
            book = self.books[market_id] = self.state.book(market_id)
        return book

    def position(self, market_id: MarketId, account_id: AccountId) -> int:
        """Return the account's signed contracts. If not read, they are lacking and count as 0."""
        holding = (market_id, account_id)
        quantity = self.positions.get(holding)
        if quantity is None:
            quantity = self.facts.positions.get(holding)
        if quantity is None:
            quantity = self.state.positions.get(holding)
        if quantity is not None:
            return quantity
        if market_id not in self.new_markets:
            self.lacking().positions.add(holding)
        return 0

    def knows(self, market_id: MarketId, account_id: AccountId) -> bool:
        """Return whether the position and the pockets of a maker are known."""
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
        """Return the account's purse. If not read yet, it is lacking and has unknown cash."""
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
        self.lacking().accounts.add(account_id)
        return Purse(home, {}, True, fresh=False, tally=self.tally, known=False)

    def pockets_of(self, account_id: AccountId) -> int:
        """Return how many pockets the account is known to have, without opening its purse."""
        if account_id in self.purses:
            return len(self.purses[account_id].pockets)
        known = self.facts.accounts.get(account_id) or self.state.accounts.get(account_id)
        return len(known or ())

    def refresh(self, account_id: AccountId, purse: Purse) -> bool:
        """Return whether a refusal may rest on this purse. If not, ask for a fresh reading."""
        if not purse.fresh:
            self.lacking().accounts.add(account_id)
        return purse.fresh

    def lacking(self) -> Lack:
        """Return the lack, to add to it. If it is still empty, note how far the plan got."""
        if not self.lack:
            self.lack.commands, self.lack.makers = self.answered, self.makers
        return self.lack

    # Events.

    def begin(self, received: Received) -> None:
        """Start answering a command. The next event is the answer, with index 0."""
        self.offset = received.offset
        self.index = 0
        self.time_ms = max(self.time_ms, received.time_ms)

    def end(self, received: Received) -> None:
        """Move past a command that has been answered. One that waited was passed before."""
        self.answered += 1
        if received.offset < self.next_offset:
            self.waiting.discard(received.offset)
        else:
            self.next_offset = Offset(received.offset + 1)
            self.last_record_sha = received.sha

    def emit(self, subject: MarketId | AccountId | None, body: Body, market: Market | None) -> int:
        """Add the next event and return its seq. Without a market it has no ``market_seq``."""
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
        """Return the changes of the market's row, to add to them."""
        change = self.market_changes.get(market_id)
        if change is None:
            change = self.market_changes[market_id] = MarketChange()
        return change

    # Rows.

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
            + ROWS_PER_TRADE * len(self.trades)
            + ROWS_PER_POSITION * len(self.positions)
            + ROWS_PER_MARKET * len(self.market_changes)
            + ROWS_PER_TRANSFER * len(self.transfers)
            + ROWS_PER_PAYOUT * len(self.payouts)
            + self.tally.rows
        )

    def room(self, rows: int, event_bytes: int) -> bool:
        """Return whether the budgets hold so many more rows and bytes."""
        return (
            self.rows() + rows <= self.limits.rows
            and self.event_bytes + event_bytes <= self.limits.event_bytes
        )

    def unfinished(self) -> tuple[Sweep, ...]:
        """Return the sweeps that it leaves, the oldest order first."""
        return tuple(sorted(self.sweeps.values(), key=_by_order))

    # The end.

    def undo(self) -> None:
        """Restore the books, so that the state is as it was."""
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
        state.sweeps = self.unfinished()
        state.settlements = tuple(self.settlements.values())
        state.waiting = frozenset(self.waiting)
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
                state.drop_book(market_id)
            if state.markets[market_id].status is MarketStatus.SETTLED:
                del state.markets[market_id]

    def _adopt_caches(self) -> None:
        state = self.state
        state.positions.update(self.facts.positions)
        state.positions.update(self.positions)
        for account_id, purse in self.purses.items():
            if purse.known and purse.exists:
                state.accounts[account_id] = purse.pockets
        _evict(state.positions)
        _evict(state.accounts)


def _evict(cache: OrderedDict[Any, Any]) -> None:
    """Drop the oldest entries beyond the bound.

    A plain dict would pass every entry that was deleted since it last grew, 50 us for each new one.
    """
    while len(cache) > CACHED_ROWS_MAX:
        cache.popitem(last=False)
