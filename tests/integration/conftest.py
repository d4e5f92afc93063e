"""What holds of every test on real parts: it ends with the sockets that it opened, and in peace."""

import asyncio
import gc
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.eventually import eventually

_OPEN_FILES: Final = Path("/dev/fd")
CLOSED_WITHIN_S: Final = 60
"""Twice what asyncio gives the other side to answer the end of TLS."""


@pytest.fixture(autouse=True)
async def sockets_of_the_test() -> AsyncIterator[None]:
    """Keep the loop until all are closed.

    The end of TLS is asked for and answered. After a start that failed aiokafka does not wait for
    the answer: a loop that ends first leaves a socket to the garbage collector, which complains in
    whatever test then runs.
    """
    before = _open_sockets()
    yield
    await eventually(lambda: _open_sockets() <= before, CLOSED_WITHIN_S)


@pytest.fixture(autouse=True)
async def complaints_about_our_tasks() -> AsyncIterator[None]:
    """Fail where asyncio has only a log line: a task of ours whose error nobody took."""
    heard: list[str] = []

    def hear(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        task = context.get("task", context.get("future"))
        if isinstance(task, asyncio.Task) and "site-packages" not in repr(task):
            heard.append(f"{context['message']}: {context.get('exception')!r} {task!r}")

    asyncio.get_running_loop().set_exception_handler(hear)
    yield
    # It complains about a task when that is thrown away.
    gc.collect()
    assert heard == []


def _open_sockets() -> set[int]:
    found = set()
    for path in _OPEN_FILES.iterdir():
        try:
            file = os.fstat(int(path.name))
        except OSError:
            continue  # The folder itself, or closed meanwhile.
        if stat.S_ISSOCK(file.st_mode):
            found.add(file.st_ino)
    return found
