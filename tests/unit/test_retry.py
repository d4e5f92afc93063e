"""Calls that fail are repeated: on which errors, how often, after which pauses."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from typing_extensions import override

from worker.errors import BrokerError, Conflict, OffsetOutOfRange
from worker.ports import System
from worker.retry import Errors, retry


class Dice(Random):
    """Always throws the highest number."""

    @override
    def uniform(self, a: float, b: float) -> float:
        return b


class Pauses(list[float]):
    """The pauses made, instead of waiting."""

    @property
    def system(self) -> System:
        return System(lambda: 0.0, self._sleep, Dice())

    async def _sleep(self, seconds: float) -> None:
        self.append(seconds)


def failing(*errors: BaseException) -> Callable[[], Awaitable[str]]:
    """Return a call that raises each of ``errors`` in turn, then succeeds."""
    left = list(errors)

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


async def test_success_needs_no_pause(pauses: Pauses) -> None:
    found = await retry(failing(), Conflict, cap_s=1, tries=1, system=pauses.system)
    assert (found, pauses) == ("done", [])


async def test_pauses_double_up_to_the_cap(pauses: Pauses) -> None:
    call = failing(*[Conflict("")] * 6)
    assert await retry(call, Conflict, cap_s=0.1, tries=None, system=pauses.system) == "done"
    assert pauses == [0.02, 0.04, 0.08, 0.1, 0.1, 0.1]


async def test_cap_may_depend_on_failures(pauses: Pauses) -> None:
    call = failing(*[Conflict("")] * 4)
    caps = [0.01, 0.01, 5.0, 5.0]
    await retry(call, Conflict, cap_s=lambda n: caps[n - 1], tries=None, system=pauses.system)
    assert pauses == [0.01, 0.01, 0.08, 0.16]


async def test_last_error_is_raised_without_pause(pauses: Pauses) -> None:
    call = failing(Conflict("1"), Conflict("2"), Conflict("3"), Conflict("4"))
    with pytest.raises(Conflict, match="3"):
        await retry(call, Conflict, cap_s=9, tries=3, system=pauses.system)
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("on", "error", "repeats"),
    [
        (BrokerError, OffsetOutOfRange(""), True),
        ((BrokerError, Conflict), Conflict(""), True),
        (Conflict, BrokerError(""), False),
        (lambda error: error.sqlstate == "42P07", Conflict("", sqlstate="42P07"), True),
        (lambda error: error.sqlstate == "42P07", Conflict("", sqlstate="40001"), False),
        (Exception, asyncio.CancelledError(), False),
    ],
)
async def test_other_errors_end_the_retries(
    pauses: Pauses, on: Errors, error: BaseException, repeats: bool
) -> None:
    call = failing(error)
    if repeats:
        assert await retry(call, on, cap_s=1, tries=2, system=pauses.system) == "done"
    else:
        with pytest.raises(type(error)):
            await retry(call, on, cap_s=1, tries=2, system=pauses.system)
    assert len(pauses) == repeats


async def test_failures_are_reported_unless_raised(pauses: Pauses) -> None:
    first, second, third = Conflict("1"), Conflict("2"), BrokerError("3")
    seen: list[Exception] = []
    with pytest.raises(BrokerError):
        await retry(
            failing(first, second, third),
            Conflict,
            cap_s=1,
            tries=None,
            system=pauses.system,
            failed=seen.append,
        )
    assert seen == [first, second]
