"""The batch statement taken apart, for a target that refuses data-modifying CTEs.

The same steps run one by one between BEGIN and COMMIT, each recomputing what it needs from the same
JSON. The client compares every command tag, and writes what it counted into the batch row, whose
CHECKs refuse the batch as before. What the database then no longer proves by itself: that the
counts are those of its own statements. A COMMIT that answers ROLLBACK is an abort.
"""

import json
from collections.abc import Iterable
from typing import Final

import asyncpg

from worker.adapters.postgres import statements
from worker.errors import Conflict
from worker.ports import Statement

_LANE, _EPOCH, _BATCH_NO = 0, 1, 2
_FENCE: Final = slice(0, 9)
_BATCH_ID, _FIRST_OFFSET, _FIRST_SEQ, _OWNER, _HASH, _FACTS, _EVENTS = range(9, 16)
_TABLES: Final = slice(16, 26)


async def commit(connection: "asyncpg.Connection[asyncpg.Record]", statement: Statement) -> None:
    """Run the steps of a batch in one transaction. Raises as one statement would."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        await _run(connection, statement)
    except asyncpg.PostgresError:
        await connection.execute("ROLLBACK")
        raise
    tag = await connection.execute("COMMIT")
    if tag != "COMMIT":
        raise Conflict(f"COMMIT answered {tag}: the transaction was aborted")


async def _run(connection: "asyncpg.Connection[asyncpg.Record]", statement: Statement) -> None:
    given = statement.parameters
    lane, batch_id = given[_LANE], given[_BATCH_ID]
    accounts, new_markets, changes, orders, order_changes, *rest = (
        str(table) for table in given[_TABLES]
    )
    trades, draws, transfers, payees, pockets = rest

    async def step(sql: str, *arguments: object) -> int:
        return _count(await connection.execute(sql, *arguments))

    first = (given[_FIRST_OFFSET], given[_FIRST_SEQ])
    fenced = await step(statements.STEP_FENCE, *given[_FENCE], trades, transfers, *first)
    await step(statements.STEP_ACCOUNTS, accounts)
    await step(statements.STEP_NEW_MARKETS, lane, new_markets)
    traded = await step(statements.STEP_TRADES, trades, new_markets)
    await step(statements.STEP_POSITIONS, trades)
    paid = await step(statements.STEP_PAYOUTS, payees, changes)
    await step(statements.STEP_TRANSFERS, lane, transfers)
    await step(statements.STEP_LEDGER, lane, batch_id, trades, draws, transfers, payees)
    causes = _causes(str(batch_id), trades, draws, transfers)
    moved = await step(statements.STEP_POCKETS, causes, pockets)
    moved += await step(statements.STEP_NEW_POCKETS, causes, pockets)
    changed = await step(statements.STEP_MARKETS, lane, batch_id, changes, trades, payees)
    await step(statements.STEP_NEW_ORDERS, lane, orders)
    ended = await step(statements.STEP_ORDER_CHANGES, lane, order_changes)
    await step(
        statements.STEP_BATCH,
        causes,
        pockets,
        trades,
        changes,
        payees,
        batch_id,
        lane,
        statement.batch_no,
        given[_FIRST_OFFSET],
        given[3],
        given[_FIRST_SEQ],
        given[4],
        given[_EPOCH],
        given[_OWNER],
        given[_HASH],
        given[_FACTS],
        given[_EVENTS],
        fenced,
        moved,
        len(_named("market", changes, trades, payees)) - changed + _misstated(changes),
        len(json.loads(order_changes)) - ended,
        len(json.loads(trades)) - traded,
        len(json.loads(payees)) - paid,
    )


def _causes(batch_id: str, trades: str, draws: str, transfers: str) -> str:
    """Return the causes of the batch's postings as JSON rows."""
    found: Iterable[str] = (
        batch_id,
        *_named("trade", trades),
        *_named("cause", draws),
        *_named("transfer", transfers),
    )
    return json.dumps([{"cause": cause} for cause in found])


def _misstated(changes: str) -> int:
    """Return how many rows would turn a market's counters back, or into nothing."""
    counters = ("events", "status", "outcome", "resolved_seq")
    return sum(
        any(type(row[name]) is not int or row[name] < 0 for name in counters)
        for row in json.loads(changes)
    )


def _named(column: str, *tables: str) -> set[str]:
    return {row[column] for table in tables for row in json.loads(table)}


def _count(tag: str) -> int:
    """Return the rows that a command tag counts: ``INSERT 0 5``, ``UPDATE 5``."""
    return int(tag.rsplit(" ", 1)[-1])
