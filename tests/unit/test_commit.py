"""How a committer acts on the results of its commits; ``test_decide.py`` has the whole policy."""

from dataclasses import replace

import pytest

from tests.support.books import (
    buy,
    cancel,
    deposit,
    market_at,
    open_market,
    rows_of,
    sell,
    transfers_home,
    withdraw,
)
from tests.support.fake_database import Transaction
from tests.support.fake_store import FakeBooks
from tests.unit.owned_lane import Line, OwnedLane, Trouble, failing, said
from worker import commit, seal
from worker.commit import EXACT_DRAW_BATCHES
from worker.decide import BACKOFF_CAP_S, LOST_RACES_MAX, OUTAGE_BACKOFF_CAP_S
from worker.domain import ids, plan
from worker.domain.commands import CancelOrder, Command
from worker.domain.draft import Draft
from worker.domain.plan import Batch
from worker.domain.state import MarketStatus
from worker.domain.units import WALLET, AccountId, LaneId
from worker.errors import (
    Conflict,
    Fenced,
    Misconfigured,
    MustGather,
    OutcomeUnknown,
    Poison,
    Refused,
    StoreError,
    Unavailable,
)
from worker.ports import Statement
from worker.wire import facts as facts_text

MARKET = market_at(0, "market")
ANN, BEN, CAT = AccountId("ann"), AccountId("ben"), AccountId("cat")
ELSEWHERE = LaneId(1)
EXACT, GENEROUS = 50, 2_500
"""Draws from a wallet of 10,000 for one contract at 50."""
FIRST = buy(MARKET, CAT, 20, 50, "first")


async def lost_after(line: Line, statement: Statement) -> None:
    await line.land(statement)
    raise OutcomeUnknown("the connection was lost before the answer")


def drawing(account_id: AccountId, amount: int) -> Trouble:
    """Return a trouble that draws from the wallet as another lane's batch would."""

    async def befall(line: Line, _statement: Statement) -> None:
        transaction, account = Transaction(line.database), ids.account_key(account_id)
        for lane, change in ((WALLET, -amount), (ELSEWHERE, amount)):
            row = line.database.get("pockets", account, lane)
            if row is None:
                transaction.insert("pockets", {"account": account, "lane": lane, "balance": change})
            else:
                transaction.update("pockets", row, balance=row["balance"] + change)
        transaction.commit()

    return befall


@pytest.fixture
async def books() -> FakeBooks:
    """Ann, Ben and Cat have 10,000 each in their wallets."""
    books = FakeBooks.opened()
    cash = await books.transfers()
    await cash.run(*[deposit(name, 10_000, f"{name}-1") for name in (ANN, BEN, CAT)])
    return books


@pytest.fixture
async def lane(books: FakeBooks) -> OwnedLane:
    """Ben offers 100 at 50, of which Cat bought 20: both have money here now, and Ann has none."""
    lane = await OwnedLane.taken_over(books)
    await lane.answer(open_market(MARKET), sell(MARKET, BEN, 100, 50))
    await lane.answer(FIRST)
    lane.line.sent.clear()
    lane.line.calls.clear()
    return lane


@pytest.fixture
async def cash(books: FakeBooks) -> OwnedLane:
    return await OwnedLane.taken_over(books, transfers_home())


def drawn(batch: Batch) -> dict[str, int]:
    return {draw.account: int(draw.amount) for draw in batch.draws()}


# The same statement again.


@pytest.mark.shows("W2", "F15")
@pytest.mark.parametrize(
    ("error", "times"),
    [(Misconfigured("42P01"), 50), (Unavailable("refused"), 50), (OutcomeUnknown("timeout"), 1)],
    ids=repr,
)
async def test_same_statement_is_sent_until_it_commits(
    lane: OwnedLane, error: StoreError, times: int
) -> None:
    """Nothing is looked up first, and no command is left out."""
    lane.line.troubles.extend([failing(error)] * times)
    batch = await lane.answer_once(buy(MARKET, CAT, 1, 50), buy(MARKET, CAT, 1, 50, "second"))
    assert batch.answered == 2
    assert lane.line.calls == ["commit"] * (times + 1)
    assert {id(statement) for statement in lane.line.sent} == {id(lane.line.sent[0])}
    assert len(lane.pauses_s) == times


