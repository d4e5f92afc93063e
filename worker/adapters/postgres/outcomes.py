"""What an asyncpg failure means, in the words of ``worker.errors``.

Told by exception class and SQLSTATE, never by text, except OC001: DSQL puts that in the message.
Not in DETAIL, which quotes rows, and so what a client wrote into them.
Anything not known to mean "nothing was written" means that nobody knows.
"""

from collections.abc import Mapping
from typing import Final

import asyncpg

from worker.errors import (
    Conflict,
    OutcomeUnknown,
    Poison,
    Refused,
    SchemaChanged,
    StoreError,
    Unavailable,
    Unfit,
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
_LOST_RACES: Final = frozenset({"40001", "40P01", "55P03"})
# 25: a standby, or a session left in a state of its own. 40: what is no lost race says "unknown".
_UNKNOWN_CLASSES: Final = ("", "08", "25", "40", "53", "57", "58", "XX")
# What a statement meets whatever its parameters say: no such feature, prepared statement (a
# pooler's doing), login, database, schema, table or right.
_UNFIT_CLASSES: Final = ("0A", "26", "28", "3D", "3F", "42")
_MEANINGS: Final[Mapping[str, type[StoreError]]] = {
    **dict.fromkeys(_UNKNOWN_CLASSES, OutcomeUnknown),
    **dict.fromkeys(_UNFIT_CLASSES, Unfit),
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


def of_connect(error: Exception) -> StoreError:
    """Return what a failed attempt to connect means: that nothing was sent."""
    sqlstate = str(getattr(error, "sqlstate", None) or "")
    return Unavailable(f"{type(error).__name__}: {error}", sqlstate=sqlstate)


def schema_changed(error: asyncpg.PostgresError) -> bool:
    """Return whether nothing was written because the tables are not what they were."""
    is_stale = isinstance(error, asyncpg.InvalidCachedStatementError)
    return is_stale or "(OC001)" in str(error.args[0])
