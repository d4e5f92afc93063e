"""A listener of the tests closes every connection when it stops."""

import asyncio
import contextlib
import socket

import pytest

from tests.support.listener import LOOPBACK, Listener


@pytest.mark.parametrize("turns", range(12))
async def test_stopped_listener_breaks_new_connections(turns: int) -> None:
    async def serve(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    listener = Listener(serve)
    port = await listener.up()
    # A blocking connect: the event loop would accept the connection before it returned.
    with socket.create_connection((LOOPBACK, port)) as client:
        client.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)

        await listener.down()

        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(60):
                assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
