"""An event loop with virtual time, where a seed determines the order of events.

When no callback is ready, time jumps to the next timer. The seed chooses among callbacks that are
ready at the same instant, because no code may rely on their order. Tasks hash by their number, not
by their address, so that every run iterates a set of tasks in the same order.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from typing_extensions import override

T = TypeVar("T")


class StuckError(RuntimeError):
    """No callback is ready and no timer runs, so the awaited result can never come."""


class SimulatedTask(asyncio.Task[Any]):
    """A task with a number, set before asyncio adds the task to its set of all tasks."""

    def __init__(self, number: int, work: Coroutine[Any, Any, Any], **options: Any) -> None:  # noqa: ANN401
        self.number = number
        super().__init__(work, **options)

    @override
    def __hash__(self) -> int:
        return self.number

    @override
    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks in virtual time."""

    def __init__(self, random: Random, *, shuffled: bool, first_task: int = 0) -> None:
        super().__init__()
        self.on_task: Callable[[asyncio.Task[Any]], None] = lambda _: None
        self.steps = 0
        self._random, self._shuffled = random, shuffled
        self._now = 0.0
        # asyncio's set of all tasks may still have tasks of other loops, so numbers must differ.
        self._tasks = first_task
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]

    @override
    def time(self) -> float:
        """Return virtual seconds since the beginning."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Suspend for virtual seconds."""
        woken: asyncio.Future[None] = self.create_future()
        timer = self.call_later(max(seconds, 0.0), _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T],
        **options: Any,  # noqa: ANN401 - as asyncio gives them
    ) -> asyncio.Task[T]:
        self._tasks += 1
        task = SimulatedTask(self._tasks, work, loop=loop, **options)
        self.on_task(task)
        return task

    def _run_once(self) -> None:
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise StuckError("nothing is ready and no timer runs")
            self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            if self._shuffled and len(ready) > 1:
                ready.rotate(self._random.randrange(len(ready)))
            handle = ready.popleft()
            if not handle._cancelled:
                self.steps += 1
                handle._run()

    def _write_to_self(self) -> None:
        raise AssertionError("a simulation has no threads")


def _wake(woken: "asyncio.Future[None]") -> None:
    if not woken.done():
        woken.set_result(None)
