"""Constraints that no batch can reach, because the statement derives what they check.

They stand behind it for whoever else may write: an operator, a migration, a bug in the SQL itself.
"""

import asyncpg
import pytest

from tests.support.books import buy, deposit, market_at, open_market, opened, sell

pytestmark = pytest.mark.integration

WRONG = {
    "streams_pkey": "INSERT INTO streams SELECT * FROM streams",
    "streams_kind": "UPDATE streams SET kind = 'PRICES'",
    "streams_partitions": "UPDATE streams SET partitions = 0",
    "lanes_pkey": "INSERT INTO lanes SELECT * FROM lanes",
    "lanes_ledger_sum": "UPDATE lanes SET ledger_sum = 1",
    "batches_ledger_sum": "UPDATE batches SET ledger_sum = 1",
    "pockets_lane": "UPDATE pockets SET lane = -2 WHERE lane = -1",
    "markets_escrow": "UPDATE markets SET escrow = escrow + 1",
    "ledger_kind": "UPDATE ledger SET amount = 0",
    "ledger_lane": "UPDATE ledger SET lane = -2 WHERE lane >= 0",
}


@pytest.mark.parametrize(("constraint", "sql"), WRONG.items(), ids=WRONG)
async def test_a_row_is_refused_by(database_url: str, constraint: str, sql: str) -> None:
    market = market_at(0, "market")
    async with opened(database_url) as books:
        cash, desk = await books.transfers(), await books.orders()
        await cash.run(deposit("ann", 1_000), deposit("ben", 1_000))
        await desk.run(open_market(market), sell(market, "ben", 5, 40))
        await desk.run(buy(market, "ann", 5, 40))
        before = await books.dump()
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await books.connection.execute(sql)
        assert refused.value.constraint_name == constraint
        assert await books.dump() == before
