"""The clock, the pause and the dice: the only place that has them."""

import asyncio
import os
import socket
import time
from random import SystemRandom

from worker.ports import Sleep, System

sleep: Sleep = asyncio.sleep


def system() -> System:
    """Return the real clock, pause and dice."""
    return System(time.monotonic, asyncio.sleep, SystemRandom())


def wall_clock_ms() -> int:
    """Return milliseconds since 1970, for people to read."""
    return time.time_ns() // 1_000_000


def owner_name() -> str:
    """Return a name for this process that people can find: host, process id."""
    return f"{socket.gethostname()}/{os.getpid()}"
