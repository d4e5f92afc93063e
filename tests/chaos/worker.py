"""A worker that a test can harm from the inside: ``python -m tests.chaos.worker run``.

SIGUSR1 blocks the event loop. SIGUSR2 limits the memory to a little more than the process has.
Python runs a signal handler in the main thread between two steps of the event loop, so the handler
blocks the loop like a slow call.
"""

import resource
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Final

from worker.cli import main

BLOCKED_S: Final = 13.0
"""Longer than the 10 s after which the group revokes the lanes of a silent member."""
ROOM_BYTES: Final = 8 * 1024 * 1024
"""Enough to begin with the backlog, and not to finish it."""


def _block(_number: int, _frame: FrameType | None) -> None:
    time.sleep(BLOCKED_S)


def _cramp(_number: int, _frame: FrameType | None) -> None:
    has_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most_bytes = has_pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, resource.RLIM_INFINITY))


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _block)
    signal.signal(signal.SIGUSR2, _cramp)
    main()
