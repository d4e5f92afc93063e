"""The core at work without Kafka or a database: lanes, and the tables that they share.

``Database`` does what ``commit_batch.sql`` does, from the rows of a batch alone: it derives the
money, and refuses what the SQL would refuse. What a lane recovers from is ``Refused``; anything
else is a bug and fails the test. ``Exchange`` drives the lanes over it, in a chosen order, and
looks after every batch whether memory and tables still agree. No I/O, clock or chance but
``Habits.rng``.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, NamedTuple

from worker.domain import ids
from worker.domain.book import Book, OpenOrder
from worker.domain.commands import (
    Command,
    Deposit,
    Outcome,
    Received,
    Side,
    Unreadable,
    Withdraw,
)
from worker.domain.draft import MarketChange, OrderRow, TransferRow
from worker.domain.events import DeadLetter, Event, EventType, First
from worker.domain.plan import Answer, Batch, DrawRow, Gather, PayPage, PocketRow, Step, plan
from worker.domain.state import (
    DeadOrder,
    Facts,
    Home,
    Lack,
    LaneState,
    Limits,
    Market,
    MarketStatus,
    OrderAnswer,
    OrderStatus,
    Page,
    PageRequest,
    Payee,
    StreamKind,
    TransferAnswer,
)
from worker.domain.transfers import Gathering
from worker.domain.units import (
    CASH_MAX,
    ESCROW,
    OUTSIDE,
    TRANSFER_MAX,
    WALLET,
    AccountId,
    Lane,
    MarketId,
    Money,
    Offset,
    Quantity,
)
from worker.wire import events as wire_events
from worker.wire import facts as wire_facts
from worker.wire import journal, resume

Pocket = tuple[str, Lane]
ROWS_MIN: Final = 45
"""A fill between two accounts that draw from four pockets each fits into no less."""


class Refused(Exception):
    """The batch lost a race: these accounts lack money where the plan took it, or ids are taken."""

    def __init__(self, accounts: frozenset[str], *, ids_taken: bool) -> None:
        super().__init__(accounts, ids_taken)
        self.accounts = accounts
        self.ids_taken = ids_taken


class Entry(NamedTuple):
    """A ledger row."""

    cause: str
    account: str
    lane: Lane
    market: str
    amount: int


@dataclass(slots=True)
class MarketRow:
    """A market's row with its money."""

    market: Market
    lane: Lane
    escrow: int = 0
    open_interest: int = 0


