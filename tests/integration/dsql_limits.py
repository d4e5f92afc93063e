"""A session that may answer like Aurora DSQL, in front of a real PostgreSQL.

The session shows how the doctor reports a refused CTE, row and byte limits, OC001, a conflict at
COMMIT, and a target without snapshot isolation. It does not show which of these a cluster has, nor
the cluster's words. Conflicts are raised by a count, not detected.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from worker.adapters.postgres.connect import LANE_SETTINGS
from worker.adapters.postgres.migrate import POSTGRESQL, Dialect

TIMEOUT_S = 10.0
HANGS_S = 2.0
"""Time until a hanging call is given up. Other calls may take longer."""
_WRITING_CTE = re.compile(r"\bAS\s*\(\s*(INSERT|UPDATE|DELETE)\b")


@dataclass
class Target:
    """The behaviour of the target. The defaults are PostgreSQL's."""

    refuses_ctes: bool = False
    rows_max: int | None = None
    counts_index_entries: bool = False
    bytes_max: int | None = None
    read_committed: bool = False
    oc001: bool = False
    refuses_schemas: bool = False
    breaks_at: str = ""
    """A statement with this text raises a bug."""
    hangs_at: str = ""
    """A statement with this text gets no answer."""


class Session:
    """A real session that refuses what the target refuses."""

    changes = 0
    """Number of DDL statements in all sessions."""

    def __init__(self, target: Target, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._target, self._connection = target, connection
        self._known_changes = Session.changes
        self._bytes = self._rows = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a connection has
        return getattr(self._connection, name)

    async def execute(self, query: str, *args: Any) -> str:  # noqa: ANN401 - as asyncpg's
        await self._hang(query)
        tag = await self._connection.execute(self._answered(query, args), *args)
        if query.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self._bytes = self._rows = 0
        self._bytes += sum(len(value) for value in args if isinstance(value, str))
        if tag.startswith("INSERT"):
            self._rows += int(tag.rsplit(" ", 1)[-1])
        return tag

    async def fetch(self, query: str, *args: Any, **settings: Any) -> Any:  # noqa: ANN401 - as asyncpg's
        return await self._connection.fetch(self._answered(query, args), *args, **settings)

    async def fetchval(self, query: str, *args: Any) -> Any:  # noqa: ANN401 - as asyncpg's
        await self._hang(query)
        return await self._connection.fetchval(self._answered(query, args), *args)

    async def fetchrow(self, query: str, *args: Any) -> Any:  # noqa: ANN401 - as asyncpg's
        await self._hang(query)
        return await self._connection.fetchrow(self._answered(query, args), *args)

    async def _hang(self, query: str) -> None:
        if self._target.hangs_at and self._target.hangs_at in query:
            await self._connection.execute("SELECT pg_sleep(60)", timeout=HANGS_S)

    def _answered(self, query: str, args: Sequence[Any]) -> str:
        """Return the statement to send, or refuse it."""
        target = self._target
        if target.breaks_at and target.breaks_at in query:
            raise ZeroDivisionError(target.breaks_at)
        if target.refuses_ctes and _WRITING_CTE.search(query):
            raise asyncpg.FeatureNotSupportedError("unsupported statement in a WITH clause")
        if target.refuses_schemas and query.startswith("CREATE SCHEMA"):
            raise asyncpg.InsufficientPrivilegeError("permission denied for database")
        self._notice_changes(query)
        self._limit(query, args)
        if target.read_committed and query.startswith("BEGIN"):
            return "BEGIN ISOLATION LEVEL READ COMMITTED"
        return query

    def _notice_changes(self, query: str) -> None:
        if not self._target.oc001:
            return
        if re.match(r"CREATE|DROP|--[^\n]*\nCREATE", query):
            Session.changes += 1
        elif self._known_changes != Session.changes:
            self._known_changes = Session.changes
            raise asyncpg.SerializationError("schema has been updated (OC001)")
        self._known_changes = Session.changes

    def _limit(self, query: str, args: Sequence[Any]) -> None:
        rows_max, bytes_max = self._target.rows_max, self._target.bytes_max
        rows = 0
        if "generate_series(1, $2" in query:
            rows = args[1] * (2 if self._target.counts_index_entries else 1)
        if query.startswith("UPDATE orders SET seq"):
            rows = 2 * self._rows
        if rows_max is not None and rows > rows_max:
            raise asyncpg.ProgramLimitExceededError("transaction row limit exceeded")
        if bytes_max is not None and query == "COMMIT" and self._bytes > bytes_max:
            raise asyncpg.ProgramLimitExceededError("transaction size limit 10mb exceeded")


@dataclass
class StandIn:
    """Opens sessions of a target. Replaces a `Driver`."""

    url: str
    target: Target
    is_dsql: bool = False
    dialect: Dialect = POSTGRESQL

    async def open(self) -> Session:
        connection = await asyncpg.connect(
            self.url, server_settings=LANE_SETTINGS, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S
        )
        return Session(self.target, connection)
