"""Constraints that no batch can reach, because the statement derives what they check.

They protect the tables from an operator, a migration, a worker of an earlier release, and a bug in
the SQL itself.
"""

import asyncpg
import pytest

from tests.support.books import buy, deposit, market_at, opened

MARKET = market_at(0, "market")
# `ledger` takes rows of workers of an earlier release only; here they are copies of others.
WRONG = {
    "streams_pkey": ["INSERT INTO streams SELECT * FROM streams"],
    "streams_kind_named": ["UPDATE streams SET kind = ''"],
    "streams_partitions": ["UPDATE streams SET partitions = 0"],
    "stream_topics_pkey": ["INSERT INTO stream_topics VALUES ('s', 0, 'a'), ('s', 0, 'b')"],
    "stream_topics_number": [
        "INSERT INTO stream_topics VALUES ('s', -1, 'a')",
        "INSERT INTO stream_topics VALUES ('s', 0, '')",
    ],
    "lanes_pkey": ["INSERT INTO lanes SELECT * FROM lanes"],
    "lanes_ledger_sum": ["UPDATE lanes SET ledger_sum = 1"],
    "batches_ledger_sum": ["UPDATE batches SET ledger_sum = 1"],
    "batches_rules_stated": ["UPDATE batches SET rules = 0", "UPDATE batches SET rules = NULL"],
    "pockets_lane": ["UPDATE pockets SET lane = -2 WHERE lane = -1"],
    "markets_escrow": ["UPDATE markets SET escrow = escrow + 1"],
    "ledger_pkey": ["INSERT INTO ledger SELECT p.* FROM postings p, (VALUES (1), (2)) AS twice"],
    "ledger_kind": ["INSERT INTO ledger SELECT cause, account, lane, market, 7, 1 FROM postings"],
    "ledger_lane": [
        "INSERT INTO ledger SELECT cause, account, -2, market, 1, 1 FROM postings WHERE lane >= 0"
    ],
    "ledger_external": [
        "INSERT INTO ledger SELECT cause, account, -3, market, 1, 1 FROM postings WHERE lane >= 0"
    ],
    "postings_kind": ["UPDATE postings SET kind = 0"],
    "postings_amount": ["UPDATE postings SET amount = 0"],
    "postings_escrow": ["UPDATE postings SET lane = -2 WHERE lane >= 0"],
}


@pytest.mark.parametrize(("constraint", "statements"), WRONG.items(), ids=WRONG)
async def test_constraint_refuses_a_wrong_row(
    database_url: str, constraint: str, statements: list[str]
) -> None:
    async with opened(database_url) as books:
        await (await books.offer(MARKET)).run(buy(MARKET, "ann", 5, 50))
        before = await books.dump()
        for sql in statements:
            with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
                await books.connection.execute(sql)
            assert refused.value.constraint_name == constraint
            assert await books.dump() == before


# What may grow.


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE orders SET time_in_force = 3",
        "UPDATE orders SET time_in_force = 32767",
        "UPDATE markets SET status = 5",
        "UPDATE markets SET status = 6, outcome = 1",
        "UPDATE streams SET kind = 'CLOCK'",
        "UPDATE batches SET rules = 2",
        "INSERT INTO postings SELECT cause, account, lane, market, 7, 1 FROM postings WHERE kind=1",
    ],
)
async def test_schema_leaves_room_for_new_numbers(database_url: str, sql: str) -> None:
    """The last one is a fee of a trade, next to the trade's price of the same account."""
    async with opened(database_url) as books:
        await (await books.offer(MARKET)).run(buy(MARKET, "ann", 5, 50))
        assert not (await books.connection.execute(sql)).endswith(" 0")


async def test_batch_without_rules_is_of_the_first(database_url: str) -> None:
    """A worker of the earlier release states no version, and plans by the first one."""
    others = (
        "SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = 'batches'::regclass"
        " AND attnum > 0 AND attname NOT IN ('batch_id', 'rules')"
    )
    async with opened(database_url) as books:
        await (await books.transfers()).run(deposit("ann", 1_000))
        columns = await books.value(others)
        before = await books.rows("SELECT batch_id FROM batches")
        await books.connection.execute(
            f"INSERT INTO batches (batch_id, {columns})"  # noqa: S608 - columns of the table
            f" SELECT gen_random_uuid(), {columns} FROM batches"
        )
        batch_ids = [batch_id for (batch_id,) in before]
        sql = "SELECT rules FROM batches WHERE batch_id <> ALL ($1)"
        assert await books.rows(sql, batch_ids) == [(1,)]
