"""Carry a step out: plan it, commit it, and act on the result as ``worker.decide`` says.

Contract: one step at a time. When ``carry_out`` returns, the batch is committed and adopted. When
it raises anything but MustGather or GatheringLost, the lane's state must be loaded again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar, assert_never

from worker.decide import blame, decide, pause_cap_s
from worker.decisions import (
    UNDESCRIBED,
    Adopt,
    Attempt,
    Committed,
    GatherFirst,
    GiveUp,
    LaneRead,
    Leave,
    LookAtLane,
    Pause,
    PursesRead,
    Refetch,
    Replan,
    Resend,
    Result,
    Situation,
    StartOver,
    Tried,
)
from worker.domain.events import DeadLetter
from worker.domain.facts import Facts, Lack, Limits
from worker.domain.plan import AnswerCommands, Batch, RuleBroken, Step, foresee
from worker.domain.state import LaneState
from worker.domain.units import OPEN_ORDERS_PER_LANE_MAX, AccountId
from worker.errors import (
    Conflict,
    Misconfigured,
    MustGather,
    OutcomeUnknown,
    Poison,
    ReadingsExhausted,
    Refused,
    Unavailable,
)
from worker.ports import JournalRow, Standing, Statement, Store, System
from worker.refusals import RefusalMonitor
from worker.retry import retry
from worker.seal import plan_fully, seal, too_large
from worker.telemetry import LaneMetrics

EXACT_DRAW_BATCHES: Final = 64
"""Batches for which the loser of a race draws exactly what it needs."""
LOSERS_MAX: Final = 1_000
"""Losers remembered. Their names are recorded with every batch and must leave room for facts."""

BLAMELESS: Final = (Conflict, Misconfigured, Unavailable, OutcomeUnknown)
"""Errors that no content of a statement causes."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that owns lanes."""

    name: str
    rows: int
    """Rows that a batch may write."""
    system: System
    open_orders: int = OPEN_ORDERS_PER_LANE_MAX
    """Open orders that a lane may have."""
    loaded: Callable[[], None] = lambda: None
    """Called after a lane has been loaded."""


