"""Where the clients of a stand-in come in: serves each line, and ends with none left open."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

LOOPBACK: Final = "127.0.0.1"
LETTING_IN_TURNS: Final = 5
"""So many turns of the event loop, and who was accepted is either served or refused."""

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Gives every line a task of ``serve``. ``options`` are those of ``asyncio.start_server``."""

    def __init__(self, serve: Serve, **options: Any) -> None:  # noqa: ANN401 - asyncio's own
        self._serve, self._options = serve, options
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()

    @property
    def is_up(self) -> bool:
        return self._server is not None

    async def up(self, port: int = 0) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, port, **self._options)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def down(self) -> None:
        """Break every line and refuse new ones."""
        server, self._server = self._server, None
        if server is not None:
            # asyncio forgets whom it was letting in when it closes: let nobody in, then close.
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
        """Begin a line. As a coroutine, it might be cancelled before its first step closes it."""
        if self._server is None:
            # It came with the last that were let in.
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
