"""The failure policy as a table: each result of a commit, for each kind of batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from inspect import getmembers, isclass
from typing import Any, Final, get_args

import pytest
from coverage import Coverage

from tests.support.books import cancel, received
from worker import decide as policy
from worker import decisions
from worker.decide import (
    BACKOFF_CAP_S,
    LOST_RACES_MAX,
    OUTAGE_BACKOFF_CAP_S,
    PATIENT_TRIES,
    UNKNOWN_MAX,
    blame,
    decide,
    pause_after,
)
from worker.decisions import (
    Adopt,
    Attempt,
    Committed,
    Decision,
    GatherFirst,
    LaneRead,
    Leave,
    LookAtLane,
    ParkStep,
    Pause,
    PursesRead,
    Refetch,
    Reject,
    Replan,
    Resend,
    Result,
    Situation,
    StartOver,
    TooLarge,
    Tried,
    Unplanned,
)
from worker.domain.facts import Facts, Lack, Limits
from worker.domain.plan import AnswerCommands, Gather, Park, PayPage, RuleBroken, Step
from worker.domain.state import StreamKind
from worker.domain.transfers import Gathering
from worker.domain.units import AccountId, LaneId, MarketId, Money, Offset
from worker.errors import (
    Conflict,
    Fenced,
    GatheringLost,
    LaneHalted,
    Misconfigured,
    NotAsOne,
    OutcomeUnknown,
    Poison,
    ReadingsExhausted,
    Refused,
    Reload,
    SchemaChanged,
    StoreError,
    Unavailable,
)
from worker.ports import Standing

LIMITS: Final = Limits(2_500)
EPOCH, BATCH_NO, FIRST = 3, 7, Offset(40)
ANN, BEN = AccountId("ann"), AccountId("ben")
AWAY: Final = LaneId(1)
NEED: Final = Money(50)
"""Drawn for Ann from her pocket in another lane, in every batch."""
ROWS: Final = ("rows",)
COMMANDS: Final = AnswerCommands(
    [received(Offset(FIRST + n), cancel("m", ANN, str(n))) for n in range(4)]
)
SWEEPING: Final = replace(COMMANDS, sweep=MarketId("m"))
GATHERING: Final = Gather((Gathering(ANN, AWAY, NEED),))


@dataclass(frozen=True)
class Batch:
    """A kind of batch: its step, what was planned, and the limits of half of it."""

    step: Step
    answered: int = 0
    makers: int = 0
    page_rows: int = 0
    sweeping: bool = False
    half: dict[str, int] | None = None

    def tried(self) -> Tried:
        return Tried(
            batch_no=BATCH_NO + 1,
            plan_hash="ours",
            rows=ROWS,
            answered=self.answered,
            makers=self.makers,
            page_rows=self.page_rows,
            draws={ANN: {AWAY: NEED}, BEN: {}},
            named=Lack(accounts={ANN, BEN}),
        )


BATCHES: Final = {
    "many": Batch(COMMANDS, answered=4, half={"commands": 2}),
    "one": Batch(COMMANDS, answered=1, makers=1),
    "taker": Batch(COMMANDS, answered=1, makers=6, half={"commands": 1, "makers": 3}),
    "more": Batch(SWEEPING, answered=1, makers=6, sweeping=True, half={"commands": 0}),
    "sweep": Batch(SWEEPING, makers=6, sweeping=True, half={"commands": 0, "makers": 3}),
    "maker": Batch(SWEEPING, makers=1, sweeping=True),
    "page": Batch(PayPage(MarketId("m")), page_rows=6, half={"fills": 3}),
    "holder": Batch(PayPage(MarketId("m")), page_rows=1),
    "gather": Batch(GATHERING),
    "park": Batch(Park(MarketId("m"))),
}
"""``more`` is a command after the rest of a sweep; ``maker`` and ``holder`` are the smallest."""


def looked(epoch: int, batch_no: int, plan_hash: str | None, constraint: str = "") -> LaneRead:
    return LaneRead(Refused("23", constraint=constraint), Standing(epoch, batch_no, plan_hash))


def left(amount: int) -> PursesRead:
    """Return a reading in which Ann's pocket has ``amount`` left."""
    return PursesRead(Facts(accounts={ANN: {AWAY: Money(amount)}, BEN: None}))


SHORT, ENOUGH = left(NEED - 1), left(NEED)
REJECTED: Final = Facts(internal_rejects=frozenset({FIRST}))
REFUSED: Final = Refused("23514 a check", constraint="orders_quantity")
SAME: Final = {"refused": ROWS}
LAST, BEYOND = {"lost_races": LOST_RACES_MAX - 1}, {"lost_races": LOST_RACES_MAX}