@dataclass(slots=True)
class Derived:
    """What the statement derives from what was traded. Holdings are (market, account)."""

    legs: Counter[tuple[str, str]] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    paid: dict[tuple[str, str], int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    changes: Counter[Pocket] = field(default_factory=Counter)


class Database:
    """The tables, keyed as in SQL. One commit is one transaction."""

    def __init__(self, transfer_lanes: frozenset[Lane]) -> None:
        self.transfer_lanes = transfer_lanes
        self.accounts: dict[str, AccountId] = {}
        self.pockets: dict[str, dict[Lane, int]] = defaultdict(dict)
        self.positions: Counter[tuple[str, str]] = Counter()
        self.markets: dict[str, MarketRow] = {}
        self.orders: dict[str, tuple[Lane, OrderRow]] = {}
        self.transfers: dict[str, TransferRow] = {}
        self.payouts: dict[tuple[str, str], int] = {}
        self.ledger: dict[tuple[str, str, Lane, str], int] = {}
        self.batch_no: Counter[Lane] = Counter()
        self.last_seq: Counter[Lane] = Counter()

    def commit(self, batch: Batch) -> int:
        """Do what the statement does, or refuse it whole; return the rows that it writes."""
        home = batch.draft.state.home
        assert batch.batch_no == self.batch_no[home.lane] + 1, "the fence"
        events = [entry for entry in batch.draft.entries if isinstance(entry, Event)]
        seqs = [event.seq for event in events]
        assert seqs == [self.last_seq[home.lane] + n for n in range(1, len(seqs) + 1)]
        derived = self._derive(batch)
        pockets = batch.pockets()
        self._check_races(batch, pockets)
        self._check_money(derived, pockets)
        markets = self._markets_after(batch, derived)
        rows = self._write(batch, derived, markets)
        self.batch_no[home.lane] += 1
        self.last_seq[home.lane] += len(seqs)
        return rows + len(pockets) + 2

    def _derive(self, batch: Batch) -> Derived:
        derived = Derived()
        for trade in batch.draft.trades:
            row = self.markets[trade.market]
            assert trade.buyer != trade.seller
            assert 0 < trade.price < row.market.payout
            assert 0 < trade.quantity <= 10**9
            assert row.market.status is MarketStatus.OPEN, "trades_not_open"
            derived.legs[trade.market, trade.buyer] += trade.quantity
            derived.legs[trade.market, trade.seller] -= trade.quantity
        for payee in batch.draft.payouts:
            quantity = self.positions[payee.market, payee.account]
            quantity = quantity if payee.outcome is Outcome.YES else -quantity
            assert quantity > 0, "payees_missed"
            assert self._outcome_after(batch, payee.market) is payee.outcome, "payees_missed"
            assert (payee.market, payee.account) not in self.payouts, "paid twice"
            assert (payee.market, payee.account) not in derived.paid, "paid twice"
            derived.paid[payee.market, payee.account] = quantity
        derived.entries = list(self._entries(batch, derived))
        for entry in derived.entries:
            derived.changes[entry.account, entry.lane] += entry.amount
        return derived

    def _outcome_after(self, batch: Batch, key: str) -> Outcome | None:
        market = self.markets[key].market
        change = batch.draft.market_changes.get(market.market_id)
        return market.outcome or (change.outcome if change else None)

    def _entries(self, batch: Batch, derived: Derived) -> Iterator[Entry]:
        lane = batch.draft.state.home.lane
        for trade in batch.draft.trades:
            amount = trade.price * trade.quantity
            yield Entry(trade.key, trade.buyer, lane, trade.market, -amount)
            yield Entry(trade.key, trade.seller, lane, trade.market, amount)
        yield from self._batch_entries(lane, ids.batch_key(lane, batch.batch_no), derived)
        for draw in batch.draws():
            assert draw.amount > 0
            assert min(draw.source, draw.target) >= WALLET
            yield Entry(draw.cause, draw.account, draw.source, ids.NO_MARKET, -draw.amount)
            yield Entry(draw.cause, draw.account, draw.target, ids.NO_MARKET, draw.amount)
        for transfer in batch.draft.transfers.values():
            if transfer.reason is None:
                amount = transfer.amount if transfer.deposit else -transfer.amount
                pocket = WALLET if transfer.deposit else lane
                yield Entry(transfer.key, transfer.account, pocket, ids.NO_MARKET, amount)
                yield Entry(transfer.key, ids.EXTERNAL, OUTSIDE, ids.NO_MARKET, -amount)

    def _batch_entries(self, lane: Lane, cause: str, derived: Derived) -> Iterator[Entry]:
        """Yield collateral and payouts: one row an account and batch."""
        escrows: Counter[str] = Counter()
        for (market, account), delta in derived.legs.items():
            before = self.positions[market, account]
            after = before + delta
            derived.opened[market] += max(after, 0) - max(before, 0)
            locked = self.markets[market].market.payout * (max(-after, 0) - max(-before, 0))
            escrows[market] += locked
            if locked:
                yield Entry(cause, account, lane, market, -locked)
        for (market, account), quantity in derived.paid.items():
            assert (market, account) not in derived.legs, "resolved_and_traded"
            derived.opened[market] -= quantity
            escrows[market] -= quantity * self.markets[market].market.payout
            yield Entry(cause, account, lane, market, quantity * self.markets[market].market.payout)
        for market, amount in escrows.items():
            if amount:
                yield Entry(cause, market, ESCROW, market, amount)

    def _check_money(self, derived: Derived, pockets: list[PocketRow]) -> None:
        causes: Counter[str] = Counter()
        keys = [entry[:4] for entry in derived.entries]
        assert len(keys) == len({*keys}), "ledger_pkey"
        for entry in derived.entries:
            assert entry.amount != 0
            assert entry[:4] not in self.ledger, "ledger_pkey"
            causes[entry.cause] += entry.amount
        assert not any(causes.values()), "the postings of a cause sum to zero"
        named = [(row.account, row.lane) for row in pockets]
        assert named == sorted({*named}), "each pocket is named once, in the order of all lanes"
        moved = {pocket for pocket in derived.changes if pocket[1] >= WALLET}
        assert moved <= {*named}, "pockets_missed for good: one that moves is not named"

    def _check_races(self, batch: Batch, pockets: list[PocketRow]) -> None:
        """Refuse what another lane, or an old id, made impossible meanwhile."""
        missed: set[str] = set()
        for row in pockets:
            balance = self.pockets[row.account].get(row.lane)
            assert row.new == (balance is None), "a pocket is new exactly if it has no row"
            assert row.need >= 0
            if row.need > (balance or 0):
                assert not row.new, "nothing can be taken from a new pocket"
                missed.add(row.account)
        taken = not self.orders.keys().isdisjoint(batch.draft.new_orders)
        taken = taken or not self.transfers.keys().isdisjoint(batch.draft.transfers)
        if missed or taken:
            raise Refused(frozenset(missed), ids_taken=taken)

    def _markets_after(self, batch: Batch, derived: Derived) -> dict[str, MarketRow]:
        draft, lane = batch.draft, batch.draft.state.home.lane
        escrows: Counter[str] = Counter()
        for (account, source), amount in derived.changes.items():
            if source == ESCROW:
                escrows[account] += amount
        found: dict[str, MarketRow] = {}
        for market_id, change in draft.market_changes.items():
            key = ids.market_key(draft.state.home.stream, market_id)
            if market_id in draft.new_markets:
                assert key not in self.markets, "markets_pkey"
                market = replace(draft.markets[market_id], market_seq=change.events)
                found[key] = MarketRow(market, lane)
                continue
            row = self.markets[key]
            assert row.lane == lane, "markets_missed"
            escrow = row.escrow + escrows.pop(key, 0)
            interest = row.open_interest + derived.opened[key]
            market = _changed(row.market, change)
            assert escrow == market.payout * interest >= 0, "markets_escrow"
            assert market.status < MarketStatus.SETTLED or not escrow, "markets_settled"
            assert (market.outcome is None) == (market.status < MarketStatus.SETTLING)
            found[key] = MarketRow(market, lane, escrow, interest)
        assert not +escrows, "every market whose money moves has an event"
        return found

    def _write(self, batch: Batch, derived: Derived, markets: dict[str, MarketRow]) -> int:
        """Write all but the lane, the batch and the pockets, which are counted by the caller."""
        draft = batch.draft
        self._write_orders(batch)
        self.markets |= markets
        for name in draft.new_accounts:
            assert ids.account_key(name) not in self.accounts, "accounts_pkey"
            self.accounts[ids.account_key(name)] = name
        for holding, delta in derived.legs.items():
            self.positions[holding] += delta
        self.transfers |= draft.transfers
        self.payouts |= derived.paid
        self.ledger |= {entry[:4]: entry.amount for entry in derived.entries}
        for row in batch.pockets():
            pockets = self.pockets[row.account]
            change = derived.changes[row.account, row.lane]
            pockets[row.lane] = pockets.get(row.lane, 0) + change
            assert pockets[row.lane] >= 0, "pockets_balance"
        return (
            sum(map(len, (markets, draft.new_accounts, derived.legs, derived.paid)))
            + sum(map(len, (draft.trades, draft.new_orders, draft.changed_orders)))
            + sum(map(len, (draft.transfers, derived.entries)))
        )

    def _write_orders(self, batch: Batch) -> None:
        draft, lane = batch.draft, batch.draft.state.home.lane
        changed: dict[str, tuple[Lane, OrderRow]] = {}
        for key, (leaves, status) in draft.changed_orders.items():
            owner, row = self.orders[key]
            assert owner == lane, "orders_missed"
            assert row.leaves >= max(leaves, 1), "orders_missed"
            changed[key] = (lane, replace(row, leaves=leaves, status=status))
        for key, row in draft.new_orders.items():
            changed[key] = (lane, replace(row))
        for _, row in changed.values():
            assert 0 <= row.leaves <= row.quantity, "orders_leaves"
            assert (row.leaves > 0) == (row.status is OrderStatus.OPEN), "orders_leaves"
            assert (row.reason is not None) == (row.status is OrderStatus.REJECTED)
            assert 1 <= row.quantity <= 10**9
            assert row.price > 0
        self.orders |= changed

    # What lanes read.

    def read(self, home: Home, lack: Lack) -> Facts:
        """Answer everything that is lacking, absences included."""
        account, market = ids.account_key, self._market_key(home)
        return Facts(
            accounts={a: self._visible(home, account(a)) for a in sorted(lack.accounts)},
            positions={
                (m, a): self.positions[market(m), account(a)] for m, a in sorted(lack.positions)
            },
            markets={
                m: self.markets[market(m)].market if market(m) in self.markets else None
                for m in sorted(lack.markets)
            },
            orders={
                (m, a, o): self._order_answer(ids.order_key(market(m), account(a), o))
                for m, a, o in sorted(lack.orders)
            },
            transfers={
                (a, t): self._transfer_answer(ids.transfer_key(account(a), t))
                for a, t in sorted(lack.transfers)
            },
            pages={m: self._page(home, request) for m, request in sorted(lack.pages.items())},
        )

    @staticmethod
    def _market_key(home: Home) -> Callable[[MarketId], str]:
        return lambda market_id: ids.market_key(home.stream, market_id)

    def _visible(self, home: Home, account: str) -> dict[Lane, Money] | None:
        if account not in self.accounts:
            return None
        return {
            lane: Money(balance)
            for lane, balance in sorted(self.pockets[account].items())
            if lane == home.lane or lane not in self.transfer_lanes
        }

    def _order_answer(self, key: str) -> OrderAnswer | None:
        if key not in self.orders:
            return None
        row = self.orders[key][1]
        kind = EventType.ORDER_REJECTED if row.reason else EventType.ORDER_ACCEPTED
        first = First(kind, row.seq, row.reason)
        return OrderAnswer(row.side, row.price, row.quantity, row.time_in_force, first)

    def _transfer_answer(self, key: str) -> TransferAnswer | None:
        row = self.transfers.get(key)
        if row is None:
            return None
        kind = EventType.DEPOSITED if row.deposit else EventType.WITHDRAWN
        if row.reason:
            kind = EventType.TRANSFER_REJECTED
        return TransferAnswer(row.deposit, row.amount, First(kind, row.seq, row.reason))

    def _page(self, home: Home, request: PageRequest) -> Page:
        dead = [
            DeadOrder(key, self.accounts[row.account], row.order_id, row.leaves)
            for key, (_, row) in sorted(self.orders.items())
            if row.market == request.market and row.leaves
        ]
        sign = 1 if request.outcome is Outcome.YES else -1
        payees = [
            Payee(
                account,
                self.accounts[account],
                Quantity(abs(quantity)),
                _money(self.pockets[account].get(home.lane)),
            )
            for (market, account), quantity in sorted(self.positions.items())
            if market == request.market and quantity * sign > 0 and account > request.after
        ]
        left = max(0, request.rows_max - len(dead))
        last = len(dead) <= request.rows_max and len(payees) <= left
        return Page(tuple(dead[: request.rows_max]), tuple(payees[:left]), last)

    def knows(self, command: Withdraw) -> bool:
        """Return whether the id was answered already."""
        account = ids.account_key(command.account_id)
        return ids.transfer_key(account, command.transfer_id) in self.transfers

    def open_orders(self, lane: Lane) -> dict[MarketId, list[OpenOrder]]:
        """Return a lane's live orders, oldest first: what its books must hold, and a sweep's."""
        found: dict[MarketId, list[OpenOrder]] = {}
        rows = [row for owner, row in self.orders.values() if owner == lane and row.leaves]
        for row in sorted(rows, key=lambda row: row.seq):
            market = self.markets[row.market].market
            if market.status < MarketStatus.SETTLING:
                order = OpenOrder(
                    row.key,
                    self.accounts[row.account],
                    row.order_id,
                    row.side,
                    row.price,
                    row.leaves,
                    row.seq,
                )
                found.setdefault(market.market_id, []).append(order)
        return found

    def cash(self, account_id: str) -> int:
        """Return all that an account has, in whatever pocket."""
        return sum(self.pockets[ids.account_key(AccountId(account_id))].values())

    def check(self) -> None:
        """Every pocket is the sum of its ledger rows; no cash came from nowhere."""
        sums: Counter[Pocket] = Counter()
        for (_, account, lane, _), amount in self.ledger.items():
            sums[account, lane] += amount
        for account, pockets in self.pockets.items():
            for lane, balance in pockets.items():
                assert balance == sums.pop((account, lane), 0) >= 0
        for key, row in self.markets.items():
            assert row.escrow == sums.pop((key, ESCROW), 0)
            held = [q for (market, _), q in self.positions.items() if market == key]
            assert sum(held) == 0
            paid = sum(q for (market, _), q in self.payouts.items() if market == key)
            assert row.open_interest == sum(q for q in held if q > 0) - paid
        outside = sums.pop((ids.EXTERNAL, OUTSIDE), 0)
        assert not any(sums.values())
        pockets_sum = sum(sum(pockets.values()) for pockets in self.pockets.values())
        assert pockets_sum + sum(row.escrow for row in self.markets.values()) == -outside


def _changed(market: Market, change: MarketChange) -> Market:
    assert change.status is None or change.status > market.status, "markets_missed"
    assert change.outcome is None or market.outcome is None, "markets_missed"
    return replace(
        market,
        market_seq=market.market_seq + change.events,
        status=change.status or market.status,
        outcome=change.outcome or market.outcome,
        resolved_seq=change.resolved_seq or market.resolved_seq,
    )


def _money(balance: int | None) -> Money | None:
    return None if balance is None else Money(balance)


# The lanes.


@dataclass(frozen=True, slots=True)
class Sent:
    """A command on its way. ``astray``: to a partition that is not its home."""

    command: Command
    time_ms: int
    astray: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the lanes go about their work. None of it may change what is right.

    Without ``rng`` one lane after the other does all that it has to do, in batches as large as they
    may be; with it, turns, budgets, take-overs and lost races are by chance. ``forgetful`` lanes
    plan on rows read for each batch only. ``losing`` is how often an account is planned without
    draws. ``thorough`` lanes plan everything twice and look for what the first plan left.
    """

    cash_share: int = CASH_MAX
    rng: Random | None = None
    forgetful: bool = False
    losing: float = 0.0
    thorough: bool = False
    after: "Callable[[LaneDriver, Committed], None] | None" = None
    """Called after each batch."""


@dataclass(frozen=True, slots=True)
class Committed:
    """One batch as it happened. ``pockets_before``: what it knew of the accounts that it met."""

    home: Home
    batch: Batch
    content: tuple[object, ...]
    draws: list[DrawRow]
    pockets: list[PocketRow]
    answered: list[Received]
    facts_text: str
    pockets_before: dict[AccountId, dict[Lane, Money]]
    rows: int


@dataclass(slots=True)
class LaneDriver:
    """One lane: its input partition, its memory, what it said."""

    state: LaneState
    log: list[Received] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def waiting(self) -> list[Received]:
        return self.log[self.state.next_offset :]

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.state.sweep or self.state.settlements)


class Exchange:
    """The lanes of one stream of orders and one of transfers, numbered in this order."""

    def __init__(
        self, orders_partitions: int, transfers_partitions: int, habits: Habits | None = None
    ) -> None:
        self.habits = habits or Habits()
        counts = {StreamKind.ORDERS: orders_partitions, StreamKind.TRANSFERS: transfers_partitions}
        places = [(kind, p) for kind, count in counts.items() for p in range(count)]
        homes = [
            Home(Lane(n), kind.lower(), p, counts[kind], kind, Money(self.habits.cash_share))
            for n, (kind, p) in enumerate(places)
        ]
        self.lanes = {home.lane: LaneDriver(LaneState(home)) for home in homes}
        self.streams = {kind: [home for home in homes if home.kind is kind] for kind in StreamKind}
        transfers = frozenset(home.lane for home in self.streams[StreamKind.TRANSFERS])
        self.database = Database(transfers)
        self.batches: list[Committed] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return all events as on the wire, lane by lane, with their lane."""
        return [
            {"lane": int(lane)} | json.loads(wire_events.text(event, driver.state.home.kind))
            for lane, driver in self.lanes.items()
            for event in driver.events
        ]

    def feed(self, sent: Iterable[Sent]) -> None:
        """Send commands and run the lanes until nothing is left to do."""
        self.send(sent)
        while busy := [lane for lane in self.lanes.values() if lane.busy]:
            rng = self.habits.rng
            self._turn(busy[0] if rng is None else rng.choice(busy))
        self.database.check()

    def send(self, sent: Iterable[Sent]) -> None:
        """Append commands to the partitions."""
        for each in sent:
            lane = self.lanes[self._lane_of(each)]
            offset = Offset(len(lane.log))
            sha = f"{lane.state.home.lane}/{offset}"
            lane.log.append(Received(offset, each.time_ms, sha, each.command))

    def _lane_of(self, sent: Sent) -> Lane:
        command = sent.command
        if isinstance(command, Unreadable):
            return self.streams[StreamKind.ORDERS][0].lane
        transfer = isinstance(command, Deposit | Withdraw)
        key = command.account_id if isinstance(command, Deposit | Withdraw) else command.market_id
        homes = self.streams[StreamKind.TRANSFERS if transfer else StreamKind.ORDERS]
        return homes[(ids.partition_of(key, len(homes)) + sent.astray) % len(homes)].lane

    def _turn(self, lane: LaneDriver) -> None:
        rng, waiting = self.habits.rng, lane.waiting
        settlements = lane.state.settlements
        if rng is None:
            if settlements:
                self.run(lane, PayPage(settlements[0].market_id))
            else:
                self.run(lane, Answer(waiting))
            return
        if rng.random() < 0.1:
            lane.state = self.taken_over(lane)
        if settlements and (rng.random() < 0.5 or not (waiting or lane.state.sweep)):
            self.run(lane, PayPage(rng.choice(settlements).market_id))
            return
        if self.habits.losing and (gathering := self._gathering(lane, rng)):
            self.run(lane, Gather((gathering,)))
        self.run(lane, Answer(waiting[: rng.randint(1, 8)]))

    def _gathering(self, lane: LaneDriver, rng: Random) -> Gathering | None:
        """Return a move towards the next command, if that is a withdrawal which could be paid."""
        command, home = lane.waiting[0].command if lane.waiting else None, lane.state.home
        if not isinstance(command, Withdraw) or self.database.knows(command):
            return None
        if ids.partition_of(command.account_id, home.partitions) != home.partition:
            return None
        if command.amount > TRANSFER_MAX:
            return None
        pockets = self.database.pockets.get(ids.account_key(command.account_id), {})
        sources = sorted(pockets.keys() - self.database.transfer_lanes)
        short = command.amount - pockets.get(home.lane, 0)
        if not sources or short <= 0:
            return None
        return Gathering(command.account_id, rng.choice(sources), Money(short))

    def run(self, lane: LaneDriver, step: Step, limits: Limits | None = None) -> Committed:
        """Plan a step with what the tables answer until it is committed; adopt it."""
        home = lane.state.home
        if self.habits.forgetful:
            lane.state.accounts.clear()
            lane.state.positions.clear()
        facts, limits = self._luck(), limits or self._limits()
        before = image(lane.state) if self.habits.thorough else None
        for _ in range(20):
            planned = self._plan(lane.state, step, facts, limits)
            if isinstance(planned, Lack):
                assert_news(planned, facts)
                facts = facts.and_read(self.database.read(home, planned))
                continue
            try:
                return self._commit(lane, planned)
            except Refused as refusal:
                planned.discard()
                facts = facts.and_read(self.database.read(home, lost(planned, refusal)))
                assert not before or image(lane.state) == before, "discard leaves nothing behind"
        raise AssertionError(f"{step} was never committed")

    def _plan(self, state: LaneState, step: Step, facts: Facts, limits: Limits) -> Batch | Lack:
        if not self.habits.thorough:
            return plan(state, step, facts, limits)
        before = image(state)
        first = plan(state, step, facts, limits)
        if isinstance(first, Batch):
            first.discard()
        assert image(state) == before, "a plan that is not adopted leaves nothing behind"
        second = plan(state, step, facts, limits)
        assert content(first) == content(second), "the same plan again is the same"
        return second

    def _limits(self) -> Limits:
        """Return budgets; by chance so small that sweeps and settlements need many batches."""
        rng = self.habits.rng
        if rng is None or rng.random() < 0.4:
            return Limits(rows=2_500)
        return Limits(
            rows=rng.randint(ROWS_MIN, 2 * ROWS_MIN),
            event_bytes=rng.randint(8_000, 16_000),
            commands=rng.randint(1, 8),
            fills=rng.randint(1, 6),
        )

    def _luck(self) -> Facts:
        """Return which accounts lost races lately, as its own memory would tell a lane."""
        rng, losing = self.habits.rng, self.habits.losing
        names = sorted(self.database.accounts.values())
        if rng is None:
            return Facts()
        return Facts(
            exact_draws=frozenset(name for name in names if rng.random() < 0.3),
            no_draws=frozenset(name for name in names if rng.random() < losing),
        )

    def _commit(self, lane: LaneDriver, batch: Batch) -> Committed:
        draft, state = batch.draft, lane.state
        rows = self.database.commit(batch)
        text = wire_facts.encode(batch.facts, batch.limits, batch.step, state.batch_no)
        answered = lane.log[state.next_offset : draft.next_offset]
        cached = {a: dict(state.accounts.get(a, {})) for a in draft.purses}
        read = {a: dict(pockets or {}) for a, pockets in batch.facts.accounts.items()}
        before = {a: read.get(a, cached[a]) for a in draft.purses}
        done = Committed(
            home=state.home,
            batch=batch,
            content=content(batch),
            draws=list(batch.draws()),
            pockets=batch.pockets(),
            answered=answered,
            facts_text=text,
            pockets_before=before,
            rows=rows,
        )
        batch.adopt()
        self.batches.append(done)
        lane.events += [entry for entry in draft.entries if isinstance(entry, Event)]
        self._check(lane, done)
        if self.habits.after is not None:
            self.habits.after(lane, done)
        return done

    def _check(self, lane: LaneDriver, done: Committed) -> None:
        """Look whether budgets held, and memory and tables agree."""
        draft, limits, state = done.batch.draft, done.batch.limits, lane.state
        assert done.rows <= draft.rows() <= limits.rows, "the budget of rows"
        said = journal.encode(
            [entry for entry in draft.entries if not isinstance(entry, DeadLetter)],
            state.home.kind,
        )
        assert len(said) <= draft.event_bytes <= limits.event_bytes, "the budget of events"
        loaded = self.taken_over(lane)
        assert {m: sides(book) for m, book in state.books.items() if len(book)} == {
            m: sides(book) for m, book in loaded.books.items() if len(book)
        }, "the books in memory are the open orders in the tables"
        assert durable(state) == durable(loaded), "and so is all the rest"
        for (market_id, account_id), quantity in state.positions.items():
            key = ids.market_key(state.home.stream, market_id)
            assert quantity == self.database.positions[key, ids.account_key(account_id)]

    def taken_over(self, lane: LaneDriver) -> LaneState:
        """Return the lane as a new owner loads it."""
        state, database = lane.state, self.database
        text = resume.encode(state.sweep, state.settlements)
        sweep, settlements = resume.decode(text)
        loaded = LaneState(
            home=state.home,
            batch_no=database.batch_no[state.home.lane],
            next_offset=state.next_offset,
            last_seq=database.last_seq[state.home.lane],
            lane_time_ms=state.lane_time_ms,
            last_record_sha=state.last_record_sha,
            cash_in_net=self._cash_in_net(lane),
            sweep=sweep,
            settlements=settlements,
        )
        for row in database.markets.values():
            if row.lane == state.home.lane and row.market.status < MarketStatus.SETTLED:
                loaded.markets[row.market.market_id] = row.market
        for market_id, orders in database.open_orders(state.home.lane).items():
            for order in orders:
                if sweep is None or order.key != sweep.order.key:
                    loaded.book(market_id).add(order)
            loaded.book(market_id).keep()
        return loaded

    def _cash_in_net(self, lane: LaneDriver) -> int:
        """Return what came in through the lane: an account's transfers have one home."""
        home = lane.state.home
        return sum(
            row.amount if row.deposit else -row.amount
            for row in self.database.transfers.values()
            if home.kind is StreamKind.TRANSFERS
            and row.reason is None
            and ids.partition_of(self.database.accounts[row.account], home.partitions)
            == home.partition
        )


def assert_news(lack: Lack, facts: Facts) -> None:
    """A plan that asked twice for the same would ask for ever."""
    pairs: tuple[tuple[Iterable[Any], Mapping[Any, Any]], ...] = (
        (lack.accounts, facts.accounts),
        (lack.positions, facts.positions),
        (lack.markets, facts.markets),
        (lack.orders, facts.orders),
        (lack.transfers, facts.transfers),
        (lack.pages, facts.pages),
    )
    for asked, known in pairs:
        assert known.keys().isdisjoint(asked), "a plan asks only for what it was not told"


def lost(batch: Batch, refusal: Refused) -> Lack:
    """Return what to read again after a refusal: those accounts; the first answers of all ids."""
    names = {ids.account_key(a): a for a in batch.draft.purses}
    lack = Lack(accounts={names[account] for account in refusal.accounts})
    if refusal.ids_taken:
        lack.transfers = {row.ref for row in batch.draft.transfers.values()}
        lack.orders = {row.ref for row in batch.draft.new_orders.values()}
    return lack


def content(planned: Batch | Lack) -> tuple[object, ...]:
    """Return everything that a plan says, for comparing two."""
    if isinstance(planned, Lack):
        return (planned,)
    draft = planned.draft
    return (
        draft.entries,
        draft.new_accounts,
        sorted(draft.new_markets),
        draft.market_changes,
        draft.new_orders,
        draft.changed_orders,
        draft.trades,
        draft.transfers,
        draft.payouts,
        planned.pockets(),
        list(planned.draws()),
        (draft.next_offset, draft.last_record_sha, draft.cash_in_net, draft.seq, draft.time_ms),
        (planned.sweep, planned.settlements, planned.answered),
    )


def sides(book: Book) -> tuple[list[OpenOrder], list[OpenOrder]]:
    """Return both sides of a book, each in the order in which it trades."""
    return list(book.priority(Side.BUY)), list(book.priority(Side.SELL))


def durable(state: LaneState) -> LaneState:
    """Return a state without its books and caches."""
    return replace(state, books={}, accounts={}, positions={})


def image(state: LaneState) -> tuple[object, ...]:
    """Return a deep copy of a state. An empty book and none are the same."""
    books = {m: _image_of_book(book) for m, book in state.books.items()}
    return (
        replace(durable(state), markets=dict(state.markets)),
        {account: dict(pockets) for account, pockets in state.accounts.items()},
        dict(state.positions),
        {market_id: book for market_id, book in books.items() if any(book)},
    )


def _image_of_book(book: Book) -> tuple[object, ...]:
    levels = {
        (side, price): (level.price, tuple(level.queue), level.head, level.live)
        for side, prices in book._levels.items()
        for price, level in prices.items()
    }
    ranks = [(side, *ranks) for side, ranks in book._ranks.items() if ranks]
    return dict(book._orders), dict(book._owned), levels, ranks, list(book._trail)
