"""Cost of writing an order on Aurora DSQL, by AWS's formula: ``make cost``.

A transaction is billed WriteDPU = max(sum of max(bytes, 128), 1,024) x 0.00004883, over the rows
that it writes and their entries in secondary indexes. A million DPU cost $8 in us-east-1. Reading
and computing are billed separately and are not in this table.

Rows and bytes are those that PostgreSQL really wrote. A trigger on every table records the size of
each row (``pg_column_size`` of the row without its 24 bytes of header, uncompressed), and each
entry that a row adds to a secondary index or removes from it. Entries that stay when their row
changes are not counted, since nobody knows whether DSQL bills them. Aborted writes are not counted.

The same orders go two ways, through this worker's own plan and statement with several orders per
batch, and with one order per transaction (`tests.bench.seed_way`). No real bill was compared yet.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import asyncpg

from tests.bench.lanes import ROWS_PER_BATCH, STREAM, Lanes
from tests.bench.seed_way import SeedWorker, load_markets
from tests.bench.seed_workers import SETTINGS
from worker.domain.commands import PlaceOrder
from worker.embedded import EmbeddedPostgres

ROOT: Final = Path(__file__).parents[2]
LANES: Final = Lanes(4)
ORDERS: Final = 2_000
BATCHES: Final = (1, 10, 100, 2_000)
"""Waiting orders when a batch begins. The last number exceeds the row budget."""
ROW_BYTES_MIN: Final = 128
TRANSACTION_BYTES_MIN: Final = 1_024
DPU_PER_BYTE: Final = 0.00004883
DOLLARS_PER_MILLION_DPU: Final = 8.0
HEADER_BYTES: Final = 24
INDEX_ENTRIES: Final = {
    # Table, the rows that have an entry, bytes of the entry's key and of the row's.
    "orders": ("leaves > 0", 4 + 16 + 16),
    "markets": ("status < 4", 4 + 16),
}
_NOTE: Final = f"""
CREATE TABLE written (transaction bigint NOT NULL, bytes int NOT NULL, entry boolean NOT NULL);
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO written VALUES (txid_current(), pg_column_size(NEW) - {HEADER_BYTES}, false);
    RETURN NULL;
END $$;
CREATE FUNCTION note_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO written VALUES (txid_current(), TG_ARGV[0]::int, true);
    RETURN NULL;
END $$"""  # noqa: S608 -- our own number
_TABLES: Final = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    " AND table_type = 'BASE TABLE' AND table_name NOT IN ('written', 'migrations')"
)
_INDEXED: Final = (
    "SELECT tablename FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey'"
)
_BILL: Final = f"""
SELECT count(*) AS transactions, sum(rows)::bigint AS rows, sum(entries)::bigint AS entries,
       sum(bytes)::bigint AS bytes, sum(entry_bytes)::bigint AS entry_bytes,
       sum(greatest(billed + entries * {ROW_BYTES_MIN}, {TRANSACTION_BYTES_MIN}))::bigint AS billed,
       sum(greatest(billed, {TRANSACTION_BYTES_MIN}))::bigint AS billed_rows,
       max(rows) AS rows_max, max(bytes + entry_bytes) AS bytes_max
  FROM (SELECT count(*) FILTER (WHERE NOT entry) AS rows, count(*) FILTER (WHERE entry) AS entries,
               coalesce(sum(bytes) FILTER (WHERE NOT entry), 0) AS bytes,
               coalesce(sum(bytes) FILTER (WHERE entry), 0) AS entry_bytes,
               sum(greatest(bytes, {ROW_BYTES_MIN})) FILTER (WHERE NOT entry) AS billed
          FROM written GROUP BY transaction) AS t"""  # noqa: S608 -- our own numbers


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one way, per order unless the name says otherwise."""

    way: str
    orders_per_transaction: float
    rows: float
    entries: float
    bytes: float
    bytes_with_entries: float
    dpu_without_entries: float
    dpu: float
    dollars_per_million: float
    transaction_rows_max: int
    transaction_bytes_max: int


Way = Callable[[str, Sequence[Sequence[PlaceOrder]]], Awaitable[None]]


def this_worker(orders_per_batch: int) -> Way:
    """Return the worker's way with so many orders per batch, or as many as the rows allow."""

    async def answer(url: str, orders: Sequence[Sequence[PlaceOrder]]) -> None:
        for partition, own in enumerate(orders):
            desk = await LANES.desk(url, LANES.home(partition))
            for start in range(0, len(own), orders_per_batch):
                await desk.run(*own[start : start + orders_per_batch])
            await desk.store.close()

    return answer


