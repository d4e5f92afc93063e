"""Migrations: numbered SQL files, forward only, one DDL statement per file and transaction.

Each file declares one change, see ``changes``. It is applied by small actions. Each action is one
statement, and follows from a new look at the catalog and at the notes:

    note     a row of `migrations` records that the file was begun, and its checksum
    apply    the file's own statement
    wait     until DSQL has built an index or validated a constraint
    rebuild  drop an index that cannot be used, to create it again
    mark     the row becomes APPLIED

A migrator can therefore be interrupted anywhere, and another continues. Two at once cannot harm
each other. On PostgreSQL the second one waits for a lock. DSQL has no such lock, but refuses a
statement of a session that has not seen the last change of the schema (OC001), and the migrator
looks again. A thing that is there without a note belongs to somebody else and is refused. A file
that changed after it was noted is refused, too.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, Final, TypeVar

import asyncpg

from worker.adapters.postgres import outcomes, target
from worker.adapters.postgres.changes import (
    LOOK_UP,
    Action,
    Change,
    Kind,
    Migration,
    Note,
    Presence,
    Progress,
    Verb,
    next_action,
    undone_by,
)
from worker.adapters.postgres.connect import connect
from worker.adapters.system import system
from worker.errors import Conflict, ParityError, StoreError
from worker.ports import System
from worker.retry import retry

SETTINGS: Final = {
    "application_name": "parity-migrate",
    "default_transaction_isolation": "repeatable read",
    # A statement that waits for a table keeps everybody else from it meanwhile.
    "lock_timeout": "1s",
}
ACTIONS_MAX: Final = 24
"""Actions that one file may take. It needs three, and two more for each build that failed."""
TRIES_MAX: Final = 24
"""How often one file may be begun, because a race was lost."""
OVERTAKEN_MAX: Final = 3
"""How often a file's statement may be refused because its change is done already."""
BACKOFF_CAP_S: Final = 2.0
POLL_S: Final = 1.0
POLLS_MAX: Final = 3_600
"""How often to ask for the end of a job, or of another migrator."""
SCAN_S: Final = 3_600.0
"""How long PostgreSQL may take to build an index or to validate a constraint."""
LOOKS_AFTER_JOB: Final = 3
"""A job may end a moment before the catalog shows what it did."""
_OVERTAKEN: Final = {
    Verb.CREATES: frozenset({"23505", "42P07", "42710", "42701"}),
    Verb.DROPS: frozenset({"42P01", "42703", "42704"}),
    Verb.VALIDATES: frozenset[str](),
}
"""SQLSTATEs by which the database refuses a change that is done already."""
_NOTES: Final = (
    "CREATE TABLE migrations ("
    "number integer NOT NULL, name text NOT NULL, checksum text NOT NULL, state text NOT NULL,"
    " CONSTRAINT migrations_pkey PRIMARY KEY (number),"
    " CONSTRAINT migrations_state CHECK (state IN ('STARTED', 'APPLIED')))"
)
_NOTES_CHANGE: Final = Change(Verb.CREATES, Kind.TABLE, "", "migrations")
_NOTE: Final = (
    "INSERT INTO migrations (number, name, checksum, state) VALUES ($1, $2, $3, 'STARTED')"
    " ON CONFLICT (number) DO NOTHING"
)
_MARK: Final = "UPDATE migrations SET state = 'APPLIED' WHERE number = $1 AND checksum = $2"
_LOOK: Final = (
    "SELECT m.checksum, m.state, later.number IS NOT NULL AS undone, t.*"  # noqa: S608 - constants
    "  FROM (SELECT 1) AS one"
    f"  LEFT JOIN ({LOOK_UP}) AS t ON true"
    "  LEFT JOIN migrations m ON m.number = $3::integer"
    "  LEFT JOIN migrations later ON later.number = $4::integer"
)
_LOCK: Final = (
    "SELECT pg_try_advisory_lock(hashtext('parity migrate'), hashtext(current_schema())) AS alone"
)
_JOBS: Final = (
    "SELECT job_id, status, details FROM sys.jobs"
    " WHERE job_id = $1::text OR object_name IN ($2::text, $3::text,"
    " current_schema() || '.' || $2::text, current_schema() || '.' || $3::text)"
    " LIMIT 100"
)
_ASYNC: Final = re.compile(r"\b(INDEX|TABLE) ASYNC\b")
_AT_WORK: Final = frozenset({"submitted", "processing"})
_DONE: Final = "completed"

T = TypeVar("T")

