"""Commands driven through plan and store until they are committed, and batches made wrong.

A ``Desk`` is a lane without Kafka: it knows the port ``Store`` and nothing of its database. What is
special to PostgreSQL (a migrated database, raw rows) stands below it.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final, Self, TypeVar

import asyncpg
from typing_extensions import override

from tests.support import dialect
from worker.adapters.postgres import statements
from worker.adapters.postgres.connect import Connect, connect
from worker.adapters.postgres.migrate import migrate
from worker.adapters.postgres.store import PostgresStore
from worker.domain import ids
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
from worker.domain.plan import Answer, Batch, PayPage, Step, plan
from worker.domain.state import Facts, Home, Lack, LaneState, Limits, StreamKind
from worker.domain.units import (
    CASH_MAX,
    AccountId,
    Lane,
    MarketId,
    Money,
    Offset,
    OrderId,
    Price,
    Quantity,
    TransferId,
)
from worker.errors import Conflict, Refused
from worker.ports import LaneRow, Seal, Statement, Store
from worker.wire import facts as facts_text
from worker.wire import journal
from worker.wire import resume as resume_text

ORDERS, TRANSFERS = "orders-1", "transfers-1"
ORDER_LANES, TRANSFER_LANES = 2, 1
READINGS_MAX = 16
TIMEOUT_S = 10.0
REFUSALS_MAX = 60

T = TypeVar("T")

TABLES: Final = {
    name: 16 + number
    for number, name in enumerate(
        [
            "accounts",
            "markets",
            "market_changes",
            "orders",
            "order_changes",
            "trades",
            "draws",
            "transfers",
            "payees",
            "pockets",
        ]
    )
}
"""Where each table's JSON stands among the parameters of a batch."""
SCALARS: Final = {
    name: number
    for number, name in enumerate(
        [
            "lane",
            "epoch",
            "batch_no",
            "next_offset",
            "last_seq",
            "lane_time_ms",
            "last_record_sha",
            "resume",
            "published_batch_no",
            "batch_id",
            "first_offset",
            "first_seq",
            "owner",
            "plan_hash",
            "facts",
            "events",
        ]
    )
}

Row = dict[str, Any]


@dataclass
class Desk:
    """One lane: its store, what it holds in memory, and the epoch it holds it under."""

    store: Store
    home: Home
    owner: str
    epoch: int
    state: LaneState
    limits: Limits = field(default_factory=lambda: Limits(2_500))
    published_batch_no: int = 0
    log: list[Received] = field(default_factory=list)
    """All commands that it was to run."""

    @classmethod
    async def open(cls, store: Store, home: Home, owner: str = "desk") -> Self:
        """Take the lane over and load it."""
        row = await store.take_over(home.stream, home.partition, owner)
        sweep, settlements = resume_text.decode(row.resume)
        state = LaneState(
            replace(home, lane=row.lane),
            batch_no=row.batch_no,
            next_offset=Offset(row.next_offset),
            last_seq=row.last_seq,
            lane_time_ms=row.lane_time_ms,
            last_record_sha=row.last_record_sha,
            cash_in_net=row.cash_in_net,
            sweep=sweep,
            settlements=settlements,
        )
        state.markets = {market.market_id: market for market in await store.markets(row.lane)}
        for market_id, order in await store.open_orders(row.lane):
            if sweep is None or order.key != sweep.order.key:
                state.book(market_id).add(order)
        for book in state.books.values():
            book.keep()
        return cls(store, state.home, owner, row.epoch, state)

    async def run(self, *commands: Command, facts: Facts | None = None) -> list[Batch]:
        """Commit until every command is answered and no sweep is left."""
        first = self.state.next_offset
        left = [received(Offset(first + n), command) for n, command in enumerate(commands)]
        self.log += left
        done = []
        while left or self.state.sweep is not None:
            batch = await self.carry_out(Answer(left), facts)
            done.append(batch)
            left = left[batch.answered :]
        return done

    async def settle(self) -> None:
        """Commit pages until no settlement is left."""
        while self.state.settlements:
            await self.carry_out(PayPage(self.state.settlements[0].market_id))

    async def carry_out(self, step: Step, facts: Facts | None = None) -> Batch:
        """Commit one step, planned again on fresh facts if a constraint refused it."""
        facts = facts or Facts()
        for _ in range(READINGS_MAX):
            batch = await self.plan(step, facts)
            try:
                await self.store.commit(self.statement(batch))
            except Refused:
                batch.discard()
                facts = batch.facts.and_read(await self.store.read(self.home, _named(batch)))
            else:
                batch.adopt()
                return batch
        raise AssertionError("refused again and again")

    async def plan(self, step: Step, facts: Facts | None = None) -> Batch:
        """Plan a step, reading whatever it lacks."""
        facts = facts or Facts()
        for _ in range(READINGS_MAX):
            planned = plan(self.state, step, facts, self.limits)
            if isinstance(planned, Batch):
                return planned
            facts = facts.and_read(await self.store.read(self.home, planned))
        raise AssertionError("the plan keeps asking for facts")

    async def answer(self, *commands: Command) -> Batch:
        """Plan an answer to commands that are next in the lane, and do not commit it."""
        first = self.state.next_offset
        return await self.plan(
            Answer([received(Offset(first + n), command) for n, command in enumerate(commands)])
        )

    def statement(self, batch: Batch) -> Statement:
        """Return the statement that commits a batch."""
        seal = Seal(
            epoch=self.epoch,
            owner=self.owner,
            published_batch_no=self.published_batch_no,
            facts=facts_text.encode(batch.facts, batch.limits, batch.step, 0),
            events=journal.encode(batch.draft.entries, self.home.kind),
            resume=resume_text.encode(batch.sweep, batch.settlements),
        )
        return self.store.statement(batch, seal)

    async def prepared(self, *commands: Command) -> Statement:
        """Return a good statement that was not sent; the desk is as it was before."""
        batch = await self.answer(*commands)
        statement = self.statement(batch)
        batch.discard()
        return statement

    async def halt(self, market_id: MarketId) -> None:
        """Halt a market as a bug in the rules would."""
        offset = self.state.next_offset
        rejected = Facts(internal_rejects=frozenset({offset}), halts=frozenset({offset}))
        command = cancel(market_id, "nobody", "none")
        await self.run(command, facts=rejected)


