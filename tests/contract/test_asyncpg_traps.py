"""The behaviour of asyncpg that `worker.adapters.postgres` relies on or guards against.

B1 to B14 are the traps that the adapter's rules come from. A test whose name has the number shows
what the library does, and the tests after it that the port protects the lane. If a numbered test
fails after an upgrade, a guard can go or another guard is needed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from math import inf, nan
from typing import Any, TypeAlias

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery

from tests.support.books import (
    ORDERS,
    TIMEOUT_S,
    Books,
    Desk,
    buy,
    market_at,
    open_market,
    opened,
    orders_home,
    rows_of,
)
from tests.support.eventually import eventually
from tests.support.pgproxy import JOURNAL, Fault, PgProxy
from worker.adapters.postgres.parameters import TABLES
from worker.adapters.postgres.store import PostgresStore
from worker.domain.commands import Unreadable
from worker.errors import Conflict, OutcomeUnknown, Refused
from worker.ports import Statement
from worker.wire.decode import decode_order, decode_transfer

WAIT_S = 30.0
IMPATIENT_S = 3.0
MARKET = market_at(0, "m")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Commit = Callable[[Connection], Awaitable[object]]


# Commits whose answer is lost.


async def one_statement(connection: Connection) -> None:
    await connection.execute("INSERT INTO batches VALUES ($1)", 1)


async def a_transaction(connection: Connection) -> None:
    await connection.execute("BEGIN")
    await connection.execute("INSERT INTO batches VALUES ($1)", 1)
    await connection.execute("COMMIT")


both_ways = pytest.mark.parametrize("commit", [one_statement, a_transaction])


@dataclass
class Line:
    """A proxied line to a database with one table, and a direct connection that watches it."""

    proxy: PgProxy
    watcher: Connection

    @asynccontextmanager
    async def connection(self, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Connection]:
        connection = await asyncpg.connect(self.proxy.url, command_timeout=timeout_s)
        try:
            yield connection
        finally:
            connection.terminate()

    async def rows(self) -> int:
        found: int = await self.watcher.fetchval("SELECT count(*) FROM batches")
        return found

    async def cut(self, fault: Fault, commit: Commit) -> tuple[object, ...]:
        """Return everything that the client learns of a commit during which the line breaks."""
        self.proxy.trap(fault, statement=JOURNAL)
        async with self.connection() as connection:
            with pytest.raises(asyncpg.PostgresError) as raised:
                await commit(connection)
        return type(raised.value), raised.value.sqlstate, raised.value.args


@pytest.fixture
async def line(empty_database_url: str) -> AsyncIterator[Line]:
    watcher = await asyncpg.connect(empty_database_url)
    await watcher.execute("CREATE TABLE batches (number bigint NOT NULL)")
    async with PgProxy.before(empty_database_url) as proxy:
        yield Line(proxy, watcher)
    await watcher.close()


@pytest.mark.shows("B1")
@both_ways
async def test_b1_lost_and_done_commits_look_alike(line: Line, commit: Commit) -> None:
    """The error is the same, whether the line broke before the commit or after it."""
    before = await line.cut(Fault.BEFORE, commit)
    assert await line.rows() == 0

    after = await line.cut(Fault.AFTER, commit)

    assert await line.rows() == 1
    assert before == after
    assert before[:2] == (asyncpg.ConnectionDoesNotExistError, "08003")


@pytest.mark.shows("B2")
@both_ways
async def test_b2_cancelled_commit_may_succeed(line: Line, commit: Commit) -> None:
    trap = line.proxy.trap(Fault.SWALLOW, statement=JOURNAL)
    async with line.connection() as connection:
        committing = asyncio.ensure_future(commit(connection))
        await eventually(lambda: trap.outcomes, WAIT_S)
        committing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await committing

    assert trap.outcomes == [b"C"]
    assert await line.rows() == 1


@pytest.mark.shows("B3")
@both_ways
async def test_b3_timed_out_commit_may_succeed(line: Line, commit: Commit) -> None:
    trap = line.proxy.trap(Fault.SWALLOW, statement=JOURNAL)
    async with line.connection(IMPATIENT_S) as connection:
        with pytest.raises(TimeoutError):
            await commit(connection)

    assert trap.outcomes == [b"C"]
    assert await line.rows() == 1


@dataclass
class Lane:
    """A lane's store, connected through a proxy, and the batch that it is about to commit."""

    proxy: PgProxy
    store: PostgresStore
    statement: Statement

    async def commit_again(self) -> str:
        """Run the same statement until it is committed or refused, and return which."""

        async def decided() -> str:
            try:
                await self.store.commit(self.statement)
            except Refused:
                return "refused"
            except Conflict:
                # The interrupted transaction may still hold its locks.
                return ""
            return "committed"

        return await eventually(decided, WAIT_S)

    async def is_committed(self) -> bool:
        standing = await self.store.standing(self.statement.lane, self.statement.batch_no)
        return standing.plan_hash == self.statement.plan_hash


