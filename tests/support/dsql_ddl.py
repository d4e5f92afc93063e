"""Answers to DDL as Aurora DSQL gives them, in front of a real PostgreSQL.

Shows: that plain CREATE INDEX is refused, that CREATE INDEX ASYNC answers with a job and leaves an
index that cannot be used until the job is done, jobs that fail, that are slow or forgotten, OC001
for the first statement of a session after another session's DDL. Does not show: what a cluster's
parser takes, how long it builds, conflicts at COMMIT, or what its catalog calls things.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

_CREATE = re.compile(r"^CREATE INDEX ASYNC (\w+)", re.MULTILINE)
_DDL = re.compile(r"^(CREATE|DROP|GRANT)\b", re.MULTILINE)
_JOBS = """
    CREATE SCHEMA IF NOT EXISTS sys;
    CREATE TABLE IF NOT EXISTS sys.jobs (
        job_id text PRIMARY KEY, status text, details text, object_name text);
"""


@dataclass
class Cluster:
    """What all sessions share. ``looks``: so many looks at its job does an index take."""

    looks: int = 2
    failures: int = 0
    """So many builds fail."""
    qualified: bool = True
    """Whether a job's object is named with its schema."""
    forgets: bool = False
    """Whether a job that is done is forgotten at once."""
    changes: int = 0
    left: dict[str, int] = field(default_factory=dict)
    jobs: int = 0


class DsqlSession:
    """One session of a cluster; ``run`` is what a `Migrator` takes."""

    def __init__(self, cluster: Cluster, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._cluster, self.connection = cluster, connection
        self._known_changes = cluster.changes
        self.refused: list[str] = []

    async def prepare(self) -> None:
        await self.connection.execute(_JOBS)

    async def run(self, sql: str, *arguments: object) -> Sequence[Any]:
        """Answer one statement."""
        if self._known_changes != self._cluster.changes:
            self._known_changes = self._cluster.changes
            self._refuse("schema has been updated by another transaction (OC001)")
        if re.search(r"^CREATE INDEX (?!ASYNC)", sql, re.MULTILINE):
            raise asyncpg.FeatureNotSupportedError("please use CREATE INDEX ASYNC")
        if "sys.jobs" in sql:
            await self._work()
        index = _CREATE.search(sql)
        found = (
            await self._build(sql, index[1])
            if index
            else await self.connection.fetch(sql, *arguments)
        )
        if _DDL.search(sql):
            self._changed()
        return found

    def _refuse(self, message: str) -> None:
        self.refused.append(message)
        raise asyncpg.SerializationError(message)

    def _changed(self) -> None:
        self._cluster.changes += 1
        self._known_changes = self._cluster.changes

    async def _build(self, sql: str, index: str) -> Sequence[Any]:
        await self.connection.execute(sql.replace("INDEX ASYNC", "INDEX"))
        await self.connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass", index
        )
        self._cluster.jobs += 1
        self._cluster.left[index] = self._cluster.looks
        job = f"job{self._cluster.jobs}"
        name = f"public.{index}" if self._cluster.qualified else index
        await self.connection.execute(
            "INSERT INTO sys.jobs VALUES ($1, 'submitted', NULL, $2)", job, name
        )
        return [{"job_id": job}]

    async def _work(self) -> None:
        """Let every job go on; one that ends changes the schema for everybody."""
        for index in list(self._cluster.left):
            self._cluster.left[index] -= 1
            if self._cluster.left[index] < 0:
                del self._cluster.left[index]
                await self._end(index)

    async def _end(self, index: str) -> None:
        fails = self._cluster.failures > 0
        self._cluster.failures -= fails
        run = self.connection.execute
        status, details = ("failed", "key size too large") if fails else ("completed", None)
        where = "WHERE object_name IN ($1, 'public.' || $1) AND status = 'submitted'"
        if self._cluster.forgets:
            await run(f"DELETE FROM sys.jobs {where}", index)  # noqa: S608 - text of our own
        else:
            set_ = "UPDATE sys.jobs SET status = $2, details = $3"
            await run(f"{set_} {where}", index, status, details)
        if not fails:
            await run(
                "UPDATE pg_index SET indisvalid = true WHERE indexrelid = to_regclass($1)", index
            )
        self._cluster.changes += 1
