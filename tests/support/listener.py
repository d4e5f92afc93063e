"""A TCP listener for stand-ins of servers, which leaves no connection open when it stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

LOOPBACK: Final = "127.0.0.1"
LETTING_IN_TURNS: Final = 5
"""Turns of the event loop after which every accepted connection is served or refused."""

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def connected(
    host: str | None,
    port: int | None,
    **options: Any,  # noqa: ANN401 - asyncio's own
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection, and abort it at the end."""
    reader, writer = await asyncio.open_connection(host, port, **options)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def until_one_ends(*ways: Coroutine[Any, Any, None]) -> None:
    """Run the directions of a connection until one of them ends, and raise its error."""
    tasks = {asyncio.create_task(way) for way in ways}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Listener:
    """Serves each connection in a task. ``options`` are those of ``asyncio.start_server``."""

    def __init__(self, serve: Serve, **options: Any) -> None:  # noqa: ANN401 - asyncio's own
        self._serve, self._options = serve, options
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()

    @property
    def is_up(self) -> bool:
        return self._server is not None

    async def up(self, port: int = 0) -> int:
        """Listen, and return the port."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, port, **self._options)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def down(self) -> None:
        """Break every connection, and refuse new ones."""
        server, self._server = self._server, None
        if server is not None:
            # A closing asyncio server forgets connections that it is just accepting. Accept none
            # for some turns, then close.
            for listening in server.sockets:
                asyncio.get_running_loop().remove_reader(listening)
            for _ in range(LETTING_IN_TURNS):
                await asyncio.sleep(0)
            server.close()
        for line in self._lines:
            line.cancel()
        if self._lines:
            await asyncio.wait(self._lines)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection. A coroutine could be cancelled before its first step closes it."""
        if self._server is None:
            # Accepted just before the listener stopped.
            writer.transport.abort()
            return

        async def serve() -> None:
            await self._serve(reader, writer)

        def over(line: asyncio.Task[None]) -> None:
            self._lines.discard(line)
            writer.transport.abort()

        line = asyncio.create_task(serve())
        self._lines.add(line)
        line.add_done_callback(over)
