"""Between a worker and a broker of Kafka: lets through, breaks every line, or falls silent.

A broker with a second door (`worker.embedded.kafka.Detour`) tells its clients to come here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Self

from worker.embedded.kafka import Detour, EmbeddedKafka

LOOPBACK: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536


class Gate:
    """Stands at a detour's port."""

    def __init__(self, detour: Detour) -> None:
        self._detour = detour
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self._detour.port}"

    async def up(self) -> None:
        """Let everything through."""
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, LOOPBACK, self._detour.port)

    async def down(self) -> None:
        """Break every line and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in self._lines:
            line.cancel()
        if self._lines:
            await asyncio.wait(self._lines)

    def silence(self) -> None:
        """Take lines and keep them, and let nothing through until ``up``."""
        self._open.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        try:
            port = self._detour.broker_port
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                ways = {
                    asyncio.create_task(self._carry(reader, far_writer)),
                    asyncio.create_task(self._carry(far_reader, writer)),
                }
                await _first_of(ways)
            finally:
                far_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._lines.discard(line)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()


async def _first_of(ways: "set[asyncio.Task[None]]") -> None:
    """Wait for one of them, then end all."""
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


class Gates(list[Gate]):
    """Those of a whole cluster."""

    @classmethod
    @asynccontextmanager
    async def before(cls, cluster: EmbeddedKafka) -> AsyncIterator[Self]:
        """Stand before every broker of a cluster that was started with detours."""
        async with AsyncExitStack() as stack:
            gates = cls(Gate(detour) for detour in cluster.detours)
            for gate in gates:
                stack.push_async_callback(gate.down)
                await gate.up()
            yield gates

    @property
    def bootstrap(self) -> str:
        return ",".join(gate.address for gate in self)
