"""The failure policy: what a lane does with each result of a commit. Pure, one branch per row.

    result                          decision
    Committed                       Adopt
    Conflict                        Refetch the purses: the lane lost a race
    PursesRead                      Replan on them, from the second lost race on half as much; the
                                    same statement again would lose again (``make races``)
    Refused                         LookAtLane: a failed constraint alone proves little
    LaneRead: another epoch         Leave as Fenced
    LaneRead: our plan is there     Adopt: an earlier try was committed
    LaneRead: another plan is       Leave for a Reload
    LaneRead: pockets were missed   Refetch the purses: the lane lost a race
    LaneRead: refused once          Replan after all ids and accounts in the batch were read again
    LaneRead: the same rows again   bisect
    Poison                          bisect
    TooLarge                        bisect, planning half as much from nothing read
    ReadingsExhausted               bisect, beginning with the smallest batch
    Misconfigured, Unavailable      Resend after a pause: no command is to blame
    OutcomeUnknown                  Resend after a pause and never look first, because the statement
                                    may still be under way; the second time Replan half as much
    RuleBroken                      Reject the command and halt its market, or ParkStep

Accounts whose pockets were too empty in a lost race draw exactly what they need, and without
success nothing. Withdrawals do not: the lane must GatherFirst. A pocket that a gathering cannot
move stays where it is (Leave as GatheringLost).

To bisect is to Replan half as much, down to one command, sweep or page. A command is then answered
INTERNAL_REJECT (Reject); a sweep or a page ends in ParkStep. A database that refuses even this
refuses everything of the lane, so the lane waits and begins the step again (StartOver).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, assert_never

from worker.decisions import (
    UNDESCRIBED,
    Adopt,
    Alarm,
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
    StartOver,
    TooLarge,
    Tried,
    Unplanned,
)
from worker.domain.facts import Facts, Lack
from worker.domain.plan import AnswerCommands, Gather, Park, PayPage
from worker.domain.state import StreamKind
from worker.domain.units import LaneId, Money, Offset
from worker.errors import (
    Conflict,
    Fenced,
    GatheringLost,
    LaneHalted,
    Misconfigured,
    OutcomeUnknown,
    Poison,
    ReadingsExhausted,
    Refused,
    Reload,
    StoreError,
    Unavailable,
)
from worker.ports import Standing

LOST_RACES_MAX: Final = 16
"""Lost races after which the smallest batch is planned without draws, and a gathering gives up."""
UNKNOWN_MAX: Final = 2
PATIENT_TRIES: Final = 20
"""Tries after which the pauses between them become longer."""
BACKOFF_CAP_S: Final = 0.5
OUTAGE_BACKOFF_CAP_S: Final = 5.0


def pause_cap_s(tries: int) -> float:
    """Return the longest pause: half a second, and five in a long outage."""
    return BACKOFF_CAP_S if tries < PATIENT_TRIES else OUTAGE_BACKOFF_CAP_S


def pause_after(tries: int) -> Pause:
    """Return the pause after so many tries."""
    return Pause(tries, pause_cap_s(tries))


def decide(attempt: Attempt, result: Result, tried: Tried = UNDESCRIBED) -> Decision:  # noqa: C901, PLR0911 - a branch per row
    """Return what follows from the result of a commit."""
    match result:
        case Committed():
            return Adopt()
        case Conflict():
            return _refetch(tried)
        case PursesRead():
            return _after_lost_race(attempt, tried, result.facts)
        case Refused():
            return LookAtLane(result)
        case LaneRead():
            return _after_look(attempt, tried, result.refused, result.standing)
        case Poison():
            return _bisect(attempt, tried, result)
        case TooLarge():
            return _divide(attempt, tried, result)
        case Misconfigured() | Unavailable() | OutcomeUnknown():
            return _send_again(attempt, tried, result)
        case _ as never:
            assert_never(never)


def blame(attempt: Attempt, error: Unplanned) -> Replan | Leave:
    """Return what follows from an error of planning."""
    if isinstance(error, ReadingsExhausted):
        return _single_out(attempt, Alarm("readings_exhausted", {"error": str(error)}))
    alarm = Alarm("rules_broken", {"offset": error.offset, "error": repr(error.__cause__)})
    if not isinstance(attempt.step, AnswerCommands) or (
        attempt.situation.sweeping and not error.answering
    ):
        return _park(attempt, alarm)
    offsets = [received.offset for received in attempt.step.commands]
    at = offsets.index(error.offset) if error.answering else 0
    facts, fewer = attempt.facts, max(1, at)
    if offsets[at] in facts.internal_rejects and attempt.limits.commands > fewer:
        # Hardly on the rejection: the rules broke on the next command, or on the whole batch.
        limits = replace(attempt.limits, commands=fewer)
        return Replan(attempt=replace(attempt, limits=limits), alarms=(alarm,))
    facts = replace(facts, halts=facts.halts | {offsets[at]})
    return _reject(replace(attempt, facts=facts), offsets[at], alarm)


def _refetch(tried: Tried) -> Refetch:
    return Refetch(Lack(accounts=set(tried.draws)))


def _send_again(
    attempt: Attempt, tried: Tried, error: Misconfigured | Unavailable | OutcomeUnknown
) -> Resend | Replan:
    unknowns = attempt.unknowns + isinstance(error, OutcomeUnknown)
    attempt = replace(attempt, tries=attempt.tries + 1, unknowns=unknowns)
    pause = pause_after(attempt.tries)
    if unknowns < UNKNOWN_MAX:
        return Resend(attempt, pause)
    return Replan(attempt=_halved(attempt, tried) or _anew(attempt), pause=pause)


def _after_look(attempt: Attempt, tried: Tried, refused: Refused, row: Standing) -> Decision:
    """Let the lane's row explain why a constraint failed."""
    now = attempt.situation
    if row.epoch != now.epoch:
        text = f"lane {now.lane} has epoch {row.epoch}, ours is {now.epoch}"
        return Leave(error=Fenced, reason=text)
    if row.batch_no != now.batch_no:
        if (row.batch_no, row.plan_hash) == (tried.batch_no, tried.plan_hash):
            return Adopt()
        text = f"lane {now.lane} has batch {row.batch_no}, and another plan than ours won"
        return Leave(error=Reload, reason=text)
    if refused.constraint == "batches_pockets_missed":
        return _refetch(tried)
    if attempt.refused == tried.rows:
        return _bisect(attempt, tried, refused)
    return Replan(attempt=replace(attempt, refused=tried.rows, unknowns=0), read=tried.named)


