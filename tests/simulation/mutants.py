"""Workers and a database that are wrong on purpose. The simulation must notice every mutant.

Each mutant has a number of seeds within which it must be caught.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from unittest.mock import patch

from tests.support import fake_database
from tests.support.books import given
from tests.support.fake_database import BatchStatement, Transaction
from tests.support.fake_schema import Row
from worker.commit import Committer
from worker.decide import decide
from worker.decisions import (
    Adopt,
    Attempt,
    Decision,
    GiveUp,
    LaneRead,
    Replan,
    Result,
    Tried,
)
from worker.domain import orders, settlement
from worker.domain.book import Book, OpenOrder
from worker.domain.draft import Draft
from worker.domain.facts import Facts, OrderAnswer
from worker.domain.plan import Batch
from worker.errors import BrokerError, OutcomeUnknown
from worker.lane import Lane
from worker.ports import JournalRow, Outgoing, Producer, Record, Statement
from worker.publisher import Publisher
from worker.wire import journal
from worker.wire import resume as resume_text


@dataclass(frozen=True)
class Mutant:
    """A broken variant."""

    name: str
    seeds: int
    patches: Callable[[], Sequence[AbstractContextManager[Any]]]
    first: int = 0
    """First seed, for a mutant that only a rare coincidence reveals."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the mutant within the block."""
        with ExitStack() as stack:
            for each in self.patches():
                stack.enter_context(each)
            yield


def _unchecked(*tables: str) -> AbstractContextManager[Any]:
    return patch.object(Transaction, "unchecked_keys", frozenset(tables))


def _fence(holds: Callable[[Row, Row], bool]) -> AbstractContextManager[Any]:
    return patch.object(BatchStatement, "fence", staticmethod(holds))


# The fence and the results of a commit.


def _no_fence() -> Sequence[AbstractContextManager[Any]]:
    """Compare neither epoch nor number nor offset nor seq, and allow a batch to be repeated."""
    return [_fence(lambda _lane, _given: True), _unchecked("batches")]


def _look_first() -> Sequence[AbstractContextManager[Any]]:
    """Look after an unknown outcome, and plan a missing batch again without a fence."""
    unfenced: set[str] = set()
    commit = Committer._commit

    async def look(
        self: Committer, attempt: Attempt, batch: Batch, statement: Statement
    ) -> Adopt | GiveUp:
        if attempt.refused == ("looked",):
            unfenced.add(statement.plan_hash)
        try:
            await self.store.commit(statement)
        except OutcomeUnknown:
            standing = await self._look(batch.batch_no)
            if standing.plan_hash is not None:
                return Adopt()
            return Replan(attempt=replace(attempt, refused=("looked",), facts=Facts()))
        except Exception:  # noqa: BLE001
            return await commit(self, attempt, batch, statement)
        return Adopt()

    def holds(lane: Row, given: Row) -> bool:
        return given["plan_hash"] in unfenced or fake_database.fence_holds(lane, given)

    return [patch.object(Committer, "_commit", look), _fence(holds), _unchecked("batches")]


def _adopt_by_number() -> Sequence[AbstractContextManager[Any]]:
    """Adopt any batch with the right number, whatever its plan."""

    def trusting(attempt: Attempt, result: Result, tried: Tried) -> Decision:
        ours = (attempt.situation.epoch, tried.batch_no)
        if isinstance(result, LaneRead):
            standing = result.standing
            if (standing.epoch, standing.batch_no) == ours:
                return Adopt()
        return decide(attempt, result, tried)

    return [patch("worker.commit.decide", trusting)]


def _adopt_by_number_of_anyone() -> Sequence[AbstractContextManager[Any]]:
    """Look after an unknown outcome, and adopt any batch with the right number."""
    commit = Committer._commit

    async def look(
        self: Committer, attempt: Attempt, batch: Batch, statement: Statement
    ) -> Adopt | GiveUp:
        try:
            await self.store.commit(statement)
        except OutcomeUnknown:
            standing = await self._look(batch.batch_no)
            if standing.batch_no == batch.batch_no:
                return Adopt()
        except Exception:  # noqa: BLE001, S110
            pass
        else:
            return Adopt()
        return await commit(self, attempt, batch, statement)

    return [patch.object(Committer, "_commit", look)]


def _adopt_before_commit() -> Sequence[AbstractContextManager[Any]]:
    """Adopt a batch in books and caches when it is planned, and keep it after a refusal."""

    def keep(self: Batch) -> None:
        for book in self.draft.books.values():
            book.keep()
        self.draft._adopt_caches()

    return [patch.object(Batch, "discard", keep)]


# Publishing.


def _publisher_of(committer: Committer) -> Publisher:
    cells: Any = committer.published_batch_no.__closure__
    (lane,) = [c.cell_contents for c in cells if isinstance(c.cell_contents, Lane)]
    return lane._publisher


