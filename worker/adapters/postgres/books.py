"""Read-only access to the books at one moment, for the proof, the audit and the probe of health.

A ``Snapshot`` is one REPEATABLE READ transaction on a connection of its own, so all that it reads
is of one moment. On DSQL a transaction ends after five minutes, and a snapshot with it.
``evidence.Evidence`` reads the present state over and over instead, on one connection.
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
from worker.adapters.system import system
from worker.domain import ids
from worker.domain.units import LaneId
from worker.errors import ConfigError

LANES_MAX: Final = 10_000
"""Lanes that are read at once. An exchange has fewer."""
BATCHES_PER_PAGE: Final = 500
"""Rows of the journal that are read at once."""
READ_S: Final = 25.0
"""How long one statement may take, such as sums over all pockets and positions."""
CLOSE_S: Final = 2.0
_NO_KEY: Final = UUID(int=0)
_NO_LANE: Final = -(2**31)
# A page is few rows looked up by key, however large its table has grown since it was planned.
PAGE_SETTINGS: Final = {
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
    statements.AUDIT_LEDGER: (_NO_KEY, _NO_KEY, _NO_LANE, _NO_KEY, 0),
    statements.AUDIT_POCKETS: (_NO_KEY, _NO_LANE),
    statements.AUDIT_TRADES: (_NO_KEY,),
    statements.AUDIT_TRANSFERS: (_NO_KEY,),
    statements.AUDIT_ORDERS: (_NO_KEY,),
    statements.AUDIT_POSITIONS: (_NO_KEY, _NO_KEY),
    statements.AUDIT_PAYOUTS: (_NO_KEY, _NO_KEY),
    statements.AUDIT_BATCH_KEYS: (_NO_KEY,),
}
"""Values less than every key of a table. A page's statement begins with the key's columns."""


class Snapshot:
    """The database at one moment. Every method raises StoreError."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", *, is_dsql: bool) -> None:
        self._connection, self._is_dsql = connection, is_dsql

    async def backend(self) -> str:
        """Return the name of the database and its version."""
        if self._is_dsql:
            return "Aurora DSQL"
        return f"PostgreSQL {await self._connection.fetchval('SHOW server_version')}"

    async def totals(self) -> Mapping[str, int]:
        """Return the sums of ``read_proof.sql``."""
        row = await self._connection.fetchrow(statements.READ_PROOF)
        assert row is not None, "a SELECT without FROM has one row"
        return dict(row)

    async def gaps(self) -> int:
        """Return how many lanes have no journal row, or another one, for their last batch."""
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
        keys = [str(cause) for cause in causes]
        return await self._connection.fetch(statements.AUDIT_POSTINGS, keys, rows_max)

    async def causes(self, causes: Sequence[UUID]) -> Rows:
        """Return the causes that are keys of batches."""
        keys = [str(cause) for cause in causes]
        return await self._connection.fetch(statements.AUDIT_CAUSES, keys, len(keys))

    async def balances(self) -> Rows:
        """Return one row with the sum of the balances shown to accounts."""
        return await self._connection.fetch(statements.AUDIT_BALANCES)

    async def batches(self, lane: int, first: int, last: int, *, whole: bool = False) -> Rows:
        """Return the lane's existing journal rows from ``first`` to ``last``, in order.

        If ``whole``, they have the columns of ``audit_history.sql``, with facts and events.
        """
        statement = statements.AUDIT_HISTORY if whole else statements.AUDIT_BATCHES
        keys = [ids.batch_key(LaneId(lane), number) for number in range(first, last + 1)]
        return await self._connection.fetch(statement, keys, len(keys))


class Books:
    """The address of the books. Probes go one at a time, snapshots are independent of all else."""

    def __init__(self, url: str, *, timeout_s: float, connect: Connect = connect) -> None:
        self._url = url
        self._connect_by = connect
        self._timeout_s = timeout_s
        self._system = system()
        self._retires_at_s = 0.0
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def probe(self) -> None:
        """Wait until the database answers. Raises StoreError by the deadline."""
        if self._system.clock() >= self._retires_at_s:
            await self.close()
        try:
            connection = self._connection
            if connection is None or connection.is_closed():
                connection = await connect(self._url, AUDIT_SETTINGS, timeout_s=self._timeout_s)
                self._connection = connection
                self._retires_at_s = self._system.clock() + target.age_s(self._url, self._system)
            with _translated():
                await connection.fetchval("SELECT 1", timeout=self._timeout_s)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection of the probe."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    @asynccontextmanager
    async def snapshot(self, *, paged: bool = False) -> AsyncIterator[Snapshot]:
        """Read at one moment. If ``paged``, plans suit pages that are read by key."""
        connection = await self._connect(PAGE_SETTINGS if paged else AUDIT_SETTINGS)
        try:
            with _translated():
                await connection.execute("BEGIN")
                yield Snapshot(connection, is_dsql=target.is_dsql(self._url))
                await connection.execute("COMMIT")
                await connection.close(timeout=CLOSE_S)
        finally:
            # Nothing was written, so an unanswered COMMIT leaves nothing to undo.
            connection.terminate()

    async def _connect(self, settings: dict[str, str]) -> "asyncpg.Connection[asyncpg.Record]":
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._connect_by(self._url, settings, timeout_s=READ_S)
        except TimeoutError as error:
            raise outcomes.of_connect(error, self._url) from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except outcomes.DRIVER_ERRORS as error:
        meaning = outcomes.of_statement(error)
        if meaning.sqlstate == outcomes.MISSING_TABLE:
            raise ConfigError(outcomes.NO_TABLES) from error
        raise meaning from error


def _batch_key(row: asyncpg.Record) -> str:
    return ids.batch_key(LaneId(row["lane"]), row["batch_no"])
