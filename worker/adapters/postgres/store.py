"""A lane's connection: runs statements, translates what comes back, forgets broken connections.

Contract: one call at a time. ``commit`` is one statement and so one transaction; that it returned
means committed. After OutcomeUnknown, and after a cancellation, the connection is terminated, so
that what was in flight meets the fence alone; after Unfit, because a new one may be fit.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from worker.adapters.postgres import outcomes, rows, statements, steps, target
from worker.adapters.postgres.connect import LANE_SETTINGS, Connect, connect
from worker.adapters.system import system as real_system
from worker.domain import ids
from worker.domain.book import OpenOrder
from worker.domain.plan import Batch
from worker.domain.state import (
    DeadOrder,
    Facts,
    Home,
    Lack,
    Market,
    MarketStatus,
    Page,
    PageRequest,
    Payee,
)
from worker.domain.units import AccountId, Lane, MarketId, Money, OrderId, Price, Quantity
from worker.errors import NotAsOne, OutcomeUnknown, ParityError, SchemaChanged, Unfit
from worker.ports import JOURNAL_ROWS_MAX, JournalRow, LaneRow, Seal, Standing, Statement, System

LOAD_ROWS: Final = 5_000
_FIRST: Final = ids.NO_MARKET


class PostgresStore:
    """The database for one lane."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        in_steps: bool = False,
        system: System | None = None,
        connect: Connect = connect,
    ) -> None:
        self._url = url
        self._connect = connect
        self._timeout_s = timeout_s
        self.in_steps = in_steps
        """Whether a batch goes in steps: as asked, or since the target refused it as one."""
        self._system = system or real_system()
        self._retires_at_s = 0.0
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._prepared: steps.Prepared | None = None

    async def take_over(self, stream: str, partition: int, owner: str) -> LaneRow:
        """Raise the lane's epoch."""
        async with self._session() as connection:
            row = await connection.fetchrow(statements.TAKE_OVER, stream, partition, owner)
        if row is None:
            raise ParityError(f"stream {stream!r} has no partition {partition}: not registered")
        return LaneRow(**dict(row))

    async def markets(self, lane: Lane) -> Sequence[Market]:
        """Return the lane's markets that are not settled."""
        found: list[Market] = []
        after = _FIRST
        async with self._session() as connection:
            while page := await connection.fetch(statements.LOAD_MARKETS, lane, after, LOAD_ROWS):
                found.extend(rows.market_of(dict(row)) for row in page)
                after = page[-1]["market"]
        return found

    async def open_orders(self, lane: Lane) -> Sequence[tuple[MarketId, OpenOrder]]:
        """Return the lane's open orders of markets that are not resolved, oldest first."""
        found: list[tuple[MarketId, OpenOrder]] = []
        after = (_FIRST, _FIRST)
        async with self._session() as connection:
            while page := await connection.fetch(statements.LOAD_ORDERS, lane, *after, LOAD_ROWS):
                found.extend(
                    (MarketId(row["market_id"]), _open_order(row))
                    for row in page
                    if row["market_status"] < MarketStatus.SETTLING
                )
                after = (page[-1]["market"], page[-1]["order_key"])
        return sorted(found, key=lambda entry: entry[1].seq)

    async def read(self, home: Home, lack: Lack) -> Facts:
        """Read everything that is lacking."""
        async with self._session() as connection:
            pages = {
                market_id: await _page(connection, home.lane, request)
                for market_id, request in lack.pages.items()
            }
            names = _Names(home, lack)
            row = await connection.fetchrow(statements.READ_FACTS, home.lane, *names.parameters())
        assert row is not None, "a SELECT without FROM has one row"
        return names.facts(row, pages)

    def statement(self, batch: Batch, seal: Seal) -> Statement:
        """Return the statement that commits ``batch``."""
        return rows.statement(batch, seal)

    async def commit(self, statement: Statement) -> None:
        """Run it."""
        async with self._session() as connection:
            if self.in_steps:
                if self._prepared is None:
                    self._prepared = await steps.prepare(connection)
                await steps.commit(connection, self._prepared, statement)
                return
            try:
                tag = await connection.execute(statements.COMMIT_BATCH, *statement.parameters)
            except asyncpg.FeatureNotSupportedError as error:
                if outcomes.schema_changed(error):
                    raise
                self.in_steps = True
                raise NotAsOne(f"0A000 {error}", sqlstate="0A000") from error
        if tag != "INSERT 0 1":
            raise OutcomeUnknown(f"the batch statement answered {tag!r}")

    async def standing(self, lane: Lane, batch_no: int) -> Standing:
        """Return where the lane stands, and which plan won batch ``batch_no``."""
        key = ids.batch_key(lane, batch_no)
        async with self._session() as connection:
            row = await connection.fetchrow(statements.READ_LANE, lane, key)
        assert row is not None, "a lane's row is never deleted"
        return Standing(row["epoch"], row["batch_no"], row["plan_hash"])

    async def journal(self, lane: Lane, first: int, last: int) -> Sequence[JournalRow]:
        """Return the batches ``first`` to ``last``, at most ``JOURNAL_ROWS_MAX`` of them."""
        last = min(last, first + JOURNAL_ROWS_MAX - 1)
        keys = [ids.batch_key(lane, number) for number in range(first, last + 1)]
        async with self._session() as connection:
            found = await connection.fetch(statements.READ_JOURNAL, keys, JOURNAL_ROWS_MAX)
        return [JournalRow(row["batch_no"], row["events"]) for row in found]

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            await connection.close(timeout=2.0)
        except outcomes.DRIVER_ERRORS:
            connection.terminate()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = await self._connected()
        try:
            yield connection
        except outcomes.DRIVER_ERRORS as error:
            meaning = outcomes.of_statement(error)
            if isinstance(meaning, OutcomeUnknown | SchemaChanged | Unfit):
                self._drop()
            raise meaning from error
        except (asyncio.CancelledError, OutcomeUnknown):
            self._drop()
            raise

    async def _connected(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Return the connection, a new one where there is none or DSQL would soon end it."""
        known = self._connection
        if known is not None and self._system.clock() >= self._retires_at_s:
            await self.close()
            known = None
        if known is None or known.is_closed():
            known = await self._connect(self._url, LANE_SETTINGS, timeout_s=self._timeout_s)
            self._connection, self._prepared = known, None
            self._retires_at_s = self._system.clock() + target.age_s(self._url, self._system)
        return known

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


class _Names:
    """The keys of what is lacking, and the way back from keys to names."""

    def __init__(self, home: Home, lack: Lack) -> None:
        def market(market_id: MarketId) -> str:
            return ids.market_key(home.stream, market_id)

        account = ids.account_key
        self.accounts = {account(a): a for a in sorted(lack.accounts)}
        self.holdings = {(market(m), account(a)): (m, a) for m, a in sorted(lack.positions)}
        self.markets = {market(m): m for m in sorted(lack.markets)}
        self.orders = {
            ids.order_key(market(m), account(a), o): (m, a, o) for m, a, o in sorted(lack.orders)
        }
        self.transfers = {
            ids.transfer_key(account(a), t): (a, t) for a, t in sorted(lack.transfers)
        }

    def parameters(self) -> tuple[list[str], str, list[str], list[str], list[str]]:
        holdings = [{"market": m, "account": a} for m, a in self.holdings]
        return (
            list(self.accounts),
            json.dumps(holdings),
            list(self.markets),
            list(self.orders),
            list(self.transfers),
        )

    def facts(self, row: asyncpg.Record, pages: dict[MarketId, Page]) -> Facts:
        accounts: dict[AccountId, dict[Lane, Money] | None] = dict.fromkeys(self.accounts.values())
        for key, lane, balance in _array(row["accounts"]):
            pockets = accounts[self.accounts[key]]
            if pockets is None:
                pockets = accounts[self.accounts[key]] = {}
            if lane is not None:
                pockets[Lane(lane)] = Money(balance)
        positions = dict.fromkeys(self.holdings.values(), 0)
        for market, account, quantity in _array(row["positions"]):
            positions[self.holdings[market, account]] = quantity
        markets: dict[MarketId, Market | None] = dict.fromkeys(self.markets.values())
        for values in _array(row["markets"]):
            columns = dict(zip(_MARKET_COLUMNS, values, strict=True))
            markets[self.markets[columns["market"]]] = rows.market_of(columns)
        orders = dict.fromkeys(self.orders.values(), None)
        transfers = dict.fromkeys(self.transfers.values(), None)
        return Facts(
            accounts=accounts,
            positions=positions,
            markets=markets,
            orders=orders
            | {self.orders[v[0]]: rows.order_answer(v[1:]) for v in _array(row["orders"])},
            transfers=transfers
            | {self.transfers[v[0]]: rows.transfer_answer(v[1:]) for v in _array(row["transfers"])},
            pages=pages,
        )


_MARKET_COLUMNS: Final = (
    "market",
    "market_id",
    "operator_id",
    "payout",
    "title",
    "status",
    "outcome",
    "market_seq",
    "opened_seq",
    "resolved_seq",
)


def _array(text: str | None) -> list[Any]:
    return json.loads(text) if text else []


async def _page(
    connection: "asyncpg.Connection[asyncpg.Record]", lane: Lane, request: PageRequest
) -> Page:
    """Read dead orders first; payees take what is left of the page."""
    most = request.rows_max
    orders = await connection.fetch(statements.READ_DEAD_ORDERS, lane, request.market, most + 1)
    left = most - len(orders)
    payees = await connection.fetch(
        statements.READ_PAYEES,
        lane,
        request.market,
        rows.OUTCOMES[request.outcome],
        request.after,
        max(left, 0) + 1,
    )
    return Page(
        orders=tuple(
            DeadOrder(
                row["order_key"],
                AccountId(row["account_id"]),
                OrderId(row["order_id"]),
                Quantity(row["leaves"]),
            )
            for row in orders[:most]
        ),
        payees=tuple(
            Payee(
                row["account"],
                AccountId(row["account_id"]),
                Quantity(row["quantity"]),
                None if row["balance"] is None else Money(row["balance"]),
            )
            for row in payees[: max(left, 0)]
        ),
        last=len(orders) <= most and len(payees) <= max(left, 0),
    )


def _open_order(row: asyncpg.Record) -> OpenOrder:
    return OpenOrder(
        row["order_key"],
        AccountId(row["account_id"]),
        OrderId(row["order_id"]),
        rows.side_of(row["side"]),
        Price(row["price"]),
        Quantity(row["leaves"]),
        row["seq"],
    )