@pytest.mark.shows("W2", "F16")
async def test_batch_of_an_earlier_try_is_adopted(lane: OwnedLane) -> None:
    lane.line.troubles.append(lost_after)
    before = lane.state.batch_no
    await lane.answer_once(buy(MARKET, CAT, 1, 50))
    assert lane.line.calls == ["commit", "commit", "standing"]
    assert lane.state.batch_no == before + 1


async def test_batch_records_the_published_mark(lane: OwnedLane, books: FakeBooks) -> None:
    lane.committer.published_batch_no = lambda: 2
    await lane.answer_once(cancel(MARKET, ANN, "never-was"))
    row = books.database.get("lanes", 0)
    assert row is not None
    assert (row["batch_no"], row["published_batch_no"]) == (lane.state.batch_no, 2)


# A refused batch.


@pytest.mark.shows("W4", "W21")
async def test_fenced_owner_drops_everything(lane: OwnedLane, books: FakeBooks) -> None:
    await books.store().take_over(lane.state.home.stream, 0, "heir")
    with pytest.raises(Fenced):
        await lane.answer_once(buy(MARKET, CAT, 1, 50))


@pytest.mark.shows("W19", "F59")
async def test_known_order_id_is_answered_as_duplicate(lane: OwnedLane) -> None:
    batch = await lane.answer_once(FIRST, buy(MARKET, CAT, 1, 50))
    assert said(batch) == ["Duplicate", "OrderAccepted", "OrderFilled"]


async def test_known_transfer_id_is_answered_as_duplicate(cash: OwnedLane) -> None:
    batch = await cash.answer_once(deposit(ANN, 10_000, "ann-1"), deposit(ANN, 5, "ann-2"))
    assert said(batch) == ["Duplicate", "Deposited"]


@pytest.mark.shows("W18", "F27")
@pytest.mark.parametrize(
    "error", [Refused("a check", constraint="orders_quantity"), Poison("22003")], ids=repr
)
async def test_single_offender_is_found_and_rejected(lane: OwnedLane, error: StoreError) -> None:
    def refusing(statement: Statement) -> StoreError | None:
        named = [row["order_id"] for row in rows_of(statement, "orders")]
        return error if "wrong" in named else None

    lane.line.refusing = refusing
    done = await lane.answer(*(buy(MARKET, CAT, 1, 40, name) for name in ("a", "b", "wrong", "c")))
    told = [text for batch in done for text in said(batch)]
    assert told == ["OrderAccepted", "OrderAccepted", "INTERNAL_REJECT", "OrderAccepted"]
    assert lane.state.markets[MARKET].status is MarketStatus.OPEN


async def test_database_refusing_everything_is_waited_for(lane: OwnedLane) -> None:
    """The lane reports the reason, and no command pays for it with a rejection."""
    reasons = set()
    refused = Refused("23514 a foreign check", sqlstate="23514", constraint="foreign")

    def refusing(_statement: Statement) -> StoreError | None:
        reasons.add(lane.committer.refusals.reason)
        return refused if len(lane.pauses_s) < 12 else None

    lane.line.refusing = refusing
    done = await lane.answer(*(cancel(MARKET, ANN, str(n)) for n in range(4)))
    assert {text for batch in done for text in said(batch)} == {"UNKNOWN_ORDER"}
    assert reasons == {"", "23514 a foreign check"}
    assert lane.committer.refusals.reason == ""
    assert BACKOFF_CAP_S < max(lane.pauses_s) <= OUTAGE_BACKOFF_CAP_S


# A batch that is too large.


