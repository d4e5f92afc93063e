"""What listens for a stand-in leaves no line open, however young."""

import asyncio
import contextlib
import socket

import pytest

from tests.support.listener import LOOPBACK, Listener


@pytest.mark.parametrize("turns", range(12))
async def test_a_line_is_broken_at_whatever_moment_its_listener_goes(turns: int) -> None:
    async def serve(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    listener = Listener(serve)
    port = await listener.up()
    # Not through the event loop, which would have let it in before it says so.
    with socket.create_connection((LOOPBACK, port)) as client:
        client.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)

        await listener.down()

        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(60):
                assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
