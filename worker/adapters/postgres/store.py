"""A lane's connection: runs statements, translates what comes back, forgets broken connections.

A connection takes one call at a time. ``commit`` is one statement and so one transaction, which is
committed once the call returns. After OutcomeUnknown, and after a cancellation, the connection is
terminated, so that a statement in flight meets only the fence. After Misconfigured it is terminated
because a new connection may work.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from worker.adapters.postgres import outcomes, parameters, readings, statements, steps, target
from worker.adapters.postgres.codes import OUTCOMES
from worker.adapters.postgres.connect import LANE_SETTINGS, Connect, connect
from worker.adapters.system import system as real_system
from worker.domain import ids
from worker.domain.facts import Facts, Lack, Page, PageRequest
from worker.domain.plan import Batch
from worker.domain.state import Home, Market, MarketStatus
from worker.domain.units import LaneId, MarketId
from worker.errors import Misconfigured, NotAsOne, OutcomeUnknown, ParityError, SchemaChanged
from worker.ports import (
    BEFORE_ORDERS,
    JOURNAL_ROWS_MAX,
    JournalRow,
    LaneRow,
    OpenOrders,
    OrderCursor,
    Seal,
    Standing,
    Statement,
    System,
)

LOAD_ROWS: Final = 2_000
"""Rows of a page. Turning a page into values takes 10 ms, and the event loop waits meanwhile."""
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

    async def markets(self, lane: LaneId) -> Sequence[Market]:
        """Return the lane's markets that are not settled."""
        found: list[Market] = []
        after = _FIRST
        async with self._session() as connection:
            while page := await connection.fetch(statements.LOAD_MARKETS, lane, after, LOAD_ROWS):
                found.extend(readings.market_of(row) for row in page)
                after = page[-1]["market"]
        return found

    async def open_orders(self, lane: LaneId, after: OrderCursor) -> OpenOrders:
        """Return a page of the lane's open orders of markets that are not resolved."""
        place = (_FIRST, _FIRST) if after == BEFORE_ORDERS else after
        async with self._session() as connection:
            page = await connection.fetch(statements.LOAD_ORDERS, lane, *place, LOAD_ROWS)
        found = [
            (MarketId(row["market_id"]), readings.open_order_of(row))
            for row in page
            if row["market_status"] < MarketStatus.SETTLING
        ]
        full = len(page) == LOAD_ROWS
        return OpenOrders(found, (page[-1]["market"], page[-1]["order_key"]) if full else None)

    async def read(self, home: Home, lack: Lack) -> Facts:
        """Read everything that is lacking."""
        async with self._session() as connection:
            pages = {
                market_id: await _page(connection, home.lane, request)
                for market_id, request in lack.pages.items()
            }
            names = readings.Names(home, lack)
            row = await connection.fetchrow(statements.READ_FACTS, home.lane, *names.parameters())
        assert row is not None, "a SELECT without FROM has one row"
        return names.facts(row, pages)

    def statement(self, batch: Batch, seal: Seal) -> Statement:
        """Return the statement that commits ``batch``."""
        return parameters.statement(batch, seal)

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

    async def standing(self, lane: LaneId, batch_no: int) -> Standing:
        """Return the lane's epoch and last batch, and the plan that won batch ``batch_no``."""
        key = ids.batch_key(lane, batch_no)
        async with self._session() as connection:
            row = await connection.fetchrow(statements.READ_LANE, lane, key)
        assert row is not None, "a lane's row is never deleted"
        return Standing(row["epoch"], row["batch_no"], row["plan_hash"])

    async def journal(self, lane: LaneId, first: int, last: int) -> Sequence[JournalRow]:
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
            if isinstance(meaning, OutcomeUnknown | SchemaChanged | Misconfigured):
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


async def _page(
    connection: "asyncpg.Connection[asyncpg.Record]", lane: LaneId, request: PageRequest
) -> Page:
    """Read dead orders first; payees take what is left of the page."""
    most = request.rows_max
    orders = await connection.fetch(statements.READ_DEAD_ORDERS, lane, request.market, most + 1)
    left = max(most - len(orders), 0)
    payees = await connection.fetch(
        statements.READ_PAYEES,
        lane,
        request.market,
        OUTCOMES[request.outcome],
        request.after,
        left + 1,
    )
    return readings.page_of(request, orders, payees)
