"""What Aurora DSQL refuses and PostgreSQL does not: at the commit, by size, and without a word.

Shown on PostgreSQL behind `tests.support.dsql_line`, which takes back what it then refuses. That
DSQL itself refuses just so waits for a cluster.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest

from tests.support.books import (
    TIMEOUT_S,
    Books,
    Desk,
    buy,
    deposit,
    market_at,
    open_market,
    opened,
    sell,
)
from tests.support.dsql_line import DsqlLine, Habits, Refusal
from tests.support.system import System
from worker import commit
from worker.adapters.postgres.store import PostgresStore
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.errors import Conflict, NotAsOne, OutcomeUnknown, Poison, Refused
from worker.ports import Statement

pytestmark = pytest.mark.integration

MARKET = market_at(0, "market")
BIDS: Final = 60
MOST_TRADES: Final = 9


@pytest.fixture(params=[False, True], ids=["one statement", "in steps"])
async def books(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    async with opened(database_url, in_steps=request.param) as found:
        yield found


async def _trade(books: Books) -> tuple[Desk, Statement]:
    """Return a lane, and its batch in which Ann buys from Ben."""
    await (await books.transfers()).run(deposit("ann", 10_000, "1"), deposit("ben", 10_000, "1"))
    desk = await books.orders(0)
    await desk.run(open_market(MARKET), sell(MARKET, "ben", 10, 50))
    return desk, await desk.prepared(buy(MARKET, "ann", 10, 50))


@pytest.mark.shows("F19")
@pytest.mark.parametrize(("kind", "connections"), [("conflicts", 1), ("schema_changes", 2)])
async def test_a_commit_refused_at_the_very_end_is_a_lost_race(
    books: Books, kind: str, connections: int
) -> None:
    """After OC001 on a new connection: what an old one has prepared is of the old schema."""
    habits = Habits(**{kind: 1.0})  # type: ignore[arg-type]
    _, statement = await _trade(books)
    async with DsqlLine.before(books.url, habits) as line:
        store = PostgresStore(line.url, timeout_s=TIMEOUT_S, in_steps=books.in_steps)
        before = await books.dump()
        with pytest.raises(Conflict) as caught:
            await store.commit(statement)
        assert caught.value.sqlstate == "40001"
        assert await books.dump() == before
        setattr(habits, kind, 0.0)
        await store.commit(statement)
        await store.close()
    assert line.connections == connections
    assert len((await books.dump())["batches"]) == len(before["batches"]) + 1


@pytest.mark.parametrize("table", ["accounts", "markets", "orders", "transfers", "positions"])
async def test_a_step_that_wrote_less_than_was_stated_is_refused(
    database_url: str, table: str
) -> None:
    async with opened(database_url, in_steps=True) as books:
        desk, traded = await _trade(books)
        second = market_at(0, "second")
        cash = await books.transfers()
        statements = {
            "accounts": await cash.prepared(deposit("cat", 1)),
            "markets": await desk.prepared(open_market(second)),
            "orders": traded,
            "transfers": await cash.prepared(deposit("ann", 1, "2")),
            "positions": traded,
        }
        await books.connection.execute(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        )
        await books.connection.execute(
            f"CREATE TRIGGER lost BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION lose()"
        )
        before = await books.dump()
        with pytest.raises(Refused, match=f"{table}: .* rows"):
            await books.stores[-1].commit(statements[table])
        assert await books.dump() == before


async def test_a_transaction_that_is_too_large_can_never_work(books: Books) -> None:
    _, statement = await _trade(books)
    async with DsqlLine.before(books.url, Habits(too_large=lambda _: True)) as line:
        store = PostgresStore(line.url, timeout_s=TIMEOUT_S, in_steps=books.in_steps)
        before = await books.dump()
        with pytest.raises(Poison) as caught:
            await store.commit(statement)
        assert caught.value.sqlstate == "54000"
        assert (await store.standing(statement.lane, 0)).batch_no == statement.batch_no - 1
        await store.close()
    assert await books.dump() == before


async def test_a_message_that_is_too_long_ends_the_line_and_the_outcome_is_unknown(
    books: Books,
) -> None:
    _, statement = await _trade(books)
    async with DsqlLine.before(books.url, Habits(message_bytes_max=200)) as line:
        store = PostgresStore(line.url, timeout_s=TIMEOUT_S, in_steps=books.in_steps)
        with pytest.raises((OutcomeUnknown, Conflict)):
            await store.commit(statement)
        assert line.cut
        await store.close()


async def test_a_target_that_refuses_the_batch_as_one_statement_gets_it_in_steps(
    database_url: str,
) -> None:
    async with opened(database_url) as books:
        _, statement = await _trade(books)
        async with DsqlLine.before(books.url, Habits(takes_cte=False)) as line:
            store = PostgresStore(line.url, timeout_s=TIMEOUT_S)
            before = await books.dump()
            with pytest.raises(NotAsOne):
                await store.commit(statement)
            assert await books.dump() == before
            await store.commit(statement)
            await store.close()
        assert line.refused == {Refusal.CTE: 1}
        assert len((await books.dump())["batches"]) == len(before["batches"]) + 1


# A worker before such a line.


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[System]:
    async with System.start(database_url, kafka_server.bootstrap, topic_prefix) as system:
        yield system


async def test_a_worker_finds_out_by_itself_that_it_must_go_in_steps(system: System) -> None:
    async with DsqlLine.before(_url(system), Habits(takes_cte=False)) as line:
        await _crossed(system, line, "statement")
        assert line.refused[Refusal.CTE]
        await system.stop()
    assert not await system.events("ORDER_REJECTED")


@pytest.mark.shows("F27")
@pytest.mark.parametrize("mode", ["statement", "steps"])
async def test_a_batch_that_is_too_large_is_bisected_until_it_fits(
    system: System, mode: str
) -> None:
    async with DsqlLine.before(_url(system), Habits(too_large=_trades_above(MOST_TRADES))) as line:
        await _crossed(system, line, mode)
        assert line.refused[Refusal.TOO_LARGE]
        await system.stop()
    trades = await system.database.fetch("SELECT count(*) FROM ledger WHERE kind = 1")
    assert trades[0]["count"] == 2 * BIDS
    assert not await system.events("ORDER_REJECTED")


@pytest.mark.shows("F27")
async def test_a_message_that_is_always_too_long_is_halved_until_it_fits(system: System) -> None:
    habits = Habits()
    async with DsqlLine.before(_url(system), habits) as line:
        habits.message_bytes_max = 24 * 1024
        await _crossed(system, line, "statement")
        assert line.cut
        await system.stop()
    assert not await system.events("ORDER_REJECTED")


async def test_one_order_that_is_refused_for_its_size_is_answered_and_the_lane_goes_on(
    system: System,
) -> None:
    market = await _funded(system)
    habits = Habits(too_large=lambda message: b'"price":77' in message)
    async with DsqlLine.before(_url(system), habits) as line:
        await system.member(database_url=line.url)
        await system.publish(*(buy(market, "ann", 1, 70 + n) for n in range(15)))
        await system.check_invariants()
        await system.stop()
    rejected = await system.events("ORDER_REJECTED")
    assert [event["reason"] for event in rejected] == ["INTERNAL_REJECT"]
    assert len(await system.events("ORDER_ACCEPTED", account_id="ann")) == 14


async def test_a_statement_above_the_budget_of_bytes_is_never_sent(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = 24 * 1024
    monkeypatch.setattr(commit, "STATEMENT_BYTES_MAX", budget)
    # What PostgreSQL's protocol adds to the parameters.
    habits = Habits(message_bytes_max=budget + 2 * 1024)
    async with DsqlLine.before(_url(system), habits) as line:
        await _crossed(system, line, "statement")
        assert not line.cut
        await system.stop()
    assert await system.database.fetchval("SELECT count(*) FROM batches WHERE batch_no > 2")


async def _crossed(system: System, line: DsqlLine, mode: str) -> None:
    """Let bids cross an offer in one go, and wait until all is answered."""
    market = await _funded(system)
    await system.publish(*(buy(market, "ann", 1, 50) for _ in range(BIDS)))
    await system.member(database_url=line.url, commit_mode=mode)
    await system.check_invariants()


async def _funded(system: System) -> MarketId:
    """Return a market with an offer in it, opened by a worker on the direct way."""
    market = system.market(0)
    member = await system.member()
    await system.publish(*(deposit(name, 10**6) for name in ("ann", "ben")), open_market(market))
    await system.answered()
    await system.publish(sell(market, "ben", BIDS, 50))
    await system.answered()
    await member.stop()
    return market


def _trades_above(most: int) -> Callable[[bytes], bool]:
    return lambda message: message.count(b'"trade":"') > most


def _url(system: System) -> str:
    return system.settings.database_url.get_secret_value()
