"""Looking at a lane's state from outside: only between two batches, when all of it is committed."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from worker.domain.state import LaneState
from worker.errors import Fenced

T = TypeVar("T")


class Views:
    """The views of one lane's state that wait for the end of the batch in hand."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[LaneState | None, str], None]] = []

    def add(self, view: Callable[[LaneState], T]) -> "asyncio.Future[T]":
        """Return a future of ``view``. It raises Fenced if the lane ends before its batch does."""
        seen: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def show(state: LaneState | None, reason: str) -> None:
            # A caller that gave up has cancelled its future.
            if seen.done():
                return
            if state is None:
                seen.set_exception(Fenced(reason))
                return
            try:
                seen.set_result(view(state))
            except Exception as error:  # noqa: BLE001 - a bug of a view is not the lane's
                seen.set_exception(error)

        self._waiting.append(show)
        return seen

    def show(self, state: LaneState) -> None:
        """Give ``state`` to every view that waits. Nothing of ``state`` may be uncommitted."""
        self._finish(state, "")

    def end(self, reason: str) -> None:
        """Refuse every view that waits."""
        self._finish(None, reason)

    def _finish(self, state: LaneState | None, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        for show in waiting:
            show(state, reason)
