"""The batch statement taken apart, for a target that refuses data-modifying CTEs.

The same parts run one by one between BEGIN and COMMIT. Where the one statement reads what another
part returned, a step reads what an earlier step has written (``parts/written.sql``). The client
counts rows by the command tags, and the last step writes these counts into the row of the batch,
whose CHECKs refuse a wrong batch as before. The database then no longer proves by itself that
every step ran, and that the counts are those of its own statements. A COMMIT that answers ROLLBACK
is an abort.
"""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from worker.adapters.postgres.parameters import COUNTS, NO_ROWS, PARAMETERS
from worker.adapters.postgres.statements import Composed, compose
from worker.errors import Conflict, Refused
from worker.ports import Statement


class Part(NamedTuple):
    """One statement of the transaction. A `domain.plan.Step` is another thing, a whole batch."""

    statement: Composed
    tables: tuple[str, ...] = ()
    """Tables of its rows. The step is skipped if all are empty."""
    counted_as: str = ""
    """The parameter of the last step that says how many rows it has written."""
    inserts: str = ""
    """The table for which it must write every row that the batch states."""


# A market is inserted after everything that reads markets, so that none trades in its first batch.
# An order is inserted after the changes of orders, since a batch changes only orders before it.
STEPS: Final = (
    Part(compose("step_fence"), counted_as="lane_rows"),
    Part(compose("new_accounts"), ("accounts",), inserts="accounts"),
    Part(compose("new_trades"), ("trades",), inserts="trades"),
    Part(compose("step_positions"), ("trades",), inserts="positions"),
    Part(compose("step_payouts"), ("payees",)),
    Part(compose("new_transfers"), ("transfers",), inserts="transfers"),
    Part(compose("step_ledger"), ("trades", "draws", "transfers", "payees")),
    Part(compose("step_pockets"), ("pockets",), counted_as="pockets_moved"),
    Part(compose("step_new_pockets"), ("pockets",), counted_as="pockets_opened"),
    Part(
        compose("step_markets"),
        ("market_changes", "trades", "payees"),
        counted_as="markets_changed",
    ),
    Part(compose("new_markets"), ("markets",), inserts="markets"),
    Part(compose("order_changes"), ("order_changes",), counted_as="orders_changed"),
    Part(compose("new_orders"), ("orders",), inserts="orders"),
    Part(compose("step_batch"), inserts="batches"),
)

Prepared: TypeAlias = "dict[Part, PreparedStatement[asyncpg.Record]]"


async def prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> Prepared:
    """Prepare every step on a connection, before any transaction.

    PostgreSQL does not count a session between Parse and Bind as idle: a worker that stops there,
    amid a batch, would keep the lane's row from the next owner for as long as it stops.
    """
    prepared = {part: await connection.prepare(part.statement.text) for part in STEPS}
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
    names = (parameter.name for parameter in PARAMETERS)
    given: dict[str, object] = dict(zip(names, statement.parameters, strict=True))
    given |= dict.fromkeys(COUNTS, 0)
    for part, query in prepared.items():
        if part.tables and all(given[table] == NO_ROWS for table in part.tables):
            continue
        rows = await query.fetch(*[given[name] for name in part.statement.parameters])
        # INSERT 0 5, UPDATE 5
        written = int(str(query.get_statusmsg()).rsplit(" ", 1)[-1])
        if part.counted_as:
            given[part.counted_as] = written
        if part.inserts and written != (stated := _stated(part.inserts, given)):
            text = f"{written} rows were written, {stated} stated"
            raise Refused(f"{part.inserts}: {text}")
        for row in rows:
            given |= dict(row)


def _stated(table: str, given: Mapping[str, object]) -> int:
    """Return how many rows of a table the batch states. Both sides of a trade have a position."""
    if table == "batches":
        return 1
    if table != "positions":
        return len(json.loads(str(given[table])))
    trades = json.loads(str(given["trades"]))
    return len({(trade["market"], trade[side]) for trade in trades for side in ("buyer", "seller")})
