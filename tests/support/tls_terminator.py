"""A TLS terminator in front of PostgreSQL, with TLS from the first byte, like DSQL's endpoint.

It shows which certificates a client trusts. It checks no token and refuses no statement, unlike
`tests.support.dsql`. Only a cluster can show that clients trust Amazon's certificate.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.listener import Listener, connected

TLS = Path(__file__).parent / "tls"
CA_FILE = TLS / "ca.pem"


def tls(certificate: str) -> ssl.SSLContext:
    """Return TLS with ALPN, as an endpoint of DSQL speaks it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / certificate)
    context.set_alpn_protocols(["postgresql"])
    return context


@asynccontextmanager
async def tls_terminator(postgres_url: str, certificate: str | None) -> AsyncIterator[int]:
    """Yield the port of a terminator with ``certificate``, or without TLS if that is None."""
    address = urlsplit(postgres_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            async with connected(address.hostname, address.port) as (back_reader, back_writer):
                await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))

    listener = Listener(serve, ssl=certificate and tls(certificate))
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
