"""The only module that reads the clock, sleeps and draws random numbers."""

import asyncio
import os
import socket
import time
from random import SystemRandom

from worker.ports import Sleep, System

sleep: Sleep = asyncio.sleep


def system() -> System:
    """Return the real clock, sleep and random numbers."""
    return System(time.monotonic, asyncio.sleep, SystemRandom())


def wall_clock_ms() -> int:
    """Return milliseconds since 1970, for logs and names only."""
    return time.time_ns() // 1_000_000


def owner_name() -> str:
    """Return the name of this process as ``host/pid``."""
    return f"{socket.gethostname()}/{os.getpid()}"
