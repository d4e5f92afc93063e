"""The clock, the pause and the dice: the only place that has them."""

import asyncio
import os
import socket
import time
from random import Random, SystemRandom

from worker.ports import Monotonic, Sleep

monotonic: Monotonic = time.monotonic
sleep: Sleep = asyncio.sleep


def wall_clock_ms() -> int:
    """Return milliseconds since 1970, for people to read."""
    return time.time_ns() // 1_000_000


def randomness() -> Random:
    """Return randomness for jitter."""
    return SystemRandom()


def owner_name() -> str:
    """Return a name for this process that people can find: host, process id."""
    return f"{socket.gethostname()}/{os.getpid()}"
