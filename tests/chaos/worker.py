"""A worker that a test can harm from within: ``python -m tests.chaos.worker run``.

SIGUSR1 blocks its event loop, SIGUSR2 leaves it no memory but what it has. Python runs a signal's
handler in the main thread, between two steps of the event loop, which is where a call that does
not return in time would stand.
"""

import resource
import signal
import time
from types import FrameType
from typing import Final

from worker.cli import main

BLOCKED_S: Final = 13.0
"""Longer than the 10 s after which the group gives a silent member's lanes away."""


def _block(_number: int, _frame: FrameType | None) -> None:
    time.sleep(BLOCKED_S)


def _cramp(_number: int, _frame: FrameType | None) -> None:
    _, hard_bytes = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (0, hard_bytes))


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _block)
    signal.signal(signal.SIGUSR2, _cramp)
    main()