@pytest.fixture(params=[False, True], ids=["statement", "steps"])
async def books(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Books]:
    async with opened(database_url, in_steps=request.param) as found:
        yield found


@pytest.fixture
async def lane(books: Books) -> AsyncIterator[Lane]:
    statement = await prepared(books)
    async with PgProxy.before(books.url) as proxy:
        store = PostgresStore(proxy.url, timeout_s=IMPATIENT_S, in_steps=books.in_steps)
        yield Lane(proxy, store, statement)
        await store.close()


async def prepared(books: Books) -> Statement:
    """Return a batch in which two accounts trade."""
    return await (await books.offer(MARKET)).prepared(buy(MARKET, "ann", 10, 50))


@pytest.mark.shows("B1", "B3")
@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.MIDDLE, Fault.AFTER, Fault.SWALLOW])
async def test_same_statement_decides_a_commit_without_answer(lane: Lane, fault: Fault) -> None:
    """The outcome is unknown, and its connection is closed.

    Sent again, the statement is refused if the first commit was done, and is committed otherwise.
    """
    lane.proxy.trap(fault)

    with pytest.raises(OutcomeUnknown):
        await lane.store.commit(lane.statement)

    assert lane.store._connection is None
    done = fault in (Fault.AFTER, Fault.SWALLOW)
    assert await lane.commit_again() == ("refused" if done else "committed")
    assert await lane.is_committed()


@pytest.mark.shows("B2")
async def test_same_statement_decides_a_cancelled_commit(lane: Lane) -> None:
    trap = lane.proxy.trap(Fault.SWALLOW)
    committing = asyncio.create_task(lane.store.commit(lane.statement))
    await eventually(lambda: trap.outcomes, WAIT_S)

    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing

    assert lane.store._connection is None
    assert await lane.commit_again() == "refused"
    assert await lane.is_committed()


# Values that are no integers.


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    found = await asyncpg.connect(database_url)
    yield found
    await found.close()


@pytest.mark.shows("B6")
@pytest.mark.parametrize(
    ("given", "taken"),
    [(1.5, 1), (0.99, 0), (-0.5, 0), (Decimal("1.9"), 1), (True, 1)],
)
async def test_b6_bigint_truncates_other_numbers(
    connection: Connection, given: object, taken: int
) -> None:
    assert await connection.fetchval("SELECT $1::bigint", given) == taken
    assert await connection.fetchval("SELECT $1::bigint[]", [given]) == [taken]


@pytest.mark.shows("B6")
@pytest.mark.parametrize("given", [nan, inf, "5", 2**63])
async def test_b6_bigint_refuses_other_values(connection: Connection, given: object) -> None:
    with pytest.raises(asyncpg.DataError):
        await connection.fetchval("SELECT $1::bigint", given)


NO_INTEGERS = ["1.5", "1.0", "1e0", "0.99", "true", "null", '"5"', "NaN", "Infinity", str(2**63)]
ORDER = (
    '{"type": "PLACE_ORDER", "market_id": "m", "account_id": "a", "order_id": "o", "side": "BUY",'
    ' "time_in_force": "GTC", "price": %s, "quantity": %s}'
)
MARKET_TEXT = (
    '{"type": "OPEN_MARKET", "market_id": "m", "operator_id": "o", "title": "t", "payout": %s}'
)
DEPOSIT = '{"type": "DEPOSIT", "account_id": "a", "transfer_id": "t", "amount": %s}'
EDGE = {
    "price": lambda number: decode_order(b"m", (ORDER % (number, 1)).encode(), ()),
    "quantity": lambda number: decode_order(b"m", (ORDER % (1, number)).encode(), ()),
    "payout": lambda number: decode_order(b"m", (MARKET_TEXT % number).encode(), ()),
    "amount": lambda number: decode_transfer(b"a", (DEPOSIT % number).encode(), ()),
}


@pytest.mark.shows("B6")
@pytest.mark.parametrize("number", NO_INTEGERS)
@pytest.mark.parametrize("decode", EDGE.values(), ids=EDGE.keys())
def test_commands_admit_only_integers(decode: Callable[[str], object], number: str) -> None:
    assert not isinstance(decode("5"), Unreadable)
    assert isinstance(decode(number), Unreadable)


