"""The batch taken apart: what the client must see because the database does not prove it."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from tests.support.books import cancel, market_at, opened
from worker.adapters.postgres import steps
from worker.errors import Conflict


@dataclass
class Aborting:
    """A connection whose transaction breaks just before its COMMIT, and nobody hears of it."""

    connection: Any

    async def execute(self, sql: str, *arguments: object) -> str:
        if sql == "COMMIT":
            with suppress(asyncpg.DivisionByZeroError):
                await self.connection.execute("SELECT 1 / 0")
        tag: str = await self.connection.execute(sql, *arguments)
        return tag


async def test_commit_answered_rollback_is_a_conflict(database_url: str) -> None:
    async with opened(database_url, in_steps=True) as books:
        desk = await books.orders()
        statement = await desk.prepared(cancel(market_at(0, "market"), "ann", "never-was"))
        before = await books.dump()
        aborting: Any = Aborting(books.connection)
        with pytest.raises(Conflict, match="ROLLBACK"):
            await steps.commit(aborting, await steps.prepare(books.connection), statement)
        assert await books.dump() == before
        await desk.store.commit(statement)
