"""One lane: take a batch -> plan -> commit -> adopt -> publish. Read this page first.

    records arrive ──► offer ──► _next_step ──► Committer.carry_out ──► Publisher.put
                       gate       what to do     plan, one statement    journal bytes

A batch is whatever arrived while the last commit was in flight; nothing lingers. Contract: from
``take_over`` on, this lane is the only writer of its keys, and the database's fence proves it with
every batch. Kafka's word on who owns the partition is only a hint to begin or to stop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import islice
from typing import Final, Protocol, TypeVar

from worker.commit import Committer, GatheringLost, MustGather, Owner, Refusals
from worker.domain.commands import Command, Received, Withdraw
from worker.domain.plan import Answer, Batch, Gather, PayPage, Step
from worker.domain.purse import Purse, Tally
from worker.domain.state import Home, Lack, LaneState, StreamKind
from worker.domain.transfers import Gathering
from worker.domain.units import CASH_MAX, AccountId, Money, Offset
from worker.errors import Fenced, LaneHalted, StoreError
from worker.ports import JOURNAL_ROWS_MAX, JournalRow, LaneRow, Record, Store, StreamRow
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics, log
from worker.wire import resume as resume_text
from worker.wire.commands import decode_order, decode_transfer, record_sha

COMMANDS_A_BATCH: Final = 2_000
QUEUED_RECORDS_MAX: Final = 8_000
"""Records received and not answered; above it the partition is paused, below half it resumes."""
SETTLEMENTS_MAX: Final = 64
"""Resolved markets that may wait for their pages; above it pages go first."""


T = TypeVar("T")


class Source(Protocol):
    """The lane's input partition."""

    async def bounds(self) -> tuple[int, int]:
        """Return (first offset, next offset to be written)."""

    def seek(self, offset: int) -> None:
        """Deliver from ``offset`` on."""


class LaneStatus(StrEnum):
    """What a lane is doing."""

    LOADING = "LOADING"
    READY = "READY"
    STOPPED = "STOPPED"
    HALTED = "HALTED"