def _after_lost_race(attempt: Attempt, tried: Tried, read: Facts) -> Replan | GatherFirst | Leave:
    """Plan again on what the race left; only accounts with too little are planned otherwise."""
    races = attempt.lost_races + 1
    losers = {a for a, draws in tried.draws.items() if _is_short(draws, read.accounts.get(a))}
    # A first lost race may have been chance.
    halved = _halved(attempt, tried) if races > 1 else None
    patient = halved is not None or races <= LOST_RACES_MAX
    if not patient:
        losers |= {account_id for account_id, draws in tried.draws.items() if draws}
    lost = frozenset(losers)
    now, facts = attempt.situation, attempt.facts
    if isinstance(attempt.step, Gather) and races >= LOST_RACES_MAX:
        text = f"lost {races} races for one pocket"
        return Leave(error=GatheringLost, reason=text, losers=lost)
    if lost and now.kind is StreamKind.TRANSFERS and not isinstance(attempt.step, Gather):
        return GatherFirst(losers=lost)
    # Draws are generous: an account first tries to draw exactly what it lacks.
    stopped = lost & facts.exact_draws if patient else lost
    attempt = replace(halved or _anew(attempt), lost_races=races)
    facts = replace(
        attempt.facts.and_read(read),
        exact_draws=facts.exact_draws | lost,
        no_draws=facts.no_draws | stopped,
    )
    # Without delay at first, because the winner is done. Later the winners may need time to pass.
    pause = pause_after(max(1, races - LOST_RACES_MAX // 2))
    return Replan(attempt=replace(attempt, facts=facts), pause=pause, losers=lost)


def _is_short(draws: Mapping[LaneId, Money], pockets: Mapping[LaneId, Money] | None) -> bool:
    """Return whether a pocket no longer covers what the batch needed of it."""
    return any((pockets or {}).get(lane, 0) < need for lane, need in draws.items())


# Smaller and smaller batches.


def _anew(attempt: Attempt) -> Attempt:
    """Return the attempt for another plan, which reads settlement pages again."""
    return replace(attempt, facts=replace(attempt.facts, pages={}), unknowns=0)


def _halved(attempt: Attempt, tried: Tried) -> Attempt | None:
    """Return the attempt at half as much, or None if the batch was the smallest."""
    limits, alone = attempt.limits, attempt.situation.alone
    if tried.page_rows > 1:
        limits = replace(limits, fills=tried.page_rows // 2)
    elif tried.answered > alone:
        limits = replace(limits, commands=tried.answered // 2)
    elif tried.makers > 1:
        limits = replace(limits, commands=alone, makers=tried.makers // 2)
    else:
        return None
    return replace(_anew(attempt), limits=limits)


def _bisect(attempt: Attempt, tried: Tried, error: Poison | Refused) -> Replan | Leave:
    """Close in on what the database refuses."""
    alarm = Alarm("batch_refused", {"error": str(error)})
    if halved := _halved(attempt, tried):
        return Replan(attempt=halved, alarms=(alarm,))
    return _single_out(attempt, alarm, error)


def _divide(attempt: Attempt, tried: Tried, found: TooLarge) -> Replan | Leave:
    """Plan less than does not fit. Facts read for the whole batch would not fit either."""
    kept = attempt.facts
    bare = Facts(
        exact_draws=kept.exact_draws,
        no_draws=kept.no_draws,
        internal_rejects=kept.internal_rejects,
        halts=kept.halts,
    )
    attempt = replace(attempt, facts=bare)
    if halved := _halved(attempt, tried):
        return Replan(attempt=halved)
    return _single_out(attempt, Alarm("never_fits", found.sizes))


def _single_out(attempt: Attempt, alarm: Alarm, error: StoreError | None = None) -> Replan | Leave:
    """Reject or park the smallest batch, which cannot be committed as it is."""
    step, now = attempt.step, attempt.situation
    attempt = replace(_anew(attempt), limits=now.limits, refused=None)
    if isinstance(step, AnswerCommands) and not now.sweeping:
        return _reject(attempt, step.commands[0].offset, alarm, error)
    return _park(attempt, alarm, error)


def _reject(
    attempt: Attempt, offset: Offset, alarm: Alarm, error: StoreError | None = None
) -> Reject | StartOver | Leave:
    rejects = attempt.facts.internal_rejects
    if offset in rejects:
        return _give_up(attempt, f"offset {offset} could not be rejected", alarm, error)
    facts = replace(attempt.facts, internal_rejects=rejects | {offset})
    alarms = (alarm, Alarm("internal_reject", {"offset": offset}))
    return Reject(attempt=replace(attempt, facts=facts), alarms=alarms)


def _park(
    attempt: Attempt, alarm: Alarm, error: StoreError | None = None
) -> ParkStep | StartOver | Leave:
    step = attempt.step
    if isinstance(step, Gather):
        text = f"one pocket could not be moved: {alarm.name}"
        return Leave(error=GatheringLost, reason=text, alarms=(alarm,))
    if isinstance(step, Park):
        return _give_up(attempt, "the lane's continuation could not be parked", alarm, error)
    alarms = (alarm, Alarm("continuation_parked", {"step": repr(step)[:100]}))
    return ParkStep(attempt=replace(_anew(attempt), step=_parking(step)), alarms=alarms)


def _parking(step: AnswerCommands | PayPage) -> Park:
    if isinstance(step, PayPage):
        return Park(step.market_id)
    assert step.sweep is not None, "commands are rejected, never parked"
    return Park(step.sweep, sweep=True)


def _give_up(
    attempt: Attempt, text: str, alarm: Alarm, error: StoreError | None
) -> StartOver | Leave:
    """Wait for a database that refuses everything; halt the lane on a bug of our own."""
    if error is None:
        text = f"{text}: {alarm.name}. This is a bug: keep the log and the record"
        return Leave(error=LaneHalted, reason=text, alarms=(alarm,))
    tries, now = attempt.tries + 1, attempt.situation
    # Of the smallest size, so that few statements are refused until the database is fixed.
    small = replace(now, limits=replace(now.limits, commands=now.alone))
    return StartOver(
        attempt=replace(Attempt.first(small), tries=tries),
        pause=Pause(tries, OUTAGE_BACKOFF_CAP_S),
        alarms=(alarm,),
        refused=error,
    )
