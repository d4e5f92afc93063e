"""The only wait that a test may use."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

POLL_INTERVAL_S = 0.01
PATIENCE_S = 60.0
"""Longer than any correct wait on a machine with three times its load. A passing test does not
wait for it.
"""

T = TypeVar("T")


@overload
async def eventually(condition: Callable[[], Awaitable[T]], within_s: float = ...) -> T: ...
@overload
async def eventually(condition: Callable[[], T], within_s: float = ...) -> T: ...
async def eventually(condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """Return the first true result of ``condition``. Raises AssertionError after ``within_s``."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not true within {within_s:g} s, the last result was {answer!r}")
        await asyncio.sleep(POLL_INTERVAL_S)