Execute = Callable[..., Awaitable[Sequence[Any]]]
"""Runs one statement with its arguments as a transaction of its own; returns its rows.

Takes ``timeout`` in seconds, as asyncpg does.
"""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The differences between targets.

    With ``has_jobs`` the database builds an index and validates a constraint as a job of its own.
    """

    has_jobs: bool

    @property
    def locks(self) -> bool:
        """Return whether a session can hold a lock. DSQL has no locks."""
        return not self.has_jobs

    def ddl(self, migration: Migration) -> str:
        """Return the file's statement as the target takes it."""
        statement = migration.sql.rstrip().removesuffix(";")
        return statement if self.has_jobs else _ASYNC.sub(r"\1", statement)


POSTGRESQL: Final = Dialect(has_jobs=False)
DSQL: Final = Dialect(has_jobs=True)


def dialect_of(url: str) -> Dialect:
    """Return how the target that a URL names takes DDL."""
    return DSQL if target.is_dsql(url) else POSTGRESQL


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


async def foreseen(url: str, *, timeout_s: float) -> list[tuple[Migration, Action]]:
    """Return what ``migrate`` would begin with for each file that is not applied. Reads only."""
    connection = await connect(url, SETTINGS, timeout_s=timeout_s)
    try:
        return await Migrator(connection.fetch, dialect_of(url), system()).foresee(migrations())
    finally:
        connection.terminate()


