"""What came back, and what the lane does then: the table at the top of ``worker/commit.py``.

The database is the one in memory; what befalls a statement on its way is told by each test.
"""

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest
from typing_extensions import override

from tests.support.books import (
    Desk,
    buy,
    cancel,
    deposit,
    market_at,
    open_market,
    orders_home,
    received,
    rows_of,
    sell,
    transfers_home,
    withdraw,
)
from tests.support.fake_store import FakeBooks, FakeDatabase, FakeStore, Transaction
from worker import commit
from worker.commit import (
    BACKOFF_CAP_S,
    EXACT_DRAW_BATCHES,
    LOST_RACES_MAX,
    OUTAGE_BACKOFF_CAP_S,
    PATIENT_TRIES,
    UNKNOWN_MAX,
    Committer,
    MustGather,
    Owner,
    Refusals,
    Reload,
)
from worker.domain import ids
from worker.domain.commands import Command
from worker.domain.events import Event
from worker.domain.plan import Answer, Batch
from worker.domain.state import Home, LaneState, MarketStatus
from worker.domain.units import WALLET, AccountId, Lane, Offset
from worker.errors import Conflict, Fenced, OutcomeUnknown, Poison, Refused, StoreError, Unfit
from worker.ports import Standing, Statement, System
from worker.telemetry import LaneMetrics, Metrics
from worker.wire import facts as facts_text

MARKET = market_at(0, "market")
ANN, BEN, CAT = AccountId("ann"), AccountId("ben"), AccountId("cat")
HERE, ELSEWHERE = Lane(0), Lane(1)
SENT_MAX = 90
"""No test needs more statements; whoever sends more never ends."""
EXACT, GENEROUS = 50, 2_500
"""What a draw from a wallet of 10,000 takes for one contract at 50."""
FIRST = buy(MARKET, CAT, 20, 50, "first")

Trouble = Callable[["Line", Statement], Awaitable[None]]


class Line(FakeStore):
    """A lane's connection, on which troubles befall one statement after the other."""

    def __init__(self, database: FakeDatabase) -> None:
        super().__init__(database)
        self.database = database
        self.sent: list[Statement] = []
        self.calls: list[str] = []
        self.troubles: deque[Trouble] = deque()
        self.refusing: Callable[[Statement], StoreError | None] = lambda _: None

    @override
    async def commit(self, statement: Statement) -> None:
        self.calls.append("commit")
        self.sent.append(statement)
        assert len(self.sent) < SENT_MAX, "it never ends"
        if self.troubles:
            await self.troubles.popleft()(self, statement)
        if error := self.refusing(statement):
            raise error
        await self.land(statement)

    async def land(self, statement: Statement) -> None:
        await super().commit(statement)

    @override
    async def standing(self, lane: Lane, batch_no: int) -> Standing:
        self.calls.append("standing")
        return await super().standing(lane, batch_no)

    def draw_elsewhere(self, account_id: AccountId, amount: int) -> None:
        """Do to two pockets what another lane's batch would do."""
        transaction, account = Transaction(self.database), ids.account_key(account_id)
        for lane, change in ((WALLET, -amount), (ELSEWHERE, amount)):
            row = self.database.get("pockets", account, lane)
            if row is None:
                transaction.insert("pockets", {"account": account, "lane": lane, "balance": change})
            else:
                transaction.update("pockets", row, balance=row["balance"] + change)
        transaction.commit()


def failing(error: StoreError) -> Trouble:
    async def befall(_line: Line, _statement: Statement) -> None:
        raise error

    return befall


async def lost_after(line: Line, statement: Statement) -> None:
    await line.land(statement)
    raise OutcomeUnknown("the connection was lost before the answer")


def drawing(account_id: AccountId, amount: int) -> Trouble:
    async def befall(line: Line, _statement: Statement) -> None:
        line.draw_elsewhere(account_id, amount)

    return befall


@dataclass
class Bench:
    """A committer over a line, and the desk of another owner of the same lane."""

    books: FakeBooks
    line: Line
    committer: Committer
    pauses_s: list[float]

    @property
    def state(self) -> LaneState:
        return self.committer.state

    async def carry_out(
        self, *commands: Command, no_draws: frozenset[AccountId] = frozenset()
    ) -> Batch:
        batch, _ = await self.committer.carry_out(self.answering(*commands), no_draws)
        return batch

    def answering(self, *commands: Command) -> Answer:
        first = self.state.next_offset
        return Answer([received(Offset(first + n), c) for n, c in enumerate(commands)])

    async def answer_all(self, *commands: Command) -> list[Batch]:
        """Carry out until every command is answered."""
        left: Sequence[Command] = commands
        done = []
        while left:
            done.append(await self.carry_out(*left))
            left = left[done[-1].answered :]
        return done


