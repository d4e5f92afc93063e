"""Whatever aiokafka does wrong becomes BrokerError, and its silence too."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError

from worker.errors import BrokerError

REAP_S: Final = 1.0
"""How long cancelled tasks may take to notice."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise BrokerError for aiokafka's errors, and for a cancellation that nobody asked for."""
    task = asyncio.current_task()
    asked = task.cancelling() if task else 0
    try:
        yield
    except (KafkaError, ConsumerStoppedError, IllegalOperation, OSError) as error:
        raise BrokerError(f"{what}: {error!r}") from error
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > asked:
            raise
        # A11: a task inside of aiokafka was cancelled, not ours.
        raise BrokerError(f"{what}: given up by aiokafka") from error


@asynccontextmanager
async def answered_within(seconds: float, what: str) -> AsyncIterator[None]:
    """Like `translated`, and BrokerError when ``seconds`` have passed (A9, A10, A24)."""
    with translated(f"{what}, within {seconds:g} s"):
        async with asyncio.timeout(seconds):
            yield


async def stop_within(seconds: float, stop: Coroutine[Any, Any, None]) -> None:
    """Let ``stop`` end by itself for so long, then cancel it. Its errors are of no interest.

    It runs as a task of its own, because aiokafka's ``stop`` raises a CancelledError that
    nobody requested when the broker is dead (A11).
    """
    task = asyncio.create_task(stop, name="kafka stop")
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        await cancelled([task])


async def cancelled(tasks: Iterable["asyncio.Task[Any] | None"]) -> None:
    """Cancel the tasks and wait, for a bounded time, until they have noticed."""
    alive = {task for task in tasks if task is not None}
    for task in alive:
        task.cancel()
    if alive:
        done, _ = await asyncio.wait(alive, timeout=REAP_S)
        for task in done:
            seen(task)


def require_brokers(client: Any) -> None:  # noqa: ANN401 - aiokafka's own
    """Let its start end with BrokerError when it is told of no broker.

    A37: of a token that was refused it hears no more than that, and a broker that has just started
    may know of none. It would then look for somebody to ask, as fast as it can, until its deadline.
    """
    bootstrap = client.bootstrap

    async def checked() -> None:
        await bootstrap()
        if not client.cluster.brokers():
            raise BrokerError("starting: the broker names no brokers, not even itself")

    client.bootstrap = checked


def seen(task: "asyncio.Task[Any]") -> None:
    """Look at how a finished task ended, or the loop would log an error that nobody awaits."""
    _ = task.cancelled() or task.exception()
