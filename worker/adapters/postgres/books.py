"""The books as an onlooker reads them: read-only, on connections of their own.

A ``Snapshot`` is one REPEATABLE READ transaction: whatever it reads is of one moment. On DSQL a
transaction ends after five minutes, and a snapshot with it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg

from worker.adapters.postgres import outcomes, statements, target
from worker.adapters.postgres.connect import AUDIT_SETTINGS, Connect, connect
from worker.domain import ids
from worker.domain.units import Lane
from worker.errors import ConfigError, Unavailable

LANES_MAX: Final = 10_000
READ_S: Final = 25.0
"""How long one statement may take: sums over pockets and positions, or one page."""
CLOSE_S: Final = 2.0
_NO_KEY: Final = UUID(int=0)
_NO_LANE: Final = -(2**31)
_MISSING_TABLE: Final = "42P01"
# A page is few rows looked up by key, however large its table has grown since it was planned.
_PAGE_SETTINGS: Final = {
    **AUDIT_SETTINGS,
    "enable_hashjoin": "off",
    "enable_seqscan": "off",
    "enable_sort": "off",
}

Rows = Sequence[Any]
"""Rows with their columns in the statement's order."""

_FIRST_KEYS: Final[Mapping[str, tuple[UUID | int, ...]]] = {
    statements.AUDIT_ACCOUNTS: (_NO_KEY,),
    statements.AUDIT_MARKETS: (_NO_KEY,),
    statements.AUDIT_LEDGER: (_NO_KEY, _NO_KEY, _NO_LANE, _NO_KEY),
    statements.AUDIT_POCKETS: (_NO_KEY, _NO_LANE),
    statements.AUDIT_TRADES: (_NO_KEY,),
    statements.AUDIT_TRANSFERS: (_NO_KEY,),
    statements.AUDIT_ORDERS: (_NO_KEY,),
    statements.AUDIT_POSITIONS: (_NO_KEY, _NO_KEY),
    statements.AUDIT_PAYOUTS: (_NO_KEY, _NO_KEY),
    statements.AUDIT_BATCH_KEYS: (_NO_KEY,),
}
"""What stands before every key of a table. A page's statement begins with the key's columns."""


class Snapshot:
    """The database at one moment. Every method raises StoreError."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", *, is_dsql: bool) -> None:
        self._connection, self._is_dsql = connection, is_dsql

    async def backend(self) -> str:
        """Return what the database is."""
        if self._is_dsql:
            return "Aurora DSQL"
        return f"PostgreSQL {await self._connection.fetchval('SHOW server_version')}"

    async def totals(self) -> Mapping[str, int]:
        """Return the sums of ``read_proof.sql``."""
        row = await self._connection.fetchrow(statements.READ_PROOF)
        assert row is not None, "a SELECT without FROM has one row"
        return dict(row)

    async def gaps(self) -> int:
        """Return how many lanes' newest journal row is missing or elsewhere than they say."""
        heads = [
            {"lane": row["lane"], "batch_no": row["batch_no"], "batch_id": _batch_key(row)}
            for row in await self._connection.fetch(statements.AUDIT_LANES, LANES_MAX)
        ]
        return int(await self._connection.fetchval(statements.READ_GAPS, json.dumps(heads)))

    async def lanes(self) -> Rows:
        """Return the columns of ``audit_lanes.sql``."""
        return await self._connection.fetch(statements.AUDIT_LANES, LANES_MAX)

    async def pages(self, statement: str, rows_max: int) -> AsyncIterator[Rows]:
        """Yield a whole table in pages of at most ``rows_max`` rows, in the order of its key."""
        after: Sequence[Any] = _FIRST_KEYS[statement]
        while page := await self._connection.fetch(statement, *after, rows_max):
            yield page
            after = tuple(page[-1])[: len(after)]

    async def postings(self, causes: Sequence[UUID], rows_max: int) -> Rows:
        """Return the ledger's rows of ``causes``."""
        return await self._connection.fetch(statements.AUDIT_POSTINGS, causes, rows_max)

    async def causes(self, causes: Sequence[UUID]) -> Rows:
        """Return those of ``causes`` that are batches."""
        return await self._connection.fetch(statements.AUDIT_CAUSES, causes, len(causes))

    async def balances(self) -> Rows:
        """Return the one sum of what accounts are told to have."""
        return await self._connection.fetch(statements.AUDIT_BALANCES)

    async def batches(self, lane: int, first: int, last: int, *, whole: bool = False) -> Rows:
        """Return the lane's journal rows ``first`` to ``last``, those that exist, in order.

        ``whole``: with what is long, by the columns of ``audit_history.sql``.
        """
        statement = statements.AUDIT_HISTORY if whole else statements.AUDIT_BATCHES
        keys = [ids.batch_key(Lane(lane), number) for number in range(first, last + 1)]
        return await self._connection.fetch(statement, keys, len(keys))


class Books:
    """Where the books are. One probe at a time; snapshots are independent of it and each other."""

    def __init__(self, url: str, *, timeout_s: float, connect: Connect = connect) -> None:
        self._url = url
        self._connect_by = connect
        self._timeout_s = timeout_s
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def probe(self) -> None:
        """Return when the database has answered. Raises StoreError by the deadline."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect(
                    self._url, AUDIT_SETTINGS, timeout_s=self._timeout_s
                )
            with _translated():
                await self._connection.fetchval("SELECT 1", timeout=self._timeout_s)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the probe's connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    @asynccontextmanager
    async def snapshot(self, *, paged: bool = False) -> AsyncIterator[Snapshot]:
        """Read at one moment, on a connection of its own; ``paged``: by key, page by page."""
        connection = await self._connect(_PAGE_SETTINGS if paged else AUDIT_SETTINGS)
        try:
            with _translated():
                await connection.execute("BEGIN")
                yield Snapshot(connection, is_dsql=target.is_dsql(self._url))
                await connection.execute("COMMIT")
                await connection.close(timeout=CLOSE_S)
        finally:
            # Also when it did not answer: nothing was written, so there is nothing to undo.
            connection.terminate()

    async def _connect(self, settings: dict[str, str]) -> "asyncpg.Connection[asyncpg.Record]":
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._connect_by(self._url, settings, timeout_s=READ_S)
        except TimeoutError as error:
            raise Unavailable(f"no connection within {self._timeout_s:g} s") from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except outcomes.DRIVER_ERRORS as error:
        meaning = outcomes.of_statement(error)
        if meaning.sqlstate == _MISSING_TABLE:
            raise ConfigError(
                "the database has no tables of Parity: run `parity migrate`"
            ) from error
        raise meaning from error


def _batch_key(row: asyncpg.Record) -> str:
    return ids.batch_key(Lane(row["lane"]), row["batch_no"])
