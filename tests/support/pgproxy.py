"""A proxy between a worker and PostgreSQL that breaks the connection at a chosen point.

The proxy reads the protocol's message boundaries. A test can let the commit of a batch get lost,
arrive in half, succeed without a reply, or arrive long after the worker has retried. The commit is
the single statement, or the COMMIT after all steps. All other messages pass unchanged.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self
from urllib.parse import urlsplit

from tests.support import pgwire
from tests.support.listener import Listener, connected, until_one_ends

BATCH: Final = b"SET batch_no = batch_no + 1"
"""The fence, which is part of the single statement and the first of the steps."""
JOURNAL: Final = b"INSERT INTO batches"
"""The last of the steps."""
TAKE_OVER: Final = b"SET epoch = epoch + 1"


class Fault(StrEnum):
    """The fate of the commit of a batch. HOLD and BETWEEN act on an earlier step."""

    BEFORE = "the connection breaks before the commit arrives"
    MIDDLE = "the connection breaks when half of the commit has arrived"
    AFTER = "the commit succeeds, and the connection breaks before the reply"
    LIMBO = "the connection breaks, and the commit arrives when the trap is released"
    SWALLOW = "the commit succeeds, the reply is lost, and the connection stays open"
    HOLD = "the batch waits at the trap's statement until the trap is released"
    BETWEEN = "in steps: the connection breaks before the trap's statement"
    ABORT = "in steps: the transaction is aborted before COMMIT, whose answer is ROLLBACK"


_AT_STEP: Final = frozenset({Fault.HOLD, Fault.BETWEEN})
_AT_THE_COMMIT: Final = frozenset(Fault) - _AT_STEP
_AT_ONE_STATEMENT: Final = frozenset(Fault) - {Fault.BETWEEN, Fault.ABORT}
_NONSENSE: Final = pgwire.query("SELECT 1 / 0")


@dataclass(eq=False)
class Trap:
    """A trap that springs ``times`` times on ``statement`` if ``when`` matches, after ``skip``."""

    fault: Fault
    statement: bytes
    when: Callable[[bytes], bool]
    skip: int
    times: int
    then: Callable[[], None]
    sprung: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    outcomes: list[bytes] = field(default_factory=list)
    """Outcomes of commits without a reply. C is committed, E refused or given up in limbo."""

    def release(self) -> None:
        self.released.set()

    def knows(self, text: bytes, message: bytes) -> bool:
        """Return whether this is the statement of the trap."""
        return self.sprung < self.times and self.statement in text and self.when(message)

    def springs(self) -> bool:
        """Count a match, and return whether the trap springs."""
        if self.skip:
            self.skip -= 1
            return False
        self.sprung += 1
        return True


class PgProxy:
    """Listens at ``url``. Traps are tried in the order of their creation."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._listener = Listener(self._serve)
        self._port = 0
        self._open: set[_Link] = set()
        self.traps: list[Trap] = []
        self.latency_s = 0.0

    @classmethod
    @asynccontextmanager
    async def before(cls, url: str) -> AsyncIterator[Self]:
        proxy = cls(url)
        await proxy.up()
        try:
            yield proxy
        finally:
            await proxy.down()

    @property
    def url(self) -> str:
        return pgwire.at_port(self._parts, self._port)

    def trap(
        self,
        fault: Fault,
        *,
        statement: bytes = BATCH,
        when: Callable[[bytes], bool] = lambda _: True,
        skip: int = 0,
        times: int = 1,
        then: Callable[[], None] = lambda: None,
    ) -> Trap:
        """Set a trap for transactions with ``statement`` in their text, by default batches.

        ``when`` gets the Bind messages with their parameters as text.
        """
        trap = Trap(fault, statement, when, skip, times, then)
        self.traps.append(trap)
        return trap

    def say_goodbye(self) -> None:
        """Send every client the last message of a server that is shut down.

        No message follows. Idle connections stay open until the client sends a request.
        """
        for link in self._open:
            link.say_goodbye()

    async def up(self) -> None:
        """Listen on the same port as before."""
        self._port = await self._listener.up(self._port)

    async def down(self) -> None:
        """Break all connections and refuse new ones."""
        await self._listener.down()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._open.add(link)
        try:
            async with connected(*pgwire.target(self._parts)) as server:
                await link.run(*server)
        except (OSError, asyncio.IncompleteReadError, _BrokenError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(link)


class _BrokenError(Exception):
    """The connection is cut on purpose."""


class _Transaction:
    """The statements of a connection's transaction: a single one, or all since BEGIN."""

    def __init__(self) -> None:
        self._is_open = False
        self._texts = self._messages = b""
        self._met: set[Trap] = set()

    def take(self, text: bytes, message: bytes) -> frozenset[Fault]:
        """Add a statement, and return the faults that may hit it."""
        word = b"".join(text.lstrip()[:8].split()[:1]).strip(b";").upper()
        if word == b"COMMIT" and self._is_open:
            self._is_open = False
            return _AT_THE_COMMIT
        if not self._is_open:
            self._texts = self._messages = b""
            self._met = set()
        self._texts += text
        self._messages += message
        self._is_open = word == b"BEGIN" or (self._is_open and word != b"ROLLBACK")
        return _AT_STEP if self._is_open else _AT_ONE_STATEMENT

    def meets(self, trap: Trap, faults: frozenset[Fault]) -> bool:
        """Return whether a trap springs. Each trap springs once per transaction."""
        if (
            trap in self._met
            or trap.fault not in faults
            or not trap.knows(self._texts, self._messages)
        ):
            return False
        self._met.add(trap)
        return trap.springs()


class _Link:
    """One connection."""

    def __init__(
        self, proxy: PgProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = reader, writer
        self._texts: dict[bytes, bytes] = {}
        self._transaction = _Transaction()
        self._sprung: Trap | None = None
        """The trap that sprang on the present request."""
        self._awaited: list[Trap | None] = []
        """The trap, or None, of each request in flight."""
        self._reply: list[bytes] = []
        self._asked = True
        """Whether the server has something to answer. Its first answer is the greeting."""
        self._over = False

    def say_goodbye(self) -> None:
        self._to_client.write(pgwire.error("57P01", "terminating connection", "FATAL"))
        self._over = True
        if self._asked:
            self._to_client.close()

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._from_server, self._to_server = reader, writer
        await until_one_ends(self._up(), self._down())

    async def _up(self) -> None:
        """Forward the client's messages."""
        while True:
            opening = await pgwire.opening(self._from_client)
            if pgwire.request_code(opening) not in pgwire.ENCRYPTION_REQUESTS:
                break
            self._to_client.write(b"N")
        self._to_server.write(opening)
        while True:
            message = await pgwire.message(self._from_client)
            if self._over:
                raise _BrokenError
            self._asked = True
            await self._look(message)
            if message[:1] in (b"S", b"Q"):
                self._awaited.append(self._sprung)
                self._sprung = None
            self._to_server.write(message)
            await self._to_server.drain()

    async def _look(self, message: bytes) -> None:
        """Remember the texts of Parse messages, and let a trap spring on statements."""
        kind = message[:1]
        if kind == b"P":
            name, text, _ = message[5:].split(b"\0", 2)
            self._texts[name] = text
        elif kind == b"B":
            _, name, _ = message[5:].split(b"\0", 2)
            await self._meet(self._texts.get(name, b""), message)
        elif kind == b"Q":
            await self._meet(message[5:-1], message)

    async def _meet(self, text: bytes, message: bytes) -> None:
        """Let the matching trap spring on a statement."""
        if self._proxy.latency_s and message[:1] == b"B":
            await asyncio.sleep(self._proxy.latency_s)
        faults = self._transaction.take(text, message)
        trap = next((t for t in self._proxy.traps if self._transaction.meets(t, faults)), None)
        if trap is not None:
            await self._spring(trap, message)

    async def _spring(self, trap: Trap, message: bytes) -> None:
        if trap.fault in (Fault.AFTER, Fault.SWALLOW):
            self._sprung = trap
            return
        if trap.fault is Fault.LIMBO:
            await self._lag(trap, message)
        if trap.fault is Fault.MIDDLE:
            self._to_server.write(message[: len(message) // 2])
            await self._to_server.drain()
        if trap.fault is Fault.ABORT:
            self._awaited.append(trap)
            self._to_server.write(_NONSENSE)
        trap.then()
        if trap.fault is Fault.HOLD:
            await trap.released.wait()
        elif trap.fault is not Fault.ABORT:
            raise _BrokenError

    async def _lag(self, trap: Trap, message: bytes) -> None:
        """Take the whole request, drop the client, and deliver the request when released."""
        while message[:1] != b"Q" and not message.endswith(b"S\0\0\0\4"):
            message += await pgwire.message(self._from_client)
        self._to_client.transport.abort()
        trap.then()
        self._awaited.append(trap)
        await trap.released.wait()
        self._to_server.write(message)
        await asyncio.Event().wait()

    async def _down(self) -> None:
        """Forward the server's messages until it closes."""
        try:
            await self._listen()
        except (OSError, asyncio.IncompleteReadError):
            # The server has ended a transaction that was open for too long.
            for trap in self._awaited:
                if trap is not None and trap.fault is Fault.LIMBO:
                    trap.outcomes.append(b"E")
            raise

    async def _listen(self) -> None:
        while True:
            message = await pgwire.message(self._from_server)
            if self._over:
                continue
            kind = message[:1]
            trap = self._awaited[0] if self._awaited else None
            if trap is not None:
                self._reply.append(message)
                if kind == b"Z":
                    self._answer(trap)
                continue
            if kind == b"Z":
                del self._awaited[:1]
                self._asked = bool(self._awaited)
            with contextlib.suppress(OSError):
                self._to_client.write(message)
                await self._to_client.drain()

    def _answer(self, trap: Trap) -> None:
        """Lose the reply to a trapped request, or forward it."""
        reply, self._reply = self._reply, []
        del self._awaited[:1]
        if trap.fault is Fault.ABORT:
            return
        refused = any(m[:1] == b"E" or m.endswith(b"ROLLBACK\0") for m in reply)
        if refused and trap.fault is not Fault.LIMBO:
            # A lost race is no commit, so wait for the next attempt.
            trap.sprung -= 1
            self._to_client.write(b"".join(reply))
            return
        trap.outcomes.append(b"E" if refused else b"C")
        if trap.fault is Fault.LIMBO:
            raise _BrokenError
        trap.then()
        if trap.fault is Fault.AFTER:
            raise _BrokenError
