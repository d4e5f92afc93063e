"""The batch statement taken apart, for a target that refuses data-modifying CTEs.

The same steps run one by one between BEGIN and COMMIT, each recomputing what it needs from the same
JSON. The client compares every command tag with what was stated, and writes what it counted into
the batch row, whose CHECKs refuse the batch as before. What the database then no longer proves by
itself: that every step ran, and that the counts are those of its own statements. A COMMIT that
answers ROLLBACK is an abort.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from worker.adapters.postgres import statements
from worker.errors import Conflict, Refused
from worker.ports import Statement

_LANE, _EPOCH, _BATCH_NO = 0, 1, 2
_FENCE: Final = slice(0, 9)
_BATCH_ID, _FIRST_OFFSET, _FIRST_SEQ, _OWNER, _HASH, _FACTS, _EVENTS = range(9, 16)
_TABLES: Final = slice(16, 26)
_NOTHING: Final = "[]"


_TEXTS: Final = (
    statements.STEP_FENCE,
    statements.STEP_ACCOUNTS,
    statements.STEP_NEW_MARKETS,
    statements.STEP_TRADES,
    statements.STEP_POSITIONS,
    statements.STEP_PAYOUTS,
    statements.STEP_TRANSFERS,
    statements.STEP_LEDGER,
    statements.STEP_POCKETS,
    statements.STEP_NEW_POCKETS,
    statements.STEP_MARKETS,
    statements.STEP_NEW_ORDERS,
    statements.STEP_ORDER_CHANGES,
    statements.STEP_BATCH,
)

Prepared: TypeAlias = "dict[str, PreparedStatement[asyncpg.Record]]"
"""Every step, by its text."""


async def prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> Prepared:
    """Prepare every step on a connection, before any transaction.

    To PostgreSQL a worker is not idle that stands still between Parse and Bind: amid a batch it
    would keep the lane's row from the next owner for as long as it stands.
    """
    prepared = {text: await connection.prepare(text) for text in _TEXTS}
    # asyncpg leaves open what Parse began; the batch's snapshot is to begin with the batch.
    await connection.execute("SELECT 1")
    return prepared


async def commit(
    connection: "asyncpg.Connection[asyncpg.Record]", prepared: Prepared, statement: Statement
) -> None:
    """Run the steps of a batch in one transaction. Raises as one statement would."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        await _run(prepared, statement)
    except (asyncpg.PostgresError, Refused):
        await connection.execute("ROLLBACK")
        raise
    tag = await connection.execute("COMMIT")
    if tag != "COMMIT":
        raise Conflict(f"COMMIT answered {tag}: the transaction was aborted")


async def _run(prepared: Prepared, statement: Statement) -> None:
    given = statement.parameters
    lane, batch_id = given[_LANE], given[_BATCH_ID]
    accounts, new_markets, changes, orders, order_changes, *rest = (
        str(table) for table in given[_TABLES]
    )
    trades, draws, transfers, payees, pockets = rest

    async def step(sql: str, *arguments: object, of: Sequence[str]) -> int:
        """Return how many rows it wrote; what there is nothing of is not worth a round trip."""
        if all(table == _NOTHING for table in of):
            return 0
        return await _execute(prepared[sql], arguments)

    async def insert(table: str, stated: int, sql: str, *arguments: object) -> None:
        written = await _execute(prepared[sql], arguments) if stated else 0
        if written != stated:
            raise Refused(f"{table}: {written} rows were written, {stated} stated")

    first = (given[_FIRST_OFFSET], given[_FIRST_SEQ])
    fence = (*given[_FENCE], trades, transfers, *first)
    fenced = await _execute(prepared[statements.STEP_FENCE], fence)
    await insert("accounts", _rows(accounts), statements.STEP_ACCOUNTS, accounts)
    await insert("markets", _rows(new_markets), statements.STEP_NEW_MARKETS, lane, new_markets)
    traded = await step(statements.STEP_TRADES, trades, new_markets, of=[trades])
    await insert("positions", _legs(trades), statements.STEP_POSITIONS, trades)
    paid = await step(statements.STEP_PAYOUTS, payees, changes, of=[payees])
    await insert("transfers", _rows(transfers), statements.STEP_TRANSFERS, lane, transfers)
    moving = (trades, draws, transfers, payees)
    await step(statements.STEP_LEDGER, lane, batch_id, *moving, of=moving)
    causes = _causes(str(batch_id), trades, draws, transfers)
    moved = await step(statements.STEP_POCKETS, causes, pockets, of=[pockets])
    moved += await step(statements.STEP_NEW_POCKETS, causes, pockets, of=[pockets])
    turning = (changes, trades, payees)
    changed = await step(statements.STEP_MARKETS, lane, batch_id, *turning, of=turning)
    await insert("orders", _rows(orders), statements.STEP_NEW_ORDERS, lane, orders)
    ended = await step(statements.STEP_ORDER_CHANGES, lane, order_changes, of=[order_changes])
    await insert(
        "batches",
        1,
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
        len(_named("market", *turning)) - changed + _misstated(changes),
        _rows(order_changes) - ended,
        _rows(trades) - traded,
        _rows(payees) - paid,
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


def _rows(table: str) -> int:
    return len(json.loads(table))


def _legs(trades: str) -> int:
    """Return how many positions turn: one for each who traded in a market."""
    rows = json.loads(trades)
    return len({(row["market"], row[side]) for row in rows for side in ("buyer", "seller")})


async def _execute(step: "PreparedStatement[asyncpg.Record]", arguments: Iterable[object]) -> int:
    """Run a step; return the rows that its command tag counts: ``INSERT 0 5``, ``UPDATE 5``."""
    await step.fetch(*arguments)
    return int(str(step.get_statusmsg()).rsplit(" ", 1)[-1])