@dataclass(slots=True)
class Committer:
    """Commits the steps of one lane under one epoch."""

    owner: Owner
    store: Store
    state: LaneState
    epoch: int
    metrics: LaneMetrics
    refusals: RefusalMonitor
    published_batch_no: Callable[[], int]
    lost_at: dict[AccountId, int] = field(default_factory=dict)
    """Number of the last batch before each lost race, the latest race last."""

    async def carry_out(
        self, step: Step, no_draws: frozenset[AccountId] = frozenset()
    ) -> tuple[Batch, JournalRow]:
        """Plan a step and commit it, however long it takes; return what was committed.

        Raises Fenced, Reload, LaneHalted; MustGather and GatheringLost leave the state as it was.
        """
        attempt = Attempt.first(self._situation(step, no_draws))
        if lack := foresee(self.state, step, attempt.limits):
            attempt = attempt.knowing(await self._read(lack))
        while True:
            try:
                batch = await self._plan(attempt)
            except (RuleBroken, ReadingsExhausted) as error:
                attempt = await self._next(blame(attempt, error))
                continue
            # The plan may have read facts and cut itself short.
            attempt = replace(attempt, facts=batch.facts, limits=batch.limits)
            statement, row = self._seal(batch)
            decision = await self._commit(attempt, batch, statement)
            if isinstance(decision, Adopt):
                batch.adopt()
                self.refusals.ended(self.metrics)
                self._count(batch)
                return batch, row
            batch.discard()
            attempt = await self._next(decision)

    def _situation(self, step: Step, no_draws: frozenset[AccountId]) -> Situation:
        state = self.state
        return Situation(
            lane=state.home.lane,
            kind=state.home.kind,
            epoch=self.epoch,
            batch_no=state.batch_no,
            sweeping=isinstance(step, AnswerCommands) and step.sweep is not None,
            step=step,
            limits=Limits(self.owner.rows, open_orders=self.owner.open_orders),
            facts=Facts(exact_draws=self._recent_losers(), no_draws=no_draws),
        )

    async def _plan(self, attempt: Attempt) -> Batch:
        return await plan_fully(self.state, attempt.step, attempt.facts, attempt.limits, self._read)

    def _seal(self, batch: Batch) -> tuple[Statement, JournalRow]:
        """Return the statement of a batch, and its journal row."""
        sealed = seal(
            batch,
            epoch=self.epoch,
            owner=self.owner.name,
            published_batch_no=self.published_batch_no(),
        )
        return self.store.statement(batch, sealed), JournalRow(batch.batch_no, sealed.events)

    async def _commit(self, attempt: Attempt, batch: Batch, statement: Statement) -> Adopt | GiveUp:
        """Send the statement until its fate is decided."""
        result = too_large(statement) or await self._send(statement)
        # A description takes time, and most batches are committed without one.
        tried = UNDESCRIBED if isinstance(result, Committed) else Tried.of(batch, statement)
        while True:
            decision = decide(attempt, result, tried)
            match decision:
                case Resend():
                    attempt = decision.attempt
                    await self._pause(decision.pause)
                    result = await self._send(statement)
                case LookAtLane():
                    result = LaneRead(decision.refused, await self._look(batch.batch_no))
                case Refetch():
                    batch.discard()
                    self.metrics.lost_race()
                    result = PursesRead(await self._read(decision.lack))
                case _:
                    return decision

    async def _send(self, statement: Statement) -> Result:
        """Run the statement once."""
        clock = self.owner.system.clock
        began_s = clock()
        result: Result = Committed()
        try:
            await self.store.commit(statement)
        except (Refused, Poison) as error:
            result = error
        except BLAMELESS as error:
            self._note_refusal(error)
            result = error
        name = "committed" if isinstance(result, Committed) else type(result).__name__
        self.metrics.came_back(name, clock() - began_s)
        return result

    async def _next(self, decision: GiveUp) -> Attempt:
        """Do what a decision asks for before the next plan; return the attempt to plan."""
        for alarm in decision.alarms:
            self.metrics.alarm(alarm.name, **alarm.fields)
        self._remember(decision.losers)
        match decision:
            case Replan():
                if isinstance(decision, StartOver):
                    self.refusals.refused(decision.refused, self.metrics, lasts=True)
                attempt = decision.attempt
                if decision.read:
                    attempt = attempt.knowing(await self._read(decision.read))
                if decision.pause is not None:
                    await self._pause(decision.pause)
                return attempt
            case GatherFirst():
                raise MustGather(decision.losers)
            case Leave():
                raise decision.error(decision.reason)
            case _ as never:
                assert_never(never)

    def _remember(self, losers: frozenset[AccountId]) -> None:
        now = self.state.batch_no
        for account_id in sorted(losers):
            self.lost_at.pop(account_id, None)
            self.lost_at[account_id] = now
        while len(self.lost_at) > LOSERS_MAX:
            del self.lost_at[next(iter(self.lost_at))]

    def _recent_losers(self) -> frozenset[AccountId]:
        oldest = self.state.batch_no - EXACT_DRAW_BATCHES
        self.lost_at = {a: n for a, n in self.lost_at.items() if n > oldest}
        return frozenset(self.lost_at)

    async def _look(self, batch_no: int) -> Standing:
        lane = self.state.home.lane
        return await self._until_answered(lambda: self.store.standing(lane, batch_no))

    async def _read(self, lack: Lack) -> Facts:
        return await self._until_answered(lambda: self.store.read(self.state.home, lack))

    async def _until_answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a reading until the database answers it."""
        return await retry(
            call,
            BLAMELESS,
            cap_s=pause_cap_s,
            tries=None,
            system=self.owner.system,
            failed=self._note_refusal,
        )

    def _note_refusal(self, error: Exception) -> None:
        assert isinstance(error, BLAMELESS), "other errors are not waited for"
        self.refusals.refused(error, self.metrics)

    async def _pause(self, pause: Pause) -> None:
        await self.owner.system.back_off(pause.tries, cap_s=pause.cap_s)

    def _count(self, batch: Batch) -> None:
        draft = batch.draft
        self.metrics.committed(
            commands=draft.answered,
            events=sum(not isinstance(entry, DeadLetter) for entry in draft.entries),
            fills=draft.fills,
            draws=sum(len(purse.drawn) for purse in draft.purses.values()),
        )
