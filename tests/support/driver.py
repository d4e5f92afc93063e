"""The core at work without Kafka: lanes over the in-memory database that they share.

``Exchange`` drives the lanes in a chosen order, and compares their memory with the tables after
every batch. A lane recovers from a lost race. Any other refusal is a bug and fails the test. No
I/O, clock or chance except ``Habits.rng``.
"""

import json
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final
from unittest.mock import patch

from tests.support.fake_database import BatchStatement, FakeDatabase, Reading
from worker.adapters.postgres.parameters import statement
from worker.audit.records import StoredBatch
from worker.domain import ids
from worker.domain import plan as plan_module
from worker.domain.book import Book, OpenOrder
from worker.domain.commands import (
    Command,
    Deposit,
    Received,
    Side,
    Unreadable,
    Withdraw,
)
from worker.domain.draft import Draft
from worker.domain.events import Event
from worker.domain.facts import (
    Facts,
    Lack,
    Limits,
)
from worker.domain.marks import mark, rollback
from worker.domain.plan import AnswerCommands, Batch, Gather, Step, plan, shortened
from worker.domain.rows import DrawRow, PocketRow
from worker.domain.state import Home, LaneState, StreamKind
from worker.domain.transfers import Gathering
from worker.domain.turns import Turns, answering, long_work
from worker.domain.units import (
    CASH_MAX,
    ESCROW,
    OUTSIDE,
    TRANSFER_MAX,
    AccountId,
    LaneId,
    Money,
    Offset,
)
from worker.errors import Refused
from worker.seal import seal
from worker.wire import events as wire_events
from worker.wire import resume

ROWS_MIN: Final = 45
"""A fill between two accounts that draw from four pockets each fits into no less."""


RACES: Final = frozenset({"batches_pockets_missed", "orders_pkey", "transfers_pkey"})
"""Guards that refuse a batch because another lane, or an old id, came first."""


