"""Answers to DDL as Aurora DSQL gives them, in front of a real PostgreSQL.

It refuses the forms of DDL that DSQL's documentation and linter refuse. CREATE INDEX ASYNC and
ALTER TABLE ASYNC answer with a job, and their effect shows only when the job is done. Jobs fail,
are slow, or are forgotten. A session that has not seen another session's DDL is refused once with
OC001, and any statement may be refused with OC000.

It does not show what a cluster's parser takes, how long a job takes, conflicts at COMMIT, or the
names that a cluster gives to jobs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg

_INDEX = re.compile(r"^CREATE (?:UNIQUE )?INDEX ASYNC (\w+)", re.MULTILINE)
_VALIDATION = re.compile(r"^ALTER TABLE ASYNC (\w+) VALIDATE CONSTRAINT (\w+)", re.MULTILINE)
_DDL = re.compile(r"^(ALTER|CREATE|DROP|GRANT)\b", re.MULTILINE)
_REFUSED = {
    r"^CREATE (?:UNIQUE )?INDEX (?!ASYNC)": "please use CREATE INDEX ASYNC",
    r"^ALTER TABLE (?!ASYNC)\w+ VALIDATE": "unsupported ALTER TABLE VALIDATE CONSTRAINT statement",
    r"ADD COLUMN \w+ \w+ (?:NOT NULL|DEFAULT|CHECK|UNIQUE)": (
        "ALTER TABLE ADD COLUMN with constraint not supported"
    ),
    r"ADD CONSTRAINT \w+ CHECK (?![^;]*NOT VALID)": (
        "unsupported ALTER TABLE ADD CONSTRAINT statement"
    ),
    r"ADD CONSTRAINT \w+ PRIMARY KEY": "unsupported ALTER TABLE ADD CONSTRAINT statement",
    r"DROP CONSTRAINT \w+_pkey": "unsupported ALTER TABLE DROP CONSTRAINT statement",
    r"SET NOT NULL": "unsupported ALTER TABLE SET NOT NULL statement",
    r"pg_(?:try_)?advisory": "function pg_try_advisory_lock not supported",
}
_JOBS = """
    CREATE SCHEMA IF NOT EXISTS sys;
    CREATE TABLE IF NOT EXISTS sys.jobs (
        job_id text PRIMARY KEY, status text, details text, object_name text);
"""


@dataclass
class Job:
    """Work of the database. Its statement runs after so many looks at the table of jobs."""

    index: str
    statement: str
    looks_left: int


@dataclass
class Cluster:
    """The state that all sessions share. A job takes ``looks`` looks at the table of jobs."""

    looks: int = 2
    failures: int = 0
    """Number of jobs that fail, the first ones."""
    qualified: bool = True
    """Whether a job's object is named with its schema."""
    by_table: bool = True
    """Whether the object of a validation is the table, and not the constraint."""
    forgets: bool = False
    """Whether a job that is done is forgotten at once."""
    loses: float = 0.0
    """Share of statements that are refused with OC000."""
    random: Random = field(default_factory=lambda: Random(1))
    changes: int = 0
    at_work: dict[str, Job] = field(default_factory=dict)
    jobs: int = 0


class DsqlSession:
    """One session of a cluster; ``run`` is what a `Migrator` takes."""

    def __init__(self, cluster: Cluster, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._cluster, self.connection = cluster, connection
        self._known_changes = cluster.changes
        self.refused: list[str] = []

    async def prepare(self) -> None:
        await self.connection.execute(_JOBS)

    async def run(self, sql: str, *arguments: object, **_: object) -> Sequence[Any]:
        """Answer one statement."""
        self._may_refuse(sql)
        if "sys.jobs" in sql:
            await self._work()
        if index := _INDEX.search(sql):
            found = await self._build(sql, index[1])
        elif validation := _VALIDATION.search(sql):
            found = await self._validate(sql, *validation.groups())
        else:
            found = await self.connection.fetch(sql, *arguments)
        if _DDL.search(sql):
            self._changed()
        return found

    def _may_refuse(self, sql: str) -> None:
        if self._known_changes != self._cluster.changes:
            self._known_changes = self._cluster.changes
            self._refuse("schema has been updated by another transaction (OC001)")
        if self._cluster.random.random() < self._cluster.loses:
            self._refuse("change conflicts with another transaction (OC000)")
        for form, message in _REFUSED.items():
            if re.search(form, re.sub(r"--[^\n]*", "", sql), re.MULTILINE):
                raise asyncpg.FeatureNotSupportedError(message)

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
        valid = f"UPDATE pg_index SET indisvalid = true WHERE indexrelid = to_regclass('{index}')"  # noqa: S608
        return await self._begin(index, Job(index, valid, self._cluster.looks))

    async def _validate(self, sql: str, table: str, constraint: str) -> Sequence[Any]:
        sql = sql.replace("TABLE ASYNC", "TABLE")
        named = table if self._cluster.by_table else constraint
        return await self._begin(named, Job("", sql, self._cluster.looks))

    async def _begin(self, named: str, job: Job) -> Sequence[Any]:
        self._cluster.jobs += 1
        job_id = f"job{self._cluster.jobs}"
        self._cluster.at_work[job_id] = job
        name = f"public.{named}" if self._cluster.qualified else named
        await self.connection.execute(
            "INSERT INTO sys.jobs VALUES ($1, 'submitted', NULL, $2)", job_id, name
        )
        return [{"job_id": job_id}]

    async def _work(self) -> None:
        """Let every job go on. A job that ends changes the schema for everybody."""
        for job_id, job in list(self._cluster.at_work.items()):
            job.looks_left -= 1
            if job.looks_left < 0 and self._cluster.at_work.pop(job_id, None) is not None:
                await self._end(job_id, job)

    async def _end(self, job_id: str, job: Job) -> None:
        status, details = "completed", ""
        if self._cluster.failures > 0:
            self._cluster.failures -= 1
            status, details = "failed", "key size too large"
        else:
            try:
                await self.connection.execute(job.statement)
            except asyncpg.PostgresError as error:
                status, details = "failed", str(error)
        if self._cluster.forgets:
            await self.connection.execute("DELETE FROM sys.jobs WHERE job_id = $1", job_id)
        else:
            set_ = "UPDATE sys.jobs SET status = $2, details = $3 WHERE job_id = $1"
            await self.connection.execute(set_, job_id, status, details or None)
        self._cluster.changes += 1
