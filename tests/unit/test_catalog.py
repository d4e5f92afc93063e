"""Registration of a stream over a connection that breaks."""

from typing import Any

import asyncpg
import pytest

from worker.adapters.postgres.catalog import register_by
from worker.domain.state import StreamKind
from worker.errors import OutcomeUnknown
from worker.ports import StreamRow


class Breaking:
    """A connection that breaks at its first write or, without ``reads``, at once."""

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
async def test_broken_registration_has_unknown_outcome(error: Exception, *, reads: bool) -> None:
    """A worker waits after OutcomeUnknown, and registers again."""
    connection: Any = Breaking(error, reads=reads)
    with pytest.raises(OutcomeUnknown):
        await register_by(connection, StreamRow("orders", "orders", StreamKind.ORDERS, 1, 0))
