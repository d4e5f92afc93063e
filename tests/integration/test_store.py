"""`PostgresStore` on a real server: pages, lost connections, lost races, migrations, streams."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.support.books import (
    ORDER_LANES,
    ORDERS,
    TIMEOUT_S,
    TRANSFER_LANES,
    TRANSFERS,
    Books,
    Desk,
    account_key,
    altered,
    buy,
    cancel,
    market_at,
    market_key,
    open_market,
    open_orders,
    opened,
    orders_home,
    sell,
)
from tests.support.eventually import eventually
from tests.support.pgproxy import Fault, PgProxy
from worker.adapters.postgres import statements, store
from worker.adapters.postgres.catalog import adopt
from worker.adapters.postgres.connect import LANE_SETTINGS, connect
from worker.adapters.postgres.store import PostgresStore
from worker.domain.facts import Lack
from worker.domain.units import WALLET, AccountId
from worker.embedded import EmbeddedPostgres
from worker.errors import (
    ConfigError,
    Conflict,
    Misconfigured,
    OutcomeUnknown,
    Poison,
    Refused,
    StoreError,
    Unavailable,
)
from worker.ports import Statement

pytestmark = pytest.mark.integration

MARKET, FAR = market_at(0, "near"), market_at(1, "far")
WAIT_S = 60.0
NOBODY = "postgresql://postgres@127.0.0.1:1/postgres"


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with opened(database_url) as found:
        yield found


@pytest.fixture
def patient_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are waited for, so that a test decides when a wait ends."""
    monkeypatch.setitem(LANE_SETTINGS, "lock_timeout", "60s")


patient = pytest.mark.usefixtures("patient_locks")


async def _trade(desk: Desk) -> Statement:
    """Return a batch in which Ann and Ben draw from their wallets."""
    return await desk.prepared(buy(MARKET, "ann", 10, 50, "bid"))


