"""The tables in memory as a recount and a history take them."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from tests.support.driver import durable, sides
from tests.support.fake_database import FakeDatabase
from tests.support.fake_schema import Row
from worker.audit.event_log import LaneHistory
from worker.audit.records import COLUMNS, AuditedLane, Rows, StoredBatch
from worker.audit.restore import restored
from worker.domain.commands import Received
from worker.domain.state import LaneState
from worker.domain.units import MarketId
from worker.wire import resume
from worker.wire.journal import Route

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
        "ledger": [*database.rows("postings"), *database.rows("ledger")],
        "payouts": [{**row, "held": held[key]["quantity"]} for key, row in paid.items()],
        "batch_keys": database.rows("batches"),
    }
    found: dict[str, Rows] = {}
    for table, columns in COLUMNS.items():
        rows = beside[table] if table in beside else database.rows(table)
        take = itemgetter(*columns)
        found[table] = sorted(map(take, rows)) if table != "lanes" else list(map(take, rows))
    return found


def lane_rows(tables: Mapping[str, Rows]) -> list[AuditedLane]:
    """Return the lanes, in order."""
    return sorted(AuditedLane(*row) for row in tables["lanes"])


def batches_of(database: FakeDatabase) -> dict[int, list[StoredBatch]]:
    """Return the journal of each lane, in order."""
    found: dict[int, list[StoredBatch]] = {}
    take = itemgetter(*StoredBatch._fields)
    for row in sorted(database.rows("batches"), key=itemgetter("lane", "batch_no")):
        found.setdefault(row["lane"], []).append(StoredBatch(*take(row)))
    return found


ROUTE: Final = Route(
    stream="orders",
    topic="orders",
    partition=0,
    events_topic="events",
    dead_letters_topic="dead",
    dead_letter_partitions=1,
)


def lane_history(
    state: LaneState, inputs: Sequence[Received], batches: Sequence[StoredBatch]
) -> LaneHistory:
    """Return a lane in this state of which the records and the journal are known."""
    home = state.home
    row: dict[str, Any] = dict.fromkeys(AuditedLane._fields, 0)
    row |= {
        "lane": home.lane,
        "stream": home.stream,
        "kind": home.kind,
        "partition": home.partition,
        "partitions": home.partitions,
        "last_record_sha": state.last_record_sha,
        "lane_time_ms": state.lane_time_ms,
        "resume": resume.encode(state.sweeps, state.settlements, state.waiting),
    }
    return LaneHistory(AuditedLane(**row), ROUTE, inputs, (), batches)


def assert_restored(
    state: LaneState, inputs: Sequence[Received], batches: Sequence[StoredBatch]
) -> None:
    """Check that the events of a lane give its state, except for caches and empty books."""
    found = restored(state.home, lane_history(state, inputs, batches), batches)
    assert durable(found) == durable(state)
    assert _books(found) == _books(state)


def _books(state: LaneState) -> dict[MarketId, object]:
    return {market_id: sides(book) for market_id, book in state.books.items() if len(book)}
