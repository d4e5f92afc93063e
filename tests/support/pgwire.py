"""Messages of PostgreSQL's protocol, as the proxies read and write them."""

import asyncio
import struct
from typing import Final
from urllib.parse import SplitResult, urlunsplit

from tests.support.listener import LOOPBACK

ENCRYPTION_REQUESTS: Final = frozenset({80877103, 80877104})
CANCEL_REQUEST: Final = 80877102
LENGTH: Final = struct.Struct("!I")


def request_code(opening: bytes) -> int:
    """Return the code of a message without a kind: a request, or the protocol's version."""
    code: int = LENGTH.unpack_from(opening, 4)[0]
    return code


async def opening(reader: asyncio.StreamReader) -> bytes:
    """Read a message without a kind, with its length."""
    length = await reader.readexactly(4)
    return length + await reader.readexactly(LENGTH.unpack(length)[0] - 4)


async def message(reader: asyncio.StreamReader) -> bytes:
    """Read a message with its kind, which is the first byte."""
    return await reader.readexactly(1) + await opening(reader)


def made(kind: bytes, body: bytes) -> bytes:
    """Return a message."""
    return kind + LENGTH.pack(len(body) + 4) + body


def query(sql: str) -> bytes:
    """Return a simple query."""
    return made(b"Q", sql.encode() + b"\0")


def ready(status: bytes) -> bytes:
    """Return the end of an answer, with the status of the transaction."""
    return made(b"Z", status)


def error(sqlstate: str, text: str, severity: str = "ERROR") -> bytes:
    """Return the answer to a refused request."""
    fields = f"S{severity}\0V{severity}\0C{sqlstate}\0M{text}\0\0"
    return made(b"E", fields.encode())


def target(parts: SplitResult) -> tuple[str, int]:
    """Return the host and the port of a database."""
    return parts.hostname or LOOPBACK, parts.port or 5432


def at_port(parts: SplitResult, port: int) -> str:
    """Return the address of a database through a proxy on this port."""
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}{LOOPBACK}:{port}"))
