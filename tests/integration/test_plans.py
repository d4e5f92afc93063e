"""How PostgreSQL runs the statements when the tables are large: by key, never from end to end.

`auto_explain` shows the plan of every statement that the store really ran, on its own connection.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from tests.support.books import (
    Books,
    Desk,
    buy,
    cancel,
    deposit,
    market_at,
    open_market,
    open_orders,
    opened,
    sell,
    withdraw,
)
from worker.adapters.postgres import statements, store
from worker.adapters.postgres.books import PAGE_SETTINGS
from worker.adapters.postgres.codes import OUTCOMES
from worker.adapters.postgres.connect import LANE_SETTINGS, connect
from worker.adapters.postgres.steps import STEPS
from worker.adapters.postgres.store import PostgresStore
from worker.domain import ids
from worker.domain.commands import Outcome
from worker.domain.facts import Lack, PageRequest
from worker.domain.units import AccountId, OrderId, TransferId

pytestmark = pytest.mark.slow

ROWS: Final = 100_000
LARGE: Final = frozenset(
    {
        "orders",
        "trades",
        "ledger",
        "postings",
        "positions",
        "pockets",
        "accounts",
        "batches",
        "transfers",
        "markets",
    }
)
EXPLAINED: Final = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}
MARKET = market_at(0, "traded")
BULK_MARKET: Final = str(UUID(md5(b"m1").hexdigest()))  # noqa: S324 - a name
TOUCHED_MAX: Final = 1_500
"""Rows of one table that a statement of these tests may look at: those of one market at most."""

FILL = f"""
INSERT INTO accounts (account, account_id)
SELECT md5('a' || n)::uuid, 'bulk-' || n FROM generate_series(1, {ROWS}) AS n;
INSERT INTO pockets (account, lane, balance)
SELECT md5('a' || n)::uuid, lane, 1000
  FROM generate_series(1, {ROWS}) AS n, (VALUES (-1), (0)) AS l(lane);
INSERT INTO markets
SELECT md5('m' || n)::uuid, 'orders-1', 0, 'bulk-' || n, 'op', 100, '', 1, 0, 0, 0, 1, 1, 0
  FROM generate_series(0, 99) AS n;
INSERT INTO markets
SELECT md5('s' || n)::uuid, 'orders-1', 0, 'done-' || n, 'op', 100, '', 4, 1, 0, 0, 1, 1, 1
  FROM generate_series(1, {ROWS}) AS n;
INSERT INTO positions (market, account, quantity)
SELECT md5('m' || n % 100)::uuid, md5('a' || n)::uuid, n % 3 - 1
  FROM generate_series(1, {ROWS}) AS n;
INSERT INTO orders
SELECT md5('o' || n)::uuid, md5('m' || n % 100)::uuid, md5('a' || n % {ROWS} + 1)::uuid, 0,
       'o' || n, 1, 50, 10, 1, CASE n % 7 WHEN 0 THEN 10 ELSE 0 END,
       CASE n % 7 WHEN 0 THEN 1 ELSE 2 END, n, ''
  FROM generate_series(1, {ROWS} + {ROWS} / 2) AS n;
INSERT INTO trades
SELECT md5('t' || n)::uuid, md5('m' || n % 100)::uuid, md5('a' || n)::uuid,
       md5('a' || n + 1)::uuid, 50, 1, n
  FROM generate_series(1, {ROWS}) AS n;
INSERT INTO postings
SELECT md5('t' || n)::uuid, md5('a' || n + side)::uuid, 0, md5('m' || n % 100)::uuid, 1,
       100 * side - 50
  FROM generate_series(1, {ROWS}) AS n, (VALUES (0), (1)) AS s(side);
INSERT INTO transfers
SELECT md5('w' || n)::uuid, md5('a' || n)::uuid, 'w', true, 1000, 2, n, ''
  FROM generate_series(1, {ROWS}) AS n;
INSERT INTO batches
SELECT md5('b' || n)::uuid, 7, n, n, n, n, n, 1, '', '', '', '', 1, 0, 0, 0, 0, 0, 0, 0, 0
  FROM generate_series(1, {ROWS}) AS n;