RESULTS: Final[dict[str, tuple[Result | Unplanned, dict[str, Any]]]] = {
    "committed": (Committed(), {}),
    "conflict": (Conflict("40001"), {}),
    "schema changed": (SchemaChanged("OC001"), {}),
    "not as one": (NotAsOne("0A000"), {}),
    "purses read": (ENOUGH, {}),
    "purses read, 2nd race": (ENOUGH, {"lost_races": 1}),
    "purses read, last race": (ENOUGH, LAST),
    "purses read, too late": (ENOUGH, BEYOND),
    "purse short": (SHORT, {}),
    "purse short, transfers": (SHORT, {"kind": StreamKind.TRANSFERS}),
    "refused": (REFUSED, {}),
    "lane of another": (looked(EPOCH + 1, BATCH_NO, None), {}),
    "our plan won": (looked(EPOCH, BATCH_NO + 1, "ours"), {}),
    "another plan won": (looked(EPOCH, BATCH_NO + 1, "theirs"), {}),
    "our plan, lane further": (looked(EPOCH, BATCH_NO + 2, "ours"), {}),
    "pockets missed": (looked(EPOCH, BATCH_NO, None, "batches_pockets_missed"), SAME),
    "refused once": (looked(EPOCH, BATCH_NO, None), {}),
    "refused, other rows": (looked(EPOCH, BATCH_NO, None), {"refused": ("other",)}),
    "refused, same rows": (looked(EPOCH, BATCH_NO, None), SAME),
    "poison": (Poison("22003"), {}),
    "poison, rejected": (Poison("22003"), {"facts": REJECTED}),
    "too large": (TooLarge({}), {}),
    "too large, rejected": (TooLarge({}), {"facts": REJECTED}),
    "misconfigured": (Misconfigured("42P01"), {"tries": 500}),
    "unavailable": (Unavailable("refused"), {"tries": 500}),
    "unavailable, after unknown": (Unavailable("refused"), {"unknowns": UNKNOWN_MAX - 1}),
    "unknown": (OutcomeUnknown("timeout"), {"tries": 500}),
    "unknown again": (OutcomeUnknown("timeout"), {"unknowns": UNKNOWN_MAX - 1}),
    "readings exhausted": (ReadingsExhausted(""), {}),
    "rules broken by command": (RuleBroken(FIRST, answering=True), {}),
    "rules broken, rejected": (RuleBroken(FIRST, answering=True), {"facts": REJECTED}),
    "rules broken, alone": (
        RuleBroken(FIRST, answering=True),
        {"facts": REJECTED, "limits": replace(LIMITS, commands=1)},
    ),
    "rules broken in sweep": (RuleBroken(FIRST, answering=False), {}),
}
"""Each result, and what the attempts before it left in the present one."""

TABLE: Final = """
                          | many    one     taker   more   sweep  maker  page   holder gather park
committed                 | adopt
conflict                  | refetch
schema changed            | refetch
not as one                | refetch
purses read               | same
purses read, 2nd race     | half    same    half    half   half   same   half   same   same   same
purses read, last race    | half    same    half    half   half   same   half   same   lost   same
purses read, too late     | half    same    half    half   half   same   half   same   lost   same
purse short               | same
purse short, transfers    | gather  gather  gather  gather gather gather gather gather same   gather
refused                   | look
lane of another           | fenced
our plan won              | adopt
another plan won          | reload
our plan, lane further    | reload
pockets missed            | refetch
refused once              | same
refused, other rows       | same
refused, same rows        | half    reject  half    half   half   park   half   park   lost   over
poison                    | half    reject  half    half   half   park   half   park   lost   over
poison, rejected          | half    over    half    half   half   park   half   park   lost   over
too large                 | half    reject  half    half   half   park   half   park   lost   halt
too large, rejected       | half    halt    half    half   half   park   half   park   lost   halt
misconfigured             | resend
unavailable               | resend
unavailable, after unknown| resend
unknown                   | resend
unknown again             | half    same    half    half   half   same   half   same   same   same
readings exhausted        | reject  reject  reject  park   park   park   park   park   lost   halt
rules broken by command   | reject  reject  reject  reject reject reject park   park   lost   halt
rules broken, rejected    | half    half    half    half   half   half   park   park   lost   halt
rules broken, alone       | halt    halt    halt    halt   halt   halt   park   park   lost   halt
rules broken in sweep     | reject  reject  reject  park   park   park   park   park   lost   halt
"""
"""``same`` is a plan of the same size; ``over`` begins the step again after a pause."""


