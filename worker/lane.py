"""One lane: take a batch -> plan -> commit -> adopt -> publish. Read this page first.

    records arrive ──► Intake ──► _next_step ──► Committer.carry_out ──► Publisher.put
                       identity   what to do     plan, one statement    journal bytes

A batch is whatever arrived while the last commit was in flight. Nothing waits for a batch to fill.

Contract: after ``_take_over`` this lane is the only writer of its keys, and the database's fence
checks that with every batch. Kafka's assignment is only a hint to begin or to stop.
"""

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from worker.commit import Committer, Owner
from worker.domain.commands import Command, Withdraw
from worker.domain.facts import Lack
from worker.domain.plan import AnswerCommands, Batch, Gather, Step
from worker.domain.purse import Purse, Tally
from worker.domain.state import WAITING_MAX, LaneState
from worker.domain.transfers import Gathering
from worker.domain.turns import Turns
from worker.domain.units import AccountId, Money
from worker.errors import Fenced, GatheringLost, LaneHalted, MustGather, StoreError
from worker.intake import Intake, Source
from worker.ports import JournalRow, Record, Store, StreamRow
from worker.publisher import Publisher
from worker.refusals import RefusalMonitor
from worker.takeover import TakeOver
from worker.telemetry import LaneMetrics, log
from worker.views import Views

T = TypeVar("T")


class LaneStatus(StrEnum):
    """The stages of a lane's life."""

    LOADING = "LOADING"
    READY = "READY"
    STOPPED = "STOPPED"
    HALTED = "HALTED"


