"""What demo, stress and republish read from the books, by a connection that can only read."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import asyncpg

from worker.adapters.postgres import outcomes, statements
from worker.adapters.postgres.connect import AUDIT_SETTINGS, connect
from worker.domain import ids
from worker.domain.units import Lane

LANES_MAX: Final = 10_000
BATCHES_A_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """Where a lane stands."""

    lane: Lane
    stream: str
    partition: int
    owner: str
    batch_no: int
    next_offset: int
    last_seq: int
    trades: int


@dataclass(frozen=True, slots=True)
class JournalBatch:
    """A batch as it was written; ``events`` is text of ``wire.journal``."""

    batch_no: int
    first_offset: int
    next_offset: int
    first_seq: int
    last_seq: int
    owner: str
    events: str


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the whole database, and of one run: escrow, draws, markets."""

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
    """What some accounts and markets hold, and what some trades posted."""

    cash: int
    negative_balances: int
    ledger_sum: int
    postings: int


class Evidence:
    """Reads the books. Use with ``async with``. Raises StoreError."""

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
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def server_version(self) -> str:
        """Return what the server calls its version."""
        async with self._open() as connection:
            return str(await connection.fetchval("SHOW server_version"))

    async def streams(self) -> Sequence[str]:
        """Return the names of all registered streams."""
        async with self._open() as connection:
            return [row["stream"] for row in await connection.fetch(statements.READ_STREAMS)]

    async def lanes(self, streams: Sequence[str]) -> Sequence[LaneStanding]:
        """Return where the lanes of ``streams`` stand, in order."""
        async with self._open() as connection:
            found = await connection.fetch(statements.READ_LANES, list(streams), LANES_MAX)
        return [LaneStanding(**dict(row)) for row in found]

    async def page(self, lane: Lane, numbers: range) -> Sequence[JournalBatch]:
        """Return the lane's batches of these numbers, at most ``BATCHES_A_PAGE``, in order."""
        keys = [ids.batch_key(lane, number) for number in numbers]
        async with self._open() as connection:
            found = await connection.fetch(statements.READ_BATCHES, keys, BATCHES_A_PAGE)
        return [JournalBatch(**dict(row)) for row in found]

    async def sums(self, orders_stream: str) -> Sums:
        """Return the sums, the run being that of ``orders_stream``."""
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
        """Return what the keys of ``accounts`` and ``markets`` hold and ``trades`` posted."""
        keys = (list(accounts), list(markets), list(trades))
        async with self._open() as connection:
            row = await connection.fetchrow(statements.READ_HOLDINGS, *keys)
        assert row is not None, "a SELECT without FROM has one row"
        return Holdings(**dict(row))

    @asynccontextmanager
    async def _open(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        if self._connection is None:
            raise RuntimeError("not connected: use it in `async with`")
        try:
            yield self._connection
        except outcomes.DRIVER_ERRORS as error:
            raise outcomes.of_statement(error) from error