class AllOfIt(Random):
    """The dice that always take the longest pause."""

    @override
    def uniform(self, a: float, b: float) -> float:
        return b


class NoneOfIt(Random):
    """The dice that never wait."""

    @override
    def uniform(self, a: float, b: float) -> float:
        return a


async def _bench(books: FakeBooks, home: Home, dice: Random | None = None) -> Bench:
    line = Line(books.database)
    desk = await Desk.open(line, home)
    pauses_s: list[float] = []

    async def pause(seconds: float) -> None:
        pauses_s.append(seconds)

    committer = Committer(
        Owner("me", 2_500, System(lambda: 0.0, pause, dice or Random(0))),
        line,
        desk.state,
        desk.epoch,
        LaneMetrics(Metrics(), home.stream, home.partition),
        Refusals(),
        published_batch_no=lambda: 0,
    )
    return Bench(books, line, committer, pauses_s)


@pytest.fixture
async def books() -> FakeBooks:
    """Ann, Ben and Cat have 10,000 each in their wallets."""
    books = FakeBooks.opened()
    cash = await books.transfers()
    await cash.run(*[deposit(name, 10_000, f"{name}-1") for name in (ANN, BEN, CAT)])
    return books


@pytest.fixture
async def bench(books: FakeBooks) -> Bench:
    """Ben offers 100 at 50, of which Cat bought 20: both have money here now, and Ann has none."""
    bench = await _bench(books, orders_home(0))
    await bench.carry_out(open_market(MARKET), sell(MARKET, BEN, 100, 50))
    await bench.carry_out(FIRST)
    bench.line.sent.clear()
    bench.line.calls.clear()
    return bench


def drawn(batch: Batch) -> dict[str, int]:
    return {draw.account: int(draw.amount) for draw in batch.draws()}


def said(batch: Batch) -> list[tuple[str, str]]:
    """Return kind and reason of the batch's answers."""
    return [
        (type(entry.body).__name__, str(getattr(entry.body, "reason", "")))
        for entry in batch.draft.entries
        if isinstance(entry, Event) and entry.index == 0
    ]


# The database lacks something, or says no for long.


UNFIT = Unfit("42P01 relation is missing", sqlstate="42P01")
FULL = OutcomeUnknown("53100 no space", sqlstate="53100")


async def test_a_database_that_is_unfit_is_waited_for_with_the_same_statement(
    bench: Bench,
) -> None:
    bench.line.troubles.extend([failing(UNFIT)] * 50)
    batch = await bench.carry_out(buy(MARKET, CAT, 1, 50), buy(MARKET, CAT, 1, 50, "second"))
    assert (batch.answered, len(bench.line.sent)) == (2, 51)
    assert all(statement is bench.line.sent[0] for statement in bench.line.sent)


@pytest.mark.parametrize(
    ("error", "times", "is_told"),
    [
        (UNFIT, 1, True),
        (FULL, PATIENT_TRIES - 1, False),
        (FULL, PATIENT_TRIES, True),
        (Conflict("held", sqlstate="55P03"), 2 * PATIENT_TRIES, False),
        (OutcomeUnknown("timeout"), 2 * PATIENT_TRIES, False),
    ],
)
async def test_what_the_database_says_is_told_once_it_lasts_and_no_longer(
    bench: Bench, error: StoreError, times: int, is_told: bool
) -> None:
    seen = []

    async def look(_line: Line, _statement: Statement) -> None:
        seen.append(bench.committer.refusals.reason)

    bench.line.troubles.extend([*[failing(error)] * times, look])
    await bench.carry_out(buy(MARKET, CAT, 1, 50))
    assert seen == [str(error) if is_told else ""]
    assert bench.committer.refusals.reason == ""
    assert bench.committer.refusals.count == (times if error.sqlstate else 0)


async def test_a_database_that_answers_and_never_commits_is_asked_ever_less_often(
    books: FakeBooks,
) -> None:
    bench = await _bench(books, orders_home(0), AllOfIt())
    bench.line.troubles.extend([failing(FULL)] * (PATIENT_TRIES + 5))
    await bench.carry_out(open_market(MARKET))
    assert bench.pauses_s == sorted(bench.pauses_s)
    assert bench.pauses_s[-6:] == [OUTAGE_BACKOFF_CAP_S] * 6


# Nobody knows.


