"""Speaks TLS in front of a PostgreSQL that does not: from the first byte, as DSQL's endpoint.

It shows whom a client trusts. It asks for no token and refuses no statement (`tests.support.dsql`
does), and that Amazon's certificate is trusted waits for a cluster.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.listener import Listener

TLS = Path(__file__).parent / "tls"
CA_FILE = TLS / "ca.pem"


@asynccontextmanager
async def tls_terminator(postgres_url: str, certificate: str | None) -> AsyncIterator[int]:
    """Yield the port of a terminator with ``certificate``; None: it speaks no TLS at all."""
    address = urlsplit(postgres_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            back_reader, back_writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))
            finally:
                back_writer.transport.abort()

    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(TLS / certificate)
        context.set_alpn_protocols(["postgresql"])
    listener = Listener(serve, ssl=context)
    try:
        yield await listener.up()
    finally:
        await listener.down()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
