"""Refusals of Aurora DSQL that PostgreSQL does not have: at the commit, by size, by a disconnect.

PostgreSQL runs with `tests.support.dsql_line` in front, which rolls back the commits that it
refuses. Only a cluster can show that DSQL itself refuses in the same way.
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
from worker import seal
from worker.adapters.postgres.store import PostgresStore
from worker.domain.units import MarketId
from worker.errors import Conflict, NotAsOne, OutcomeUnknown, Poison, Refused
from worker.ports import Statement

MARKET = market_at(0, "market")
BIDS: Final = 60
MOST_TRADES: Final = 9


@pytest.fixture(params=[False, True], ids=["one statement", "in steps"])
async def books(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    async with opened(database_url, in_steps=request.param) as found:
        yield found


async def _trade(books: Books) -> tuple[Desk, Statement]:
    """Return a lane and its batch in which Ann buys from Ben."""
    desk = await books.offer(MARKET)
    return desk, await desk.prepared(buy(MARKET, "ann", 10, 50))


@pytest.mark.shows("F19")
@pytest.mark.parametrize(("kind", "connections"), [("conflicts", 1), ("schema_changes", 2)])
async def test_commit_refused_at_its_end_is_a_conflict(
    books: Books, kind: str, connections: int
) -> None:
    """OC001 needs a new connection, because an old one has statements of the old schema."""
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


@pytest.mark.parametrize(
    "table", ["accounts", "markets", "orders", "transfers", "positions", "trades"]
)
async def test_step_with_too_few_rows_is_refused(database_url: str, table: str) -> None:
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
            "trades": traded,
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


async def test_oversized_transaction_never_fits(books: Books) -> None:
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


async def test_oversized_message_leaves_an_unknown_outcome(books: Books) -> None:
    _, statement = await _trade(books)
    async with DsqlLine.before(books.url, Habits(message_bytes_max=200)) as line:
        store = PostgresStore(line.url, timeout_s=TIMEOUT_S, in_steps=books.in_steps)
        with pytest.raises((OutcomeUnknown, Conflict)):
            await store.commit(statement)
        assert line.cut
        await store.close()


async def test_store_falls_back_to_steps(database_url: str) -> None:
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


# A worker that connects through such a proxy.


async def test_worker_falls_back_to_steps_by_itself(system: System) -> None:
    async with DsqlLine.before(_url(system), Habits(takes_cte=False)) as line:
        await _crossed(system, line, "statement")
        assert line.refused[Refusal.CTE]
        await system.stop()
    assert not await system.events("ORDER_REJECTED")


@pytest.mark.shows("F27")
@pytest.mark.parametrize("mode", ["statement", "steps"])
async def test_oversized_batch_is_bisected_until_it_fits(system: System, mode: str) -> None:
    async with DsqlLine.before(_url(system), Habits(too_large=_trades_above(MOST_TRADES))) as line:
        await _crossed(system, line, mode)
        assert line.refused[Refusal.TOO_LARGE]
        await system.stop()
    trades = await system.database.fetch("SELECT count(*) FROM postings WHERE kind = 1")
    assert trades[0]["count"] == 2 * BIDS
    assert not await system.events("ORDER_REJECTED")


@pytest.mark.shows("F27")
async def test_oversized_message_is_halved_until_it_fits(system: System) -> None:
    habits = Habits()
    async with DsqlLine.before(_url(system), habits) as line:
        habits.message_bytes_max = 24 * 1024
        await _crossed(system, line, "statement")
        assert line.cut
        await system.stop()
    assert not await system.events("ORDER_REJECTED")


async def test_order_refused_for_its_size_is_answered(system: System) -> None:
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


async def test_statement_above_the_byte_budget_stays_unsent(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = 24 * 1024
    monkeypatch.setattr(seal, "STATEMENT_BYTES_MAX", budget)
    # Leaves room for the bytes that PostgreSQL's protocol adds to the parameters.
    habits = Habits(message_bytes_max=budget + 2 * 1024)
    async with DsqlLine.before(_url(system), habits) as line:
        await _crossed(system, line, "statement")
        assert not line.cut
        await system.stop()
    assert await system.database.fetchval("SELECT count(*) FROM batches WHERE batch_no > 2")


async def _crossed(system: System, line: DsqlLine, mode: str) -> None:
    """Let all bids cross an offer in one batch, and wait until all are answered."""
    market = await _funded(system)
    await system.publish(*(buy(market, "ann", 1, 50) for _ in range(BIDS)))
    await system.member(database_url=line.url, commit_mode=mode)
    await system.check_invariants()


async def _funded(system: System) -> MarketId:
    """Return a market with an offer, opened by a worker without the proxy."""
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
