"""Migrations: numbered SQL files, forward only, one DDL statement a file and a transaction.

A file is brought in by small steps, each one statement, each after a new look at what is there:

    note     a row of `migrations` says that the file was begun, and its checksum
    create   the file's own statement
    wait     until an index that DSQL builds beside us can be used
    drop     an index whose building failed, to create it again
    mark     the row says APPLIED

So a migrator can be cut off anywhere and another goes on, at once or later; two at a time help each
other: a note is one row, DDL makes a name once, and whoever loses looks again. What is there
without a note is not ours and is refused, and so is a file that changed since it was noted.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final, TypeVar

import asyncpg

from worker.adapters.postgres import outcomes, target
from worker.adapters.postgres.connect import connect
from worker.adapters.system import system
from worker.errors import Conflict, ParityError
from worker.ports import System

SETTINGS: Final = {
    "application_name": "parity-migrate",
    "default_transaction_isolation": "repeatable read",
}
ATTEMPTS_MAX: Final = 24
"""Steps that one file may take, lost races included; it needs four."""
BACKOFF_CAP_S: Final = 2.0
BUILD_POLL_S: Final = 1.0
BUILD_POLLS_MAX: Final = 3_600
BROKEN_LOOKS: Final = 3
"""So often in a row an index must be seen unusable and unbuilt: its job ends a moment before."""
APPLIED: Final = "APPLIED"
_MADE_BY_ANOTHER: Final = frozenset({"23505", "42P07", "42710"})
_NOTES: Final = (
    "CREATE TABLE migrations ("
    "number integer NOT NULL, name text NOT NULL, checksum text NOT NULL, state text NOT NULL,"
    " CONSTRAINT migrations_pkey PRIMARY KEY (number),"
    " CONSTRAINT migrations_state CHECK (state IN ('STARTED', 'APPLIED')))"
)
_NOTE: Final = (
    "INSERT INTO migrations (number, name, checksum, state) VALUES ($1, $2, $3, 'STARTED')"
    " ON CONFLICT (number) DO NOTHING"
)
_MARK: Final = "UPDATE migrations SET state = 'APPLIED' WHERE number = $1 AND checksum = $2"
_IS_THERE: Final = (
    "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = current_schema() AND c.relname::text = $1::text"
)
_LOOK: Final = (
    "SELECT m.checksum, m.state, t.usable FROM (SELECT 1) AS one"
    "  LEFT JOIN migrations m ON m.number = $2"
    "  LEFT JOIN (SELECT coalesce(i.indisvalid, true) AS usable"
    "               FROM pg_class c"
    "               JOIN pg_namespace n ON n.oid = c.relnamespace"
    "               LEFT JOIN pg_index i ON i.indexrelid = c.oid"
    "              WHERE n.nspname = current_schema() AND c.relname::text = $1::text"
    "            ) AS t ON true"
)
_JOBS: Final = (
    "SELECT status, details FROM sys.jobs"
    " WHERE object_name = $1 OR object_name = current_schema() || '.' || $1"
    " LIMIT 100"
)
_AT_WORK: Final = frozenset({"submitted", "processing"})

T = TypeVar("T")


Run = Callable[..., Awaitable[Sequence[Any]]]
"""Runs one statement with its arguments as a transaction of its own; returns its rows."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between targets: who builds an index, and where that can be seen."""

    builds_beside: bool

    def ddl(self, migration: "Migration") -> str:
        """Return the file's statement as the target takes it."""
        if self.builds_beside:
            return migration.sql
        return re.sub(r"\bINDEX ASYNC\b", "INDEX", migration.sql)

    async def builds(self, run: Run, index: str) -> Mapping[str, str]:
        """Return the states of the jobs that build an index, and what each has to say."""
        if not self.builds_beside:
            return {}
        found = await run(_JOBS, index)
        return {row["status"]: row["details"] or "" for row in found}


POSTGRESQL: Final = Dialect(builds_beside=False)
DSQL: Final = Dialect(builds_beside=True)


