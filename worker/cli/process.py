"""Settings, log, event loop and exit codes of a command."""

import asyncio
import importlib
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from worker import config
from worker.config import Settings
from worker.exit_codes import INTERRUPTED
from worker.telemetry import configure_logging

T = TypeVar("T")


def quiet_settings() -> Settings:
    """Return the settings, for a command that is no worker and logs only errors."""
    settings = config.load()
    log_errors(as_json=settings.log_json)
    return settings


def log_errors(*, as_json: bool) -> None:
    """Log only errors, and nothing of aiokafka."""
    configure_logging("ERROR", as_json=as_json, colours=config.wants_colours(sys.stderr))
    # Whatever it logs also comes back as an exception, which is reported once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def complete(
    coroutine: Coroutine[Any, Any, T],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run a coroutine to its end in a new event loop."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(coroutine)


async def cancelled_by_sigterm(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that SIGTERM ends as Ctrl-C does, so that it cleans up."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await coroutine
    except asyncio.CancelledError:
        raise typer.Exit(INTERRUPTED) from None


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop factory if it is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
        "uvloop"
    ).new_event_loop
    return factory