@pytest.mark.shows("W2", "F15")
async def test_an_unknown_outcome_is_met_by_the_same_statement_and_never_by_a_look(
    bench: Bench,
) -> None:
    bench.line.troubles.append(failing(OutcomeUnknown("timeout")))
    await bench.carry_out(buy(MARKET, CAT, 1, 50))
    assert bench.line.calls == ["commit", "commit"]
    assert bench.line.sent[0] is bench.line.sent[1]


@pytest.mark.shows("W2", "F18")
async def test_a_batch_of_unknown_fate_is_halved_the_second_time(bench: Bench) -> None:
    bench.line.troubles.extend([failing(OutcomeUnknown("timeout"))] * UNKNOWN_MAX)
    batch = await bench.carry_out(*[cancel(MARKET, ANN, str(n)) for n in range(4)])
    assert batch.answered == 2


@pytest.mark.shows("W2", "F16")
async def test_a_batch_that_an_earlier_attempt_committed_is_adopted(bench: Bench) -> None:
    bench.line.troubles.append(lost_after)
    before = bench.state.batch_no
    await bench.carry_out(buy(MARKET, CAT, 1, 50))
    assert bench.line.calls == ["commit", "commit", "standing"]
    assert bench.state.batch_no == before + 1


# A constraint said no.


@pytest.mark.shows("W4", "W21")
async def test_an_owner_of_the_past_drops_everything(bench: Bench) -> None:
    await bench.books.store().take_over(bench.state.home.stream, 0, "heir")
    with pytest.raises(Fenced):
        await bench.carry_out(buy(MARKET, CAT, 1, 50))


async def test_a_lane_that_went_on_without_us_is_loaded_again(bench: Bench) -> None:
    """An attempt of ours with other contents won, under our epoch."""
    twin = await Desk.open(bench.books.store(), orders_home(0))
    bench.committer.epoch = twin.epoch
    await twin.run(cancel(MARKET, ANN, "another"))
    with pytest.raises(Reload):
        await bench.carry_out(buy(MARKET, CAT, 1, 50))


@pytest.mark.shows("W19", "F59")
async def test_an_order_id_that_is_taken_is_looked_up_and_answered_as_a_repeat(
    bench: Bench,
) -> None:
    batch = await bench.carry_out(FIRST, buy(MARKET, CAT, 1, 50))
    assert said(batch) == [("Duplicate", ""), ("OrderAccepted", "")]


async def test_a_transfer_id_that_is_taken_is_looked_up_and_answered_as_a_repeat(
    books: FakeBooks,
) -> None:
    bench = await _bench(books, transfers_home())
    batch = await bench.carry_out(deposit(ANN, 10_000, "ann-1"), deposit(ANN, 5, "ann-2"))
    assert said(batch) == [("Duplicate", ""), ("Deposited", "")]


@pytest.mark.shows("W18", "F27")
@pytest.mark.parametrize(
    "error", [Refused("a check", constraint="orders_quantity"), Poison("22003")], ids=repr
)
async def test_what_the_database_refuses_is_bisected_and_answered(
    bench: Bench, error: StoreError
) -> None:
    def refusing(statement: Statement) -> StoreError | None:
        named = [row["order_id"] for row in rows_of(statement, "orders")]
        return error if "wrong" in named else None

    bench.line.refusing = refusing
    orders = [buy(MARKET, CAT, 1, 40, name) for name in ("a", "b", "wrong", "c")]
    done = await bench.answer_all(*orders)
    assert [answer for batch in done for answer in said(batch)] == [
        ("OrderAccepted", ""),
        ("OrderAccepted", ""),
        ("OrderRejected", "INTERNAL_REJECT"),
        ("OrderAccepted", ""),
    ]
    assert bench.state.markets[MARKET].status is MarketStatus.OPEN


@pytest.mark.parametrize("size", ["bytes", "facts_bytes"])
async def test_what_is_larger_than_may_be_sent_is_halved_until_it_fits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    """Also what was read for the whole of it is larger than what half of it needs."""
    await bench.carry_out(_stranger(0))
    most = 4 * getattr(bench.line.sent[-1], size)
    room, name = {
        "bytes": (commit, "STATEMENT_BYTES_MAX"),
        "facts_bytes": (facts_text, "BYTES_MAX"),
    }[size]
    monkeypatch.setattr(room, name, most)
    batches = await bench.answer_all(*(_stranger(n) for n in range(1, 40)))
    assert len(batches) > 1
    assert all(getattr(statement, size) <= most for statement in bench.line.sent)
    assert {told for batch in batches for told in said(batch)} == {
        ("OrderRejected", "UNKNOWN_ACCOUNT")
    }
    assert _alarms(bench) == set()