async def one_order_per_transaction(url: str, orders: Sequence[Sequence[PlaceOrder]]) -> None:
    """Answer the orders in the seed's way, one lane after the other, without conflicts."""
    markets = {market.market_id: market for market in await load_markets(url, STREAM)}
    connection = await asyncpg.connect(url, server_settings=SETTINGS)
    try:
        worker = SeedWorker(connection, markets, random.Random(1))
        for own in orders:
            await worker.work(own, float("inf"))
    finally:
        await connection.close()


async def measure(postgres: EmbeddedPostgres, name: str, way: Way, orders: int) -> Cost:
    """Answer the flow on a copy of the database, and return its cost."""
    admin = await asyncpg.connect(postgres.url)
    await admin.execute("CREATE DATABASE run TEMPLATE base")
    url = postgres.url.rsplit("/", 1)[0] + "/run"
    dealt = LANES.orders(orders, with_adversary=False)
    connection = await asyncpg.connect(url)
    try:
        await _note_what_is_written(connection)
        await way(url, dealt)
        return _cost(name, await connection.fetchrow(_BILL), sum(map(len, dealt)))
    finally:
        await connection.close()
        await admin.execute("DROP DATABASE run WITH (FORCE)")
        await admin.close()


async def _note_what_is_written(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    indexed = {name for (name,) in await connection.fetch(_INDEXED)}
    if indexed != INDEX_ENTRIES.keys():
        raise RuntimeError(f"secondary indexes are on {sorted(indexed)}: update INDEX_ENTRIES")
    await connection.execute(_NOTE)
    for (table,) in await connection.fetch(_TABLES):
        await connection.execute(
            f"CREATE TRIGGER row_written AFTER INSERT OR UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION note_row()"
        )
    for table, (condition, key_bytes) in INDEX_ENTRIES.items():
        after = f"NEW.{condition}"
        for event, changed in (
            ("INSERT", after),
            ("UPDATE", f"({after}) <> (OLD.{condition})"),
        ):
            await connection.execute(
                f"CREATE TRIGGER entry_{event.lower()} AFTER {event} ON {table} FOR EACH ROW"
                f" WHEN ({changed}) EXECUTE FUNCTION note_entry({key_bytes})"
            )


def _cost(name: str, bill: asyncpg.Record | None, orders: int) -> Cost:
    assert bill is not None, "an aggregate query has one row"
    dpu = bill["billed"] * DPU_PER_BYTE / orders
    return Cost(
        way=name,
        orders_per_transaction=round(orders / bill["transactions"], 1),
        rows=round(bill["rows"] / orders, 2),
        entries=round(bill["entries"] / orders, 2),
        bytes=round(bill["bytes"] / orders, 1),
        bytes_with_entries=round((bill["bytes"] + bill["entry_bytes"]) / orders, 1),
        dpu_without_entries=round(bill["billed_rows"] * DPU_PER_BYTE / orders, 4),
        dpu=round(dpu, 4),
        dollars_per_million=round(dpu * DOLLARS_PER_MILLION_DPU, 2),
        transaction_rows_max=bill["rows_max"],
        transaction_bytes_max=int(bill["bytes_max"]),
    )


async def reckon(orders: int) -> Sequence[Cost]:
    """Measure every way."""
    with EmbeddedPostgres.start() as postgres:
        await LANES.build(postgres.create_database("base"))
        ways = {f"this worker, {n:,} waiting": this_worker(n) for n in BATCHES}
        ways["one order per transaction"] = one_order_per_transaction
        return [await measure(postgres, name, way, orders) for name, way in ways.items()]


_HEAD: Final = (
    "| way | orders per transaction | rows | index entries | bytes | with entries |"
    " write DPU without entries | write DPU | $ per million orders | most rows | most bytes |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def _line(cost: Cost) -> str:
    return (
        f"| {cost.way} | {cost.orders_per_transaction:,.1f} | {cost.rows:.2f} |"
        f" {cost.entries:.2f} |"
        f" {cost.bytes:,.0f} | {cost.bytes_with_entries:,.0f} | {cost.dpu_without_entries:.4f} |"
        f" {cost.dpu:.4f} | {cost.dollars_per_million:.2f} | {cost.transaction_rows_max:,} |"
        f" {cost.transaction_bytes_max:,} |"
    )


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cost")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "cost.json")
    parser.add_argument("--orders", type=int, default=ORDERS)
    options = parser.parse_args()
    path = options.json
    costs = asyncio.run(reckon(options.orders))
    print(f"{options.orders:,} orders, half of which fill, and {ROWS_PER_BATCH:,} rows per batch\n")
    print(_HEAD, *map(_line, costs), sep="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = [asdict(cost) for cost in costs]
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
