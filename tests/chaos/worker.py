"""A worker whose event loop a test can block: ``python -m tests.chaos.worker run``, then SIGUSR1.

Python runs a signal's handler in the main thread, between two steps of the event loop, which is
where a call that does not return in time would stand.
"""

import signal
import time
from types import FrameType
from typing import Final

from worker.cli import main

BLOCKED_S: Final = 13.0
"""Longer than the 10 s after which the group gives a silent member's lanes away."""


def _block(_number: int, _frame: FrameType | None) -> None:
    time.sleep(BLOCKED_S)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _block)
    main()
