"""Meaning of an asyncpg failure, as one of ``worker.errors``.

The class and the SQLSTATE decide. Only OC001 is looked for in the message, where DSQL puts it.
DETAIL is never read, because it quotes rows that clients wrote. An error that is not known to mean
"nothing was written" leaves the outcome unknown.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from worker.errors import (
    Conflict,
    Misconfigured,
    OutcomeUnknown,
    Poison,
    Refused,
    SchemaChanged,
    StoreError,
    Unavailable,
)

DRIVER_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # Raised when the server says goodbye on a connection just as it is used.
    asyncpg.InternalClientError,
)
"""Everything by which asyncpg says that a call failed."""
MISSING_DATABASE: Final = "3D000"
MISSING_TABLE: Final = "42P01"
NO_TABLES: Final = "the database has no tables of Parity: run `parity migrate`"
_START: Final = "start the database or correct the address"
_LOST_RACES: Final = frozenset({"40001", "40P01", "55P03"})
# Class 25 is a standby or a session in an odd state. Of class 40 only lost races are certain.
_UNKNOWN_CLASSES: Final = ("", "08", "25", "40", "53", "57", "58", "XX")
# What a statement meets whatever its parameters say: no such feature, prepared statement (a
# pooler's doing), login, database, schema, table or right.
_MISCONFIGURED_CLASSES: Final = ("0A", "26", "28", "3D", "3F", "42")
_MEANINGS: Final[Mapping[str, type[StoreError]]] = {
    **dict.fromkeys(_UNKNOWN_CLASSES, OutcomeUnknown),
    **dict.fromkeys(_MISCONFIGURED_CLASSES, Misconfigured),
}


def of_statement(error: Exception) -> StoreError:
    """Return what a failed statement means.

    Raises MemoryError where asyncpg took that for a parameter that nobody can encode.
    """
    if isinstance(error.__cause__, MemoryError):
        raise error.__cause__
    if not isinstance(error, asyncpg.PostgresError):
        return OutcomeUnknown(f"{type(error).__name__}: {error}")
    sqlstate = error.sqlstate or ""
    # Without the server's DETAIL: it quotes rows, and messages are logged.
    message = f"{sqlstate} {error.args[0]}"
    if schema_changed(error):
        return SchemaChanged(message, sqlstate=sqlstate)
    if sqlstate in _LOST_RACES:
        return Conflict(message, sqlstate=sqlstate)
    if sqlstate.startswith("23"):
        constraint = str(getattr(error, "constraint_name", None) or "")
        return Refused(message, sqlstate=sqlstate, constraint=constraint)
    return _MEANINGS.get(sqlstate[:2], Poison)(message, sqlstate=sqlstate)


def of_connect(error: Exception, url: str) -> StoreError:
    """Return what a failed attempt to connect to ``url`` means: that nothing was sent.

    The text names host and port of the address, and nothing else of it.
    """
    sqlstate = str(getattr(error, "sqlstate", None) or "")
    if isinstance(error, ConnectionRefusedError):
        text = f"refuses connections: {_START}"
    elif isinstance(error, TimeoutError):
        text = f"does not answer in time: {_START}"
    elif sqlstate == MISSING_DATABASE:
        text = f"{error}: create the database or correct the address"
    else:
        text = f"{type(error).__name__}: {error}"
    return Unavailable(f"{place(url)} {text}", sqlstate=sqlstate)


def place(url: str) -> str:
    """Return host and port of a database's address, and the setting that has it."""
    hosts = urlsplit(url).netloc.rpartition("@")[2] or "local socket"
    return f"{hosts} (PARITY_DATABASE_URL)"


def schema_changed(error: asyncpg.PostgresError) -> bool:
    """Return whether nothing was written because the tables are not what they were."""
    is_stale = isinstance(error, asyncpg.InvalidCachedStatementError)
    return is_stale or "(OC001)" in str(error.args[0])
