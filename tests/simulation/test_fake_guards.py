"""The in-memory database refuses every wrong batch that PostgreSQL refuses, by the same guard."""

from typing import cast

import pytest

from tests.integration import test_guards as guards
from tests.support.books import Books
from tests.support.fake_store import FakeBooks

CASES = {
    f"{group.lower()}: {case.what}": case
    for group, cases in vars(guards).items()
    if isinstance(cases, list)
    for case in cases
    if isinstance(case, guards.Wrong)
}


@pytest.fixture
async def world() -> guards.World:
    """Return the world of the guards' own tests, over the in-memory database."""
    return await guards.build(cast("Books", FakeBooks.opened()))


@pytest.mark.parametrize("wrong", CASES.values(), ids=CASES)
async def test_wrong_batch_is_refused_by_its_guard(
    world: guards.World, wrong: guards.Wrong
) -> None:
    await guards._is_refused(world, wrong)


def test_wrong_batches_are_many() -> None:
    assert len(CASES) > 100