@pytest.mark.parametrize(
    ("room", "name", "size"),
    [(seal, "STATEMENT_BYTES_MAX", "bytes"), (facts_text, "BYTES_MAX", "facts_bytes")],
    ids=["bytes", "facts"],
)
async def test_too_large_batch_is_halved_until_it_fits(
    lane: OwnedLane, monkeypatch: pytest.MonkeyPatch, room: object, name: str, size: str
) -> None:
    """Facts read for the whole batch would be too large for its half."""
    await lane.answer_once(_by_stranger(0))
    most = 4 * getattr(lane.line.sent[-1], size)
    monkeypatch.setattr(room, name, most)
    batches = await lane.answer(*(_by_stranger(n) for n in range(1, 40)))
    assert len(batches) > 1
    assert all(getattr(statement, size) <= most for statement in lane.line.sent)
    assert {text for batch in batches for text in said(batch)} == {"UNKNOWN_ACCOUNT"}
    assert lane.alarms() == set()


async def test_command_that_never_fits_is_rejected(
    lane: OwnedLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lane.answer_once(sell(MARKET, BEN, 1, 60, "measured"))
    most = lane.line.sent[-1].bytes - 1
    monkeypatch.setattr(seal, "STATEMENT_BYTES_MAX", most)
    assert said(await lane.answer_once(sell(MARKET, BEN, 1, 60, "as-large"))) == ["INTERNAL_REJECT"]
    assert lane.alarms() == {"never_fits", "internal_reject"}
    monkeypatch.undo()
    assert said(await lane.answer_once(sell(MARKET, BEN, 1, 60, "next"))) == ["OrderAccepted"]


def _by_stranger(number: int) -> Command:
    return buy(MARKET, AccountId(f"stranger-{number}"), 1, 50, "bid")


# A bug in the rules.


async def test_bug_halts_its_market_and_not_the_lane(lane: OwnedLane) -> None:
    market = lane.state.markets[MARKET]
    lane.state.markets[MARKET] = replace(market, payout=None)  # type: ignore[arg-type]
    batch = await lane.answer_once(buy(MARKET, CAT, 1, 50), cancel(MARKET, CAT, "never-was"))
    assert said(batch) == ["INTERNAL_REJECT", "UNKNOWN_ORDER"]
    assert lane.state.markets[MARKET].status is MarketStatus.HALTED


async def test_bug_between_commands_does_not_halt_the_lane(
    lane: OwnedLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command before is blamed for it, and is rejected though nothing is wrong with it."""
    may_follow = plan._may_follow

    def breaking(draft: Draft, command: CancelOrder) -> bool:
        assert not draft.answered or command.order_id != "odd", "a bug"
        return may_follow(draft, command)

    monkeypatch.setattr(plan, "_may_follow", breaking)
    orders = ("a", "b", "odd", "c")
    done = await lane.answer(*(cancel(MARKET, ANN, order_id) for order_id in orders))
    told = [text for batch in done for text in said(batch)]
    assert told == ["UNKNOWN_ORDER", "INTERNAL_REJECT", "UNKNOWN_ORDER", "UNKNOWN_ORDER"]


# Lost races.


@pytest.mark.shows("F19", "F20")
async def test_lost_races_halve_the_batch_from_the_second(lane: OwnedLane) -> None:
    resting = [buy(MARKET, CAT, 1, 40, str(n)) for n in range(16)]
    lane.line.troubles.extend([failing(Conflict("40001"))] * 4)
    assert (await lane.answer_once(*resting)).answered == 2
    assert [len(rows_of(s, "orders")) for s in lane.line.sent] == [16, 16, 8, 4, 2]


async def test_batch_after_lost_races_is_whole_again(lane: OwnedLane) -> None:
    cancels = [cancel(MARKET, ANN, str(n)) for n in range(16)]
    lane.line.troubles.extend([failing(Conflict("40001"))] * 2)
    assert [(await lane.answer_once(*cancels)).answered for _ in range(2)] == [8, 16]


async def test_lost_race_reads_the_pockets_again(lane: OwnedLane) -> None:
    lane.line.troubles.append(drawing(ANN, 9_000))
    batch = await lane.answer_once(buy(MARKET, ANN, 1, 50))
    assert batch.facts.accounts[ANN] == {WALLET: 1_000, ELSEWHERE: 9_000}


async def test_loser_draws_exactly_before_not_at_all(lane: OwnedLane) -> None:
    """Draws are generous; after the second race the wallet has less than the shortfall."""
    lane.line.troubles.extend([drawing(ANN, 9_000), drawing(ANN, 990)])
    batch = await lane.answer_once(buy(MARKET, ANN, 1, 50))
    draws = [[row["amount"] for row in rows_of(s, "draws")] for s in lane.line.sent]
    assert draws == [[GENEROUS], [EXACT], []]
    assert batch.facts.exact_draws == batch.facts.no_draws == {ANN}
    assert "FUNDS_IN_USE" in said(batch)


async def test_lost_race_costs_only_its_losers(lane: OwnedLane, books: FakeBooks) -> None:
    await (await books.transfers()).run(deposit("dan", 10_000, "dan-1"))
    lane.line.troubles.append(drawing(ANN, 9_000))
    batch = await lane.answer_once(buy(MARKET, ANN, 1, 50), buy(MARKET, "dan", 1, 50))
    dan = AccountId("dan")
    assert drawn(batch) == {ids.account_key(ANN): EXACT, ids.account_key(dan): GENEROUS}
    assert batch.facts.exact_draws == {ANN}


async def test_loser_draws_exactly_for_64_batches(lane: OwnedLane) -> None:
    lost_at = lane.state.batch_no
    lane.line.troubles.append(drawing(ANN, 7_600))
    exactly = {ids.account_key(ANN): EXACT}
    assert drawn(await lane.answer_once(buy(MARKET, ANN, 1, 50))) == exactly
    while lane.state.batch_no < lost_at + EXACT_DRAW_BATCHES - 1:
        await lane.answer_once(cancel(MARKET, ANN, "never-was"))
    assert drawn(await lane.answer_once(buy(MARKET, ANN, 1, 50))) == exactly
    batch = await lane.answer_once(buy(MARKET, ANN, 1, 50))
    assert drawn(batch) == {ids.account_key(ANN): (2_400 - 2 * EXACT) // 4}


async def test_losers_are_remembered_up_to_a_bound(
    lane: OwnedLane, books: FakeBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their names are recorded with every batch, which must have room for them."""
    monkeypatch.setattr(commit, "LOSERS_MAX", 1)
    dan = AccountId("dan")
    await (await books.transfers()).run(deposit(dan, 10_000))
    for name in (ANN, dan):
        lane.line.troubles.append(drawing(name, 7_600))
        await lane.answer_once(buy(MARKET, name, 1, 50))
    assert set(lane.committer.lost_at) == {dan}


@pytest.mark.shows("F19")
async def test_smallest_batch_draws_nothing_in_the_end(lane: OwnedLane) -> None:
    """Another lane is always faster, and has put everything back before the pockets are read."""

    def refusing(statement: Statement) -> StoreError | None:
        missed = Refused("pockets", constraint="batches_pockets_missed")
        return missed if rows_of(statement, "draws") else None

    lane.line.refusing = refusing
    batch = await lane.answer_once(buy(MARKET, ANN, 1, 50), buy(MARKET, ANN, 2, 50))
    assert batch.answered == 1
    assert len(lane.line.sent) == LOST_RACES_MAX + 2
    assert "FUNDS_IN_USE" in said(batch)


# Withdrawals.


async def test_withdrawal_that_lost_its_race_must_be_gathered(cash: OwnedLane) -> None:
    cash.line.troubles.append(drawing(ANN, 9_000))
    with pytest.raises(MustGather) as waiting:
        await cash.answer_once(withdraw(ANN, 5_000))
    assert waiting.value.accounts == {ANN}


async def test_withdrawal_of_its_own_deposit_is_paid(cash: OwnedLane) -> None:
    cash.line.troubles.append(failing(Conflict("40001")))
    batch = await cash.answer_once(deposit("eve", 500, "in"), withdraw("eve", 500, "out"))
    assert said(batch) == ["Deposited", "Withdrawn"]


async def test_ungathered_withdrawal_is_answered_with_its_reason(cash: OwnedLane) -> None:
    step = cash.answering(withdraw(ANN, 5_000, "in use"), withdraw(ANN, 10_001, "too much"))
    batch = await cash.carry_out(step, no_draws=frozenset({ANN}))
    assert said(batch) == ["FUNDS_IN_USE", "INSUFFICIENT_FUNDS"]
