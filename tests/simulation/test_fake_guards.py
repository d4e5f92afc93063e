"""The database in memory refuses every wrong batch that PostgreSQL refuses, by the same guard."""

from typing import cast

import pytest

from tests.integration import test_guards as guards
from tests.support.books import Books, deposit, resolve
from tests.support.fake_store import FakeBooks
from worker.domain.commands import Outcome
from worker.domain.state import Limits

CASES = {
    f"{group.lower()}: {case.what}": case
    for group, cases in vars(guards).items()
    if isinstance(cases, list)
    for case in cases
    if isinstance(case, guards.Wrong)
}


@pytest.fixture
async def world() -> guards.World:
    """Return the world of the guards' own tests, over the database in memory."""
    books = FakeBooks.opened()
    cash, lane, other = await books.transfers(), await books.orders(0), await books.orders(1)
    await cash.run(*[deposit(name, 100_000, f"{name}-1") for name in ("ann", "ben", "cat", "dan")])
    for market in (guards.OPEN, guards.HALTED, guards.SETTLING, guards.SETTLED, guards.ELSEWHERE):
        await guards._trade_in(other if market == guards.ELSEWHERE else lane, market)
    await lane.halt(guards.HALTED)
    await lane.run(resolve(guards.SETTLED))
    await lane.settle()
    lane.limits = Limits(2_500, fills=1)
    await lane.run(resolve(guards.SETTLING, Outcome.YES))
    lane.limits = Limits(2_500)
    return guards.World(cast("Books", books), cash, lane, other)


@pytest.mark.parametrize("wrong", CASES.values(), ids=CASES)
async def test_a_wrong_batch_is_refused_by(world: guards.World, wrong: guards.Wrong) -> None:
    await guards._is_refused(world, wrong)


def test_there_are_many_wrong_batches() -> None:
    assert len(CASES) > 100
