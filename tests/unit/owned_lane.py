"""A lane with its owner's committer, over the database in memory.

What befalls a statement or a reading on its way is up to the test.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from typing_extensions import override

from tests.support.books import Desk, in_order, orders_home, received
from tests.support.fake_store import FakeBooks, FakeStore
from worker.commit import Committer, Owner
from worker.domain.commands import Command, Received
from worker.domain.events import Event
from worker.domain.facts import Facts, Lack
from worker.domain.plan import AnswerCommands, Batch, Step
from worker.domain.state import Home
from worker.domain.units import AccountId, LaneId, Offset
from worker.errors import StoreError
from worker.ports import Standing, Statement, System
from worker.refusals import RefusalMonitor
from worker.telemetry import LaneMetrics, Metrics

CALLS_MAX = 500
"""No test needs more calls: a committer that makes more never ends."""

Trouble = Callable[["Line", Statement], Awaitable[None]]


class Line(FakeStore):
    """A lane's connection, on which troubles befall one statement after the other."""

    def __init__(self, books: FakeBooks) -> None:
        super().__init__(books.database)
        self.database = books.database
        self.sent: list[Statement] = []
        self.calls: list[str] = []
        self.troubles: deque[Trouble] = deque()
        self.refusing: Callable[[Statement], StoreError | None] = lambda _: None
        self.hides: Callable[[Facts], Facts] = lambda facts: facts

    @override
    async def commit(self, statement: Statement) -> None:
        self._note("commit")
        self.sent.append(statement)
        if self.troubles:
            await self.troubles.popleft()(self, statement)
        if error := self.refusing(statement):
            raise error
        await self.land(statement)

    async def land(self, statement: Statement) -> None:
        """Commit a statement whatever befalls it."""
        await super().commit(statement)

    @override
    async def standing(self, lane: LaneId, batch_no: int) -> Standing:
        self._note("standing")
        return await super().standing(lane, batch_no)

    @override
    async def read(self, home: Home, lack: Lack) -> Facts:
        self._note("read")
        return self.hides(await super().read(home, lack))

    def _note(self, call: str) -> None:
        self.calls.append(call)
        assert len(self.calls) < CALLS_MAX, "it never ends"


def failing(error: StoreError) -> Trouble:
    """Return a trouble that loses the statement."""

    async def befall(_line: Line, _statement: Statement) -> None:
        raise error

    return befall


class OwnedLane:
    """A lane as its next owner has it: nothing is cached."""

    def __init__(self, line: Line, desk: Desk) -> None:
        self.line, self.state = line, desk.state
        self.pauses_s: list[float] = []
        self.log: list[Received] = []
        self.batches: list[Batch] = []
        self.readings: list[int] = []
        """Readings of each batch."""
        self.committer = Committer(
            Owner("me", 2_500, System(lambda: 0.0, self._pause, Random(0))),
            line,
            desk.state,
            desk.epoch,
            LaneMetrics(Metrics(), desk.home.stream, desk.home.partition),
            RefusalMonitor(),
            published_batch_no=lambda: 0,
        )

    @classmethod
    async def taken_over(cls, books: FakeBooks, home: Home | None = None) -> "OwnedLane":
        """Take a lane over; the first one of the orders stream, unless another is named."""
        line = Line(books)
        return cls(line, await Desk.open(line, home or orders_home(0)))

    async def _pause(self, seconds: float) -> None:
        self.pauses_s.append(seconds)

    async def answer(self, *commands: Command) -> list[Batch]:
        """Commit until every command is answered and no sweep is left."""
        left, before = self._received(commands), len(self.batches)
        self.log += left
        while left or self.state.sweeps:
            batch = await self.carry_out(in_order(self.state, left))
            left = left[batch.answered :]
        return self.batches[before:]

    async def answer_once(self, *commands: Command) -> Batch:
        """Commit one batch, which may answer fewer commands."""
        return await self.carry_out(self.answering(*commands))

    def answering(self, *commands: Command) -> AnswerCommands:
        """Return the step that answers commands."""
        return AnswerCommands(self._received(commands))

    def _received(self, commands: Sequence[Command]) -> list[Received]:
        first = self.state.next_offset
        return [received(Offset(first + n), command) for n, command in enumerate(commands)]

    async def carry_out(self, step: Step, no_draws: frozenset[AccountId] = frozenset()) -> Batch:
        """Commit one step."""
        before = self.line.calls.count("read")
        batch, _ = await self.committer.carry_out(step, no_draws)
        self.readings.append(self.line.calls.count("read") - before)
        self.batches.append(batch)
        return batch

    def said(self) -> list[str]:
        """Return what each event says, in order: its reason, or its kind."""
        return [text for batch in self.batches for text in said(batch)]

    def alarms(self) -> set[str]:
        """Return the alarms that were raised."""
        found = self.committer.metrics._metrics.alarms.collect()
        return {sample.labels["alarm"] for metric in found for sample in metric.samples}


def said(batch: Batch) -> list[str]:
    """Return what each event of a batch says: its reason, or its kind."""
    return [
        str(getattr(entry.body, "reason", type(entry.body).__name__))
        for entry in batch.draft.entries
        if isinstance(entry, Event)
    ]
