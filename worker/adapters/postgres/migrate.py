"""Migrations: numbered SQL files, one DDL each, forward only, each in its own transaction.

Restartable after any failure: a file that ran is in ``migrations`` with its checksum, and one that
ran unrecorded is recognised by its object being there already. ``CREATE INDEX ASYNC`` is DSQL's;
PostgreSQL gets the same index without the word.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

import asyncpg

from worker.adapters.postgres import outcomes
from worker.adapters.postgres.connect import connect
from worker.adapters.system import sleep
from worker.errors import Conflict, ParityError

_LEDGER: Final = (
    "CREATE TABLE IF NOT EXISTS migrations ("
    "number integer NOT NULL, name text NOT NULL, checksum text NOT NULL,"
    " CONSTRAINT migrations_pkey PRIMARY KEY (number))"
)
_ALREADY_THERE: Final = frozenset({"42P07", "42710"})
_ATTEMPTS_MAX: Final = 8
_SETTINGS: Final = {
    "application_name": "parity-migrate",
    "default_transaction_isolation": "repeatable read",
}


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``schema/``."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the file, hex."""
        return sha256(self.sql.encode()).hexdigest()


def migrations() -> Sequence[Migration]:
    """Return all migrations in order."""
    folder = files("worker.adapters.postgres") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [
        Migration(int(name[:4]), name, (folder / name).read_text(encoding="utf-8"))
        for name in names
    ]


async def migrate(url: str, *, timeout_s: float) -> list[str]:
    """Apply what is missing; return the names applied. Raises ParityError on a changed file."""
    connection = await connect(url, _SETTINGS, timeout_s=timeout_s)
    try:
        await _run(connection, _LEDGER)
        found = await connection.fetch(
            "SELECT number, checksum FROM migrations ORDER BY number LIMIT 10000"
        )
        known = {row["number"]: row["checksum"] for row in found}
        applied = []
        for migration in migrations():
            if migration.number not in known:
                await _apply(connection, migration)
                applied.append(migration.name)
            elif known[migration.number] != migration.checksum:
                raise ParityError(f"{migration.name} was changed after it was applied")
        return applied
    finally:
        connection.terminate()


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    await _run(connection, re.sub(r"\bINDEX ASYNC\b", "INDEX", migration.sql))
    await _run(
        connection,
        "INSERT INTO migrations (number, name, checksum) VALUES ($1, $2, $3)"
        " ON CONFLICT (number) DO NOTHING",
        migration.number,
        migration.name,
        migration.checksum,
    )


async def _run(
    connection: "asyncpg.Connection[asyncpg.Record]", sql: str, *arguments: object
) -> None:
    """Run one statement; lost races again, and what is there already counts as done."""
    for attempt in range(_ATTEMPTS_MAX):
        try:
            await connection.execute(sql, *arguments)
        except asyncpg.PostgresError as error:
            if error.sqlstate in _ALREADY_THERE or (
                error.sqlstate == "23505" and re.search(r"^CREATE\b", sql, re.MULTILINE)
            ):
                return
            meaning = outcomes.of_statement(error)
            if not isinstance(meaning, Conflict) or attempt == _ATTEMPTS_MAX - 1:
                raise meaning from error
        else:
            return
        await sleep(0.05 * 2**attempt)
