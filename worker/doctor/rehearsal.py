"""A small exchange played on scratch tables, by the worker's own planner, statements and audit.

Two accounts, one market: money comes in, orders meet, one is cancelled, the market is resolved and
paid, money goes out. So every table is written and every guard of the batch statement is asked.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from worker.adapters.answer import Answer, missing, ok
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
from worker.domain.plan import Answer as Answering
from worker.domain.plan import Batch, PayPage, Step, plan
from worker.domain.state import Facts, LaneState, Limits, StreamKind
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
from worker.errors import Conflict, ParityError, Refused
from worker.lane import load
from worker.ports import Monotonic, Seal, Statement, Store, StreamRow
from worker.wire import facts as facts_text
from worker.wire import journal, resume

READINGS_MAX: Final = 16
LOST_RACES_MAX: Final = 3
ROWS: Final = 600
OPERATOR: Final = AccountId("operator")
MARKET: Final = MarketId("rehearsal")
OWNER: Final = "doctor"

T = TypeVar("T")


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat what lost a race, as a worker does: on DSQL any DDL costs each session one."""
    for _ in range(LOST_RACES_MAX):
        try:
            return await call()
        except Conflict:
            continue
    return await call()


@dataclass(slots=True)
class LaneOnTrial:
    """A lane without Kafka: a state, the epoch that it is held under, and a store."""

    store: Store
    state: LaneState
    epoch: int
    rows: int = 0
    batches: int = 0

    async def answer(self, *commands: Command) -> None:
        """Commit the answers to commands, and what settlements they begin."""
        first = self.state.next_offset
        given = [
            Received(Offset(first + n), 1_000 + first + n, f"{first + n:064x}", command)
            for n, command in enumerate(commands)
        ]
        while given:
            batch = await self._carry_out(Answering(given))
            given = given[batch.answered :]
        while self.state.settlements:
            await self._carry_out(PayPage(self.state.settlements[0].market_id))

    async def stale(self, command: Command) -> Statement:
        """Return a good statement under an epoch that is over."""
        received = Received(self.state.next_offset, 9_000, "0" * 64, command)
        batch = await self._planned(Answering([received]))
        statement = self._sealed(batch, self.epoch - 1)
        batch.discard()
        return statement

    async def _carry_out(self, step: Step) -> Batch:
        batch = await self._planned(step)
        statement = self._sealed(batch, self.epoch)
        await again(lambda: self.store.commit(statement))
        batch.adopt()
        self.batches += 1
        return batch

    async def _planned(self, step: Step) -> Batch:
        facts = Facts()
        for _ in range(READINGS_MAX):
            planned = plan(self.state, step, facts, Limits(ROWS))
            if isinstance(planned, Batch):
                return planned
            read = await again(partial(self.store.read, self.state.home, planned))
            facts = facts.and_read(read)
        raise ParityError("a plan keeps asking for more facts")

    def _sealed(self, batch: Batch, epoch: int) -> Statement:
        seal = Seal(
            epoch=epoch,
            owner=OWNER,
            published_batch_no=0,
            facts=facts_text.encode(batch.facts, batch.limits, batch.step, 0),
            events=journal.encode(batch.draft.entries, batch.draft.state.home.kind),
            resume=resume.encode(batch.sweep, batch.settlements),
        )
        return self.store.statement(batch, seal)


class Rehearsal:
    """The play, in one way of committing. ``streams`` are scratch ones of one lane each."""

    def __init__(self, store: Store, books: Books, streams: Sequence[StreamRow]) -> None:
        self._store, self._books = store, books
        self._streams = {stream.kind: stream for stream in streams}
        # An account is one in all streams: each play has its own.
        self._ann, self._ben = (AccountId(f"{name}.{streams[0].stream}") for name in ("ann", "ben"))

    async def played(self) -> Answer:
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

    async def fenced(self) -> Answer:
        """Commit under an epoch that is over: the fence must refuse it."""
        lane = await self._lane(StreamKind.ORDERS)
        statement = await lane.stale(
            OpenMarket(market_id=MarketId("late"), operator_id=OPERATOR, payout=2, title="Late")
        )
        try:
            await again(lambda: self._store.commit(statement))
        except Refused as refused:
            return ok(f"refused: {refused.sqlstate} {refused.constraint}")
        return missing("committed, though another owner holds the lane")

    async def read_again(self) -> Answer:
        """Load a lane as its next owner does, and read its journal."""
        lane = await self._lane(StreamKind.ORDERS)
        state = lane.state
        standing = await self._store.standing(state.home.lane, state.batch_no)
        written = await self._store.journal(state.home.lane, 1, state.batch_no)
        if standing.batch_no != state.batch_no or len(written) != state.batch_no:
            return missing(f"{len(written)} of {state.batch_no} batches in the journal")
        return ok(f"{len(written)} batches in the journal, epoch {lane.epoch}")

    async def audited(self, clock: Monotonic) -> Answer:
        """Prove and audit the scratch books."""
        proof = await prove(self._books)
        result = await full_audit(self._books, clock)
        wrong = [violation.name for violation in result.violations]
        if not proof.consistent or wrong:
            return missing(f"not consistent: {', '.join(wrong) or 'the proof'}")
        return ok(f"consistent: {proof.trades} trade, {result.rows} rows audited")

    async def _lane(self, kind: StreamKind) -> LaneOnTrial:
        stream = self._streams[kind]
        row = await again(lambda: self._store.take_over(stream.stream, 0, OWNER))
        state = await again(lambda: load(self._store, stream, 0, row))
        return LaneOnTrial(self._store, state, row.epoch)


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