async def test_what_alone_is_larger_than_may_be_sent_is_answered_and_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.carry_out(sell(MARKET, BEN, 1, 60, "measured"))
    most = bench.line.sent[-1].bytes - 1
    monkeypatch.setattr(commit, "STATEMENT_BYTES_MAX", most)
    (batch,) = await bench.answer_all(sell(MARKET, BEN, 1, 60, "as-large"))
    assert said(batch) == [("OrderRejected", "INTERNAL_REJECT")]
    assert _alarms(bench) == {"never_fits", "internal_reject"}
    monkeypatch.undo()
    assert said(await bench.carry_out(sell(MARKET, BEN, 1, 60, "next"))) == [("OrderAccepted", "")]


def _stranger(number: int) -> Command:
    return buy(MARKET, AccountId(f"stranger-{number}"), 1, 50, "bid")


def _alarms(bench: Bench) -> set[str]:
    found = bench.committer.metrics._metrics.alarms.collect()
    return {sample.labels["alarm"] for metric in found for sample in metric.samples}


async def test_a_bug_in_the_rules_halts_its_market_and_the_lane_goes_on(bench: Bench) -> None:
    market = bench.state.markets[MARKET]
    bench.state.markets[MARKET] = replace(market, payout=None)  # type: ignore[arg-type]
    order, another = buy(MARKET, CAT, 1, 50), cancel(MARKET, CAT, "never-was")
    (batch,) = await bench.answer_all(order, another)
    assert said(batch) == [
        ("OrderRejected", "INTERNAL_REJECT"),
        ("CancelRejected", "UNKNOWN_ORDER"),
    ]
    assert bench.state.markets[MARKET].status is MarketStatus.HALTED


# Lost races.


@pytest.mark.shows("F19", "F20")
async def test_what_lost_a_race_is_planned_anew_and_the_second_time_half_of_it(
    bench: Bench,
) -> None:
    resting = [buy(MARKET, CAT, 1, 40, str(n)) for n in range(16)]
    bench.line.troubles.extend([failing(Conflict("40001"))] * 4)
    assert (await bench.carry_out(*resting)).answered == 2
    assert [len(rows_of(s, "orders")) for s in bench.line.sent] == [16, 16, 8, 4, 2]


async def test_a_batch_after_lost_races_is_whole_again(bench: Bench) -> None:
    cancels = [cancel(MARKET, ANN, str(n)) for n in range(16)]
    bench.line.troubles.extend([failing(Conflict("40001"))] * 2)
    answered = [(await bench.carry_out(*cancels)).answered for _ in range(2)]
    assert answered == [8, 16]


async def test_a_lost_race_reads_the_pockets_again(bench: Bench) -> None:
    bench.line.troubles.append(drawing(ANN, 9_000))
    batch = await bench.carry_out(buy(MARKET, ANN, 1, 50))
    assert batch.facts.accounts[ANN] == {WALLET: 1_000, ELSEWHERE: 9_000}


async def test_whoever_drew_too_much_draws_exactly_before_not_at_all(bench: Bench) -> None:
    """Draws are generous; what the second race leaves in the wallet is not even the shortfall."""
    bench.line.troubles.extend([drawing(ANN, 9_000), drawing(ANN, 990)])
    batch = await bench.carry_out(buy(MARKET, ANN, 1, 50))
    draws = [[row["amount"] for row in rows_of(s, "draws")] for s in bench.line.sent]
    assert draws == [[GENEROUS], [EXACT], []]
    assert batch.facts.exact_draws == batch.facts.no_draws == {ANN}
    assert "FUNDS_IN_USE" in str(batch.draft.entries)


async def test_a_lost_race_costs_only_those_who_lost_it(bench: Bench, books: FakeBooks) -> None:
    cash = await books.transfers()
    await cash.run(deposit("dan", 10_000, "dan-1"))
    bench.line.troubles.append(drawing(ANN, 9_000))
    batch = await bench.carry_out(buy(MARKET, ANN, 1, 50), buy(MARKET, "dan", 1, 50))
    dan = AccountId("dan")
    assert drawn(batch) == {ids.account_key(ANN): EXACT, ids.account_key(dan): GENEROUS}
    assert batch.facts.exact_draws == {ANN}