class Database(FakeDatabase):
    """The tables that the lanes of an exchange share, and questions of the laws about them."""

    def __init__(self, counts: Mapping[StreamKind, int]) -> None:
        super().__init__()
        self.reading = Reading(self)
        self.transfer_lanes: set[LaneId] = set()
        for kind, partitions in counts.items():
            stream = self.register(kind.lower(), kind.lower(), kind, partitions)
            lanes = range(stream.first_lane, stream.first_lane + partitions)
            if kind is StreamKind.TRANSFERS:
                self.transfer_lanes |= {LaneId(number) for number in lanes}

    def commit(self, batch: Batch) -> tuple[StoredBatch, int]:
        """Commit a batch. Return its row, and how many it wrote. Raises Refused on a lost race."""
        pockets = [(row.account, row.lane) for row in batch.pockets()]
        assert pockets == sorted({*pockets}), "each pocket is named once, in the order of all lanes"
        published = batch.draft.state.batch_no
        made = statement(batch, seal(batch, epoch=0, owner="", published_batch_no=published))
        try:
            run = BatchStatement(self, made.parameters).execute()
        except Refused as refused:
            if refused.constraint in RACES:
                raise
            raise AssertionError(f"the database refused a right batch: {refused}") from refused
        run.commit()
        (row,) = [row for (table, _), row in run.writes.items() if table == "batches"]
        return StoredBatch._make(row[name] for name in StoredBatch._fields), len(run.writes)

    def names(self) -> list[AccountId]:
        """Return the ids of all accounts, in order."""
        return sorted(AccountId(row["account_id"]) for row in self.rows("accounts"))

    def cash(self, account_id: str) -> int:
        """Return the balance of an account over all its pockets."""
        return sum(self.pockets(account_id).values())

    def pockets(self, account_id: str) -> dict[int, int]:
        """Return the balance of each pocket of an account."""
        return self.pockets_of(ids.account_key(AccountId(account_id)))

    def position(self, market: str, account_id: str) -> int:
        """Return an account's contracts in the market with that key."""
        row = self.get("positions", market, ids.account_key(AccountId(account_id)))
        return row["quantity"] if row else 0

    def knows(self, command: Withdraw) -> bool:
        """Return whether the id of a withdrawal is taken."""
        account = ids.account_key(command.account_id)
        return self.get("transfers", ids.transfer_key(account, command.transfer_id)) is not None

    def check(self) -> None:
        """Check that pockets and escrows are the sums of their postings, and no cash is new."""
        sums: Counter[tuple[str, int]] = Counter()
        for row in self.rows("postings"):
            sums[row["account"], row["lane"]] += row["amount"]
        outside = sums.pop((ids.EXTERNAL, OUTSIDE), 0)
        assert sum(sums.values()) == -outside
        for row in self.rows("pockets"):
            assert row["balance"] == sums.pop((row["account"], row["lane"]), 0) >= 0
        held: defaultdict[str, list[int]] = defaultdict(list)
        for row in self.rows("positions"):
            held[row["market"]].append(row["quantity"])
        paid: Counter[str] = Counter()
        for row in self.rows("payouts"):
            paid[row["market"]] += row["quantity"]
        for row in self.rows("markets"):
            quantities = held[row["market"]]
            assert row["escrow"] == sums.pop((row["market"], ESCROW), 0)
            assert sum(quantities) == 0
            longs = sum(quantity for quantity in quantities if quantity > 0)
            assert row["open_interest"] == longs - paid[row["market"]]
        assert not any(sums.values())


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
    draws. ``hasty`` is how often a batch is cut where its plan first lacks something.
    ``thorough`` lanes plan everything twice and look for what the first plan left. ``hesitant``
    lanes also plan it a third time, and answer other commands on trial in between.
    """

    cash_share: int = CASH_MAX
    rng: Random | None = None
    forgetful: bool = False
    losing: float = 0.0
    hasty: float = 0.2
    thorough: bool = False
    hesitant: bool = False
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
    stored: StoredBatch
    pockets_before: dict[AccountId, dict[LaneId, Money]]
    rows: int


@dataclass(slots=True)
class LaneDriver:
    """One lane: its input partition, its memory, what it said."""

    state: LaneState
    log: list[Received] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    journal: list[StoredBatch] = field(default_factory=list)
    turns: Turns = field(default_factory=Turns)

    @property
    def waiting(self) -> list[Received]:
        waiting = [self.log[offset] for offset in sorted(self.state.waiting)]
        return waiting + self.log[self.state.next_offset :]

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.state.sweeps or self.state.settlements)


class Exchange:
    """The lanes of one stream of orders and one of transfers, numbered in this order."""

    def __init__(
        self, orders_partitions: int, transfers_partitions: int, habits: Habits | None = None
    ) -> None:
        self.habits = habits or Habits()
        counts = {StreamKind.ORDERS: orders_partitions, StreamKind.TRANSFERS: transfers_partitions}
        places = [(kind, p) for kind, count in counts.items() for p in range(count)]
        homes = [
            Home(LaneId(n), kind.lower(), p, counts[kind], kind, Money(self.habits.cash_share))
            for n, (kind, p) in enumerate(places)
        ]
        self.lanes = {home.lane: LaneDriver(LaneState(home)) for home in homes}
        self.streams = {kind: [home for home in homes if home.kind is kind] for kind in StreamKind}
        self.database = Database(counts)
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

    def _lane_of(self, sent: Sent) -> LaneId:
        command = sent.command
        if isinstance(command, Unreadable):
            return self.streams[StreamKind.ORDERS][0].lane
        transfer = isinstance(command, Deposit | Withdraw)
        key = command.account_id if isinstance(command, Deposit | Withdraw) else command.market_id
        homes = self.streams[StreamKind.TRANSFERS if transfer else StreamKind.ORDERS]
        return homes[(ids.partition_of(key, len(homes)) + sent.astray) % len(homes)].lane

    def _turn(self, lane: LaneDriver) -> None:
        rng, waiting = self.habits.rng, lane.waiting
        if rng is None:
            step = lane.turns.next(lane.state, waiting)
            assert step is not None, "a busy lane has a next step"
            self.run(lane, step)
            return
        if rng.random() < 0.1:
            lane.state = self.taken_over(lane)
        # Those that wait were fetched before.
        taken = waiting[: len(lane.state.waiting) + rng.randint(1, 8)]
        answers, work = answering(lane.state, taken), long_work(lane.state, taken)
        if work and (rng.random() < 0.5 or not answers.commands):
            self.run(lane, work[rng.choice(sorted(work))])
            return
        if self.habits.losing and (gathering := self._gathering(lane, rng)):
            self.run(lane, Gather((gathering,)))
        self.run(lane, answers)

    def _gathering(self, lane: LaneDriver, rng: Random) -> Gathering | None:
        """Return a move towards the next command, if that is a withdrawal which could be paid."""
        command, home = lane.waiting[0].command if lane.waiting else None, lane.state.home
        if not isinstance(command, Withdraw) or self.database.knows(command):
            return None
        if ids.partition_of(command.account_id, home.partitions) != home.partition:
            return None
        if command.amount > TRANSFER_MAX:
            return None
        pockets = self.database.pockets(command.account_id)
        sources = sorted(pockets.keys() - self.database.transfer_lanes)
        short = command.amount - pockets.get(home.lane, 0)
        if not sources or short <= 0:
            return None
        return Gathering(command.account_id, LaneId(rng.choice(sources)), Money(short))

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
                if self._is_hasty() and isinstance(step, AnswerCommands):
                    limits = shortened(step, limits, planned)
                    cut = self._plan(lane.state, step, facts, limits)
                    assert isinstance(cut, Batch) or not planned.commands, "a cut lacks nothing"
                else:
                    cut = planned
                if isinstance(cut, Lack):
                    facts = facts.and_read(self.database.reading.facts(home, cut))
                    continue
                planned = cut
            try:
                return self._commit(lane, planned)
            except Refused:
                planned.discard()
                facts = facts.and_read(self.database.reading.facts(home, lost(planned)))
                assert not before or image(lane.state) == before, "discard leaves no trace"
        raise AssertionError(f"{step} was never committed")

    def _plan(self, state: LaneState, step: Step, facts: Facts, limits: Limits) -> Batch | Lack:
        if not self.habits.thorough:
            return plan(state, step, facts, limits)
        before = image(state)
        first = plan(state, step, facts, limits)
        if isinstance(first, Batch):
            first.discard()
        assert image(state) == before, "a plan that is not adopted leaves no trace"
        second = plan(state, step, facts, limits)
        assert content(first) == content(second), "the same plan again is the same"
        if self.habits.hesitant and isinstance(second, Batch) and isinstance(step, AnswerCommands):
            second.discard()
            second = self._hesitantly(state, step, facts, limits)
            if isinstance(second, Lack):
                # A trial may lack more than the batch.
                return plan(state, step, facts, limits)
            assert content(second) == content(first), "a trial leaves no trace"
        return second

    def _hesitantly(
        self, state: LaneState, step: AnswerCommands, facts: Facts, limits: Limits
    ) -> Batch | Lack:
        """Plan, but before each command answer some of the step's commands and take that back."""
        rng = self.habits.rng or Random(0)
        answer = plan_module._answer

        def hesitate(draft: Draft, received: Received) -> None:
            before = mark(draft)
            for other in rng.sample(step.commands, min(len(step.commands), rng.randint(0, 3))):
                # A market has one sweep at most.
                if getattr(other.command, "market_id", None) not in draft.sweeps:
                    answer(draft, other)
            rollback(draft, before)
            answer(draft, received)

        with patch.object(plan_module, "_answer", hesitate):
            return plan(state, step, facts, limits)

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
            makers=rng.randint(1, 6),
        )

    def _is_hasty(self) -> bool:
        """Return whether to commit what lacks nothing yet, before anything more is read."""
        return self.habits.rng is not None and self.habits.rng.random() < self.habits.hasty

    def _luck(self) -> Facts:
        """Return by chance which accounts lost races lately, which a lane would remember."""
        rng, losing = self.habits.rng, self.habits.losing
        names = self.database.names()
        if rng is None:
            return Facts()
        return Facts(
            exact_draws=frozenset(name for name in names if rng.random() < 0.3),
            no_draws=frozenset(name for name in names if rng.random() < losing),
        )

    def _commit(self, lane: LaneDriver, batch: Batch) -> Committed:
        draft, state = batch.draft, lane.state
        stored, rows = self.database.commit(batch)
        commands = batch.step.commands if isinstance(batch.step, AnswerCommands) else ()
        answered = list(commands[: batch.answered])
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
            stored=stored,
            pockets_before=before,
            rows=rows,
        )
        lane.journal.append(stored)
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
        lines = done.stored.events.splitlines(keepends=True)
        said = sum(len(line) for line in lines if not line.startswith("!"))
        assert said <= draft.event_bytes <= limits.event_bytes, "the budget of events"
        loaded = self.taken_over(lane)
        assert {m: sides(book) for m, book in state.books.items() if len(book)} == {
            m: sides(book) for m, book in loaded.books.items() if len(book)
        }, "the books in memory are the open orders in the tables"
        assert durable(state) == durable(loaded), "and so is all the rest"
        for (market_id, account_id), quantity in state.positions.items():
            key = ids.market_key(state.home.stream, market_id)
            assert quantity == self.database.position(key, account_id)

    def taken_over(self, lane: LaneDriver) -> LaneState:
        """Return the lane as a new owner loads it."""
        home, reading = lane.state.home, self.database.reading
        row = self.database.get("lanes", home.lane)
        assert row is not None, "a lane's row is never deleted"
        sweeps, settlements, waiting = resume.decode(row["resume"])
        loaded = LaneState(
            home=home,
            batch_no=row["batch_no"],
            next_offset=row["next_offset"],
            last_seq=row["last_seq"],
            lane_time_ms=row["lane_time_ms"],
            last_record_sha=row["last_record_sha"],
            cash_in_net=row["cash_in"] - row["cash_out"],
            sweeps=sweeps,
            settlements=settlements,
            waiting=waiting,
        )
        loaded.markets = {market.market_id: market for market in reading.markets(home.lane)}
        for market_id, order in reading.open_orders(home.lane):
            if order.key not in {sweep.order.key for sweep in sweeps}:
                loaded.book(market_id).add(order)
        for book in loaded.books.values():
            book.keep()
        return loaded