class Migrator:
    """Applies files through one connection."""

    def __init__(self, execute: Execute, dialect: Dialect, system: System) -> None:
        self._execute, self._dialect, self._system = execute, dialect, system
        self._undone_by: dict[int, int] = {}
        self._job = self._trouble = ""

    async def run(self, every: Sequence[Migration]) -> list[str]:
        """Apply what is missing, in order; return the names applied."""
        self._undone_by = undone_by(every)
        await self._await_others()
        await self._repeat(self._make_notes, "the table `migrations`", Verb.CREATES)
        return [migration.name for migration in every if await self._apply(migration)]

    async def foresee(self, every: Sequence[Migration]) -> list[tuple[Migration, Action]]:
        """Return the next action of each file that is not applied. Reads only."""
        self._undone_by = undone_by(every)
        found: list[tuple[Migration, Action]] = []
        for migration in every:
            look = partial(self._next, migration)
            action = await self._repeat(look, migration.name, migration.change.verb)
            found.append((migration, action))
        return [(migration, action) for migration, action in found if action is not Action.NOTHING]

    async def _await_others(self) -> None:
        """Wait until no other migrator is at work in this schema. A session's end frees its lock.

        Without the lock a migrator that was stopped for a while could send a CREATE that another
        one has done since, and dropped again by a later file.
        """
        if not self._dialect.locks:
            return
        for _ in range(POLLS_MAX):
            (row,) = await self._repeat(partial(self._execute, _LOCK), "the lock", Verb.CREATES)
            if row["alone"]:
                return
            await self._system.sleep(POLL_S)
        raise ParityError("another migrator is at work in this schema: run this again later")

    async def _make_notes(self) -> None:
        if not await self._execute(LOOK_UP, *_NOTES_CHANGE.looked_up):
            await self._execute(_NOTES)

    async def _apply(self, migration: Migration) -> bool:
        """Do one action after the other; return whether there was something to do."""
        self._job = self._trouble = ""
        actions = 0

        async def until_done() -> bool:
            nonlocal actions
            while (action := await self._next(migration)) is not Action.NOTHING:
                actions += 1
                if actions > ACTIONS_MAX:
                    reason = self._trouble or f"the catalog does not show the {migration.change}"
                    raise ParityError(
                        f"{migration.name}: given up after {ACTIONS_MAX} actions: {reason}"
                    )
                await self._do(action, migration)
            return actions > 0

        return await self._repeat(until_done, migration.name, migration.change.verb)

    async def _repeat(self, call: Callable[[], Awaitable[T]], what: str, verb: Verb) -> T:
        """Return what ``call`` returns. A lost race is a reason to look again from the start."""
        overtaken = 0

        async def translated() -> T:
            try:
                return await call()
            except outcomes.DRIVER_ERRORS as error:
                raise _named(what, outcomes.of_statement(error)) from error

        def is_lost_race(error: Exception) -> bool:
            nonlocal overtaken
            is_overtaken = getattr(error, "sqlstate", "") in _OVERTAKEN[verb]
            overtaken += is_overtaken
            return isinstance(error, Conflict) or (is_overtaken and overtaken <= OVERTAKEN_MAX)

        return await retry(
            translated, is_lost_race, cap_s=BACKOFF_CAP_S, tries=TRIES_MAX, system=self._system
        )

    async def _next(self, migration: Migration) -> Action:
        """Look at the note and at the change, in one snapshot; return what to do next."""
        change, note = migration.change, None
        numbers = (migration.number, self._undone_by.get(migration.number))
        try:
            (row,) = await self._execute(_LOOK, *change.looked_up, *numbers)
        except asyncpg.UndefinedTableError:
            found = await self._execute(LOOK_UP, *change.looked_up)
            return next_action(migration, None, await self._progress(migration, (*found, None)[0]))
        if row["checksum"] is not None:
            note = Note(row["checksum"], row["state"])
        progress = Progress.DONE if row["undone"] else await self._progress(migration, row)
        return next_action(migration, note, progress)

    async def _progress(self, migration: Migration, found: Any) -> Progress:  # noqa: ANN401 - a row
        change = migration.change
        presence = change.presence(found) if found else Presence.ABSENT
        if presence is Presence.OTHER:
            raise ParityError(
                f"{migration.name}: expected the {change}, the database has something else of that"
                " name; rename it"
            )
        if change.verb is Verb.DROPS:
            return Progress.DONE if presence is Presence.ABSENT else Progress.UNDONE
        if presence is Presence.ABSENT:
            return Progress.UNDONE
        if presence is Presence.UNUSABLE:
            return await self._building(change)
        if presence is Presence.UNCHECKED and change.verb is Verb.VALIDATES:
            return await self._validating(migration)
        return Progress.DONE

    async def _building(self, index: Change) -> Progress:
        jobs = await self._jobs(index.name)
        if _AT_WORK & {job["status"] for job in jobs}:
            return Progress.RUNNING
        details = [job["details"] for job in jobs if job["status"] != _DONE and job["details"]]
        self._trouble = details[0] if details else "the index cannot be used"
        return Progress.BROKEN

    async def _validating(self, migration: Migration) -> Progress:
        """Look for a job by the names it may go by, and by the id of the job begun here."""
        jobs = await self._jobs(migration.change.name, migration.change.table)
        for job in jobs:
            if job["job_id"] == self._job and job["status"] not in {_DONE, *_AT_WORK}:
                raise ParityError(
                    f"{migration.name}: the job {job['status']}: {job['details']}; correct the"
                    " rows and run this again"
                )
        at_work = _AT_WORK & {job["status"] for job in jobs}
        return Progress.RUNNING if at_work else Progress.UNDONE

    async def _jobs(self, name: str, other_name: str = "") -> Sequence[Any]:
        if not self._dialect.has_jobs:
            return []
        return await self._execute(_JOBS, self._job, name, other_name or name)

    async def _do(self, action: Action, migration: Migration) -> None:
        execute = self._execute
        match action:
            case Action.NOTE:
                await execute(_NOTE, migration.number, migration.name, migration.checksum)
            case Action.APPLY:
                await self._send(migration)
            case Action.WAIT:
                await self._await_job(migration)
            case Action.REBUILD:
                if await self._is_still(action, migration):
                    await execute(f"DROP INDEX IF EXISTS {migration.change.name}")
            case Action.MARK:
                await execute(_MARK, migration.number, migration.checksum)
            case Action.NOTHING:
                pass

    async def _send(self, migration: Migration) -> None:
        sent = migration.change.verb is Verb.VALIDATES and self._job
        if sent and not await self._is_still(Action.APPLY, migration):
            return
        longer = {"timeout": SCAN_S} if migration.change.only_reads else {}
        rows = await self._execute(self._dialect.ddl(migration), **longer)
        self._job = str(rows[0]["job_id"]) if self._dialect.has_jobs and rows else ""

    async def _await_job(self, migration: Migration) -> None:
        for _ in range(POLLS_MAX):
            await self._system.sleep(POLL_S)
            if await self._next(migration) is not Action.WAIT:
                return
        raise ParityError(
            f"{migration.name}: the {migration.change} is still in work; run this again to go on"
            " waiting"
        )

    async def _is_still(self, action: Action, migration: Migration) -> bool:
        """Return whether ``action`` remains the next one. The catalog may lag after a job."""
        for _ in range(LOOKS_AFTER_JOB if self._dialect.has_jobs else 0):
            await self._system.sleep(POLL_S)
            if await self._next(migration) is not action:
                return False
        return True


def _named(what: str, meaning: StoreError) -> StoreError:
    """Return the same meaning with the name of the file that met it."""
    return type(meaning)(
        f"{what}: {meaning}", sqlstate=meaning.sqlstate, constraint=meaning.constraint
    )
