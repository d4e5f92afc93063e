"""A schema of our own in somebody's database: everything in it is ours, and goes with it.

Made of the same files as the exchange's tables, by the same migrator; sessions find it by their
`search_path`, so that every statement runs as it stands. Beside live workers it costs them what
any DDL costs on DSQL: one statement repeated. What an ended process left behind is named for the
second it was made in, and is removed by the next one after an hour.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import asyncpg

from worker.adapters.postgres import outcomes
from worker.adapters.postgres.migrate import Dialect, Migrator, migrations
from worker.errors import Conflict, ParityError
from worker.ports import System

PREFIX: Final = "parity_doctor_"
_OURS: Final = re.compile(PREFIX + "([0-9a-f]{8})_[0-9a-f]{8}").fullmatch
LEFTOVER_AGE_S: Final = 3_600
TRIES_MAX: Final = 16
BACKOFF_CAP_S: Final = 1.0
ENDS_WITHIN_S: Final = 5.0
_DENIED: Final = "42501"
_RELATIONS: Final = (
    "SELECT c.relname::text AS name, c.relkind::text AS kind"
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname::text = $1::text AND c.relkind::text IN ('r', 'v')"
    " ORDER BY c.relkind::text DESC, c.relname LIMIT 1000"
)
_SCHEMAS: Final = (
    "SELECT nspname::text AS name FROM pg_namespace"
    " WHERE starts_with(nspname::text, 'parity_doctor_') LIMIT 1000"
)
PROBE_TABLE: Final = (
    "CREATE TABLE probe (k uuid NOT NULL, n bigint NOT NULL, t text NOT NULL,"
    " CONSTRAINT probe_pkey PRIMARY KEY (k), CONSTRAINT probe_n CHECK (n >= 0))"
)

T = TypeVar("T")
Open = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]


class Denied(ParityError):
    """The role may not make a schema."""


class Scratch:
    """One schema and the sessions that use it. ``close`` leaves nothing behind."""

    def __init__(self, open_: Open, dialect: Dialect, system: System, *, wall_s: int) -> None:
        self.schema = f"{PREFIX}{wall_s:x}_{system.random.getrandbits(32):08x}"
        self._open, self._dialect, self._system, self._wall_s = open_, dialect, system, wall_s
        self._sessions: list[asyncpg.Connection[asyncpg.Record]] = []
        self._begun = False

    async def create(self) -> Sequence[str]:
        """Make the schema and its tables; return what was made. Raises Denied, StoreError."""
        session = await self.plain_session()
        await self._remove_leftovers(session)
        self._begun = True
        try:
            await self._ddl(session, f"CREATE SCHEMA {self.schema}")
        except ParityError as error:
            if getattr(error, "sqlstate", "") == _DENIED:
                raise Denied(str(error)) from error
            raise
        inside = await self.session()
        await self._ddl(inside, PROBE_TABLE)
        return await Migrator(inside.fetch, self._dialect, self._system).run(migrations())

    async def session(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a new session that finds the scratch tables, and no others."""
        session = await self.plain_session()
        await self._ddl(session, f"SET search_path TO {self.schema}")
        return session

    async def connect(
        self, _url: str, _settings: dict[str, str], *, timeout_s: float
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """Stand in for ``connect`` where a store or books are to use the scratch tables."""
        async with asyncio.timeout(timeout_s):
            return await self.session()

    async def plain_session(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a new session, closed with this."""
        session = await self._open()
        self._sessions.append(session)
        return session

    async def close(self) -> int:
        """Drop everything, whatever state the sessions are in; return how many things."""
        sessions, self._sessions = self._sessions, []
        await asyncio.gather(*map(_ended, sessions))
        if not self._begun:
            return 0
        session = await self._open()
        try:
            dropped = await self._drop(session, self.schema)
        finally:
            session.terminate()
        self._begun = False
        return dropped

    async def _remove_leftovers(self, session: "asyncpg.Connection[asyncpg.Record]") -> None:
        for row in await self._settled(partial(session.fetch, _SCHEMAS)):
            ours = _OURS(row["name"])
            if ours and self._wall_s - int(ours[1], 16) > LEFTOVER_AGE_S:
                await self._drop(session, row["name"])

    async def _drop(self, session: "asyncpg.Connection[asyncpg.Record]", schema: str) -> int:
        """Drop a schema thing by thing: one DDL a transaction."""
        found = await self._settled(partial(session.fetch, _RELATIONS, schema))
        for row in found:
            what = "VIEW" if row["kind"] == "v" else "TABLE"
            await self._ddl(session, f'DROP {what} IF EXISTS {schema}."{row["name"]}"')
        await self._ddl(session, f"DROP SCHEMA IF EXISTS {schema}")
        return len(found)

    async def _ddl(self, session: "asyncpg.Connection[asyncpg.Record]", sql: str) -> None:
        await self._settled(partial(session.execute, sql))

    async def _settled(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a statement while it loses races: any DDL costs each session one on DSQL."""
        for tries in range(TRIES_MAX):
            try:
                return await call()
            except outcomes.DRIVER_ERRORS as error:
                meaning = outcomes.of_statement(error)
                if not isinstance(meaning, Conflict):
                    raise meaning from error
                await self._system.back_off(tries, cap_s=BACKOFF_CAP_S)
        raise ParityError(f"{TRIES_MAX} lost races in a row")


async def _ended(session: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Close a session, and with it what it was doing.

    A server finishes a statement whose client is gone, so a CREATE would outlive what drops it.
    """
    try:
        await session.close(timeout=ENDS_WITHIN_S)
    except outcomes.DRIVER_ERRORS:
        session.terminate()
