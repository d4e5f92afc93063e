"""Commands that are planned and committed through a store, and wrong batches.

A ``Desk`` is a lane without Kafka. It uses the port ``Store`` and does not know its database. The
parts that need PostgreSQL (a migrated database, raw rows) are at the end of this file.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, cycle
from typing import Any, Self, TypedDict, TypeVar, Unpack

import asyncpg
from typing_extensions import override

from tests.support import dialect
from worker.adapters.postgres import statements
from worker.adapters.postgres.connect import Connect, connect
from worker.adapters.postgres.migrate import migrate
from worker.adapters.postgres.parameters import PARAMETERS
from worker.adapters.postgres.store import PostgresStore
from worker.adapters.system import system
from worker.decisions import Tried
from worker.domain import ids
from worker.domain.book import OpenOrder
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
from worker.domain.facts import Facts, Limits
from worker.domain.plan import AnswerCommands, Batch, PayPage, Step
from worker.domain.state import Home, LaneState, StreamKind
from worker.domain.units import (
    CASH_MAX,
    AccountId,
    LaneId,
    MarketId,
    Money,
    Offset,
    OrderId,
    Price,
    Quantity,
    TransferId,
)
from worker.errors import Conflict, Refused
from worker.ports import BEFORE_ORDERS, LaneRow, OrderCursor, Statement, Store, StreamRow
from worker.seal import plan_fully, seal
from worker.takeover import load

ORDERS, TRANSFERS = "orders-1", "transfers-1"
ORDER_LANES, TRANSFER_LANES = 2, 1
TRIES_MAX = 16
TIMEOUT_S = 10.0
REFUSALS_MAX = 60

T = TypeVar("T")

Row = dict[str, Any]


async def open_orders(store: Store, lane: LaneId) -> list[tuple[MarketId, OpenOrder]]:
    """Return all open orders that a store would load, oldest first."""
    found: list[tuple[MarketId, OpenOrder]] = []
    after: OrderCursor | None = BEFORE_ORDERS
    while after is not None:
        page = await store.open_orders(lane, after)
        found += page.orders
        after = page.last
    return sorted(found, key=lambda entry: entry[1].seq)


@dataclass
class Desk:
    """One lane with its store, its state in memory and its epoch."""

    store: Store
    home: Home
    owner: str
    epoch: int
    state: LaneState
    limits: Limits = field(default_factory=lambda: Limits(2_500))
    published_batch_no: int = 0
    log: list[Received] = field(default_factory=list)
    """All commands given to the desk."""

    @classmethod
    async def open(cls, store: Store, home: Home, owner: str = "desk") -> Self:
        """Take the lane over and load it."""
        row = await store.take_over(home.stream, home.partition, owner)
        stream = StreamRow(home.stream, "", home.kind, home.partitions, 0)
        state = await load(store, stream, home.partition, row, system())
        return cls(store, state.home, owner, row.epoch, state)

    async def run(self, *commands: Command, facts: Facts | None = None) -> list[Batch]:
        """Commit until every command is answered and no sweep is left."""
        first = self.state.next_offset
        left = [received(Offset(first + n), command) for n, command in enumerate(commands)]
        self.log += left
        done = []
        while left or self.state.sweeps:
            batch = await self.carry_out(in_order(self.state, left), facts)
            done.append(batch)
            left = left[batch.answered :]
        return done

    async def settle(self) -> None:
        """Commit pages until no settlement is left."""
        while self.state.settlements:
            await self.carry_out(PayPage(self.state.settlements[0].market_id))

    async def carry_out(self, step: Step, facts: Facts | None = None) -> Batch:
        """Commit one step. Plan it again with fresh facts if a constraint refuses it."""
        facts = facts or Facts()
        for _ in range(TRIES_MAX):
            batch = await self.plan(step, facts)
            statement = self.statement(batch)
            try:
                await self.store.commit(statement)
            except Refused:
                batch.discard()
                named = Tried.of(batch, statement).named
                facts = batch.facts.and_read(await self.store.read(self.home, named))
            else:
                batch.adopt()
                return batch
        raise AssertionError("refused again and again")

    async def plan(self, step: Step, facts: Facts | None = None) -> Batch:
        """Plan a step, reading whatever it lacks."""
        read = partial(self.store.read, self.home)
        return await plan_fully(self.state, step, facts or Facts(), self.limits, read)

    async def answer(self, *commands: Command) -> Batch:
        """Plan an answer to commands that are next in the lane, and do not commit it."""
        first = self.state.next_offset
        return await self.plan(
            AnswerCommands(
                [received(Offset(first + n), command) for n, command in enumerate(commands)]
            )
        )

    def statement(self, batch: Batch) -> Statement:
        """Return the statement that commits a batch."""
        published = self.published_batch_no
        sealed = seal(batch, epoch=self.epoch, owner=self.owner, published_batch_no=published)
        return self.store.statement(batch, sealed)

    async def prepared(self, *commands: Command) -> Statement:
        """Return a valid statement without sending it, and without a change of the desk."""
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


def in_order(state: LaneState, left: Sequence[Received]) -> AnswerCommands:
    """Return the step that ends a sweep and then answers commands, without other turns."""
    sweep = state.sweeps[0].market_id if state.sweeps else None
    return AnswerCommands(left, sweep)


def received(offset: Offset, command: Command) -> Received:
    return Received(offset, 1_000 + offset, f"{offset:064x}", command)


# Short forms of commands.


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


def open_market(
    market: str, payout: int = 100, *, operator: str = "op", title: str | None = None
) -> OpenMarket:
    return OpenMarket(
        market_id=MarketId(market),
        operator_id=AccountId(operator),
        payout=payout,
        title=market if title is None else title,
    )


def resolve(market: str, outcome: Outcome = Outcome.YES, *, operator: str = "op") -> ResolveMarket:
    return ResolveMarket(
        market_id=MarketId(market), operator_id=AccountId(operator), outcome=outcome
    )


def cancel(market: str, account: str, order_id: str) -> CancelOrder:
    return CancelOrder(
        market_id=MarketId(market), account_id=AccountId(account), order_id=OrderId(order_id)
    )


class Terms(TypedDict, total=False):
    """Differences from an order to buy 1 at 10, GTC."""

    side: Side
    price: int
    quantity: int
    time_in_force: TimeInForce


def place(market: str, account: str, order_id: str, **terms: Unpack[Terms]) -> PlaceOrder:
    return PlaceOrder(
        market_id=MarketId(market),
        account_id=AccountId(account),
        order_id=OrderId(order_id),
        side=terms.get("side", Side.BUY),
        price=Price(terms.get("price", 10)),
        quantity=Quantity(terms.get("quantity", 1)),
        time_in_force=terms.get("time_in_force", TimeInForce.GTC),
    )


_order_numbers = count(1)


def buy(market: str, account: str, quantity: int, price: int, order_id: str = "") -> PlaceOrder:
    order_id = order_id or f"o-{next(_order_numbers)}"
    return place(market, account, order_id, price=price, quantity=quantity)


def sell(market: str, account: str, quantity: int, price: int, order_id: str = "") -> PlaceOrder:
    return replace(buy(market, account, quantity, price, order_id), side=Side.SELL)


def crossing(markets: Sequence[str], orders: int) -> list[PlaceOrder]:
    """Return crossing orders of two rich accounts, in each market in turn."""
    half = zip(range(orders // 2), cycle(markets), strict=False)
    return [order for _, m in half for order in (sell(m, "a", 1, 50), buy(m, "b", 1, 50))]


def market_at(partition: int, name: str) -> MarketId:
    """Return the name of a market in a partition of the orders stream."""
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
    rows = rows_of(statement, table)
    change(rows)
    return rescaled(statement, **{table: json.dumps(rows)})


def rescaled(statement: Statement, **given: object) -> Statement:
    """Return the statement with some of its parameters replaced."""
    assert given.keys() <= {parameter.name for parameter in PARAMETERS}
    values = zip(PARAMETERS, statement.parameters, strict=True)
    changed = tuple(given.get(parameter.name, value) for parameter, value in values)
    return replace(statement, parameters=changed)


def given(statement: Statement, name: str) -> Any:  # noqa: ANN401 - a parameter
    """Return a parameter of a statement."""
    values = zip(PARAMETERS, statement.parameters, strict=True)
    return next(value for parameter, value in values if parameter.name == name)


def rows_of(statement: Statement, table: str) -> list[Row]:
    """Return the rows of a table in a statement."""
    rows: list[Row] = json.loads(given(statement, table))
    return rows


# A database of PostgreSQL.


class _Insistent(PostgresStore):
    """A store that retries a commit refused by the proxy, as a lane does, and may lose races."""

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
        """Return a new store that is closed with the books."""
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

    async def offer(self, market: MarketId) -> Desk:
        """Return a lane in which Ben offers 10 at 50, with cash in his and in Ann's wallet."""
        transfers, desk = await self.transfers(), await self.orders()
        await transfers.run(*(deposit(name, 10_000, "1") for name in ("ann", "ben")))
        await desk.run(open_market(market), sell(market, "ben", 10, 50, "offer"))
        return desk

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
        """Return the single value that a query selects."""
        return await self.connection.fetchval(sql, *arguments)

    async def rows(self, sql: str, *arguments: object) -> Sequence[tuple[Any, ...]]:
        """Return the rows that a query selects."""
        return [tuple(row) for row in await self.connection.fetch(sql, *arguments)]


def orders_home(partition: int) -> Home:
    """Return a lane of the orders stream."""
    lane = LaneId(partition)
    return Home(lane, ORDERS, partition, ORDER_LANES, StreamKind.ORDERS, CASH_MAX)


def transfers_home() -> Home:
    """Return the lane of the transfers stream."""
    return Home(LaneId(ORDER_LANES), TRANSFERS, 0, TRANSFER_LANES, StreamKind.TRANSFERS, CASH_MAX)


@asynccontextmanager
async def opened(
    url: str, *, in_steps: bool = False, connect: Connect = connect
) -> AsyncIterator[Books]:
    """Migrate an empty database, register its streams, and close everything at the end."""
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