class Lane:
    """The owner of one partition, from take-over to the loss of it."""

    def __init__(
        self,
        stream: StreamRow,
        partition: int,
        *,
        owner: Owner,
        store: Store,
        publisher: Publisher,
        metrics: LaneMetrics,
    ) -> None:
        self._stream, self._partition = stream, partition
        self._owner, self._store = owner, store
        self._publisher, self._metrics = publisher, metrics
        self._decode = decode_order if stream.kind is StreamKind.ORDERS else decode_transfer
        self._queue: deque[Record] = deque()
        self._taken: list[Received] = []
        self._looks: list[Callable[[LaneState | None], None]] = []
        self._wake = asyncio.Event()
        self._publishing: asyncio.Task[None] | None = None
        self._stopping = False
        self._page_turn = False
        self._expected = 0
        self._unchecked_sha = ""
        self.status = LaneStatus.LOADING
        self.reason = ""
        self.state: LaneState | None = None
        self.refusals = Refusals()

    # The path of a batch.

    async def run(self, source: Source, refusals: Refusals) -> None:
        """Own the lane until stopped; ``refusals`` are those of the partition until now.

        Raises LaneHalted; Fenced, Reload, EventsLost, StoreError, BrokerError, after which whoever
        calls takes over again.
        """
        self.refusals = refusals
        publishing = asyncio.create_task(self._publisher.run(), name=f"publish-{self._partition}")
        publishing.add_done_callback(lambda _: self._wake.set())
        self._publishing = publishing
        try:
            committer = await self._take_over(source)
            while (step := await self._next_step()) is not None:
                await self._commit(committer, step)
        except LaneHalted as halt:
            self.status, self.reason = LaneStatus.HALTED, str(halt)
            self._metrics.alarm("lane_halted", reason=str(halt))
            raise
        except StoreError as error:
            self.refusals.note(error, self._metrics)
            raise
        finally:
            if self.status is not LaneStatus.HALTED:
                self.status = LaneStatus.STOPPED
            self._metrics.ready(False)
            self._show(None)
            await self._let_go(publishing)

    async def _take_over(self, source: Source) -> Committer:
        """Raise the epoch, load what it now guards, publish what the last owner did not, seek."""
        # Looked at first: what was published before was committed before, in a database that
        # has lost nothing.
        published_seq = await self._publisher.published_seq()
        seen_seq = self._publisher.seen_seq
        row = await self._store.take_over(self._stream.stream, self._partition, self._owner.name)
        if seen_seq > row.last_seq:
            raise LaneHalted(
                f"event {seen_seq} is published and the database ends at {row.last_seq}:"
                " it was restored from an older time"
            )
        self.state = await load(self._store, self._stream, self._partition, row)
        committer = Committer(
            self._owner,
            self._store,
            self.state,
            row.epoch,
            self._metrics,
            self.refusals,
            published_batch_no=lambda: self._publisher.published_batch_no,
        )
        self._publisher.published_batch_no = row.published_batch_no
        first = await self._first_unpublished(row, published_seq)
        while first <= row.batch_no:
            for journal_row in await self._store.journal(row.lane, first, row.batch_no):
                await self._publisher.put(journal_row)
            first += JOURNAL_ROWS_MAX
        await self._seek(row, source)
        self.status = LaneStatus.READY
        self.refusals.over(self._metrics)
        self._metrics.ready(True)
        log.info("lane_ready", **self._metrics.names, epoch=row.epoch, next_offset=row.next_offset)
        return committer

    async def _first_unpublished(self, row: LaneRow, published_seq: int | None) -> int:
        """Return the first batch to publish, usually the one after the last noted.

        It is an earlier one when the brokers lost what they had acknowledged.
        """
        first = await self._first_lacking(row, published_seq)
        if first <= row.published_batch_no:
            # The last owner may have published it between the look and the take-over.
            published_seq = await self._publisher.published_seq()
            first = await self._first_lacking(row, published_seq)
        if first <= row.published_batch_no:
            self._metrics.alarm("published_again", batch_no=first, published_seq=published_seq)
        return first

    async def _first_lacking(self, row: LaneRow, published_seq: int | None) -> int:
        """Return the first batch that lies behind ``published_seq``, going back in the journal."""
        first = unread = row.published_batch_no + 1
        looked_at = 1
        while published_seq is not None and unread > 1:
            found = await self._store.journal(row.lane, max(1, unread - looked_at), unread - 1)
            for journal_row in reversed(found):
                seq = self._publisher.last_seq(journal_row)
                if 0 < seq <= published_seq:
                    return first
                first = journal_row.batch_no if seq else first
            if not found:
                break
            unread, looked_at = found[0].batch_no, JOURNAL_ROWS_MAX
        return first

    async def _seek(self, row: LaneRow, source: Source) -> None:
        """Begin at the cursor; one record before it, where it still exists, to know it again."""
        first, end = await source.bounds()
        if not first <= row.next_offset <= end:
            raise LaneHalted(
                f"{self._stream.topic}[{self._partition}] holds offsets {first} to {end} and the"
                f" lane stands at {row.next_offset}: truncated, recreated, or past its retention"
            )
        self._expected = row.next_offset
        again = bool(row.last_record_sha) and first < row.next_offset
        self._unchecked_sha = row.last_record_sha if again else ""
        source.seek(row.next_offset - again)

    async def _next_step(self) -> Step | None:
        """Return what to do next, waiting for it; None: stop."""
        state = self.state
        assert state is not None, "a lane is loaded before it steps"
        while True:
            self._wake.clear()
            self._show(state)
            if self.status is LaneStatus.HALTED:
                raise LaneHalted(self.reason)
            if self._publishing is not None and self._publishing.done():
                self._publishing.result()
            if self._stopping:
                return None
            self._take()
            waiting = [s.market_id for s in state.settlements if not s.parked]
            answers_first = bool(self._taken) and not self._page_turn
            if state.sweep is not None or (answers_first and len(waiting) <= SETTLEMENTS_MAX):
                self._page_turn = True
                return Answer(self._taken)
            self._page_turn = False
            if waiting:
                return PayPage(waiting[state.batch_no % len(waiting)])
            if not self._taken:
                await self._wake.wait()

    async def _commit(self, committer: Committer, step: Step) -> None:
        """Carry a step out and hand its events over."""
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
        del self._taken[: batch.answered]
        self._metrics.queued(self.backlog)
        await self._publisher.put(row)

    async def _gather(
        self, committer: Committer, step: Step, accounts: frozenset[AccountId]
    ) -> None:
        """Move what withdrawals wait for into this lane, pocket by pocket, a batch each."""
        assert isinstance(step, Answer), "only withdrawals are gathered for"
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

    # What comes in.

    def offer(self, records: Sequence[Record]) -> None:
        """Queue what was fetched; drop what is not ours to answer, or was answered already."""
        if self.status is not LaneStatus.READY:
            return
        for record in records:
            if self._unchecked_sha and record.offset < self._expected:
                self._check_identity(record)
            elif record.offset >= self._expected:
                self._unchecked_sha = ""
                self._queue.append(record)
                self._expected = record.offset + 1
        self._metrics.queued(self.backlog)
        self._wake.set()

    @property
    def backlog(self) -> int:
        """Return how many records wait for their answer."""
        return len(self._queue) + len(self._taken)

    def halt(self, reason: str) -> None:
        """Stand still until an operator decides."""
        self.status, self.reason = LaneStatus.HALTED, reason
        self._wake.set()

    def stop(self) -> None:
        """Finish the batch in hand, then end."""
        self._stopping = True
        self._wake.set()

    def _check_identity(self, record: Record) -> None:
        """Compare the record before the cursor with the one that was answered there."""
        if record.offset == self._expected - 1:
            if record_sha(record.key, record.value, record.headers) != self._unchecked_sha:
                self.halt(
                    f"record {record.offset} of {self._stream.topic}[{self._partition}] is not the"
                    " one that was answered: the topic was recreated. RUNBOOK, 'The input topic is"
                    " not what it was', brings it back"
                )
            self._unchecked_sha = ""

    def _take(self) -> None:
        """Decode what waits, up to a batch."""
        room = COMMANDS_A_BATCH - len(self._taken)
        for record in list(islice(self._queue, max(room, 0))):
            self._queue.popleft()
            key, value, headers = record.key, record.value, record.headers
            self._taken.append(
                Received(
                    Offset(record.offset),
                    record.timestamp_ms,
                    record_sha(key, value, headers),
                    self._decode(key, value, headers),
                )
            )

    # What others see of it.

    async def look(self, view: Callable[[LaneState], T]) -> T:
        """Return ``view`` of the state between two batches: all that it sees is committed.

        Raises Fenced when the lane is not READY, or ends before its batch in hand does.
        """
        seen: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def show(state: LaneState | None) -> None:
            if state is None and not seen.done():
                seen.set_exception(Fenced(f"the lane has ended: {self.status} {self.reason}"))
            elif state is not None and not seen.done():
                seen.set_result(view(state))

        if self.status is not LaneStatus.READY:
            raise Fenced(f"the lane is {self.status}")
        self._looks.append(show)
        self._wake.set()
        return await seen

    def _show(self, state: LaneState | None) -> None:
        """Answer who waits to look; None: there is nothing to see any more."""
        looks, self._looks = self._looks, []
        for look in looks:
            look(state)

    @property
    def busy(self) -> bool:
        """Return whether something waits inside: records, a sweep, pages of a settlement."""
        state = self.state
        return bool(self.backlog) or (
            state is not None
            and (state.sweep is not None or not all(s.parked for s in state.settlements))
        )

    @property
    def trouble(self) -> str:
        """Return why it does not get on; empty: it does."""
        return self.reason or self.refusals.reason

    @property
    def is_unheard(self) -> bool:
        """Return whether the broker does not take the lane's events."""
        return self._publisher.failing

    @property
    def acknowledged_seq(self) -> int:
        """Return up to where the broker has taken the lane's events, as far as is known."""
        return self._publisher.acknowledged_seq

    def note_end(self, end: int) -> None:
        """Show how far the lane is behind the end of its topic."""
        if self.state is not None:
            self._metrics.behind(max(0, end - self.state.next_offset))

    def forget(self) -> None:
        """Take the lane's series away: it is somebody else's now."""
        self._metrics.gone()

    # How it begins and ends.

    async def _let_go(self, publishing: "asyncio.Task[None]") -> None:
        """End publishing, after what is committed has gone out if there is time for that."""
        drained = asyncio.create_task(self._publisher.drained(), name=f"drain-{self._partition}")
        try:
            if self._stopping:
                await asyncio.wait({drained, publishing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
            publishing.cancel()
            # What ended publishing was told to ``put``, or is of no more interest.
            await asyncio.gather(drained, publishing, return_exceptions=True)
            await self._store.close()


async def load(store: Store, stream: StreamRow, partition: int, row: LaneRow) -> LaneState:
    """Return what the owner of a lane holds for it, as its row and the tables have it."""
    share = Money(CASH_MAX // stream.partitions)
    home = Home(row.lane, stream.stream, partition, stream.partitions, stream.kind, share)
    sweep, settlements = resume_text.decode(row.resume)
    state = LaneState(
        home,
        batch_no=row.batch_no,
        next_offset=Offset(row.next_offset),
        last_seq=row.last_seq,
        lane_time_ms=row.lane_time_ms,
        last_record_sha=row.last_record_sha,
        cash_in_net=row.cash_in_net,
        sweep=sweep,
        settlements=settlements,
    )
    for market in await store.markets(row.lane):
        state.markets[market.market_id] = market
    for market_id, order in await store.open_orders(row.lane):
        if sweep is None or order.key != sweep.order.key:
            state.book(market_id).add(order)
    for book in state.books.values():
        book.keep()
    return state


def _withdrawn(command: Command, account_id: AccountId) -> int:
    wanted = isinstance(command, Withdraw) and command.account_id == account_id
    return command.amount if wanted and isinstance(command, Withdraw) else 0
