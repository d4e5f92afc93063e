"""Between a worker and a broker of Kafka: lets through, breaks every line, or falls silent.

A broker with a second door (`worker.embedded.kafka.Detour`) tells its clients to come here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Self

from tests.support.listener import LOOPBACK, Listener
from worker.embedded.kafka import Detour, EmbeddedKafka

CHUNK_BYTES: Final = 65_536


class Gate:
    """Stands at a detour's port."""

    def __init__(self, detour: Detour) -> None:
        self._detour = detour
        self._listener = Listener(self._serve)
        self._open = asyncio.Event()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self._detour.port}"

    async def up(self) -> None:
        """Let everything through."""
        self._open.set()
        if not self._listener.is_up:
            await self._listener.up(self._detour.port)

    async def down(self) -> None:
        """Break every line and refuse new ones."""
        await self._listener.down()

    def silence(self) -> None:
        """Take lines and keep them, and let nothing through until ``up``."""
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
