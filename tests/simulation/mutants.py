"""Workers, and a database, that are wrong on purpose: the simulation must notice every one.

Each mutant says within how many seeds it must be caught.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from tests.support import fake_store
from tests.support.fake_store import BatchStatement, Row, Transaction
from worker.commit import Attempt, Committer
from worker.domain import orders, settlement
from worker.domain.book import Book, OpenOrder
from worker.domain.draft import Draft
from worker.domain.plan import Batch
from worker.domain.state import OrderAnswer
from worker.errors import BrokerError, OutcomeUnknown, Refused
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
    """Where to begin, for what takes a rare coincidence to show."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the code be wrong for a while."""
        with ExitStack() as stack:
            for each in self.patches():
                stack.enter_context(each)
            yield


def _unchecked(*tables: str) -> AbstractContextManager[Any]:
    return patch.object(Transaction, "unchecked_keys", frozenset(tables))


def _fence(holds: Callable[[Row, Row], bool]) -> AbstractContextManager[Any]:
    return patch.object(BatchStatement, "fence", staticmethod(holds))


# The fence and what came back.


def _no_fence() -> Sequence[AbstractContextManager[Any]]:
    """Neither epoch nor number nor offset nor seq is compared; a batch may be written again."""
    return [_fence(lambda _lane, _given: True), _unchecked("batches")]


def _look_first() -> Sequence[AbstractContextManager[Any]]:
    """On an unknown outcome, look: what is not there has failed; answer again, without a fence."""
    unfenced: set[str] = set()
    send = Committer._send

    async def look(self: Committer, attempt: Attempt, batch: Batch, statement: Statement) -> bool:
        if attempt.refused == ("looked",):
            unfenced.add(statement.plan_hash)
        try:
            await self.store.commit(statement)
        except OutcomeUnknown:
            standing = await self._until_answered(
                lambda: self.store.standing(statement.lane, batch.batch_no)
            )
            if standing.plan_hash is not None:
                return True
            batch.discard()
            attempt.refused = ("looked",)
            attempt.facts = type(attempt.facts)()
            return False
        except Refused:
            return await send(self, attempt, batch, statement)
        except Exception:  # noqa: BLE001
            return await send(self, attempt, batch, statement)
        return True

    def holds(lane: Row, given: Row) -> bool:
        return given["plan_hash"] in unfenced or fake_store.fence_holds(lane, given)

    return [patch.object(Committer, "_send", look), _fence(holds), _unchecked("batches")]


def _adopt_by_number() -> Sequence[AbstractContextManager[Any]]:
    """A batch with our number is ours, whatever its plan."""
    judge = Committer._judge

    async def trusting(
        self: Committer, attempt: Attempt, batch: Batch, statement: Statement, error: Refused
    ) -> bool:
        standing = await self._until_answered(
            lambda: self.store.standing(statement.lane, batch.batch_no)
        )
        if (standing.epoch, standing.batch_no) == (self.epoch, batch.batch_no):
            return True
        return await judge(self, attempt, batch, statement, error)

    return [patch.object(Committer, "_judge", trusting)]


def _adopt_by_number_of_anyone() -> Sequence[AbstractContextManager[Any]]:
    """On an unknown outcome, look: a batch with our number is there, so it was ours."""
    send = Committer._send

    async def look(self: Committer, attempt: Attempt, batch: Batch, statement: Statement) -> bool:
        try:
            await self.store.commit(statement)
        except OutcomeUnknown:
            standing = await self._until_answered(
                lambda: self.store.standing(statement.lane, batch.batch_no)
            )
            if standing.batch_no == batch.batch_no:
                return True
        except Exception:  # noqa: BLE001, S110
            pass
        else:
            return True
        return await send(self, attempt, batch, statement)

    return [patch.object(Committer, "_send", look)]


def _adopt_before_commit() -> Sequence[AbstractContextManager[Any]]:
    """Books and caches take a batch over when it is planned; losing does not take it back."""

    def keep(self: Batch) -> None:
        for book in self.draft.books.values():
            book.keep()
        self.draft._adopt_caches()

    return [patch.object(Batch, "discard", keep)]


# Publishing.


def _publisher_of(committer: Committer) -> Publisher:
    cells: Any = committer.published_batch_no.__closure__
    (publisher,) = [c.cell_contents for c in cells if isinstance(c.cell_contents, Publisher)]
    return publisher


def _publish_before_commit() -> Sequence[AbstractContextManager[Any]]:
    """Events go out while their batch is on its way to the database."""
    send = Committer._send

    async def early(self: Committer, attempt: Attempt, batch: Batch, statement: Statement) -> bool:
        events = str(statement.parameters[15])
        await _publisher_of(self).put(JournalRow(batch.batch_no, events))
        return await send(self, attempt, batch, statement)

    async def taken(self: Lane, batch: Batch, row: JournalRow) -> None:  # noqa: ARG001
        del self._taken[: batch.answered]

    return [patch.object(Committer, "_send", early), patch.object(Lane, "_hand_over", taken)]


def _skip_failed_publish() -> Sequence[AbstractContextManager[Any]]:
    """A batch that could not be published is given up, and the next one sent."""
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
    """What is handed to the producer counts as published."""
    publish = Publisher._publish_next

    async def early(self: Publisher, producer: Producer) -> None:
        self.published_batch_no = self._waiting[-1].batch_no
        await publish(self, producer)

    return [patch.object(Publisher, "_publish_next", early)]


def _half_a_batch() -> Sequence[AbstractContextManager[Any]]:
    """The last event of every batch of several is forgotten when it is published."""
    decode = journal.decode

    def shorter(text: str, route: journal.Route) -> list[Outgoing]:
        return decode(text, route)[: -1 if text.count("\n") > 3 else None]

    return [patch("worker.publisher.journal.decode", shorter)]


# What a lane remembers.


def _resume_forgotten() -> Sequence[AbstractContextManager[Any]]:
    """A new owner does not go on with what the last one had begun."""
    return [patch.object(resume_text, "decode", lambda _: (None, ()))]


def _no_gate() -> Sequence[AbstractContextManager[Any]]:
    """What was answered before is taken once more when it is delivered once more."""

    def offer(self: Lane, records: Sequence[Record]) -> None:
        if self.status == "READY":
            self._queue.extend(records)
            self._wake.set()

    return [patch.object(Lane, "offer", offer)]


# The rules.


def _duplicate_applied() -> Sequence[AbstractContextManager[Any]]:
    """An order id may be used twice."""

    def unknown(_: Draft, __: str, ___: object) -> OrderAnswer | None:
        return None

    return [patch.object(orders, "_answer_of", unknown), _unchecked("orders")]


def _page_twice() -> Sequence[AbstractContextManager[Any]]:
    """Every page of a settlement begins with the first holder."""
    request = settlement._request

    def again(draft: Draft, market: Any, outcome: Any, known: Any) -> Any:  # noqa: ANN401
        asked = request(draft, market, outcome, known)
        return type(asked)(asked.market, asked.outcome, settlement.FIRST_CURSOR, asked.rows_max)

    return [patch.object(settlement, "_request", again), _unchecked("payouts")]


def _newest_first() -> Sequence[AbstractContextManager[Any]]:
    """The youngest order of a price trades first."""
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
