"""A temporary schema in a database that may also have live workers.

The migrator makes its tables from the exchange's own files. Sessions find them by their
`search_path`, so that every statement runs unchanged. On DSQL any DDL makes each session repeat one
statement, and live workers pay that price too. The schema's name has the second of its creation.
The next doctor drops schemas that a killed process left more than an hour ago.
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
from worker.retry import retry

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
    """The role may not create a schema."""


class Scratch:
    """One schema and the sessions that use it. ``close`` removes all of it."""

    def __init__(self, open_: Open, dialect: Dialect, system: System, *, wall_s: int) -> None:
        self.schema = f"{PREFIX}{wall_s:x}_{system.random.getrandbits(32):08x}"
        self._open, self._dialect, self._system, self._wall_s = open_, dialect, system, wall_s
        self._sessions: list[asyncpg.Connection[asyncpg.Record]] = []
        self._begun = False

    async def create(self) -> Sequence[str]:
        """Create the schema and its tables, and return their names. Raises Denied, StoreError."""
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
        """Return a new session that finds only the scratch tables."""
        session = await self.plain_session()
        await self._ddl(session, f"SET search_path TO {self.schema}")
        return session

    async def connect(
        self, _url: str, _settings: dict[str, str], *, timeout_s: float
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """Replace ``connect`` in a store or in books that are to use the scratch tables."""
        async with asyncio.timeout(timeout_s):
            return await self.session()

    async def plain_session(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a new session that ``close`` ends."""
        session = await self._open()
        self._sessions.append(session)
        return session

    async def close(self) -> int:
        """Drop everything in any state of the sessions, and return the number of relations."""
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
        """Drop a schema one relation at a time, since DSQL allows one DDL per transaction."""
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

        async def translated() -> T:
            try:
                return await call()
            except outcomes.DRIVER_ERRORS as error:
                raise outcomes.of_statement(error) from error

        return await retry(
            translated, Conflict, cap_s=BACKOFF_CAP_S, tries=TRIES_MAX, system=self._system
        )


async def _ended(session: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Close a session and cancel its statement.

    A server finishes a statement whose client is gone, so a CREATE could follow the DROP.
    """
    try:
        await session.close(timeout=ENDS_WITHIN_S)
    except outcomes.DRIVER_ERRORS:
        session.terminate()
