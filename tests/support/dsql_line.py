"""A proxy in front of PostgreSQL that refuses commits like Aurora DSQL, and is as distant.

Every write runs in a transaction that the proxy can still roll back. It can refuse a commit after
all statements succeeded, as DSQL does and PostgreSQL never does. The refusals are drawn here and
not caused by conflicts. PostgreSQL keeps its locks, so two writers of a row wait for each other,
and the first writer wins, not the first committer.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final, Self
from urllib.parse import urlsplit

from tests.support import pgwire
from tests.support.listener import Listener, connected

_WRITES: Final = re.compile(rb"\b(INSERT INTO|UPDATE|DELETE FROM)\s", re.IGNORECASE)
_CHANGES: Final = re.compile(
    rb"\b(INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|GRANT|REVOKE)\s", re.IGNORECASE
)
_JOURNAL: Final = b"INSERT INTO batches"
_WRITING_CTE: Final = re.compile(rb"\bAS \(\s*(INSERT INTO|UPDATE|DELETE FROM)\s")
_READ_BYTES: Final = 256 * 1024


class Refusal(Enum):
    """Refusals of DSQL, each with SQLSTATE and text."""

    CONFLICT = ("40001", "change conflicts with another transaction (OC000)")
    SCHEMA_CHANGED = ("40001", "schema has been updated by another transaction (OC001)")
    TOO_LARGE = ("54000", "transaction row limit exceeded")
    CTE = ("0A000", "data-modifying WITH queries are not supported")


@dataclass(slots=True)
class Habits:
    """The behaviour of the proxy. Shares are of all commits, drawn from ``random``."""

    round_trip_s: float = 0.0
    commit_s: float = 0.0
    """Time of a commit in addition to its round trip. The rows stay locked meanwhile."""
    conflicts: float = 0.0
    schema_changes: float = 0.0
    too_large: Callable[[bytes], bool] = lambda _: False
    """Decides by the Bind message of a write. DSQL refuses the statement, not the commit."""
    takes_cte: bool = True
    """Whether a WITH may write. No public source says whether DSQL accepts that."""
    message_bytes_max: int = 10 * 1024 * 1024
    """Size of a message. A longer message ends the connection without an answer."""
    random: Random = field(default_factory=lambda: Random(1))


class DsqlLine:
    """Listens at ``url``. ``refused`` counts refusals by kind, ``commits`` successful commits.

    ``batches`` counts the commits that wrote a batch.
    """

    def __init__(self, url: str, habits: Habits) -> None:
        self._parts = urlsplit(url)
        self.habits = habits
        self.refused: Counter[Refusal] = Counter()
        self.commits = 0
        self.batches = 0
        self.connections = 0
        self.cut = 0
        """Connections that ended because of a message that was too long."""
        self._port = 0

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str, habits: Habits) -> AsyncIterator[Self]:
        line = cls(url, habits)
        listener = Listener(line._serve, limit=_READ_BYTES)
        line._port = await listener.up()
        try:
            yield line
        finally:
            await listener.down()

    @property
    def url(self) -> str:
        return pgwire.at_port(self._parts, self._port)

    def refusal(self) -> Refusal | None:
        """Return the refusal of this commit, or None."""
        habits = self.habits
        drawn = habits.random.random()
        if drawn < habits.conflicts:
            return Refusal.CONFLICT
        if drawn < habits.conflicts + habits.schema_changes:
            return Refusal.SCHEMA_CHANGED
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            async with connected(*pgwire.target(self._parts), limit=_READ_BYTES) as server:
                await _Link(self, _End(reader, writer), _End(*server)).run()
        except (OSError, _EndedError, asyncio.CancelledError):
            pass


class _EndedError(Exception):
    """One side has closed the connection."""


class _End:
    """One side of a connection, in whole messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = bytearray()

    async def until(self, kinds: bytes) -> list[bytes]:
        """Return messages up to the first of one of these kinds."""
        found: list[bytes] = []
        while True:
            await self._fill(5)
            found.append(await self._take(1 + pgwire.LENGTH.unpack_from(self._buffer, 1)[0]))
            if found[-1][0] in kinds:
                return found

    async def opening(self) -> bytes:
        """Return the message without a kind: a startup message or a request for encryption."""
        await self._fill(4)
        return await self._take(pgwire.LENGTH.unpack_from(self._buffer)[0])

    def write(self, *messages: bytes) -> None:
        with contextlib.suppress(OSError):
            self._writer.write(b"".join(messages))

    async def _take(self, size: int) -> bytes:
        await self._fill(size)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            chunk = await self._reader.read(_READ_BYTES)
            if not chunk:
                raise _EndedError
            self._buffer += chunk


