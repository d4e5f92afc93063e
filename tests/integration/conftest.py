"""Fixtures of integration tests, and checks after each of them.

All sockets must be closed, and no task may have had an unseen error.
"""

import asyncio
import gc
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.eventually import eventually
from tests.support.fixtures import admin, proxy, system, system_options
from tests.support.shell import HIDDEN, Shell
from worker.embedded import EmbeddedKafka

__all__ = ["admin", "proxy", "system", "system_options"]

DEAD_PORT: Final = 1
_OPEN_FILES: Final = Path("/dev/fd")
CLOSED_WITHIN_S: Final = 60
"""Twice the time that asyncio leaves the peer for the end of TLS."""


@pytest.fixture(autouse=True)
async def sockets_of_the_test() -> AsyncIterator[None]:
    """Keep the event loop until all sockets are closed.

    The end of TLS needs an answer of the peer, and after a failed start aiokafka does not wait for
    that. If the loop ends first, the garbage collector finds an open socket and fails a later test.
    """
    before = _open_sockets()
    yield
    await eventually(lambda: _open_sockets() <= before, CLOSED_WITHIN_S)


@pytest.fixture(autouse=True)
async def complaints_about_our_tasks() -> AsyncIterator[None]:
    """Fail when a task ends with an error that nobody awaits, which asyncio only logs."""
    heard: list[str] = []

    def hear(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        task = context.get("task", context.get("future"))
        if isinstance(task, asyncio.Task) and "site-packages" not in repr(task):
            heard.append(f"{context['message']}: {context.get('exception')!r} {task!r}")

    asyncio.get_running_loop().set_exception_handler(hear)
    yield
    # asyncio logs such an error when the task is collected.
    gc.collect()
    assert heard == []


@pytest.fixture
def shell(empty_database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str) -> Shell:
    return Shell(
        {
            "DATABASE_URL": empty_database_url,
            "BOOTSTRAP_SERVERS": kafka_server.bootstrap,
            "GROUP_ID": topic_prefix,
            "ORDERS_TOPIC": f"{topic_prefix}orders",
            "TRANSFERS_TOPIC": f"{topic_prefix}transfers",
            "EVENTS_TOPIC": f"{topic_prefix}events",
            "TRANSFER_EVENTS_TOPIC": f"{topic_prefix}transfer-events",
            "DEAD_LETTERS_TOPIC": f"{topic_prefix}dead-letters",
            "HTTP_PORT": "0",
        }
    )


@pytest.fixture
def nowhere() -> Shell:
    """Return settings under which no server answers."""
    return Shell(
        {
            "DATABASE_URL": f"postgresql://u:{HIDDEN}@127.0.0.1:{DEAD_PORT}/d",
            "BOOTSTRAP_SERVERS": f"127.0.0.1:{DEAD_PORT}",
            "KAFKA_TIMEOUT_S": "3",
            "DATABASE_TIMEOUT_S": "3",
        }
    )


def _open_sockets() -> set[int]:
    found = set()
    for path in _OPEN_FILES.iterdir():
        try:
            file = os.fstat(int(path.name))
        except OSError:
            continue  # The directory itself, or a socket closed meanwhile.
        if stat.S_ISSOCK(file.st_mode):
            found.add(file.st_ino)
    return found
