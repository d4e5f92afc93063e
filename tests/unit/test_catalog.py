"""What becomes of a registration whose connection breaks."""

from typing import Any

import asyncpg
import pytest

from worker.adapters.postgres.catalog import register_by
from worker.domain.state import StreamKind
from worker.errors import OutcomeUnknown


class Breaking:
    """A connection that reads, and breaks when it is to write; or breaks at once."""

    def __init__(self, error: Exception, *, reads: bool) -> None:
        self._error, self._reads = error, reads

    async def fetch(self, _sql: str) -> list[Any]:
        if not self._reads:
            raise self._error
        return []

    async def execute(self, _sql: str, *_: object) -> str:
        raise self._error


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize(
    "error",
    [TimeoutError(), ConnectionResetError(), asyncpg.ConnectionDoesNotExistError("closed")],
    ids=lambda error: type(error).__name__,
)
async def test_a_worker_that_registers_waits_when_its_connection_breaks(
    error: Exception, *, reads: bool
) -> None:
    connection: Any = Breaking(error, reads=reads)
    with pytest.raises(OutcomeUnknown):
        await register_by(connection, "orders", "orders", StreamKind.ORDERS, 1)
