"""A small exchange played on scratch tables, by the worker's own planner, statements and audit.

Two accounts, one market: money comes in, orders meet, one is cancelled, the market is resolved and
paid, money goes out. So every table is written and every guard of the batch statement is asked.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from worker.adapters.postgres.books import Books
from worker.audit import full_audit
from worker.audit.proof import prove
from worker.domain.commands import (
    CancelOrder,
    Command,
    Deposit,
    OpenMarket,
    Outcome,
    PlaceOrder,
    Received,
    ResolveMarket,
    Side,
    TimeInForce,
    Withdraw,
)
from worker.domain.facts import Facts, Lack, Limits
from worker.domain.plan import AnswerCommands, Batch, PayPage, Step
from worker.domain.state import LaneState, StreamKind
from worker.domain.units import (
    AccountId,
    MarketId,
    Money,
    Offset,
    OrderId,
    Price,
    Quantity,
    TransferId,
)
from worker.errors import Conflict, Refused
from worker.ports import Statement, Store, StreamRow, System
from worker.response import Response, missing, ok
from worker.retry import retry
from worker.seal import plan_fully, seal
from worker.takeover import load

TRIES_MAX: Final = 4
BACKOFF_CAP_S: Final = 0.5
ROWS: Final = 600
OPERATOR: Final = AccountId("operator")
MARKET: Final = MarketId("rehearsal")
OWNER: Final = "doctor"

T = TypeVar("T")


async def again(system: System, call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call that lost a race, as a worker does: on DSQL any DDL costs each session one."""
    return await retry(call, Conflict, cap_s=BACKOFF_CAP_S, tries=TRIES_MAX, system=system)


@dataclass(slots=True)
class LaneOnTrial:
    """A lane without Kafka: a state, the epoch that it is held under, and a store."""

    store: Store
    system: System
    state: LaneState
    epoch: int
    batches: int = 0

    async def answer(self, *commands: Command) -> None:
        """Commit the answers to commands, and what settlements they begin."""
        first = self.state.next_offset
        given = [
            Received(Offset(first + n), 1_000 + first + n, f"{first + n:064x}", command)
            for n, command in enumerate(commands)
        ]
        while given:
            batch = await self._carry_out(AnswerCommands(given))
            given = given[batch.answered :]
        while self.state.settlements:
            await self._carry_out(PayPage(self.state.settlements[0].market_id))

    async def stale(self, command: Command) -> Statement:
        """Return a good statement under an epoch that is over."""
        received = Received(self.state.next_offset, 9_000, "0" * 64, command)
        batch = await self._planned(AnswerCommands([received]))
        statement = self._sealed(batch, self.epoch - 1)
        batch.discard()
        return statement

    async def _carry_out(self, step: Step) -> Batch:
        batch = await self._planned(step)
        statement = self._sealed(batch, self.epoch)
        await again(self.system, lambda: self.store.commit(statement))
        batch.adopt()
        self.batches += 1
        return batch

    async def _planned(self, step: Step) -> Batch:
        return await plan_fully(self.state, step, Facts(), Limits(ROWS), self._read)

    async def _read(self, lack: Lack) -> Facts:
        return await again(self.system, lambda: self.store.read(self.state.home, lack))

    def _sealed(self, batch: Batch, epoch: int) -> Statement:
        sealed = seal(batch, epoch=epoch, owner=OWNER, published_batch_no=0)
        return self.store.statement(batch, sealed)


class Rehearsal:
    """The play, in one way of committing. ``streams`` are scratch ones of one lane each."""

    def __init__(
        self, store: Store, books: Books, streams: Sequence[StreamRow], system: System
    ) -> None:
        self._store, self._books, self._system = store, books, system
        self._streams = {stream.kind: stream for stream in streams}
        # An account is one in all streams: each play has its own.
        self._ann, self._ben = (AccountId(f"{name}.{streams[0].stream}") for name in ("ann", "ben"))

    async def played(self) -> Response:
        """Commit every kind of row."""
        ann, ben = self._ann, self._ben
        transfers = await self._lane(StreamKind.TRANSFERS)
        await transfers.answer(_deposit(ann, 10_000), _deposit(ben, 10_000))
        orders = await self._lane(StreamKind.ORDERS)
        await orders.answer(
            OpenMarket(market_id=MARKET, operator_id=OPERATOR, payout=100, title="Rehearsal")
        )
        await orders.answer(_order(ann, "bid", Side.BUY), _order(ann, "low", Side.BUY, price=5))
        await orders.answer(_order(ben, "ask", Side.SELL))
        await orders.answer(
            CancelOrder(market_id=MARKET, account_id=ann, order_id=OrderId("low")),
            ResolveMarket(market_id=MARKET, operator_id=OPERATOR, outcome=Outcome.YES),
        )
        await transfers.answer(
            Withdraw(account_id=ann, transfer_id=TransferId("out"), amount=Money(100))
        )
        return ok(f"{transfers.batches + orders.batches} batches, each row of each table")

    async def fenced(self) -> Response:
        """Commit under an epoch that is over: the fence must refuse it."""
        lane = await self._lane(StreamKind.ORDERS)
        statement = await lane.stale(
            OpenMarket(market_id=MarketId("late"), operator_id=OPERATOR, payout=2, title="Late")
        )
        try:
            await again(self._system, lambda: self._store.commit(statement))
        except Refused as refused:
            return ok(f"refused: {refused.sqlstate} {refused.constraint}")
        return missing("committed, though another owner holds the lane")

    async def read_again(self) -> Response:
        """Load a lane as its next owner does, and read its journal."""
        lane = await self._lane(StreamKind.ORDERS)
        state = lane.state
        standing = await self._store.standing(state.home.lane, state.batch_no)
        written = await self._store.journal(state.home.lane, 1, state.batch_no)
        if standing.batch_no != state.batch_no or len(written) != state.batch_no:
            return missing(f"{len(written)} of {state.batch_no} batches in the journal")
        return ok(f"{len(written)} batches in the journal, epoch {lane.epoch}")

    async def audited(self) -> Response:
        """Prove and audit the scratch books."""
        proof = await prove(self._books)
        result = await full_audit(self._books, self._system.clock)
        wrong = [violation.name for violation in result.violations]
        if not proof.consistent or wrong:
            return missing(f"not consistent: {', '.join(wrong) or 'the proof'}")
        return ok(f"consistent: {proof.trades} trade, {result.rows} rows audited")

    async def _lane(self, kind: StreamKind) -> LaneOnTrial:
        stream = self._streams[kind]
        row = await again(self._system, lambda: self._store.take_over(stream.stream, 0, OWNER))
        state = await again(self._system, lambda: load(self._store, stream, 0, row, self._system))
        return LaneOnTrial(self._store, self._system, state, row.epoch)


def _deposit(account: AccountId, amount: int) -> Deposit:
    return Deposit(account_id=account, transfer_id=TransferId("in"), amount=Money(amount))


def _order(account: AccountId, order_id: str, side: Side, price: int = 60) -> PlaceOrder:
    return PlaceOrder(
        market_id=MARKET,
        account_id=account,
        order_id=OrderId(order_id),
        side=side,
        price=Price(price),
        quantity=Quantity(10),
        time_in_force=TimeInForce.GTC,
    )
