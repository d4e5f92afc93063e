"""From a step to its commit: the whole error policy (design §4, "What came back").

    one row                  committed: adopt
    lost race                refetch and replan, from the second on half as much; never give up
                             (`make races` chose this: the same statement again loses again)
    refused by a constraint  read the lane row first: fenced, won earlier, or refetch and replan
    refused as a statement   bisect; the single offender is answered INTERNAL_REJECT
    too large to be sent     nothing can: bisect as well, and read anew for less
    refused whatever it says wait, same statement: an operator's mistake costs no command its answer
    nobody knows             same statement on a new connection, never looking first
    a bug in the rules       halt the market, answer INTERNAL_REJECT, go on

Contract: one step at a time. When ``carry_out`` returns, the batch is committed and adopted; when
it raises, the lane's state is worth nothing any more and is loaded again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeVar

from worker.domain.events import DeadLetter
from worker.domain.plan import Answer, Batch, Gather, Park, PayPage, RuleBroken, Step, foresee, plan
from worker.domain.state import Facts, Lack, LaneState, Limits, StreamKind
from worker.domain.units import AccountId
from worker.errors import (
    Conflict,
    Fenced,
    LaneHalted,
    OutcomeUnknown,
    ParityError,
    Poison,
    Refused,
    StoreError,
    Unavailable,
    Unfit,
)
from worker.ports import JournalRow, Seal, Statement, Store, System
from worker.telemetry import LaneMetrics
from worker.wire import facts as facts_text
from worker.wire import journal
from worker.wire import resume as resume_text

ANSWERS: Final = (Conflict, Refused, Poison, Unfit, OutcomeUnknown, Unavailable)
"""What may come back from a commit. All of it is dealt with here."""
LOST_RACES_MAX: Final = 16
"""Races that a step may lose before the smallest batch that is left of it goes without draws, and
that a gathering may lose before it leaves a pocket where it is."""
UNKNOWN_MAX: Final = 2
READINGS_MAX: Final = 8
EXACT_DRAW_BATCHES: Final = 64
BACKOFF_CAP_S: Final = 0.5
OUTAGE_BACKOFF_CAP_S: Final = 5.0
PATIENT_TRIES: Final = 20
STATEMENT_BYTES_MAX: Final = 4 * 1024 * 1024

T = TypeVar("T")


class Reload(ParityError):
    """An attempt with other contents won: the lane's state must be read again."""


class MustGather(ParityError):
    """Withdrawals of these accounts lost their race and must be gathered first."""

    def __init__(self, accounts: frozenset[AccountId]) -> None:
        super().__init__(f"{len(accounts)} accounts wait for their money")
        self.accounts = accounts


class GatheringLost(ParityError):
    """One pocket could not be moved: too many races were lost for it."""


@dataclass(slots=True)
class Refusals:
    """What the server says to a lane instead of yes: one that is told no does not hang.

    One for all lanes that a process takes over, one after the other, in one partition.
    """

    count: int = 0
    in_a_row: int = 0
    reason: str = ""
    """What it says, once that is no matter of chance; empty: nothing."""

    def note(self, error: StoreError, metrics: LaneMetrics) -> None:
        """Count an error that the server itself sent; tell once when it lasts.

        Lost races are not told: how many are is seen by their metric.
        """
        self.count += bool(error.sqlstate)
        if not error.sqlstate or isinstance(error, Conflict):
            return
        self.in_a_row += 1
        if self.in_a_row < PATIENT_TRIES and not isinstance(error, Unfit):
            return
        if not self.reason:
            metrics.ready(False)
            if isinstance(error, Unfit):
                metrics.alarm("target_unfit", error=str(error))
            else:
                metrics.alarm("database_unwilling", error=str(error))
        self.reason = str(error)

    def over(self, metrics: LaneMetrics) -> None:
        """Note that it said yes."""
        if self.reason:
            metrics.ready(True)
        self.in_a_row, self.reason = 0, ""