class _Link:
    """One connection, with one request and its answer at a time."""

    def __init__(self, line: DsqlLine, client: _End, server: _End) -> None:
        self._line, self._client, self._server = line, client, server
        self._texts: dict[bytes, bytes] = {}
        self._status = b"I"
        self._changes = False
        """Whether the open transaction writes. A transaction that only reads is never refused."""
        self._batches = 0
        """Batches that the open transaction has written."""

    async def run(self) -> None:
        opening = await self._client.opening()
        while pgwire.request_code(opening) in pgwire.ENCRYPTION_REQUESTS:
            self._client.write(b"N")
            opening = await self._client.opening()
        if pgwire.request_code(opening) == pgwire.CANCEL_REQUEST:
            return  # DSQL cancels nothing.
        self._server.write(opening)
        self._client.write(*await self._server.until(b"Z"))
        half_s = self._line.habits.round_trip_s / 2
        while True:
            request = await self._client.until(b"SQHX")
            if max(map(len, request)) > self._line.habits.message_bytes_max:
                self._line.cut += 1
                return
            await _pause(half_s)
            answer = await self._answer(request)
            await _pause(half_s)
            self._client.write(*answer)

    async def _answer(self, request: Sequence[bytes]) -> Sequence[bytes]:
        if self._status == b"I":
            self._changes, self._batches = False, 0
        if any(self._is_refused_as_text(message) for message in request if message[:1] == b"P"):
            self._line.refused[Refusal.CTE] += 1
            # After a Flush come the client's Sync and the server's answer to the Sync.
            ready = [pgwire.ready(b"I")] if request[-1][:1] == b"S" else []
            return [pgwire.error(*Refusal.CTE.value), *ready]
        if request[-1][:1] == b"X":
            self._server.write(*request)
            raise _EndedError
        if request[0][:1] == b"Q" and request[0][5:].startswith(b"COMMIT"):
            ends = self._status == b"T" and self._changes
            return await self._commit() if ends else await self._ask(*request)
        bound = next((message for message in request if message[:1] == b"B"), b"")
        text = self._texts[bound[5:].split(b"\0", 2)[1]] if bound else b""
        self._changes |= _CHANGES.search(text or request[0]) is not None
        if not _WRITES.search(text):
            return await self._ask(*request)
        if self._line.habits.too_large(bound):
            return await self._refuse(Refusal.TOO_LARGE, b"E" if self._status == b"T" else b"I")
        self._batches += _JOURNAL in text
        if self._status == b"T":
            return await self._ask(*request)
        return await self._alone(request)

    def _is_refused_as_text(self, parse: bytes) -> bool:
        name, text, _ = parse[5:].split(b"\0", 2)
        self._texts[name] = text
        return not self._line.habits.takes_cte and _WRITING_CTE.search(text) is not None

    async def _alone(self, request: Sequence[bytes]) -> Sequence[bytes]:
        """Run a single statement in a transaction that can be rolled back."""
        await self._ask(pgwire.query("BEGIN"))
        answer = await self._ask(*request)
        if self._status == b"E":
            await self._ask(pgwire.query("ROLLBACK"))
            return [*answer[:-1], pgwire.ready(b"I")]
        done = await self._commit()
        refused = any(message[:1] == b"E" for message in done)
        return done if refused else [*answer[:-1], pgwire.ready(b"I")]

    async def _commit(self) -> Sequence[bytes]:
        line = self._line
        await _pause(line.habits.commit_s)
        refusal = line.refusal()
        if refusal is not None:
            return await self._refuse(refusal, b"I")
        line.commits += 1
        line.batches += self._batches
        return await self._ask(pgwire.query("COMMIT"))

    async def _refuse(self, refusal: Refusal, status: bytes) -> Sequence[bytes]:
        """Roll back, and return the refusal."""
        self._line.refused[refusal] += 1
        await self._ask(pgwire.query("ROLLBACK"))
        return [pgwire.error(*refusal.value), pgwire.ready(status)]

    async def _ask(self, *request: bytes) -> list[bytes]:
        """Forward a request, and return its whole answer."""
        self._server.write(*request)
        # The answer to a Flush is the requested message or an error.
        answer = await self._server.until(b"Z" if request[-1][:1] != b"H" else b"nTE")
        if answer[-1][:1] == b"Z":
            self._status = answer[-1][5:6]
        return answer


async def _pause(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)
