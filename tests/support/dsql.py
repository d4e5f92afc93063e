"""The connection rules of an Aurora DSQL endpoint, in front of PostgreSQL.

The endpoint requires TLS from the first byte with ALPN and a token as the password, whose signature
it checks. It refuses the settings and statements that DSQL refuses and this worker must never send.
Indexes must be built and constraints validated ASYNC, and both are ready at once. The endpoint has
neither the rest of DSQL's dialect nor its limits and concurrency. A test orders the conflicts, and
PostgreSQL's locks block.
"""

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import asyncpg
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support import pgwire
from tests.support.listener import Listener, connected, until_one_ends
from tests.support.tls_terminator import CA_FILE, tls

REGION: Final = "us-east-1"
KEY_ID: Final = "AKIASTANDIN"
SECRET: Final = "stand-in-secret"  # noqa: S105
ROLE: Final = "postgres"
"""Role in PostgreSQL. A cluster would have ``parity_worker``."""
OC000: Final = "change conflicts with another transaction, please retry: (OC000)"
OC001: Final = "schema has been updated by another transaction, please retry: (OC001)"

_SETTINGS: Final = frozenset({"user", "database", "client_encoding", "application_name"})
_REFUSED_STATEMENTS: Final = re.compile(
    r"\s*((un)?listen|notify|savepoint|release|set(?! search_path )|reset|discard|prepare"
    r"|deallocate|declare|close|lock|copy|do|truncate|vacuum|merge"
    r"|create( unique)? index(?! async ))\b",
    re.IGNORECASE,
)
_REFUSED_WORDS: Final = re.compile(
    r"\bpg_((try_)?advisory\w*|catalog|type|range|proc)\b|\bset_config\b"
    r"|\brollback\s+to\b|\bfor\s+(no\s+key\s+)?share\b|\b(read\s+committed|serializable)\b",
    re.IGNORECASE,
)
_COMMENT: Final = re.compile(r"--[^\n]*")
_BATCH: Final = b"INSERT INTO batches"
_TRADE: Final = b"INSERT INTO trades"
"""Part of the batch in one statement, and a separate step otherwise."""
_ASYNC: Final = re.compile(rb"\b(INDEX|TABLE) ASYNC\b")
# botocore has no types.
_SIGNER: Final[Any] = SigV4QueryAuth
_CREDENTIALS: Final[Any] = Credentials
_REQUEST: Final[Any] = AWSRequest


@dataclass
class DsqlEndpoint:
    """Listens at ``url`` and remembers the statements."""

    database_url: str
    port: int = 0
    sent: set[str] = field(default_factory=set)
    """The texts of all statements."""
    refused: set[str] = field(default_factory=set)
    conflicts: deque[str] = field(default_factory=deque)
    """Texts with which the next batches are refused as 40001, each at its commit."""
    connections: int = 0
    silent: bool = False
    """Accept everything, and never answer."""
    cancels: int = 0
    protocols: set[str | None] = field(default_factory=set)

    @property
    def url(self) -> str:
        return self.url_as(ROLE)

    def url_as(self, role: str) -> str:
        """Return the address for a role."""
        path = urlsplit(self.database_url).path
        trust = f"region={REGION}&sslrootcert={CA_FILE}"
        return f"dsql://localhost:{self.port}{path}?role={role}&{trust}"

    @classmethod
    @asynccontextmanager
    async def before(cls, database_url: str) -> AsyncIterator[Self]:
        """Open an endpoint for a database, which gets DSQL's isolation and a short lock timeout."""
        connection = await asyncpg.connect(database_url)
        name = urlsplit(database_url).path.strip("/")
        for setting in ("default_transaction_isolation = 'repeatable read'", "lock_timeout = 200"):
            await connection.execute(f'ALTER DATABASE "{name}" SET {setting}')
        await connection.close()
        endpoint = cls(database_url)
        listener = Listener(endpoint._serve, ssl=tls("right.pem"))
        endpoint.port = await listener.up()
        try:
            yield endpoint
        finally:
            await listener.down()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.protocols.add(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, _RefusedError):
            await _Link(self, reader, writer).run()


class _RefusedError(Exception):
    """The connection ends here."""


