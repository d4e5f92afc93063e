"""Translation of aiokafka's errors, and of its silence, into BrokerError."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError

from worker.errors import BrokerError

REAP_S: Final = 1.0
"""How long cancelled tasks may take to end."""


class NoBrokers(BrokerError):
    """The cluster metadata lists no brokers."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise BrokerError for aiokafka's errors, and for a cancellation that nobody requested."""
    task = asyncio.current_task()
    asked = task.cancelling() if task else 0
    try:
        yield
    except (KafkaError, ConsumerStoppedError, IllegalOperation, OSError) as error:
        raise BrokerError(f"{what}: {error!r}") from error
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > asked:
            raise
        # A11: aiokafka cancelled a task of its own, not ours.
        raise BrokerError(f"{what}: cancelled by aiokafka") from error


@asynccontextmanager
async def answered_within(seconds: float, what: str) -> AsyncIterator[None]:
    """Raise BrokerError like `translated`, and also after ``seconds`` (A9, A10, A24)."""
    # A cancellation that is due already, as by Ctrl-C, is raised here and not taken for aiokafka's.
    await asyncio.sleep(0)  # noqa: TID251 - no pause
    with translated(f"{what}, within {seconds:g} s"):
        async with asyncio.timeout(seconds):
            yield


async def stop_within(seconds: float, stop: Coroutine[Any, Any, None]) -> None:
    """Wait ``seconds`` for ``stop`` to end, then cancel it. Its errors are dropped.

    It runs as a separate task, because aiokafka's ``stop`` raises a CancelledError that nobody
    requested when the broker is dead (A11).
    """
    task = asyncio.create_task(stop, name="kafka stop")
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        await cancelled([task])


async def cancelled(tasks: Iterable["asyncio.Task[Any] | None"]) -> None:
    """Cancel the tasks and wait for their end, for REAP_S at most."""
    alive = {task for task in tasks if task is not None}
    for task in alive:
        task.cancel()
    if alive:
        done, _ = await asyncio.wait(alive, timeout=REAP_S)
        for task in done:
            seen(task)


def require_brokers(client: Any) -> None:  # noqa: ANN401 - aiokafka's own
    """Make a client's start fail if the cluster metadata lists no brokers.

    A refused token shows in no other way (A37), and a broker that has just started may list none.
    aiokafka would then look for a broker in a busy loop until its deadline.
    """
    bootstrap = client.bootstrap

    async def checked() -> None:
        await bootstrap()
        if not client.cluster.brokers():
            raise NoBrokers("starting: the broker lists no brokers, not even itself")

    client.bootstrap = checked


def seen(task: "asyncio.Task[Any]") -> None:
    """Retrieve the error of a finished task, or the loop would log it as never awaited."""
    _ = task.cancelled() or task.exception()