"""  # noqa: S608 - numbers of our own


@dataclass(frozen=True)
class Scan:
    """How one statement reached one table."""

    table: str
    node: str
    by_key: bool
    touched: float


@dataclass
class Plans:
    """The plans of all statements that went over the store's connections."""

    seen: list[dict[str, Any]] = field(default_factory=list)

    def hear(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        _, _, plan = str(message.message).partition("plan:\n")
        if plan:
            self.seen.append(json.loads(plan))

    def scans(self, statement: str) -> list[Scan]:
        """Return the scans of large tables in all runs of a statement."""
        runs = [run for run in self.seen if run["Query Text"].strip() == statement.strip()]
        assert runs, f"this was not run: {statement[:80]}"
        return [_scan(node) for run in runs for node in _nodes(run["Plan"]) if _is_scan(node)]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _is_scan(node: dict[str, Any]) -> bool:
    return "Scan" in node["Node Type"] and node.get("Relation Name") in LARGE


def _scan(node: dict[str, Any]) -> Scan:
    below = [below for below in _nodes(node) if "Index Cond" in below]
    looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return Scan(
        node["Relation Name"],
        node["Node Type"],
        bool(below),
        looked_at * node["Actual Loops"],
    )


READINGS: Final = {
    "read_facts": statements.READ_FACTS,
    "read_lane": statements.READ_LANE,
    "read_journal": statements.READ_JOURNAL,
    "read_payees": statements.READ_PAYEES,
    "read_dead_orders": statements.READ_DEAD_ORDERS,
}
ONE_STATEMENT: Final = {"commit_batch": statements.COMMIT_BATCH} | READINGS
IN_STEPS: Final = {
    f"step {number}": step.statement.text
    for number, step in enumerate(STEPS, 1)
    # Nobody is paid here, and no market opens after the first batch.
    if "payees" not in step.tables[:1] and step.tables != ("markets",)
} | READINGS


@dataclass
class Exchange:
    """A lane of each kind whose statements have been prepared, and their plans."""

    books: Books
    lane: Desk
    cash: Desk
    plans: Plans
    rounds: int = 0

    async def work(self) -> None:
        """Run everything that a busy lane runs, often enough for a generic plan."""
        for _ in range(8):
            self.rounds += 1
            await self._trade(self.rounds)
            await self._read()

    async def _trade(self, n: int) -> None:
        await self.cash.run(
            deposit("ann", 10_000, f"d-{n}"),
            deposit(f"new-{n}", 10_000),
            withdraw("ben", 50, f"w-{n}"),
        )
        await self.lane.run(
            *[sell(MARKET, "ben", 2, 50 + i, f"s-{n}-{i}") for i in range(4)],
            *[buy(MARKET, "ann", 1, 50 + i, f"b-{n}-{i}") for i in range(3)],
        )
        await self.lane.run(
            cancel(MARKET, "ben", f"s-{n}-3"),
            sell(MARKET, "ann", 1, 40, f"c-{n}"),
            buy(MARKET, "ben", 1, 40, f"e-{n}"),
        )

    async def _read(self) -> None:
        names = [AccountId(name) for name in ("ann", "ben", "bulk-7", "bulk-8", "nobody")]
        page = PageRequest(BULK_MARKET, Outcome.YES, ids.NO_MARKET, rows_max=400)
        lack = Lack(
            accounts=set(names),
            positions={(MARKET, name) for name in names},
            markets={MARKET},
            orders={(MARKET, name, OrderId("s-1-1")) for name in names},
            transfers={(name, TransferId("d-1")) for name in names},
            pages={MARKET: page},
        )
        store, lane = self.lane.store, self.lane.home.lane
        await store.read(self.lane.home, lack)
        await store.standing(lane, 3)
        await store.journal(lane, 1, 5)

    async def generic_plans(self, text: str) -> int:
        """Return how often a statement ran on a plan made for any parameters."""
        assert isinstance(self.lane.store, PostgresStore)
        connection = self.lane.store._connection
        assert connection is not None
        return int(
            await connection.fetchval(
                "SELECT generic_plans FROM pg_prepared_statements WHERE statement = $1", text
            )
        )


@asynccontextmanager
async def _exchange(
    url: str, settings: dict[str, str], *, in_steps: bool = False
) -> AsyncIterator[Exchange]:
    plans = Plans()

    async def explained(
        url: str, _: dict[str, str], *, timeout_s: float
    ) -> "asyncpg.Connection[asyncpg.Record]":
        connection = await connect(url, settings | EXPLAINED, timeout_s=timeout_s)
        connection.add_log_listener(plans.hear)
        return connection

    async with opened(url, in_steps=in_steps, connect=explained) as books:
        for table in LARGE:
            # Else a plan made for empty tables might be made again before it is looked at.
            await books.connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        exchange = Exchange(books, await books.orders(0), await books.transfers(), plans)
        await exchange.cash.run(*[deposit(name, 100_000, "first") for name in ("ann", "ben")])
        await exchange.lane.run(open_market(MARKET))
        yield exchange


@pytest.mark.parametrize("seqscan", ["off", "on"])
async def test_statements_reach_large_tables_by_key(database_url: str, seqscan: str) -> None:
    """Sequential scans may even be allowed: the settings for joins are what keeps them away."""
    settings = LANE_SETTINGS | {"enable_seqscan": seqscan}
    async with _exchange(database_url, settings) as exchange:
        await exchange.work()
        await exchange.books.connection.execute(FILL)
        await _reaches_by_key(exchange, "prepared on empty tables")
        await exchange.books.connection.execute("ANALYZE")
        await _reaches_by_key(exchange, "planned again after ANALYZE")
        await exchange.lane.store.close()
        await exchange.cash.store.close()
        await _loads_in_pages(exchange, "prepared on large tables")
        await _reaches_by_key(exchange, "prepared on large tables")


async def test_steps_reach_large_tables_by_key(database_url: str) -> None:
    async with _exchange(database_url, LANE_SETTINGS, in_steps=True) as exchange:
        await exchange.work()
        await exchange.books.connection.execute(FILL)
        await _reaches_by_key(exchange, "prepared on empty tables", IN_STEPS)
        await exchange.books.connection.execute("ANALYZE")
        await exchange.lane.store.close()
        await exchange.cash.store.close()
        await _reaches_by_key(exchange, "prepared on large tables", IN_STEPS)


async def _reaches_by_key(
    exchange: Exchange, when: str, texts: Mapping[str, str] = ONE_STATEMENT
) -> None:
    exchange.plans.seen.clear()
    await exchange.work()
    assert await exchange.generic_plans(next(iter(texts.values()))) > 0
    for name, text in texts.items():
        scans = exchange.plans.scans(text)
        assert {scan for scan in scans if not scan.by_key} == set(), f"{name}, {when}"
        far = {scan for scan in scans if scan.touched > TOUCHED_MAX}
        assert far == set(), f"{name}, {when}"


async def _loads_in_pages(exchange: Exchange, when: str) -> None:
    """Each page costs a page and the rest of one market, wherever it begins."""
    exchange.plans.seen.clear()
    await open_orders(exchange.lane.store, exchange.lane.home.lane)
    scans = exchange.plans.scans(statements.LOAD_ORDERS)
    assert len(scans) > 8, when
    most = store.LOAD_ROWS + TOUCHED_MAX
    far = {scan for scan in scans if not scan.by_key or scan.touched > most}
    assert far == set(), when


async def test_whole_ledger_is_read_by_key(database_url: str) -> None:
    """Both tables of it, in the order of one key: a page costs a page."""
    rows, half = 1_000, UUID("80000000-0000-0000-0000-000000000000")
    async with opened(database_url) as books:
        await books.connection.execute(FILL)
        await books.connection.execute(
            "INSERT INTO ledger SELECT md5(cause::text)::uuid, account, lane, market, kind, amount"
            "  FROM postings"
        )
        reader = await connect(database_url, PAGE_SETTINGS, timeout_s=60)
        try:
            for settled in (False, True):
                if settled:
                    await books.connection.execute("ANALYZE")
                page = (statements.AUDIT_LEDGER, half, half, 0, half, 0, rows)
                causes = (statements.AUDIT_POSTINGS, [str(half)] * 100, 800)
                for text, *arguments in (page, causes):
                    scans = await _explained(reader, text, *arguments)
                    assert {scan.table for scan in scans} == {"postings", "ledger"}
                    assert all(scan.by_key for scan in scans)
                    assert sum(scan.touched for scan in scans) <= rows + 2
        finally:
            reader.terminate()


async def _explained(
    connection: "asyncpg.Connection[asyncpg.Record]", sql: str, *arguments: object
) -> list[Scan]:
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
    return [_scan(node) for node in _nodes(json.loads(text)[0]["Plan"]) if _is_scan(node)]


HOLDERS: Final = 5_000
HOLD: Final = f"""
INSERT INTO positions (market, account, quantity)
SELECT md5('m1')::uuid, md5('h' || n)::uuid, n % 2 * 2 - 1 FROM generate_series(1, {HOLDERS}) AS n;
INSERT INTO orders
SELECT md5('d' || n)::uuid, md5('m1')::uuid, md5('h' || n)::uuid, 0, 'd', 1, 50, 10, 1, 10, 1, n, ''
  FROM generate_series(1, {HOLDERS}) AS n;
INSERT INTO accounts (account, account_id) VALUES (md5('h1')::uuid, 'holder-1');
INSERT INTO pockets (account, lane, balance) VALUES (md5('h1')::uuid, 0, 1000);
"""  # noqa: S608 - numbers of our own
PAY_IN: Final = f"""
INSERT INTO accounts (account, account_id)
SELECT md5('h' || n)::uuid, 'holder-' || n FROM generate_series(2, {HOLDERS}) AS n;
INSERT INTO pockets (account, lane, balance)
SELECT md5('h' || n)::uuid, lane, 1000
  FROM generate_series(2, {HOLDERS}) AS n, (VALUES (-1), (0), (7)) AS l(lane);
"""  # noqa: S608 - numbers of our own


async def test_settlement_pages_are_read_by_key(database_url: str) -> None:
    """Statistics are those from when there was one account with one pocket."""
    rows, tables = 400, ("accounts", "pockets", "positions", "orders")
    async with opened(database_url) as books:
        for table in tables:
            await books.connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        await books.connection.execute(HOLD)
        await books.connection.execute("ANALYZE")
        await books.connection.execute(PAY_IN)
        reader = await connect(database_url, LANE_SETTINGS, timeout_s=60)
        try:
            after, yes = UUID(ids.NO_MARKET), OUTCOMES[Outcome.YES]
            market = UUID(BULK_MARKET)
            payees = (statements.READ_PAYEES, 0, market, yes, after, rows)
            orders = (statements.READ_DEAD_ORDERS, 0, market, rows)
            for text, *arguments in (payees, orders):
                scans = await _explained(reader, text, *arguments)
                assert all(scan.by_key for scan in scans)
                # Every second holder has the other outcome.
                assert max(scan.touched for scan in scans) <= 3 * rows
        finally:
            reader.terminate()
