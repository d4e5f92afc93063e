"""Calling again after a failure, with growing, jittered pauses."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from worker.ports import System

T = TypeVar("T")

Errors = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]


async def retry(
    call: Callable[[], Awaitable[T]],
    on: Errors,
    *,
    cap_s: float | Callable[[int], float],
    tries: int | None,
    system: System,
    failed: Callable[[Exception], None] | None = None,
) -> T:
    """Return the result of ``call``, made again after each error that ``on`` accepts.

    ``on`` is an exception class, several of them, or a function that returns whether to call again.
    ``tries`` bounds the calls, and the error of the last one is raised. None means no bound, for
    work that waits until an outage is over. `System.back_off` makes each pause, which is bounded by
    ``cap_s``, in seconds or as a function of the number of failures so far. ``failed`` gets each
    error that is followed by another call, to log it.
    """
    failures = 0
    while True:
        try:
            return await call()
        except Exception as error:
            failures += 1
            if failures == tries or not _accepts(on, error):
                raise
            if failed is not None:
                failed(error)
        cap = cap_s(failures) if callable(cap_s) else cap_s
        await system.back_off(failures, cap_s=cap)


def _accepts(on: Errors, error: Exception) -> bool:
    return isinstance(error, on) if isinstance(on, type | tuple) else on(error)