def _rows() -> dict[str, dict[str, str]]:
    heads, *rows = [line.split("|") for line in TABLE.strip("\n").splitlines()]
    found = {}
    for name, cells in rows:
        words = cells.split()
        found[name.strip()] = dict(
            zip(heads[1].split(), words * (len(BATCHES) // len(words)), strict=True)
        )
    return found


EXPECTED: Final = _rows()


def attempt_at(batch: Batch, before: dict[str, Any]) -> Attempt:
    situation = Situation(
        lane=LaneId(0),
        kind=before.get("kind", StreamKind.ORDERS),
        epoch=EPOCH,
        batch_no=BATCH_NO,
        sweeping=batch.sweeping,
        step=batch.step,
        limits=LIMITS,
        facts=Facts(),
    )
    left_by_others = {name: value for name, value in before.items() if name != "kind"}
    return replace(Attempt.first(situation), **left_by_others)


def decided(name: str, kind: str, **before: Any) -> Decision:  # noqa: ANN401
    """Return the decision on a result for a kind of batch."""
    result, usual = RESULTS[name]
    attempt = attempt_at(BATCHES[kind], {**usual, **before})
    if isinstance(result, Unplanned):
        return blame(attempt, result)
    return decide(attempt, result, BATCHES[kind].tried())


def replanned(name: str, kind: str, **before: Any) -> Replan:  # noqa: ANN401
    decision = decided(name, kind, **before)
    assert isinstance(decision, Replan)
    return decision


ERRORS: Final = {Fenced: "fenced", Reload: "reload", GatheringLost: "lost", LaneHalted: "halt"}
WORDS: Final = {
    Adopt: "adopt",
    Resend: "resend",
    LookAtLane: "look",
    Refetch: "refetch",
    Reject: "reject",
    ParkStep: "park",
    StartOver: "over",
    GatherFirst: "gather",
}


def word(decision: Decision) -> str:
    """Return a decision as the table has it."""
    if isinstance(decision, Leave):
        return ERRORS[decision.error]
    if type(decision) is Replan:
        return "same" if decision.attempt.limits == LIMITS else "half"
    return WORDS[type(decision)]


@pytest.mark.parametrize("name", EXPECTED)
def test_result_leads_to_decision(name: str) -> None:
    assert {kind: word(decided(name, kind)) for kind in BATCHES} == EXPECTED[name]


# The table is complete.


def _kinds_of(error: type[Exception]) -> Iterator[type[Exception]]:
    for kind in error.__subclasses__():
        yield kind
        yield from _kinds_of(kind)


def test_table_has_every_result() -> None:
    shown = {type(result) for result, _ in RESULTS.values()}
    assert shown == {*get_args(Result), *get_args(Unplanned), *_kinds_of(StoreError)}
    assert set(RESULTS) == set(EXPECTED)


def test_table_has_every_decision() -> None:
    shown = {word for row in EXPECTED.values() for word in row.values()}
    assert shown == {*WORDS.values(), *ERRORS.values(), "same", "half"}
    known = {kind for _, kind in getmembers(decisions, isclass) if issubclass(kind, Decision)}
    assert known == {*WORDS, Leave, Replan}


def test_table_takes_every_branch() -> None:
    measured = Coverage(branch=True, data_file=None, config_file=False, include=[policy.__file__])
    measured.exclude("case _ as never:")
    with measured.collect():
        for name in EXPECTED:
            for kind in BATCHES:
                decided(name, kind)
    branches = measured.branch_stats(policy.__file__).items()
    of_policy = [(n, found) for n, found in branches if n > decide.__code__.co_firstlineno]
    assert len(of_policy) > 20
    assert [line for line, (exits, taken) in of_policy if taken < exits] == []


# What a decision holds.


@pytest.mark.parametrize("kind", [kind for kind, batch in BATCHES.items() if batch.half])
def test_half_has_its_own_limits(kind: str) -> None:
    half = BATCHES[kind].half or {}
    assert replanned("poison", kind).attempt.limits == replace(LIMITS, **half)


@pytest.mark.parametrize(
    ("name", "kind", "alarms"),
    [
        ("poison", "many", ["batch_refused"]),
        ("refused, same rows", "one", ["batch_refused", "internal_reject"]),
        ("poison", "sweep", ["batch_refused"]),
        ("poison", "holder", ["batch_refused", "continuation_parked"]),
        ("poison", "park", ["batch_refused"]),
        ("too large", "many", []),
        ("too large", "one", ["never_fits", "internal_reject"]),
        ("readings exhausted", "many", ["readings_exhausted", "internal_reject"]),
        ("rules broken by command", "many", ["rules_broken", "internal_reject"]),
        ("rules broken in sweep", "maker", ["rules_broken", "continuation_parked"]),
        ("unknown again", "many", []),
    ],
)
def test_decision_raises_its_alarms(name: str, kind: str, alarms: list[str]) -> None:
    assert [alarm.name for alarm in replanned(name, kind).alarms] == alarms


@pytest.mark.parametrize(("name", "halts"), [("poison", ()), ("rules broken by command", (FIRST,))])
def test_only_a_bug_halts_the_market(name: str, halts: tuple[Offset, ...]) -> None:
    facts = replanned(name, "one").attempt.facts
    assert facts.internal_rejects == {FIRST}
    assert facts.halts == set(halts)


def test_single_offender_leaves_the_next_plan_whole() -> None:
    decision = replanned("poison", "one", limits=replace(LIMITS, commands=1), refused=ROWS)
    assert (decision.attempt.limits, decision.attempt.refused) == (LIMITS, None)


def test_parked_page_keeps_its_market() -> None:
    assert replanned("poison", "holder").attempt.step == Park(MarketId("m"))
    assert replanned("poison", "maker").attempt.step == Park(MarketId("m"), sweep=True)


def test_too_large_batch_keeps_no_reading() -> None:
    read = Facts(
        accounts={ANN: None},
        exact_draws=frozenset({ANN}),
        no_draws=frozenset({BEN}),
        internal_rejects=frozenset({Offset(1)}),
        halts=frozenset({Offset(2)}),
    )
    assert replanned("too large", "many", facts=read).attempt.facts == replace(read, accounts={})


def test_refused_batch_is_read_again_once() -> None:
    decision = replanned("refused once", "many")
    assert decision.read == BATCHES["many"].tried().named
    assert decision.attempt.refused == ROWS


def test_lost_race_reads_every_account() -> None:
    assert decided("conflict", "many") == Refetch(Lack(accounts={ANN, BEN}))


def test_loser_draws_exactly_then_nothing() -> None:
    first = replanned("purse short", "one")
    assert first.losers == first.attempt.facts.exact_draws == {ANN}
    assert first.attempt.facts.no_draws == frozenset()
    assert first.attempt.facts.accounts == SHORT.facts.accounts
    second = replanned("purse short", "one", facts=first.attempt.facts)
    assert second.attempt.facts.no_draws == {ANN}


def test_account_with_enough_left_lost_nothing() -> None:
    decision = replanned("purses read", "one")
    assert decision.losers == decision.attempt.facts.exact_draws == frozenset()


def test_smallest_batch_draws_nothing_in_the_end() -> None:
    assert replanned("purses read, last race", "one").attempt.facts.no_draws == frozenset()
    assert replanned("purses read, too late", "many").attempt.facts.no_draws == frozenset()
    last = replanned("purses read, too late", "one")
    assert last.attempt.facts.no_draws == last.losers == {ANN}


def test_pauses_between_lost_races_grow() -> None:
    """The winner is done at first; later the winners may need time to pass."""
    races = range(2 * LOST_RACES_MAX)
    pauses = [replanned("purses read", "one", lost_races=lost).pause for lost in races]
    most = LOST_RACES_MAX // 2
    assert pauses == [pause_after(max(1, lost + 1 - most)) for lost in races]


def test_outage_is_asked_about_less_often() -> None:
    assert pause_after(PATIENT_TRIES - 1) == Pause(PATIENT_TRIES - 1, BACKOFF_CAP_S)
    assert pause_after(PATIENT_TRIES) == Pause(PATIENT_TRIES, OUTAGE_BACKOFF_CAP_S)
    for name in ("misconfigured", "unknown"):
        decision = decided(name, "many", tries=PATIENT_TRIES - 1)
        assert isinstance(decision, Resend)
        assert decision.pause == pause_after(PATIENT_TRIES)
        assert decision.attempt.tries == PATIENT_TRIES


def test_second_unknown_outcome_begins_a_new_count() -> None:
    decision = replanned("unknown again", "many")
    assert (decision.attempt.unknowns, decision.pause) == (0, pause_after(1))


@pytest.mark.parametrize(("kind", "commands"), [("one", 1), ("maker", 0)])
def test_refused_rejection_starts_the_smallest_step_over(kind: str, commands: int) -> None:
    """The command or the sweep is tried again, so that the pause costs nobody an answer."""
    before = {"facts": REJECTED, "tries": 4}
    if kind == "maker":
        before["step"] = Park(MarketId("m"), sweep=True)
    decision = replanned("poison", kind, **before)
    assert isinstance(decision, StartOver)
    assert decision.attempt == replace(Attempt.first(decision.attempt.situation), tries=5)
    assert decision.attempt.step in (COMMANDS, SWEEPING)
    assert decision.attempt.limits == replace(LIMITS, commands=commands)
    assert decision.pause == Pause(5, OUTAGE_BACKOFF_CAP_S)
    assert decision.refused is RESULTS["poison"][0]