def _publish_before_commit() -> Sequence[AbstractContextManager[Any]]:
    """Publish events while their batch is in flight to the database."""
    commit = Committer._commit

    async def early(
        self: Committer, attempt: Attempt, batch: Batch, statement: Statement
    ) -> Adopt | GiveUp:
        events = str(given(statement, "events"))
        await _publisher_of(self).put(JournalRow(batch.batch_no, events))
        return await commit(self, attempt, batch, statement)

    async def taken(self: Lane, batch: Batch, row: JournalRow) -> None:  # noqa: ARG001
        self._intake.answered(batch.draft.next_offset, batch.waiting)

    return [patch.object(Committer, "_commit", early), patch.object(Lane, "_hand_over", taken)]


def _skip_failed_publish() -> Sequence[AbstractContextManager[Any]]:
    """Drop a batch that could not be published, and publish the next."""
    publish = Publisher._publish_next

    async def skip(self: Publisher, producer: Producer) -> None:
        first = self._waiting[0]
        try:
            await publish(self, producer)
        except BrokerError:
            if self._waiting and self._waiting[0] is first:
                self.published_batch_no = self._waiting.popleft().batch_no
            raise

    return [patch.object(Publisher, "_publish_next", skip)]


def _mark_before_ack() -> Sequence[AbstractContextManager[Any]]:
    """Mark batches as published when the producer gets them."""
    publish = Publisher._publish_next

    async def early(self: Publisher, producer: Producer) -> None:
        self.published_batch_no = self._waiting[-1].batch_no
        await publish(self, producer)

    return [patch.object(Publisher, "_publish_next", early)]


def _half_a_batch() -> Sequence[AbstractContextManager[Any]]:
    """Omit the last event of a batch with several events."""
    decode = journal.decode

    def shorter(text: str, route: journal.Route) -> list[Outgoing]:
        return decode(text, route)[: -1 if text.count("\n") > 3 else None]

    return [patch("worker.publisher.journal.decode", shorter)]


# The memory of a lane.


def _resume_forgotten() -> Sequence[AbstractContextManager[Any]]:
    """Forget the unfinished work of the last owner."""
    return [patch.object(resume_text, "decode", lambda _: (None, ()))]


def _no_gate() -> Sequence[AbstractContextManager[Any]]:
    """Accept a record again when it is delivered again."""

    def offer(self: Lane, records: Sequence[Record]) -> None:
        if self.status == "READY":
            self._intake._queue.extend(records)
            self._wake.set()

    return [patch.object(Lane, "offer", offer)]


# The rules.


def _duplicate_applied() -> Sequence[AbstractContextManager[Any]]:
    """Accept an order id twice."""

    def unknown(_: Draft, __: str, ___: object) -> OrderAnswer | None:
        return None

    return [patch.object(orders, "_answer_of", unknown), _unchecked("orders")]


def _page_twice() -> Sequence[AbstractContextManager[Any]]:
    """Begin every page of a settlement with the first holder."""
    request = settlement._request

    def again(draft: Draft, market: Any, outcome: Any, known: Any) -> Any:  # noqa: ANN401
        asked = request(draft, market, outcome, known)
        return type(asked)(asked.market, asked.outcome, settlement.FIRST_CURSOR, asked.rows_max)

    return [patch.object(settlement, "_request", again), _unchecked("payouts")]


def _newest_first() -> Sequence[AbstractContextManager[Any]]:
    """Let the youngest order of a price trade first."""
    insert = Book._insert

    def before(self: Book, order: OpenOrder) -> None:
        insert(self, order)
        level = self._levels[order.side][order.price]
        level.queue.insert(level.head, level.queue.pop())

    return [patch.object(Book, "_insert", before)]


MUTANTS: Final = (
    Mutant("no fence", 20, _no_fence),
    Mutant("look first on an unknown outcome", 60, _look_first, first=20),
    Mutant("adopt a batch of that number", 100, _adopt_by_number, first=26),
    Mutant("adopt anybody's batch of that number", 100, _adopt_by_number_of_anyone, first=350),
    Mutant("adopt before the commit", 10, _adopt_before_commit),
    Mutant("publish before the commit", 10, _publish_before_commit),
    Mutant("skip a failed publish", 20, _skip_failed_publish),
    Mutant("mark as published before the acknowledgement", 60, _mark_before_ack),
    Mutant("publish a batch without its end", 10, _half_a_batch),
    Mutant("forget what was begun", 40, _resume_forgotten),
    Mutant("take what was answered", 20, _no_gate),
    Mutant("apply an order twice", 20, _duplicate_applied),
    Mutant("pay a page twice", 80, _page_twice, first=8),
    Mutant("newest first", 10, _newest_first),
)
