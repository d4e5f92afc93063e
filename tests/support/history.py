"""The tables in memory as a recount and a history take them."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from tests.support.fake_store import FakeDatabase, Row
from worker.audit.rows import COLUMNS, LaneRow, Rows
from worker.audit.topics import StoredBatch

Table = dict[str, Any]


def rows_of(database: FakeDatabase) -> dict[str, Rows]:
    """Return every table, with the columns and in the order that a recount wants."""
    streams = {row["stream"]: row for row in database.rows("streams")}
    held = database.tables["positions"]
    paid = database.tables["payouts"]
    beside: Mapping[str, list[Row]] = {
        "lanes": [{**streams[row["stream"]], **row} for row in database.rows("lanes")],
        "positions": [
            {**row, "paid": paid[key]["quantity"] if key in paid else None}
            for key, row in held.items()
        ],
        "payouts": [{**row, "held": held[key]["quantity"]} for key, row in paid.items()],
        "batch_keys": database.rows("batches"),
    }
    found: dict[str, Rows] = {}
    for table, columns in COLUMNS.items():
        rows = beside[table] if table in beside else database.rows(table)
        take = itemgetter(*columns)
        found[table] = sorted(map(take, rows)) if table != "lanes" else list(map(take, rows))
    return found


def lane_rows(tables: Mapping[str, Rows]) -> list[LaneRow]:
    """Return the lanes, in order."""
    return sorted(LaneRow(*row) for row in tables["lanes"])


def batches_of(database: FakeDatabase) -> dict[int, list[StoredBatch]]:
    """Return the journal of each lane, in order."""
    found: dict[int, list[StoredBatch]] = {}
    take = itemgetter(*StoredBatch._fields)
    for row in sorted(database.rows("batches"), key=itemgetter("lane", "batch_no")):
        found.setdefault(row["lane"], []).append(StoredBatch(*take(row)))
    return found