@dataclass(slots=True)
class Attempt:
    """What has been tried for one step."""

    step: Step
    limits: Limits
    facts: Facts
    lost_races: int = 0
    tries: int = 0
    refused: tuple[object, ...] | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that owns lanes."""

    name: str
    rows: int
    """How many a batch may write."""
    system: System


@dataclass(slots=True)
class Committer:
    """Commits the steps of one lane under one epoch."""

    owner: Owner
    store: Store
    state: LaneState
    epoch: int
    metrics: LaneMetrics
    refusals: Refusals
    published_batch_no: Callable[[], int]
    lost_at: dict[AccountId, int] = field(default_factory=dict)

    async def carry_out(
        self, step: Step, no_draws: frozenset[AccountId] = frozenset()
    ) -> tuple[Batch, JournalRow]:
        """Plan a step and commit it, however long it takes; return what was committed.

        Raises Fenced, Reload, LaneHalted; MustGather and GatheringLost leave the state as it was.
        """
        facts = Facts(exact_draws=self._recent_losers(), no_draws=no_draws)
        attempt = Attempt(step, Limits(self.owner.rows), facts)
        if lack := foresee(self.state, step, attempt.limits):
            attempt.facts = facts.and_read(await self._read(lack))
        while True:
            try:
                batch = await self._plan(attempt)
            except RuleBroken as bug:
                self._blame(attempt, bug)
                continue
            statement, row = self._seal(attempt, batch)
            if self._fits(statement) and await self._send(attempt, batch, statement):
                batch.adopt()
                self.refusals.over(self.metrics)
                self._count(batch)
                return batch, row
            if not self._fits(statement):
                batch.discard()
                self._divide(attempt, batch, statement)

    async def _plan(self, attempt: Attempt) -> Batch:
        """Fetch, then plan: read what the plan lacks until it lacks nothing."""
        for reading in range(READINGS_MAX * 8):
            planned = plan(self.state, attempt.step, attempt.facts, attempt.limits)
            if isinstance(planned, Batch):
                return planned
            read = await self._read(planned)
            attempt.facts = attempt.facts.and_read(read)
            if reading == READINGS_MAX and isinstance(attempt.step, Answer):
                half = max(1, len(attempt.step.commands) // 2)
                attempt.limits = replace(attempt.limits, commands=half)
        raise LaneHalted("a plan keeps asking for more facts")

    def _seal(self, attempt: Attempt, batch: Batch) -> tuple[Statement, JournalRow]:
        """Return the statement of a batch, and its journal row."""
        published = self.published_batch_no()
        events = journal.encode(batch.draft.entries, self.state.home.kind)
        seal = Seal(
            epoch=self.epoch,
            owner=self.owner.name,
            published_batch_no=published,
            facts=facts_text.encode(attempt.facts, attempt.limits, attempt.step, published),
            events=events,
            resume=resume_text.encode(batch.sweep, batch.settlements),
        )
        return self.store.statement(batch, seal), JournalRow(batch.batch_no, events)

    def _fits(self, statement: Statement) -> bool:
        return (
            statement.bytes <= STATEMENT_BYTES_MAX
            and statement.facts_bytes <= facts_text.BYTES_MAX
            and statement.resume_bytes <= resume_text.BYTES_MAX
        )

    async def _send(self, attempt: Attempt, batch: Batch, statement: Statement) -> bool:
        """Run the statement until it is known what became of it; return whether it committed.

        When it did not, the batch is discarded and the attempt says how to plan the next one.
        """
        unknowns = 0
        while True:
            began = self.owner.system.clock()
            try:
                await self.store.commit(statement)
            except ANSWERS as error:
                self.metrics.came_back(type(error).__name__, self.owner.system.clock() - began)
                if isinstance(error, Refused):
                    return await self._judge(attempt, batch, statement, error)
                if isinstance(error, Poison):
                    return self._bisect(attempt, batch, error)
                self.refusals.note(error, self.metrics)
                if isinstance(error, Conflict):
                    return await self._lose_race(attempt, batch)
                unknowns += isinstance(error, OutcomeUnknown)
                attempt.tries += 1
                await self._back_off(attempt.tries)
                if unknowns >= UNKNOWN_MAX:
                    batch.discard()
                    self._halve(attempt, batch)
                    return False
            else:
                self.metrics.came_back("committed", self.owner.system.clock() - began)
                return True

    async def _judge(
        self, attempt: Attempt, batch: Batch, statement: Statement, error: Refused
    ) -> bool:
        """A constraint said no, which says little by itself: the lane's row decides."""
        home = self.state.home
        standing = await self._until_answered(
            lambda: self.store.standing(home.lane, batch.batch_no)
        )
        if standing.epoch != self.epoch:
            raise Fenced(f"lane {home.lane} has epoch {standing.epoch}, ours is {self.epoch}")
        if standing.batch_no != self.state.batch_no:
            if (standing.batch_no, standing.plan_hash) == (batch.batch_no, statement.plan_hash):
                return True
            raise Reload(f"lane {home.lane} went on to batch {standing.batch_no} without us")
        if error.constraint == "batches_pockets_missed":
            return await self._lose_race(attempt, batch)
        if attempt.refused == statement.rows:
            return self._bisect(attempt, batch, error)
        batch.discard()
        attempt.refused = statement.rows
        attempt.facts = attempt.facts.and_read(await self._read(_everything_named(batch)))
        return False

    async def _lose_race(self, attempt: Attempt, batch: Batch) -> Literal[False]:
        """Refetch; only accounts whose sources are no longer enough go without draws from here."""
        batch.discard()
        attempt.lost_races += 1
        self.metrics.lost_race()
        purses = {a: p for a, p in batch.draft.purses.items() if p.known}
        read = await self._read(Lack(accounts=set(purses)))
        losers = set()
        for account_id, purse in purses.items():
            pockets = read.accounts.get(account_id) or {}
            if any(pockets.get(lane, 0) < purse.needs[lane] for lane in purse.drawn):
                losers.add(account_id)
        # Alone, a race may just have been lost to chance.
        halved = attempt.lost_races > 1 and self._halve(attempt, batch)
        patient = halved or attempt.lost_races <= LOST_RACES_MAX
        if not patient:
            losers |= {account_id for account_id, purse in purses.items() if purse.drawn}
        self.lost_at.update(dict.fromkeys(losers, self.state.batch_no))
        # Whoever drew more than the shortfall first tries with exactly that.
        spent = losers & attempt.facts.exact_draws if patient else losers
        facts = replace(attempt.facts, exact_draws=self._recent_losers(), pages={})
        attempt.facts = replace(facts.and_read(read), no_draws=facts.no_draws | spent)
        if isinstance(attempt.step, Gather):
            if attempt.lost_races >= LOST_RACES_MAX:
                raise GatheringLost(f"lost {attempt.lost_races} races for one pocket")
        elif losers and self.state.home.kind is StreamKind.TRANSFERS:
            raise MustGather(frozenset(losers))
        # At first at once, because what won is over; later what keeps winning may pass.
        await self._back_off(max(1, attempt.lost_races - LOST_RACES_MAX // 2))
        return False

    def _halve(self, attempt: Attempt, batch: Batch) -> bool:
        """Plan half as much from here on; return False if there is nothing left to halve."""
        draft, limits = batch.draft, attempt.limits
        attempt.facts = replace(attempt.facts, pages={})
        page_rows = len(draft.payouts) + len(draft.changed_orders)
        # A sweep's step stands alone when nothing is answered beside it.
        alone = 0 if self.state.sweep is not None else 1
        if batch.facts.pages and page_rows > 1:
            attempt.limits = replace(limits, fills=page_rows // 2)
        elif batch.answered > alone:
            attempt.limits = replace(limits, commands=batch.answered // 2)
        elif draft.fills > 1:
            attempt.limits = replace(limits, commands=alone, fills=draft.fills // 2)
        else:
            return False
        return True

    def _divide(self, attempt: Attempt, batch: Batch, statement: Statement) -> None:
        """Plan less than does not fit, from nothing read; say what it is that can never fit."""
        kept = attempt.facts
        attempt.facts = Facts(
            exact_draws=kept.exact_draws,
            no_draws=kept.no_draws,
            internal_rejects=kept.internal_rejects,
            halts=kept.halts,
        )
        if not self._halve(attempt, batch):
            self.metrics.alarm(
                "never_fits",
                bytes=f"{statement.bytes} of {STATEMENT_BYTES_MAX}",
                facts_bytes=f"{statement.facts_bytes} of {facts_text.BYTES_MAX}",
                resume_bytes=f"{statement.resume_bytes} of {resume_text.BYTES_MAX}",
            )
            self._single_out(attempt, batch)

    def _bisect(self, attempt: Attempt, batch: Batch, error: Poison | Refused) -> Literal[False]:
        """Close in on what the database refuses."""
        batch.discard()
        self.metrics.alarm("batch_refused", error=str(error))
        if not self._halve(attempt, batch):
            self._single_out(attempt, batch)
        return False

    def _single_out(self, attempt: Attempt, batch: Batch) -> None:
        """Answer or park what stands alone and cannot be committed."""
        step = attempt.step
        if isinstance(step, Answer) and batch.answered:
            self._reject_internally(attempt, step, halt=False)
        elif isinstance(step, Answer | PayPage):
            self._park(attempt)
        else:
            raise LaneHalted("the database refuses the lane's smallest step")
        attempt.limits, attempt.refused = Limits(self.owner.rows), None

    def _blame(self, attempt: Attempt, bug: RuleBroken) -> None:
        """A bug in the rules: answer the command it met, or park what it met it in."""
        self.metrics.alarm("rules_broken", offset=bug.offset, error=repr(bug.__cause__))
        step = attempt.step
        if isinstance(step, Answer) and bug.answering:
            at = next(i for i, c in enumerate(step.commands) if c.offset == bug.offset)
            self._reject_internally(attempt, Answer(step.commands[at:]), halt=True)
        else:
            self._park(attempt)

    def _reject_internally(self, attempt: Attempt, step: Answer, *, halt: bool) -> None:
        offset = step.commands[0].offset
        if offset in attempt.facts.internal_rejects:
            raise LaneHalted(f"offset {offset} cannot even be refused")
        self.metrics.alarm("internal_reject", offset=offset)
        halts = attempt.facts.halts | ({offset} if halt else frozenset())
        rejects = attempt.facts.internal_rejects | {offset}
        attempt.facts = replace(attempt.facts, internal_rejects=rejects, halts=halts)

    def _park(self, attempt: Attempt) -> None:
        """Shelve a sweep with its market, or a settlement, which cannot go on."""
        if isinstance(attempt.step, Park | Gather):
            raise LaneHalted("a lane's continuation cannot even be parked")
        self.metrics.alarm("continuation_parked", step=repr(attempt.step)[:100])
        market_id = attempt.step.market_id if isinstance(attempt.step, PayPage) else None
        attempt.step = Park(market_id)
        attempt.facts = replace(attempt.facts, pages={})

    async def _read(self, lack: Lack) -> Facts:
        return await self._until_answered(lambda: self.store.read(self.state.home, lack))

    async def _until_answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a reading until the database answers it."""
        tries = 0
        while True:
            try:
                return await call()
            except (Conflict, Unfit, OutcomeUnknown, Unavailable) as error:
                self.refusals.note(error, self.metrics)
                tries += 1
                await self._back_off(tries)

    async def _back_off(self, tries: int) -> None:
        """Wait up to half a second, and up to five once it lasts."""
        cap_s = BACKOFF_CAP_S if tries < PATIENT_TRIES else OUTAGE_BACKOFF_CAP_S
        await self.owner.system.back_off(tries, cap_s=cap_s)

    def _recent_losers(self) -> frozenset[AccountId]:
        oldest = self.state.batch_no - EXACT_DRAW_BATCHES
        self.lost_at = {a: n for a, n in self.lost_at.items() if n > oldest}
        return frozenset(self.lost_at)

    def _count(self, batch: Batch) -> None:
        draft = batch.draft
        self.metrics.committed(
            commands=draft.answered,
            events=sum(not isinstance(entry, DeadLetter) for entry in draft.entries),
            fills=draft.fills,
            draws=sum(len(purse.drawn) for purse in draft.purses.values()),
        )


def _everything_named(batch: Batch) -> Lack:
    """Return all that a unique key may have refused: whatever a client named, and its pockets."""
    draft = batch.draft
    return Lack(
        accounts={a for a, purse in draft.purses.items() if purse.known},
        markets=set(draft.new_markets),
        orders={row.ref for row in draft.new_orders.values()},
        transfers={row.ref for row in draft.transfers.values()},
    )
