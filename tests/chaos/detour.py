"""A proxy between workers and a Kafka broker, which passes, cuts or silences connections.

A broker with a second listener (`worker.embedded.kafka.Detour`) advertises the proxy's port.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Self

from tests.support.listener import LOOPBACK, Listener, connected, until_one_ends
from worker.embedded.kafka import Detour, EmbeddedKafka

CHUNK_BYTES: Final = 65_536


class Gate:
    """The proxy on a detour's port."""

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
        """Break all connections and refuse new ones."""
        await self._listener.down()

    def silence(self) -> None:
        """Accept and keep connections, and let nothing through until ``up``."""
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with connected(LOOPBACK, self._detour.broker_port) as (far_reader, far_writer):
                await until_one_ends(
                    self._carry(reader, far_writer), self._carry(far_reader, writer)
                )
        except (OSError, asyncio.CancelledError):
            pass

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()


class Gates(list[Gate]):
    """The gates of a whole cluster."""

    @classmethod
    @asynccontextmanager
    async def before(cls, cluster: EmbeddedKafka) -> AsyncIterator[Self]:
        """Open a gate for every broker of a cluster that was started with detours."""
        async with AsyncExitStack() as stack:
            gates = cls(Gate(detour) for detour in cluster.detours)
            for gate in gates:
                stack.push_async_callback(gate.down)
                await gate.up()
            yield gates

    @property
    def bootstrap(self) -> str:
        return ",".join(gate.address for gate in self)