async def test_a_loser_draws_exactly_for_64_batches(bench: Bench) -> None:
    lost_at = bench.state.batch_no
    bench.line.troubles.append(drawing(ANN, 7_600))
    assert drawn(await bench.carry_out(buy(MARKET, ANN, 1, 50))) == {ids.account_key(ANN): EXACT}
    while bench.state.batch_no < lost_at + EXACT_DRAW_BATCHES - 1:
        await bench.carry_out(cancel(MARKET, ANN, "never-was"))
        bench.line.sent.clear()
    assert drawn(await bench.carry_out(buy(MARKET, ANN, 1, 50))) == {ids.account_key(ANN): EXACT}
    batch = await bench.carry_out(buy(MARKET, ANN, 1, 50))
    assert drawn(batch) == {ids.account_key(ANN): (2_400 - 2 * EXACT) // 4}


@pytest.mark.shows("F19")
async def test_lost_races_halve_the_batch_and_the_smallest_draws_nothing_in_the_end(
    bench: Bench,
) -> None:
    """Somebody is always faster, and has put everything back before anybody looks."""

    def refusing(statement: Statement) -> StoreError | None:
        missed = Refused("pockets", constraint="batches_pockets_missed")
        return missed if rows_of(statement, "draws") else None

    bench.line.refusing = refusing
    batch = await bench.carry_out(buy(MARKET, ANN, 1, 50), buy(MARKET, ANN, 2, 50))
    assert batch.answered == 1
    assert len(bench.line.sent) == LOST_RACES_MAX + 2
    assert "FUNDS_IN_USE" in str(batch.draft.entries)


async def after_lost_races(books: FakeBooks, races: int, dice: Random) -> Bench:
    """Let Ann's order, which her wallet pays for, lose so many races to chance."""
    bench = await _bench(books, orders_home(0), dice)
    await bench.carry_out(open_market(MARKET), sell(MARKET, BEN, 100, 50))
    bench.pauses_s.clear()
    bench.line.troubles.extend([failing(Conflict("taken", sqlstate="40001"))] * races)
    await bench.carry_out(buy(MARKET, ANN, 1, 50))
    return bench


async def test_pauses_between_lost_races_grow_from_the_ninth_on_up_to_a_bound(
    books: FakeBooks,
) -> None:
    bench = await after_lost_races(books, 40, AllOfIt())
    longest_s = bench.pauses_s

    assert longest_s[:9] == [0.02] * 9
    growing = longest_s[8:13]
    assert all(later == 2 * before for before, later in itertools.pairwise(growing))
    assert set(longest_s[14:27]) == {BACKOFF_CAP_S}
    assert set(longest_s[27:]) == {OUTAGE_BACKOFF_CAP_S}
    # So long, on the worst of dice, does an order alone outlast who is always faster.
    assert sum(longest_s[:LOST_RACES_MAX]) > 1.5


@pytest.mark.parametrize("dice", [NoneOfIt(), AllOfIt(), *map(Random, range(8))])
@pytest.mark.parametrize("races", [1, 8, 9, LOST_RACES_MAX])
async def test_no_draw_of_the_dice_makes_an_honest_order_refused(
    books: FakeBooks, races: int, dice: Random
) -> None:
    bench = await after_lost_races(books, races, dice)

    assert len(books.database.rows("trades")) == 1
    assert len(bench.pauses_s) == races
    assert all(0 <= pause_s <= BACKOFF_CAP_S for pause_s in bench.pauses_s)


async def test_a_withdrawal_that_lost_its_race_must_be_gathered(books: FakeBooks) -> None:
    bench = await _bench(books, transfers_home())
    bench.line.troubles.append(drawing(ANN, 9_000))
    with pytest.raises(MustGather) as waiting:
        await bench.carry_out(withdraw(ANN, 5_000))
    assert waiting.value.accounts == {ANN}


async def test_a_withdrawal_of_what_its_own_batch_deposits_is_paid_after_a_lost_race(
    books: FakeBooks,
) -> None:
    bench = await _bench(books, transfers_home())
    bench.line.troubles.append(failing(Conflict("40001")))
    batch = await bench.carry_out(deposit("eve", 500, "in"), withdraw("eve", 500, "out"))
    assert said(batch) == [("Deposited", ""), ("Withdrawn", "")]


async def test_a_withdrawal_whose_money_could_not_be_gathered_is_told_so(
    books: FakeBooks,
) -> None:
    bench = await _bench(books, transfers_home())
    batch = await bench.carry_out(
        withdraw(ANN, 5_000, "in use"), withdraw(ANN, 10_001, "too much"), no_draws=frozenset({ANN})
    )
    assert said(batch) == [
        ("TransferRejected", "FUNDS_IN_USE"),
        ("TransferRejected", "INSUFFICIENT_FUNDS"),
    ]