def dialect_of(url: str) -> Dialect:
    """Return how the target that a URL names takes DDL."""
    return DSQL if target.is_dsql(url) else POSTGRESQL


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``schema/``, named for the one thing that it makes."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the file, hex."""
        return sha256(self.sql.encode()).hexdigest()

    @property
    def makes(self) -> str:
        """Return the name of the table, view or index."""
        return self.name.removesuffix(".sql")[5:]

    @property
    def title(self) -> str:
        """Return the line that the statement begins with."""
        code = (line for line in self.sql.splitlines() if not line.startswith("--"))
        return next(code, "").rstrip(" (;")

    @property
    def is_index(self) -> bool:
        """Return whether it makes an index, which can be made again at any time."""
        return re.search(r"^CREATE INDEX\b", self.sql, re.MULTILINE) is not None


class Thing(StrEnum):
    """How what a file makes stands in the database."""

    MISSING = "missing"
    BUILDING = "building"
    BROKEN = "broken"
    READY = "ready"


class Step(StrEnum):
    """What to do next for a file."""

    NOTE = "begin"
    CREATE = "create"
    WAIT = "wait until built"
    DROP = "drop and create again"
    MARK = "mark as applied"
    NOTHING = "leave alone"


@dataclass(frozen=True, slots=True)
class Note:
    """A row of ``migrations``."""

    checksum: str
    state: str


def next_step(migration: Migration, note: Note | None, thing: Thing) -> Step:
    """Return what to do next. Raises ParityError on what only an operator can decide."""
    if note is None:
        if thing is not Thing.MISSING:
            raise ParityError(
                f"{migration.name}: the database has a {migration.makes!r} that no migration made;"
                " rename it or take an empty database"
            )
        return Step.NOTE
    if note.checksum != migration.checksum:
        raise ParityError(
            f"{migration.name} was changed after it was {note.state.lower()}: its checksum is"
            f" {migration.checksum[:12]}…, noted is {note.checksum[:12]}…; restore the file"
        )
    if note.state == APPLIED and thing is Thing.MISSING and not migration.is_index:
        raise ParityError(f"{migration.name} was applied, but {migration.makes!r} is gone")
    if thing is Thing.READY:
        return Step.NOTHING if note.state == APPLIED else Step.MARK
    return {Thing.MISSING: Step.CREATE, Thing.BUILDING: Step.WAIT, Thing.BROKEN: Step.DROP}[thing]


def migrations() -> Sequence[Migration]:
    """Return all migrations in order."""
    folder = files("worker.adapters.postgres") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [
        Migration(int(name[:4]), name, (folder / name).read_text(encoding="utf-8"))
        for name in names
    ]


async def migrate(url: str, *, timeout_s: float) -> list[str]:
    """Apply what is missing; return the names applied. Raises ParityError."""
    connection = await connect(url, SETTINGS, timeout_s=timeout_s)
    try:
        return await Migrator(connection.fetch, dialect_of(url), system()).run(migrations())
    finally:
        connection.terminate()


async def foreseen(url: str, *, timeout_s: float) -> list[tuple[Migration, Step]]:
    """Return what ``migrate`` would begin with for each file that is not applied. Reads only."""
    connection = await connect(url, SETTINGS, timeout_s=timeout_s)
    try:
        return await Migrator(connection.fetch, dialect_of(url), system()).foresee(migrations())
    finally:
        connection.terminate()