def received(offset: Offset, command: Command) -> Received:
    return Received(offset, 1_000 + offset, f"{offset:064x}", command)


def _named(batch: Batch) -> Lack:
    """Return all that a refused batch may have been wrong about."""
    draft = batch.draft
    return Lack(
        accounts=set(draft.purses),
        positions=set(draft.positions),
        orders={row.ref for row in draft.new_orders.values()},
        transfers={row.ref for row in draft.transfers.values()},
    )


# Commands in few words.


def deposit(account: str, amount: int, transfer_id: str | None = None) -> Deposit:
    return Deposit(
        account_id=AccountId(account),
        transfer_id=TransferId(transfer_id or f"d-{amount}"),
        amount=Money(amount),
    )


def withdraw(account: str, amount: int, transfer_id: str | None = None) -> Withdraw:
    return Withdraw(
        account_id=AccountId(account),
        transfer_id=TransferId(transfer_id or f"w-{amount}"),
        amount=Money(amount),
    )


def open_market(market: str, payout: int = 100) -> OpenMarket:
    return OpenMarket(
        market_id=MarketId(market), operator_id=AccountId("op"), payout=payout, title=market
    )


def resolve(market: str, outcome: Outcome = Outcome.YES) -> ResolveMarket:
    return ResolveMarket(market_id=MarketId(market), operator_id=AccountId("op"), outcome=outcome)


def cancel(market: str, account: str, order_id: str) -> CancelOrder:
    return CancelOrder(
        market_id=MarketId(market), account_id=AccountId(account), order_id=OrderId(order_id)
    )


_order_numbers = count(1)


def buy(market: str, account: str, quantity: int, price: int, order_id: str = "") -> PlaceOrder:
    return _place(Side.BUY, market, account, (quantity, price), order_id)


def sell(market: str, account: str, quantity: int, price: int, order_id: str = "") -> PlaceOrder:
    return _place(Side.SELL, market, account, (quantity, price), order_id)


def _place(
    side: Side, market: str, account: str, terms: tuple[int, int], order_id: str
) -> PlaceOrder:
    quantity, price = terms
    return PlaceOrder(
        market_id=MarketId(market),
        account_id=AccountId(account),
        order_id=OrderId(order_id or f"o-{next(_order_numbers)}"),
        side=side,
        price=Price(price),
        quantity=Quantity(quantity),
        time_in_force=TimeInForce.GTC,
    )


def market_at(partition: int, name: str) -> MarketId:
    """Return a market's name that lives in a partition of the orders stream."""
    return next(
        MarketId(f"{name}-{n}")
        for n in count()
        if ids.partition_of(f"{name}-{n}", ORDER_LANES) == partition
    )


def market_key(market: str) -> str:
    return ids.market_key(ORDERS, MarketId(market))


def account_key(account: str) -> str:
    return ids.account_key(AccountId(account))


# Wrong batches.