def assert_news(lack: Lack, facts: Facts) -> None:
    """Check that a plan asks for nothing twice, or it would ask without end."""
    pairs: tuple[tuple[Iterable[Any], Mapping[Any, Any]], ...] = (
        (lack.accounts, facts.accounts),
        (lack.positions, facts.positions),
        (lack.markets, facts.markets),
        (lack.orders, facts.orders),
        (lack.transfers, facts.transfers),
        (lack.pages, facts.pages),
    )
    for asked, known in pairs:
        assert known.keys().isdisjoint(asked), "a plan asks only for facts that it does not have"


def lost(batch: Batch) -> Lack:
    """Return everything that may have made others win: accounts, and the first answers of ids."""
    return Lack(
        accounts={account_id for account_id, purse in batch.draft.purses.items() if purse.known},
        transfers={row.ref for row in batch.draft.transfers.values()},
        orders={row.ref for row in batch.draft.new_orders.values()},
    )


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
        (planned.sweeps, planned.settlements, planned.waiting, planned.answered),
    )


def sides(book: Book) -> tuple[list[OpenOrder], list[OpenOrder]]:
    """Return both sides of a book, each in the order in which it trades."""
    return list(book.priority(Side.BUY)), list(book.priority(Side.SELL))


def durable(state: LaneState) -> LaneState:
    """Return a state without its books and caches."""
    return replace(state, books={}, accounts=OrderedDict(), positions=OrderedDict())


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
    names = dict(book._names)
    return dict(book._orders), names, dict(book._owned), levels, ranks, list(book._trail)
