"""Read-only access to the present state of the books, for demo, stress and republish.

``books.Books`` does not replace it. A snapshot is of one moment and ends after five minutes on
DSQL, while a demo looks for changes 20 times a second and republishing may take longer.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import asyncpg

from worker.adapters.postgres import outcomes, statements
from worker.adapters.postgres.books import BATCHES_PER_PAGE, LANES_MAX
from worker.adapters.postgres.connect import AUDIT_SETTINGS, connect
from worker.domain import ids
from worker.domain.units import LaneId
from worker.ports import JournalRow


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """The position and the owner of a lane."""

    lane: LaneId
    stream: str
    partition: int
    owner: str
    batch_no: int
    next_offset: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class JournalBatch(JournalRow):
    """A batch of the journal with the range of its events."""

    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the whole database. Escrow, draws and markets are those of one run."""

    ledger_sum: int
    cash: int
    negative_balances: int
    markets_unbalanced: int
    escrow: int
    draws: int
    markets: int
    markets_settled: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """Cash of some accounts and markets, and postings of some trades."""

    cash: int
    negative_balances: int
    ledger_sum: int
    postings: int


class Evidence:
    """A connection that reads the books. Use with ``async with``. Raises StoreError."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def __aenter__(self) -> Self:
        """Connect."""
        self._connection = await connect(self._url, AUDIT_SETTINGS, timeout_s=self._timeout_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def server_version(self) -> str:
        """Return the version of the server."""
        async with self._open() as connection:
            return str(await connection.fetchval("SHOW server_version"))

    async def streams(self) -> Sequence[str]:
        """Return the names of all registered streams."""
        async with self._open() as connection:
            return [row["stream"] for row in await connection.fetch(statements.READ_STREAMS)]

    async def lanes(self, streams: Sequence[str]) -> Sequence[LaneStanding]:
        """Return the lanes of ``streams`` in order."""
        async with self._open() as connection:
            found = await connection.fetch(statements.READ_LANES, list(streams), LANES_MAX)
        return [LaneStanding(**dict(row)) for row in found]

    async def page(self, lane: LaneId, numbers: range) -> Sequence[JournalBatch]:
        """Return the lane's batches of these numbers, at most ``BATCHES_PER_PAGE``, in order."""
        keys = [ids.batch_key(lane, number) for number in numbers]
        async with self._open() as connection:
            found = await connection.fetch(statements.READ_BATCHES, keys, BATCHES_PER_PAGE)
        return [JournalBatch(**dict(row)) for row in found]

    async def sums(self, orders_stream: str) -> Sums:
        """Return the sums, for the run that has ``orders_stream``."""
        async with self._open() as connection, connection.transaction():
            proof = await connection.fetchrow(statements.READ_PROOF)
            run = await connection.fetchrow(statements.READ_RUN, orders_stream)
        assert proof is not None, "a SELECT without FROM has one row"
        assert run is not None, "a SELECT without FROM has one row"
        return Sums(
            ledger_sum=run["ledger_sum"],
            cash=proof["cash_in_pockets"] + proof["escrow"],
            negative_balances=proof["negative_balances"],
            markets_unbalanced=proof["positions_off"] + proof["escrow_mismatches"],
            escrow=run["escrow"],
            draws=run["draws"],
            markets=run["markets"],
            markets_settled=run["markets_settled"],
        )

    async def holdings(
        self, accounts: Sequence[str], markets: Sequence[str], trades: Sequence[str]
    ) -> Holdings:
        """Return cash and postings by the keys of accounts, markets and trades."""
        keys = (list(accounts), list(markets), list(trades))
        async with self._open() as connection:
            row = await connection.fetchrow(statements.READ_HOLDINGS, *keys)
        assert row is not None, "a SELECT without FROM has one row"
        return Holdings(**dict(row))

    @asynccontextmanager
    async def _open(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        if self._connection is None:
            raise RuntimeError("Evidence is not connected: use it in `async with`")
        try:
            yield self._connection
        except outcomes.DRIVER_ERRORS as error:
            raise outcomes.of_statement(error) from error