class Lane:
    """The owner of one partition, from take-over to loss."""

    def __init__(  # noqa: PLR0913 - all that a lane works with, most of it by keyword
        self,
        stream: StreamRow,
        partition: int,
        *,
        owner: Owner,
        store: Store,
        publisher: Publisher,
        metrics: LaneMetrics,
        refusals: RefusalMonitor,
    ) -> None:
        """``refusals`` are those of the partition until now."""
        self._owner, self._store = owner, store
        self._publisher, self._metrics = publisher, metrics
        self._takeover = TakeOver(
            stream, partition, owner.name, store, publisher, metrics, owner.system
        )
        self._intake = Intake(stream, partition)
        self._views = Views()
        self._wake = asyncio.Event()
        self._stopping = False
        self._turns = Turns()
        self.status = LaneStatus.LOADING
        self.reason = ""
        self.state: LaneState | None = None
        self.refusals = refusals
        self._position = 0
        self.unfetched = ""
        """Why the lane's topic cannot be read at present. Empty: it can."""

    # The path of a batch.

    async def run(self, source: Source) -> None:
        """Own the lane until stopped.

        Raises LaneHalted. Raises Fenced, Reload, EventsLost, StoreError or BrokerError when the
        caller must take over again with another Lane.
        """
        publishing = asyncio.create_task(self._publisher.run(), name=f"publish {self._intake.name}")
        publishing.add_done_callback(lambda _: self._wake.set())
        try:
            committer = await self._take_over(source)
            while (step := await self._next_step()) is not None:
                await self._commit(committer, step)
        except LaneHalted as halt:
            self.status, self.reason = LaneStatus.HALTED, str(halt)
            self._metrics.alarm("lane_halted", reason=str(halt))
            raise
        except StoreError as error:
            self.refusals.refused(error, self._metrics)
            raise
        finally:
            if self.status is not LaneStatus.HALTED:
                self.status = LaneStatus.STOPPED
            self._metrics.ready(False)
            self._views.end(f"the lane has ended: {self.status} {self.reason}")
            await self._let_go(publishing)

    async def _take_over(self, source: Source) -> Committer:
        """Become the only writer, load, publish what the last owner did not, begin to read."""
        row = await self._takeover.raise_epoch()
        self.state = await self._takeover.load(row)
        self._owner.loaded()
        await self._takeover.publish_rest(row)
        await self._intake.seek(row, self.state.waiting, source)
        self.status = LaneStatus.READY
        self.refusals.ended(self._metrics)
        self._metrics.ready(True)
        log.info("lane_ready", **self._metrics.names, epoch=row.epoch, next_offset=row.next_offset)
        return Committer(
            self._owner,
            self._store,
            self.state,
            row.epoch,
            self._metrics,
            self.refusals,
            published_batch_no=lambda: self._publisher.published_batch_no,
        )

    async def _next_step(self) -> Step | None:
        """Return what to do next, waiting for it. None: stop."""
        state = self.state
        assert state is not None, "a lane is loaded before it steps"
        while True:
            self._wake.clear()
            self._views.show(state)
            if self.status is LaneStatus.HALTED:
                raise LaneHalted(self.reason)
            self._publisher.require_running()
            if self._stopping:
                return None
            step = self._turns.next(state, self._intake.take(WAITING_MAX if state.sweeps else 0))
            if step is not None:
                return step
            await self._wake.wait()

    async def _commit(self, committer: Committer, step: Step) -> None:
        """Carry a step out and hand its events to the publisher."""
        gathered: frozenset[AccountId] = frozenset()
        while True:
            try:
                batch, row = await committer.carry_out(step, gathered)
            except MustGather as waiting:
                await self._gather(committer, step, waiting.accounts - gathered)
                gathered |= waiting.accounts
            else:
                return await self._hand_over(batch, row)

    async def _hand_over(self, batch: Batch, row: JournalRow) -> None:
        self._intake.answered(batch.draft.next_offset, batch.waiting)
        self._metrics.queued(self.backlog)
        await self._publisher.put(row)

    async def _gather(
        self, committer: Committer, step: Step, accounts: frozenset[AccountId]
    ) -> None:
        """Move the money that withdrawals wait for into this lane, one pocket per batch."""
        assert isinstance(step, AnswerCommands), "only withdrawals are gathered for"
        state = committer.state
        for account_id in sorted(accounts):
            wanted = sum(_withdrawn(received.command, account_id) for received in step.commands)
            read = await self._store.read(state.home, Lack(accounts={account_id}))
            pockets = dict(read.accounts[account_id] or {})
            purse = Purse(state.home.lane, pockets, exists=True, fresh=True, tally=Tally())
            for source in purse.sources():
                own = state.accounts.get(account_id, pockets).get(state.home.lane, 0)
                if own >= wanted:
                    break
                gathering = Gathering(account_id, source, Money(wanted - own))
                try:
                    await self._hand_over(*await committer.carry_out(Gather((gathering,))))
                except GatheringLost:
                    self._metrics.lost_race()

    # Requests from outside.

    def offer(self, records: Sequence[Record]) -> None:
        """Queue fetched records. A lane that is not READY drops them: its seek repeats them."""
        if self.status is not LaneStatus.READY:
            return
        try:
            self._intake.offer(records)
        except LaneHalted as halt:
            self.halt(str(halt))
        self._metrics.queued(self.backlog)
        self._wake.set()

    def halt(self, reason: str) -> None:
        """Write nothing more until an operator decides."""
        self.status, self.reason = LaneStatus.HALTED, reason
        self._wake.set()

    def stop(self) -> None:
        """Finish the batch in hand, then end."""
        self._stopping = True
        self._wake.set()

    async def look(self, view: Callable[[LaneState], T]) -> T:
        """Return ``view`` of the state between two batches, when all of it is committed.

        Raises Fenced if the lane is not READY, or ends before its batch in hand does.
        """
        if self.status is not LaneStatus.READY:
            raise Fenced(f"the lane is {self.status}")
        seen = self._views.add(view)
        self._wake.set()
        return await seen

    def note_fetch(self, reason: str) -> None:
        """Note why the lane's topic cannot be read. Empty: it can."""
        if reason and not self.unfetched:
            self._metrics.alarm("fetch_failing", reason=reason)
        if bool(reason) != bool(self.unfetched):
            self._metrics.unfetched(bool(reason))
        self.unfetched = reason

    def note_position(self, position: int) -> None:
        """Note the offset up to which everything was offered to this lane."""
        if self.status is LaneStatus.READY:
            self._position = position

    def note_end(self, end: int) -> None:
        """Show the lane's lag, which is how many records before ``end`` are not answered."""
        if self.state is not None:
            self._metrics.behind(max(0, end - self.reached) + len(self.state.waiting))

    def forget(self) -> None:
        """Remove the lane's metrics: another process shows them now."""
        self._metrics.gone()

    # Its condition.

    @property
    def backlog(self) -> int:
        """Return how many records wait for their answer."""
        return self._intake.backlog

    @property
    def beyond_cursor(self) -> int:
        """Return how many records wait at the cursor or beyond it. They count as the queue."""
        return self._intake.beyond_cursor

    @property
    def reached(self) -> int:
        """Return the offset before which no record waits.

        With an empty queue it is beyond the last record, if a transaction's mark, an aborted
        transaction or a compacted gap follows.
        """
        next_offset = self.state.next_offset if self.state is not None else 0
        answered = max(next_offset, self._intake.first)
        return answered if self.backlog else max(answered, self._position)

    @property
    def backlog_bytes(self) -> int:
        """Return how many bytes of memory these records take."""
        return self._intake.backlog_bytes

    @property
    def busy(self) -> bool:
        """Return whether work waits inside the lane: records, sweeps, pages of a settlement."""
        state = self.state
        return bool(self.backlog) or (
            state is not None
            and (bool(state.sweeps) or not all(s.parked for s in state.settlements))
        )

    @property
    def trouble(self) -> str:
        """Return why the lane makes no progress. Empty: it does."""
        return self.reason or self.refusals.reason or self.unfetched

    @property
    def is_unheard(self) -> bool:
        """Return whether the broker refuses the lane's events."""
        return self._publisher.failing

    @property
    def acknowledged_seq(self) -> int:
        """Return the last event that the broker has acknowledged, as far as is known."""
        return self._publisher.acknowledged_seq

    async def _let_go(self, publishing: "asyncio.Task[None]") -> None:
        """End publishing. If the lane was asked to stop, committed events go out first."""
        drained = asyncio.create_task(self._publisher.drained(), name=f"drain {self._intake.name}")
        try:
            if self._stopping:
                await asyncio.wait({drained, publishing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
            publishing.cancel()
            # The error that ended publishing was raised by ``put``, or no longer matters.
            await asyncio.gather(drained, publishing, return_exceptions=True)
            await self._store.close()


def _withdrawn(command: Command, account_id: AccountId) -> int:
    if isinstance(command, Withdraw) and command.account_id == account_id:
        return command.amount
    return 0