def altered(statement: Statement, table: str, change: Callable[[list[Row]], object]) -> Statement:
    """Return the statement with the rows of one table changed in place by ``change``."""
    number = TABLES[table]
    rows = json.loads(str(statement.parameters[number]))
    change(rows)
    return _with(statement, number, json.dumps(rows))


def rescaled(statement: Statement, **scalars: object) -> Statement:
    """Return the statement with some of its scalar parameters replaced."""
    for name, value in scalars.items():
        statement = _with(statement, SCALARS[name], value)
    return statement


def rows_of(statement: Statement, table: str) -> list[Row]:
    """Return the rows that a statement states for a table."""
    rows: list[Row] = json.loads(str(statement.parameters[TABLES[table]]))
    return rows


def _with(statement: Statement, number: int, value: object) -> Statement:
    before = statement.parameters
    return replace(statement, parameters=(*before[:number], value, *before[number + 1 :]))


# A database of PostgreSQL.


class _Insistent(PostgresStore):
    """Sends the same again when the line refuses a commit, as a lane does; loses races as ever."""

    @override
    async def take_over(self, stream: str, partition: int, owner: str) -> LaneRow:
        return await _insist(lambda: super(_Insistent, self).take_over(stream, partition, owner))

    @override
    async def commit(self, statement: Statement) -> None:
        await _insist(lambda: super(_Insistent, self).commit(statement))


async def _insist(call: Callable[[], Awaitable[T]]) -> T:
    for _ in range(REFUSALS_MAX):
        try:
            return await call()
        except Conflict as error:
            if "(OC00" not in str(error):
                raise
    raise AssertionError(f"refused {REFUSALS_MAX} times")


@dataclass
class Books:
    """A migrated database with an orders stream of two lanes and a transfers stream of one."""

    url: str
    connection: "asyncpg.Connection[asyncpg.Record]"
    in_steps: bool = False
    connect: Connect = connect
    stores: list[PostgresStore] = field(default_factory=list)

    def store(self) -> PostgresStore:
        """Return a new store, closed with the books."""
        made = _Insistent if dialect.REFUSES_COMMITS else PostgresStore
        store = made(
            self.url,
            timeout_s=TIMEOUT_S,
            in_steps=self.in_steps,
            connect=self.connect,
        )
        self.stores.append(store)
        return store

    async def orders(self, partition: int = 0) -> Desk:
        """Open a desk for a lane of the orders stream."""
        return await Desk.open(self.store(), orders_home(partition))

    async def transfers(self) -> Desk:
        """Open a desk for the lane of the transfers stream."""
        return await Desk.open(self.store(), transfers_home())

    async def dump(self) -> dict[str, list[str]]:
        """Return every row of every table, as text, sorted."""
        found = await self.connection.fetch(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1"
        )
        return {name: await self._rows(name) for (name,) in found}

    async def _rows(self, table: str) -> list[str]:
        rows = await self.connection.fetch(f'SELECT t::text FROM "{table}" t ORDER BY 1')  # noqa: S608
        return [text for (text,) in rows]

    async def value(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever it asks
        """Return the one value that a query finds."""
        return await self.connection.fetchval(sql, *arguments)

    async def rows(self, sql: str, *arguments: object) -> Sequence[tuple[Any, ...]]:
        """Return what a query finds."""
        return [tuple(row) for row in await self.connection.fetch(sql, *arguments)]


def orders_home(partition: int) -> Home:
    """Return a lane of the orders stream."""
    lane = Lane(partition)
    return Home(lane, ORDERS, partition, ORDER_LANES, StreamKind.ORDERS, CASH_MAX)


def transfers_home() -> Home:
    """Return the lane of the transfers stream."""
    return Home(Lane(ORDER_LANES), TRANSFERS, 0, TRANSFER_LANES, StreamKind.TRANSFERS, CASH_MAX)


@asynccontextmanager
async def opened(
    url: str, *, in_steps: bool = False, connect: Connect = connect
) -> AsyncIterator[Books]:
    """Migrate an empty database, register its streams, and close everything in the end."""
    await migrate(url, timeout_s=TIMEOUT_S)
    connection = await asyncpg.connect(dialect.direct(url))
    books = Books(url, connection, in_steps or dialect.IN_STEPS, connect)
    try:
        for stream, kind, lanes in (
            (ORDERS, StreamKind.ORDERS, ORDER_LANES),
            (TRANSFERS, StreamKind.TRANSFERS, TRANSFER_LANES),
        ):
            await connection.execute(
                statements.REGISTER_STREAM, stream, f"parity.{stream}", kind, lanes
            )
        yield books
    finally:
        for store in books.stores:
            await store.close()
        await connection.close()
