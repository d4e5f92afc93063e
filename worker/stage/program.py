"""The end of a program on the stage: its exit code, and the deadline of every wait."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from worker.adapters.system import system
from worker.embedded.crew import sigterm_interrupts
from worker.errors import ParityError
from worker.exit_codes import FAILED, INTERRUPTED
from worker.exits import EXPECTED, ending
from worker.ports import System

SYSTEM: Final[System] = system()


class NotInTime(ParityError):
    """Something did not happen by its deadline. The text names it."""


@dataclass(slots=True)
class Deadline:
    """The end of the wait for ``what``."""

    what: str
    seconds: float
    _ends_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._ends_s = SYSTEM.clock() + self.seconds

    @property
    def passed(self) -> bool:
        """Return whether the time is over."""
        return SYSTEM.clock() > self._ends_s

    def require(self, missing: str) -> None:
        """Raise NotInTime if the time is over. ``missing``: what has not happened."""
        if self.passed:
            raise NotInTime(f"waited {self.seconds:g} s for {self.what}: {missing}")


def perform(play: Callable[[], bool], fail: Callable[[str], None]) -> int:
    """Play, and return the exit code: 0 for True, 1 for False, or that of the error.

    SIGTERM ends it as Ctrl-C does, so that everything that it started is stopped on the way out.
    """
    try:
        with sigterm_interrupts():
            return 0 if play() else FAILED
    except KeyboardInterrupt:
        fail("interrupted; everything that was started is stopped")
        return INTERRUPTED
    except EXPECTED as error:
        fail(f"{type(error).__name__}: {error}")
        return ending(error).code
