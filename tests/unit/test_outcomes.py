"""Meanings of a driver's failures: by class and SQLSTATE, by text for OC001 alone."""

import asyncpg
import pytest

from tests.support.dsql import OC000, OC001
from worker.adapters.postgres import outcomes
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

ADDRESS = "postgresql://u:geheim@db.example:5432/d?password=geheim"


def failure(sqlstate: str, text: str = "") -> asyncpg.PostgresError:
    """Return what asyncpg raises for an ErrorResponse."""
    error = asyncpg.PostgresError.new({"C": sqlstate, "M": text, "S": "ERROR", "V": "ERROR"})
    assert isinstance(error, asyncpg.PostgresError)
    return error


@pytest.mark.parametrize(
    ("sqlstate", "text", "meaning"),
    [
        ("40001", OC000, Conflict),
        ("40001", "could not serialize access due to concurrent update", Conflict),
        ("40P01", "deadlock detected", Conflict),
        ("55P03", "canceling statement due to lock timeout", Conflict),
        ("40001", OC001, SchemaChanged),
        ("23505", "duplicate key", Refused),
        ("23514", "check constraint", Refused),
        ("22003", "out of range", Poison),
        ("54000", "transaction row limit exceeded", Poison),
        ("54000", "transaction size limit 10mb exceeded", Poison),
        # No content of a command causes these.
        ("0A000", "unsupported statement", Misconfigured),
        ("42501", "permission denied for table trades", Misconfigured),
        ("42P01", 'relation "trades" does not exist', Misconfigured),
        ("26000", "prepared statement does not exist", Misconfigured),
        # None of these says whether anything was written.
        ("XX000", "server unavailable", OutcomeUnknown),
        ("57P01", "terminating connection", OutcomeUnknown),
        ("08006", "connection failure", OutcomeUnknown),
        ("53300", "too many open connections", OutcomeUnknown),
        ("25P02", "current transaction is aborted", OutcomeUnknown),
        ("40003", "statement completion unknown", OutcomeUnknown),
        ("58030", "io error", OutcomeUnknown),
    ],
)
def test_code_decides_the_meaning(sqlstate: str, text: str, meaning: type[StoreError]) -> None:
    found = outcomes.of_statement(failure(sqlstate, text))
    assert type(found) is meaning
    assert found.sqlstate == sqlstate


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_lost_connection_leaves_outcome_unknown(error: Exception) -> None:
    assert isinstance(error, outcomes.DRIVER_ERRORS)
    assert type(outcomes.of_statement(error)) is OutcomeUnknown


def test_client_text_is_no_schema_change() -> None:
    row = "Failing row contains (rain (OC001), 100)."
    fields = {"C": "23514", "M": "check constraint", "D": row, "S": "ERROR", "V": "ERROR"}
    assert type(outcomes.of_statement(asyncpg.PostgresError.new(fields))) is Refused


@pytest.mark.shows("F13")
def test_lack_of_memory_blames_no_statement() -> None:
    error = asyncpg.DataError("invalid input for query argument $1: '[...' ()")
    error.__cause__ = MemoryError()
    with pytest.raises(MemoryError):
        outcomes.of_statement(error)


def test_outdated_plan_is_prepared_again() -> None:
    stale = asyncpg.InvalidCachedStatementError("cached statement plan is invalid")
    assert type(outcomes.of_statement(stale)) is SchemaChanged


@pytest.mark.parametrize("sqlstate", ["28000", "53300", "53400", "57P03", "XX000"])
def test_failed_connect_sent_nothing(sqlstate: str) -> None:
    found = outcomes.of_connect(failure(sqlstate), ADDRESS)
    assert type(found) is Unavailable
    assert found.sqlstate == sqlstate


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "no"), "refuses connections: start the database or correct"),
        (TimeoutError(), "does not answer in time: start the database or correct"),
        (failure("3D000"), "create the database or correct the address"),
        (OSError("no route"), "OSError: no route"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_failed_connect_names_address_without_password(error: Exception, text: str) -> None:
    shown = str(outcomes.of_connect(error, ADDRESS))
    assert shown.startswith("db.example:5432 (PARITY_DATABASE_URL) ")
    assert text in shown
    assert "geheim" not in shown
