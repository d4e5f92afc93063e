"""A database that an earlier release created and filled is migrated, audited and worked on.

`tests/migrations/fill.py` made the dump, and says how.
"""

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from producers import PlaceOrder, Side, TimeInForce
from tests.support.books import (
    TIMEOUT_S,
    buy,
    deposit,
    market_at,
    open_market,
    opened,
    place,
    sell,
)
from tests.support.databases import execute
from tests.support.eventually import eventually
from tests.support.system import Sent, System
from tests.support.topics import create
from worker.adapters.postgres.books import Books
from worker.adapters.postgres.connect import connect
from worker.adapters.postgres.migrate import migrate, migrations
from worker.app import make_broker
from worker.audit import full_audit
from worker.audit.gather import HistoryAudit, audit_history, lanes_of, route_of
from worker.audit.invariants import Violation
from worker.audit.proof import prove
from worker.embedded import EmbeddedKafka
from worker.topics import OutputTopics
from worker.wire import journal

DUMP: Final = Path(__file__).parents[1] / "migrations" / "filled_by_0_1.sql"
PREFIX: Final = "filled-0-1-"
ORDERS, TRANSFERS = f"{PREFIX}orders", f"{PREFIX}transfers"
OUTPUTS: Final = OutputTopics(
    f"{PREFIX}events", f"{PREFIX}transfer-events", f"{PREFIX}dead-letters", 2
)
OPEN, HALTED, SETTLING = "rain-0", "storm-1", "hail-0"
OLD_FILES: Final = 15
INPUTS: Final = (
    "SELECT partition, record_offset, timestamp_ms, key, value FROM recorded.inputs"
    " WHERE topic = $1 ORDER BY partition, record_offset"
)


@pytest.fixture
async def url(empty_database_url: str) -> str:
    """A database as the dump has it, not migrated yet."""
    await execute(empty_database_url, DUMP.read_text(encoding="utf-8"))
    return empty_database_url


@pytest.fixture
async def broker(url: str, kafka_server: EmbeddedKafka) -> AsyncIterator[str]:
    """A broker that has both inputs as they were, and what was published of the journal."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await admin.start()
    topics = [ORDERS, TRANSFERS, *(OUTPUTS.events, OUTPUTS.transfer_events, OUTPUTS.dead_letters)]
    for topic in topics:
        # The records' own times, which are not of today.
        await create(admin, topic, message_timestamp_type="CreateTime", retention_ms="-1")
    async with System.start(url, kafka_server.bootstrap, PREFIX) as system:
        for topic in (ORDERS, TRANSFERS):
            rows = await system.database.fetch(INPUTS, topic)
            offsets = await system.send(topic, [_record(row) for row in rows])
            assert offsets == [row["record_offset"] for row in rows]
            stamped = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=stamped)
            await admin.alter_configs([resource])
        async with Books(url, timeout_s=TIMEOUT_S).snapshot() as snapshot:
            stored = await lanes_of(snapshot)
        for row, batches in stored:
            route = route_of(row, OUTPUTS)
            for batch in batches:
                for out in journal.decode(batch.events, route):
                    sent = Sent(out.partition, out.key, out.value, out.headers, out.timestamp_ms)
                    await system.send(out.topic, [sent])
    yield kafka_server.bootstrap
    await admin.delete_topics(topics)
    await admin.close()


def _record(row: asyncpg.Record) -> Sent:
    key, value = (None if text is None else text.encode() for text in (row["key"], row["value"]))
    return Sent(row["partition"], key, value, timestamp_ms=row["timestamp_ms"])


async def _violations(url: str) -> Sequence[Violation]:
    return (await full_audit(Books(url, timeout_s=TIMEOUT_S), time.monotonic)).violations


async def test_filled_database_is_migrated_and_audited(url: str) -> None:
    names = [migration.name for migration in migrations()]
    assert await migrate(url, timeout_s=TIMEOUT_S) == names[OLD_FILES:]
    assert await migrate(url, timeout_s=TIMEOUT_S) == []
    assert await _violations(url) == ()
    assert (await prove(Books(url, timeout_s=TIMEOUT_S))).consistent


async def test_worker_continues_on_a_migrated_database(url: str, broker: str) -> None:
    """The half-resolved market is paid, the open one trades on, and the whole history holds."""
    async with System.start(url, broker, PREFIX) as system:
        before = await _history(system)
        assert before.result.violations == ()
        assert before.history.replayed.planned == 0
        await system.member()
        await eventually(lambda: system.events("MARKET_SETTLED", market_id=SETTLING))
        for step in (
            (deposit("gus", 9_000),),
            [_order(m, "gus", s) for m in (OPEN, HALTED) for s in Side],
        ):
            await system.publish(*step)
            await system.answered()
        await system.check_invariants()
        traded = await system.events("ORDER_FILLED", market_id=OPEN)
        assert any("gus" in str(event) for event in traded)
        after = await _history(system)
        assert after.result.violations == ()
        assert after.history.replayed.planned > 0
        assert after.history.replayed.other_rules == before.history.replayed.other_rules > 0


def _order(market: str, account: str, side: Side) -> PlaceOrder:
    price = 99 if side is Side.BUY else 1
    order_id, ioc = f"{account}-{side}", TimeInForce.IOC
    return place(market, account, order_id, side=side, price=price, quantity=2, time_in_force=ioc)


async def _history(system: System) -> HistoryAudit:
    books = Books(system.settings.database_url.get_secret_value(), timeout_s=TIMEOUT_S)
    return await audit_history(books, make_broker(system.settings), OUTPUTS, time.monotonic)


@pytest.mark.parametrize("in_steps", [False, True], ids=["statement", "steps"])
async def test_workers_of_both_releases_share_the_books(database_url: str, in_steps: bool) -> None:
    """One of the earlier release writes to the ledger, as today's to `postings`."""
    market = market_at(0, "shared")
    async with opened(database_url, in_steps=in_steps) as books:
        await books.connection.execute(
            "CREATE SCHEMA earlier; CREATE VIEW earlier.postings AS SELECT * FROM public.ledger"
        )
        books.connect = _earlier
        await (await books.transfers()).run(deposit("ann", 5_000), deposit("ben", 5_000))
        lane = await books.orders()
        await lane.run(open_market(market), sell(market, "ben", 5, 40))
        await lane.run(buy(market, "ann", 2, 40))
        assert await books.value("SELECT count(*) FROM postings") == 0
        books.connect = connect
        await (await books.orders()).run(buy(market, "ann", 3, 40))
        assert await books.value("SELECT count(*) FROM postings") > 0
    assert await _violations(database_url) == ()


async def _earlier(
    url: str, settings: dict[str, str], /, *, timeout_s: float
) -> "asyncpg.Connection[asyncpg.Record]":
    settings = {**settings, "search_path": "earlier, public"}
    return await connect(url, settings, timeout_s=timeout_s)
