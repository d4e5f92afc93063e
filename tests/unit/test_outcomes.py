"""What a driver's failure means: by class and SQLSTATE, and for OC001 alone by its text."""

import asyncpg
import pytest

from tests.support.dsql import OC000, OC001
from worker.adapters.postgres import outcomes
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
        # Nothing that a command says makes these.
        ("0A000", "unsupported statement", Unfit),
        ("42501", "permission denied for table trades", Unfit),
        ("42P01", 'relation "trades" does not exist', Unfit),
        ("26000", "prepared statement does not exist", Unfit),
        # Nothing that follows says whether anything was written.
        ("XX000", "server unavailable", OutcomeUnknown),
        ("57P01", "terminating connection", OutcomeUnknown),
        ("08006", "connection failure", OutcomeUnknown),
        ("53300", "too many open connections", OutcomeUnknown),
        ("25P02", "current transaction is aborted", OutcomeUnknown),
        ("40003", "statement completion unknown", OutcomeUnknown),
        ("58030", "io error", OutcomeUnknown),
    ],
)
def test_what_came_back_is_told_by_its_code(
    sqlstate: str, text: str, meaning: type[StoreError]
) -> None:
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
def test_a_lost_connection_leaves_the_outcome_unknown(error: Exception) -> None:
    assert isinstance(error, outcomes.DRIVER_ERRORS)
    assert type(outcomes.of_statement(error)) is OutcomeUnknown


def test_what_a_client_wrote_into_a_refused_row_is_no_change_of_the_schema() -> None:
    row = "Failing row contains (rain (OC001), 100)."
    fields = {"C": "23514", "M": "check constraint", "D": row, "S": "ERROR", "V": "ERROR"}
    assert type(outcomes.of_statement(asyncpg.PostgresError.new(fields))) is Refused


@pytest.mark.shows("F13")
def test_a_worker_without_memory_is_no_fault_of_what_it_wanted_to_send() -> None:
    error = asyncpg.DataError("invalid input for query argument $1: '[...' ()")
    error.__cause__ = MemoryError()
    with pytest.raises(MemoryError):
        outcomes.of_statement(error)


def test_a_plan_that_no_longer_fits_is_prepared_again() -> None:
    stale = asyncpg.InvalidCachedStatementError("cached statement plan is invalid")
    assert type(outcomes.of_statement(stale)) is SchemaChanged


@pytest.mark.parametrize("sqlstate", ["28000", "53300", "53400", "57P03", "XX000"])
def test_without_a_connection_nothing_was_sent(sqlstate: str) -> None:
    found = outcomes.of_connect(failure(sqlstate))
    assert type(found) is Unavailable
    assert found.sqlstate == sqlstate