class Migrator:
    """Brings files in through one connection."""

    def __init__(self, run: Run, dialect: Dialect, system: System) -> None:
        self._run, self._dialect, self._system = run, dialect, system
        self._trouble = ""

    async def run(self, every: Sequence[Migration]) -> list[str]:
        """Apply what is missing, in order; return the names applied."""
        await self._repeat(self._make_notes, "the table `migrations`")
        return [migration.name for migration in every if await self._bring_in(migration)]

    async def foresee(self, every: Sequence[Migration]) -> list[tuple[Migration, Step]]:
        """Return the next step of each file that is not applied. Reads only."""
        steps: list[tuple[Migration, Step]] = []
        for migration in every:
            step = await self._repeat(partial(self._next, migration), migration.name)
            steps.append((migration, step))
        return [(migration, step) for migration, step in steps if step is not Step.NOTHING]

    async def _make_notes(self) -> bool | None:
        if await self._is_noting():
            return True
        await self._run(_NOTES)
        return None

    async def _bring_in(self, migration: Migration) -> bool:
        """Do one step after the other; return whether there was something to do."""
        done: list[Step] = []

        async def one_step() -> bool | None:
            step = await self._next(migration)
            if step is Step.NOTHING:
                return bool(done)
            done.append(step)
            await self._do(step, migration)
            return None

        return await self._repeat(one_step, migration.name)

    async def _repeat(self, action: Callable[[], Awaitable[T | None]], what: str) -> T:
        """Repeat ``action`` until it returns something; a lost race is a reason to look again."""
        self._trouble, told = "", ""
        for tries in range(ATTEMPTS_MAX):
            try:
                if (result := await action()) is not None:
                    return result
            except outcomes.DRIVER_ERRORS as error:
                meaning = outcomes.of_statement(error)
                if not isinstance(meaning, Conflict) and meaning.sqlstate not in _MADE_BY_ANOTHER:
                    raise meaning from error
                told = str(meaning)
                await self._system.back_off(tries, cap_s=BACKOFF_CAP_S)
        raise ParityError(
            f"{what}: given up after {ATTEMPTS_MAX} attempts: {self._trouble or told}"
        )

    async def _is_noting(self) -> bool:
        return bool(await self._run(_IS_THERE, "migrations"))

    async def _next(self, migration: Migration) -> Step:
        """Look at the note and at what the file makes, in one snapshot; return what to do next."""
        note = None
        try:
            (row,) = await self._run(_LOOK, migration.makes, migration.number)
            usable: bool | None = row["usable"]
            if row["checksum"] is not None:
                note = Note(row["checksum"], row["state"])
        except asyncpg.UndefinedTableError:
            found = await self._run(_IS_THERE, migration.makes)
            usable = True if found else None
        return next_step(migration, note, await self._thing(migration, usable))

    async def _thing(self, migration: Migration, usable: bool | None) -> Thing:
        if usable is None:
            return Thing.MISSING
        if usable:
            return Thing.READY
        builds = await self._dialect.builds(self._run, migration.makes)
        if _AT_WORK & builds.keys():
            return Thing.BUILDING
        self._trouble = builds.get("failed") or "the index cannot be used"
        return Thing.BROKEN

    async def _do(self, step: Step, migration: Migration) -> None:
        run = self._run
        match step:
            case Step.NOTE:
                await run(_NOTE, migration.number, migration.name, migration.checksum)
            case Step.CREATE:
                await run(self._dialect.ddl(migration))
            case Step.WAIT:
                await self._await_build(migration)
            case Step.DROP:
                await self._drop(migration)
            case Step.MARK:
                await run(_MARK, migration.number, migration.checksum)
            case Step.NOTHING:
                pass

    async def _await_build(self, migration: Migration) -> None:
        for _ in range(BUILD_POLLS_MAX):
            await self._system.sleep(BUILD_POLL_S)
            if await self._next(migration) is not Step.WAIT:
                return
        raise ParityError(
            f"{migration.name}: the index is still being built; run this again to go on waiting"
        )

    async def _drop(self, migration: Migration) -> None:
        """Drop an index that stays unusable. A job ends a moment before its index is usable."""
        for _ in range(BROKEN_LOOKS if self._dialect.builds_beside else 0):
            await self._system.sleep(BUILD_POLL_S)
            if await self._next(migration) is not Step.DROP:
                return
        await self._run(f"DROP INDEX IF EXISTS {migration.makes}")