@pytest.mark.shows("B6")
async def test_batch_holds_only_integers_and_text(books: Books) -> None:
    statement = await prepared(books)

    assert {type(given) for given in statement.parameters} <= {int, str}
    tables = [rows_of(statement, table) for table in TABLES]
    assert {type(cell) for table in tables for row in table for cell in row.values()} <= {
        int,
        str,
        bool,
    }


# A schema that changes.


@pytest.mark.shows("B9")
async def test_b9_changed_table_fails_in_transactions(connection: Connection) -> None:
    """Outside of a transaction, asyncpg prepares the statement again and it succeeds."""
    await connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    assert tuple(await connection.fetchrow("SELECT * FROM t") or ()) == (1,)

    await connection.execute("ALTER TABLE t ADD COLUMN b bigint DEFAULT 2")
    assert tuple(await connection.fetchrow("SELECT * FROM t") or ()) == (1, 2)

    await connection.execute("ALTER TABLE t ADD COLUMN c bigint DEFAULT 3")
    with pytest.raises(asyncpg.InvalidCachedStatementError) as raised:
        async with connection.transaction():
            await connection.fetchrow("SELECT * FROM t")
    assert raised.value.sqlstate == "0A000"
    assert tuple(await connection.fetchrow("SELECT * FROM t") or ()) == (1, 2, 3)


@pytest.mark.shows("B9")
async def test_changed_table_raises_conflict(books: Books) -> None:
    """The connection is closed, and the next one commits."""
    statement = await prepared(books)
    store = books.store()
    await store.standing(statement.lane, statement.batch_no)

    with pytest.raises(Conflict):
        await meet_a_change_in_a_transaction(store, books)

    assert store._connection is None
    await store.commit(statement)


async def meet_a_change_in_a_transaction(store: PostgresStore, books: Books) -> None:
    async with store._session() as connection:
        await connection.execute("BEGIN")
        await connection.fetch("SELECT * FROM accounts")
        await connection.execute("ROLLBACK")
        await books.connection.execute("ALTER TABLE accounts ADD COLUMN note text")
        await connection.execute("BEGIN")
        await connection.fetch("SELECT * FROM accounts")


# One call at a time on a connection.


@pytest.mark.shows("B13")
async def test_b13_second_concurrent_call_is_refused(connection: Connection) -> None:
    first = asyncio.create_task(connection.fetchval("SELECT pg_sleep(0.2) IS NULL"))
    await asyncio.sleep(0)

    with pytest.raises(asyncpg.InterfaceError):
        await connection.fetchval("SELECT 1")

    assert await first is False


@pytest.mark.shows("B13")
async def test_every_lane_has_its_own_connection(books: Books) -> None:
    stores = [books.store() for _ in range(3)]

    await asyncio.gather(*(store.standing(orders_home(0).lane, 0) for store in stores))

    assert len({connection_of(store).get_server_pid() for store in stores}) == 3


@pytest.mark.shows("B13")
async def test_concurrent_commit_has_unknown_outcome(books: Books) -> None:
    """The error of asyncpg is no verdict on the batch."""
    statement = await prepared(books)
    store = books.store()
    await store.standing(statement.lane, 0)

    calls = (store.commit(statement), store.commit(statement))
    done = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(answer) for answer in done} <= {OutcomeUnknown, type(None)}
    assert OutcomeUnknown in {type(answer) for answer in done}


# The reset of a pooled connection.


@pytest.mark.shows("B14")
async def test_b14_pool_reset_uses_commands_dsql_refuses(database_url: str) -> None:
    said: list[str] = []
    async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        async with pool.acquire() as borrowed:
            listened_to(borrowed, said)
        async with pool.acquire():
            pass

    text = "\n".join(said)
    for refused in ("pg_advisory_unlock_all", "CLOSE ALL", "UNLISTEN", "RESET ALL"):
        assert refused in text


@pytest.mark.shows("B14")
async def test_lane_sends_no_reset_commands(books: Books) -> None:
    store = books.store()
    said: list[str] = []
    await store.take_over(ORDERS, 1, "me")
    listened_to(connection_of(store), said)
    desk = await Desk.open(store, orders_home(1))
    market = market_at(1, "m")
    await desk.run(open_market(market))
    await desk.store.journal(desk.home.lane, 1, 1)
    await store.close()

    assert said
    for query in said:
        for refused in ("pg_advisory", "CLOSE ALL", "LISTEN", "RESET", "SAVEPOINT"):
            assert refused not in query


def listened_to(connection: Any, said: list[str]) -> None:  # noqa: ANN401 - a pool's proxy, too
    def hear(query: LoggedQuery) -> None:
        said.append(query.query)

    connection.add_query_logger(hear)


def connection_of(store: PostgresStore) -> Connection:
    assert store._connection is not None
    return store._connection