# Loading, in pages.


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
async def test_a_lane_loaded_in_pages_is_loaded_whole(
    books: Books, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    desk = await books.offer(MARKET)
    names = [market_at(0, f"m{n}") for n in range(4)]
    await desk.run(*[open_market(name) for name in names])
    await desk.run(*[sell(name, "ben", 1, 40 + n) for n in range(4) for name in names[:3]])
    whole = await desk.store.markets(desk.home.lane), await open_orders(desk.store, desk.home.lane)
    monkeypatch.setattr(store, "LOAD_ROWS", rows)
    paged = await desk.store.markets(desk.home.lane), await open_orders(desk.store, desk.home.lane)
    assert paged == whole
    assert [len(found) for found in paged] == [5, 13]
    assert [order.seq for _, order in paged[1]] == sorted(order.seq for _, order in paged[1])


# Connections.


async def test_a_store_connects_when_it_is_first_asked(books: Books) -> None:
    await PostgresStore(NOBODY, timeout_s=1).close()
    assert (await books.store().standing(orders_home(0).lane, 0)).epoch == 0


async def test_nobody_listening_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await PostgresStore(NOBODY, timeout_s=1).take_over(ORDERS, 0, "me")


async def test_a_database_that_is_not_there_is_unavailable(database_url: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await PostgresStore(f"{database_url}x", timeout_s=TIMEOUT_S).take_over(ORDERS, 0, "me")
    assert caught.value.sqlstate == "3D000"


async def test_invalid_address_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="PARITY_DATABASE_URL"):
        await PostgresStore("mysql://somewhere", timeout_s=1).take_over(ORDERS, 0, "me")


async def test_a_weaker_isolation_is_not_accepted(database_url: str) -> None:
    weaker = LANE_SETTINGS | {"default_transaction_isolation": "read committed"}
    with pytest.raises(ConfigError, match="repeatable read"):
        await connect(database_url, weaker, timeout_s=TIMEOUT_S)


async def test_a_lane_has_its_settings(database_url: str) -> None:
    connection = await connect(database_url, LANE_SETTINGS, timeout_s=TIMEOUT_S)
    found = {name: await connection.fetchval(f"SHOW {name}") for name in LANE_SETTINGS}
    await connection.close()
    assert found == LANE_SETTINGS


async def test_a_connection_lost_while_idle_is_made_again(books: Books) -> None:
    desk = await books.offer(MARKET)
    await _terminate_others(books)
    connection = _connection(desk)
    await eventually(connection.is_closed, WAIT_S)
    await desk.run(cancel(MARKET, "ben", "offer"))
    assert _connection(desk) is not connection


async def test_misconfigured_statement_replaces_the_connection(
    books: Books,
) -> None:
    """A pooler in between may have lost what was prepared; another connection prepares it again."""
    desk = await books.offer(MARKET)
    statement = await _trade(desk)
    connection = _connection(desk)
    await connection.execute("DEALLOCATE ALL")
    with pytest.raises(Misconfigured) as caught:
        await desk.store.commit(statement)
    assert caught.value.sqlstate == "26000"
    await desk.store.commit(statement)
    assert _connection(desk) is not connection


@patient
@pytest.mark.shows("W2", "F15")
async def test_connection_lost_during_commit_is_outcome_unknown(books: Books) -> None:
    desk = await books.offer(MARKET)
    statement = await _trade(desk)
    async with _held(books, "SELECT 1 FROM pockets FOR UPDATE"):
        commit = asyncio.create_task(desk.store.commit(statement))
        await _blocked(books, 1)
        await _terminate_others(books)
        with pytest.raises(OutcomeUnknown) as caught:
            await commit
    assert caught.value.sqlstate in ("57P01", "08003")
    await _is_committed_next(desk, statement)


@pytest.mark.shows("W2", "F16")
async def test_commit_with_lost_answer_is_found(books: Books) -> None:
    desk = await books.offer(MARKET)
    statement = await _trade(desk)
    async with PgProxy.before(books.url) as proxy:
        proxy.trap(Fault.AFTER)
        behind = PostgresStore(proxy.url, timeout_s=TIMEOUT_S)
        with pytest.raises(OutcomeUnknown):
            await behind.commit(statement)
        with pytest.raises(Refused):
            await behind.commit(statement)
        standing = await behind.standing(statement.lane, statement.batch_no)
        await behind.close()
    assert (standing.batch_no, standing.plan_hash) == (statement.batch_no, statement.plan_hash)


@patient
@pytest.mark.shows("W2", "F18")
async def test_commit_past_its_deadline_is_outcome_unknown(
    books: Books,
) -> None:
    desk = await books.offer(MARKET)
    statement = await _trade(desk)
    impatient = PostgresStore(books.url, timeout_s=1)

    async def connected() -> bool:
        with contextlib.suppress(StoreError):
            await impatient.standing(statement.lane, statement.batch_no)
        return impatient._connection is not None

    # Nothing was sent yet where already connecting takes too long.
    await eventually(connected)
    async with _held(books, "SELECT 1 FROM pockets FOR UPDATE"):
        with pytest.raises(OutcomeUnknown):
            await impatient.commit(statement)
    await impatient.close()
    await _is_committed_once(desk, statement)


@patient
@pytest.mark.shows("W2")
async def test_cancelled_commit_closes_its_connection(books: Books) -> None:
    desk = await books.offer(MARKET)
    statement = await _trade(desk)
    async with _held(books, "SELECT 1 FROM pockets FOR UPDATE"):
        commit = asyncio.create_task(desk.store.commit(statement))
        await _blocked(books, 1)
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
    assert isinstance(desk.store, PostgresStore)
    assert desk.store._connection is None
    await _is_committed_once(desk, statement)


@patient
@pytest.mark.shows("W2", "F23")
async def test_killed_server_loses_nothing() -> None:
    with EmbeddedPostgres.start() as server:
        async with opened(server.url) as books:
            desk = await books.offer(MARKET)
            statement = await _trade(desk)
            async with _held(books, "SELECT 1 FROM pockets FOR UPDATE"):
                commit = asyncio.create_task(desk.store.commit(statement))
                await _blocked(books, 1)
                await asyncio.to_thread(server.kill)
                with pytest.raises(OutcomeUnknown):
                    await commit
            with pytest.raises(Unavailable):
                await desk.store.commit(statement)
            await asyncio.to_thread(server.restart)
            await _is_committed_next(desk, statement)


async def test_read_only_server_is_outcome_unknown(books: Books) -> None:
    """A standby after a failover: another connection may reach the primary."""
    desk = await books.offer(MARKET)
    statement = await _trade(desk)
    await desk.store.close()
    name = await books.value("SELECT current_database()")
    await books.connection.execute(
        f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
    )
    with pytest.raises(OutcomeUnknown) as caught:
        await desk.store.commit(statement)
    assert caught.value.sqlstate == "25006"
    await books.connection.execute("SET default_transaction_read_only = off")
    await books.connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    await _is_committed_next(desk, statement)


async def test_unreadable_batch_is_poison(
    books: Books,
) -> None:
    desk = await books.offer(MARKET)
    connection = _connection(desk)
    statement = altered(await _trade(desk), "trades", lambda rows: rows[0].update(price="x"))
    with pytest.raises(Poison):
        await desk.store.commit(statement)
    assert _connection(desk) is connection


@pytest.mark.shows("F22")
async def test_a_table_that_grows_a_column_stops_nobody(books: Books) -> None:
    desk = await books.offer(MARKET)
    for table in ("orders", "markets", "pockets", "lanes"):
        await books.connection.execute(f"ALTER TABLE {table} ADD COLUMN note text")
    await desk.run(buy(MARKET, "ann", 10, 50))
    assert await desk.store.markets(desk.home.lane)


# Lost races.


async def test_lock_held_too_long_is_a_conflict(books: Books) -> None:
    desk = await books.offer(MARKET)
    statement = await _trade(desk)
    async with _held(books, "SELECT 1 FROM pockets FOR UPDATE"):
        with pytest.raises(Conflict) as caught:
            await desk.store.commit(statement)
    assert caught.value.sqlstate == "55P03"
    await _is_committed_next(desk, statement)


@patient
@pytest.mark.shows("F20")
async def test_second_draw_from_a_wallet_loses(books: Books) -> None:
    near = await books.offer(MARKET)
    far = await books.orders(1)
    await far.run(open_market(FAR), sell(FAR, "ben", 10, 50))
    first, second = await far.prepared(buy(FAR, "ann", 10, 50)), await _trade(near)
    row = "SELECT 1 FROM markets WHERE market = $1 FOR UPDATE"
    async with _held(books, row, market_key(FAR)):
        winner = asyncio.create_task(far.store.commit(first))
        await _blocked(books, 1)
        loser = asyncio.create_task(near.store.commit(second))
        await _blocked(books, 2)
    await winner
    with pytest.raises(Conflict) as caught:
        await loser
    assert caught.value.sqlstate == "40001"
    await _is_committed_next(near, second)
    wallet = (await near.store.read(near.home, Lack(accounts={AccountId("ann")}))).accounts
    assert (wallet[AccountId("ann")] or {})[WALLET] == 10_000 - 2 * 2_500


@patient
@pytest.mark.shows("F21")
async def test_deadlock_of_two_lanes_is_broken(books: Books) -> None:
    """Pockets are locked in one order by all; a deadlock needs a row out of that order."""
    desk = await books.offer(MARKET)
    statement = await _trade(desk)
    pocket = "SELECT 1 FROM pockets WHERE account = $1 FOR UPDATE"
    ann, ben = sorted([account_key("ann"), account_key("ben")])
    async with _held(books, pocket, ben) as other:
        commit = asyncio.create_task(desk.store.commit(statement))
        await _blocked(books, 1)
        outcomes = await asyncio.gather(commit, other.execute(pocket, ann), return_exceptions=True)
    lost = [error for error in outcomes if isinstance(error, Exception)]
    assert [getattr(error, "sqlstate", "") for error in lost] == ["40P01"]
    assert isinstance(lost[0], Conflict | asyncpg.DeadlockDetectedError)


# Streams.


async def test_streams_are_numbered_one_after_the_other(books: Books) -> None:
    await _register(books.url, "orders-2", 3)
    found = await books.rows("SELECT stream, first_lane FROM streams ORDER BY first_lane")
    assert found == [(ORDERS, 0), (TRANSFERS, ORDER_LANES), ("orders-2", 3)]
    lanes = await books.rows("SELECT lane, stream, partition FROM lanes WHERE lane >= 3 ORDER BY 1")
    assert lanes == [(3 + n, "orders-2", n) for n in range(3)]
    assert TRANSFER_LANES == 1


async def test_a_stream_is_registered_once(books: Books) -> None:
    before = await books.dump()
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await _register(books.url, ORDERS, 5)
    assert caught.value.constraint_name == "streams_pkey"
    assert await books.dump() == before


async def test_streams_registered_at_once_never_share_a_lane(books: Books) -> None:
    names = [f"orders-{n}" for n in range(2, 8)]
    waiting = set(names)
    while waiting:
        tried = sorted(waiting)
        outcomes = await asyncio.gather(
            *[_register(books.url, name, 4) for name in tried], return_exceptions=True
        )
        lost = {n for n, outcome in zip(tried, outcomes, strict=True) if outcome is not None}
        assert len(lost) < len(waiting), outcomes
        waiting = lost
    lanes = await books.rows("SELECT lane FROM lanes ORDER BY lane")
    assert lanes == [(lane,) for lane in range(3 + 4 * len(names))]
    spans = await books.rows("SELECT first_lane, partitions FROM streams ORDER BY first_lane")
    assert [first for first, _ in spans] == [0, 2, *range(3, 3 + 4 * len(names), 4)]


async def test_topics_adopted_at_once_are_all_stored(books: Books) -> None:
    """Each insert but one loses the race for the next number."""
    ids = [f"id-{n}" for n in range(6)]
    await asyncio.gather(*(adopt(books.url, ORDERS, id_, timeout_s=TIMEOUT_S) for id_ in ids))
    found = await books.rows("SELECT number, topic_id FROM stream_topics ORDER BY number")
    assert [number for number, _ in found] == list(range(6))
    assert sorted(topic_id for _, topic_id in found) == ids


async def _register(url: str, stream: str, partitions: int) -> None:
    connection = await connect(url, LANE_SETTINGS, timeout_s=TIMEOUT_S)
    try:
        await connection.execute(
            statements.REGISTER_STREAM, stream, f"t.{stream}", "ORDERS", partitions
        )
    finally:
        connection.terminate()


# Helpers.


def _connection(desk: Desk) -> "asyncpg.Connection[asyncpg.Record]":
    assert isinstance(desk.store, PostgresStore)
    assert desk.store._connection is not None
    return desk.store._connection


@asynccontextmanager
async def _held(
    books: Books, sql: str, *arguments: object
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Hold the rows that ``sql`` locks until the block ends."""
    connection = await asyncpg.connect(books.url)
    try:
        await connection.execute("BEGIN")
        await connection.execute(sql, *arguments)
        yield connection
    finally:
        connection.terminate()


async def _blocked(books: Books, count: int) -> None:
    sql = """SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock'"""

    async def waiting() -> bool:
        return bool(await books.value(sql) == count)

    await eventually(waiting, WAIT_S)


async def _terminate_others(books: Books) -> None:
    await books.connection.execute("""
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'parity'""")


async def _is_committed_next(desk: Desk, statement: Statement) -> None:
    """Check that the lane is before the batch, and that the same statement commits it."""
    before = await desk.store.standing(statement.lane, statement.batch_no)
    assert (before.batch_no, before.plan_hash) == (statement.batch_no - 1, None)
    assert await _sent_until_it_is_answered(desk, statement) == "committed"
    await _is_found(desk, statement)


async def _is_committed_once(desk: Desk, statement: Statement) -> None:
    """Check that the statement is committed once, by the attempt in flight or by another one."""
    await _sent_until_it_is_answered(desk, statement)
    await _is_found(desk, statement)


async def _is_found(desk: Desk, statement: Statement) -> None:
    after = await desk.store.standing(statement.lane, statement.batch_no)
    assert (after.batch_no, after.plan_hash) == (statement.batch_no, statement.plan_hash)


async def _sent_until_it_is_answered(desk: Desk, statement: Statement) -> str:
    """A connection that was cut off keeps its locks until the server has noticed."""

    async def answer() -> str:
        try:
            await desk.store.commit(statement)
        except Conflict:
            return ""
        except Refused:
            return "refused"
        return "committed"

    return await eventually(answer, WAIT_S)