class _Link:
    """One connection."""

    def __init__(
        self, endpoint: DsqlEndpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._endpoint = endpoint
        self._from_client, self._to_client = reader, writer
        self._texts: dict[bytes, bytes] = {}
        self._in_batch = False
        self._aborted: str | None = None

    async def run(self) -> None:
        startup = await self._startup()
        target = pgwire.target(urlsplit(self._endpoint.database_url))
        async with connected(*target) as server:
            self._from_server, self._to_server = server
            self._to_server.write(startup)
            self._endpoint.connections += 1
            await until_one_ends(self._up(), self._down())

    async def _startup(self) -> bytes:
        """Check settings and token, and return the message for PostgreSQL."""
        body = await pgwire.opening(self._from_client)
        if pgwire.request_code(body) == pgwire.CANCEL_REQUEST:
            self._endpoint.cancels += 1
            raise _RefusedError
        words = body[8:].rstrip(b"\0").decode().split("\0")
        settings = dict(zip(words[::2], words[1::2], strict=True))
        for name in settings.keys() - _SETTINGS:
            self._refuse(f"SET {name}")
        self._to_client.write(pgwire.made(b"R", pgwire.LENGTH.pack(3)))
        answer = await pgwire.message(self._from_client)
        password = answer[5:].rstrip(b"\0").decode()
        if answer[:1] != b"p" or not _is_token(password, settings["user"]):
            self._fail("28000", "unable to accept connection, access denied", severity="FATAL")
            raise _RefusedError
        return body

    async def _up(self) -> None:
        while True:
            message = await pgwire.message(self._from_client)
            kind = message[:1]
            if kind == b"P":
                name, text, types = message[5:].split(b"\0", 2)
                self._texts[name] = text
                self._look(text)
                if _ASYNC.search(text):
                    body = b"\0".join((name, _ASYNC.sub(rb"\1", text), types))
                    message = pgwire.made(kind, body)
            elif kind == b"Q":
                message = self._query(message)
            elif kind == b"B" and await self._lost(message):
                continue
            if self._endpoint.silent:
                continue
            self._to_server.write(message)
            await self._to_server.drain()

    def _query(self, message: bytes) -> bytes:
        text = message[5:].rstrip(b"\0")
        self._look(text)
        if text == b"COMMIT" and self._in_batch and self._endpoint.conflicts:
            # The transaction is rolled back, and its COMMIT gets the reason.
            self._aborted = self._endpoint.conflicts.popleft()
            message = pgwire.query("ROLLBACK")
        self._in_batch = False
        return message

    async def _lost(self, bind: bytes) -> bool:
        """Refuse a batch that is its own transaction, if a conflict is ordered."""
        _, name, _ = bind[5:].split(b"\0", 2)
        text = self._texts.get(name, b"")
        if _BATCH not in text:
            return False
        if _TRADE not in text:
            self._in_batch = True
            return False
        if not self._endpoint.conflicts:
            return False
        while (await pgwire.message(self._from_client))[:1] != b"S":
            pass
        self._fail("40001", self._endpoint.conflicts.popleft())
        self._to_client.write(pgwire.ready(b"I"))
        return True

    async def _down(self) -> None:
        while True:
            message = await pgwire.message(self._from_server)
            kind = message[:1]
            if self._aborted is None:
                self._to_client.write(message)
            elif kind == b"Z":
                self._fail("40001", self._aborted)
                self._aborted = None
                self._to_client.write(message)
            with contextlib.suppress(OSError):
                await self._to_client.drain()

    def _look(self, text: bytes) -> None:
        statement = _COMMENT.sub("", text.decode())
        self._endpoint.sent.add(statement)
        if _REFUSED_STATEMENTS.match(statement) or _REFUSED_WORDS.search(statement):
            self._refuse(statement)

    def _refuse(self, what: str) -> None:
        """Remember the violation, answer as DSQL does, and end the connection."""
        self._endpoint.refused.add(what)
        self._fail("0A000", f"not supported: {what}", severity="FATAL")
        raise _RefusedError

    def _fail(self, sqlstate: str, text: str, *, severity: str = "ERROR") -> None:
        self._to_client.write(pgwire.error(sqlstate, text, severity))


def _is_token(password: str, role: str) -> bool:
    """Return whether this is a valid token for the endpoint and role, signed with the right key."""
    unsigned, _, signature = f"https://{password}".partition("&X-Amz-Signature=")
    said = {name: values[0] for name, values in parse_qs(urlsplit(unsigned).query).items()}
    action = "DbConnectAdmin" if role == "admin" else "DbConnect"
    if urlsplit(unsigned).netloc != "localhost" or said.get("Action") != action:
        return False
    made_at = datetime.strptime(said["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    life = timedelta(seconds=int(said["X-Amz-Expires"]))
    if not made_at <= datetime.fromtimestamp(time.time(), UTC) < made_at + life:
        return False
    return signature == _signature(unsigned, said["X-Amz-Date"])


def _signature(unsigned: str, date: str) -> str:
    signer = _SIGNER(_CREDENTIALS(KEY_ID, SECRET), "dsql", REGION)
    request = _REQUEST("GET", unsigned, headers={"host": "localhost"})
    request.context["timestamp"] = date
    canonical = signer.canonical_request(request)
    return str(signer.signature(signer.string_to_sign(request, canonical), request))
