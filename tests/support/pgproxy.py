"""Between a worker and PostgreSQL: breaks the line at a chosen point of a chosen batch.

It reads message boundaries of the protocol, so that a test can say: what commits the batch never
arrived, arrived in half, was carried out and its reply was lost, or arrives only when the worker
has long tried again. What commits is the one statement, or in steps the COMMIT behind them.
Everything else passes unchanged.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.listener import Listener

BATCH: Final = b"SET batch_no = batch_no + 1"
"""The fence: in the one statement, and the first of the steps."""
JOURNAL: Final = b"INSERT INTO batches"
"""The last of the steps."""
TAKE_OVER: Final = b"SET epoch = epoch + 1"
_ENCRYPTION_REQUESTS: Final = frozenset({80877103, 80877104})
_LENGTH: Final = struct.Struct("!I")


class Fault(StrEnum):
    """What becomes of what commits a batch, but for the two that meet it on the way there."""

    BEFORE = "the line breaks before it arrives"
    MIDDLE = "the line breaks when half of it has arrived"
    AFTER = "it is carried out, the line breaks before the reply"
    LIMBO = "the line breaks, and it arrives when the trap is released"
    SWALLOW = "it is carried out, the reply is lost, the line stays"
    HOLD = "the batch waits until the trap is released, from where it is known on"
    BETWEEN = "in steps: the line breaks before this one, and those behind it have arrived"
    ABORT = "in steps: the transaction is broken before it, so that the answer is ROLLBACK"


_AT_A_STEP: Final = frozenset({Fault.HOLD, Fault.BETWEEN})
_AT_THE_COMMIT: Final = frozenset(Fault) - _AT_A_STEP
_AT_ONE_STATEMENT: Final = frozenset(Fault) - {Fault.BETWEEN, Fault.ABORT}
_NONSENSE: Final = b"SELECT 1 / 0"


@dataclass(eq=False)
class Trap:
    """Springs ``times`` times, on ``statement`` where ``when`` knows it, after ``skip`` of them."""

    fault: Fault
    statement: bytes
    when: Callable[[bytes], bool]
    skip: int
    times: int
    then: Callable[[], None]
    sprung: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    outcomes: list[bytes] = field(default_factory=list)
    """Of those whose reply is lost: C committed; of those in limbo also E, refused or given up."""

    def release(self) -> None:
        self.released.set()

    def knows(self, text: bytes, message: bytes) -> bool:
        """Return whether this is what it waits for."""
        return self.sprung < self.times and self.statement in text and self.when(message)

    def springs(self) -> bool:
        """Return whether this one counts."""
        if self.skip:
            self.skip -= 1
            return False
        self.sprung += 1
        return True


class PgProxy:
    """Listens at ``url``. Traps are tried in the order in which they were set."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._parts = parts
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)
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
        user = f"{self._parts.username}@" if self._parts.username else ""
        return urlunsplit(self._parts._replace(netloc=f"{user}127.0.0.1:{self._port}"))

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
        """Set a trap for transactions with that in their text, those of a batch.

        ``when`` sees the Bind messages, parameters in clear.
        """
        trap = Trap(fault, statement, when, skip, times, then)
        self.traps.append(trap)
        return trap

    def say_goodbye(self) -> None:
        """Tell every client what a server says that is shut down.

        No server says anything after it. Idle lines stay open until somebody speaks.
        """
        for link in self._open:
            link.say_goodbye()

    async def up(self) -> None:
        """Listen, at the same port as before."""
        self._port = await self._listener.up(self._port)

    async def down(self) -> None:
        """Break every line and refuse new ones."""
        await self._listener.down()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._open.add(link)
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
            try:
                await link.run(from_server, to_server)
            finally:
                to_server.transport.abort()
        except (OSError, asyncio.IncompleteReadError, _BrokenError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(link)


class _BrokenError(Exception):
    """The line is cut on purpose."""


class _Transaction:
    """What a connection has sent of its transaction: one statement, or all since BEGIN."""

    def __init__(self) -> None:
        self._is_open = False
        self._texts = self._messages = b""
        self._met: set[Trap] = set()

    def take(self, text: bytes, message: bytes) -> frozenset[Fault]:
        """Add a statement; return which faults may meet it."""
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
        return _AT_A_STEP if self._is_open else _AT_ONE_STATEMENT

    def meets(self, trap: Trap, faults: frozenset[Fault]) -> bool:
        """Return whether a trap springs; a transaction meets each once."""
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
        """The trap that sprang on what is being sent."""
        self._awaited: list[Trap | None] = []
        """Of each request under way: the trap that sprang on it."""
        self._reply: list[bytes] = []
        self._asked = True
        """Whether the server has something to answer; it begins with the greeting."""
        self._over = False

    def say_goodbye(self) -> None:
        fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"
        self._to_client.write(b"E" + _LENGTH.pack(len(fields) + 4) + fields)
        self._over = True
        if self._asked:
            self._to_client.close()

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._from_server, self._to_server = reader, writer
        ways = {asyncio.create_task(self._up()), asyncio.create_task(self._down())}
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            for way in ways:
                _ = way.cancelled() or way.exception()
            writer.transport.abort()

    async def _up(self) -> None:
        """Pass on what the client says."""
        while True:
            body = await self._body(self._from_client)
            if _LENGTH.unpack(body[4:8])[0] not in _ENCRYPTION_REQUESTS:
                break
            self._to_client.write(b"N")
        self._to_server.write(body)
        while True:
            kind = await self._from_client.readexactly(1)
            message = kind + await self._body(self._from_client)
            if self._over:
                raise _BrokenError
            self._asked = True
            await self._look(kind, message)
            if kind in (b"S", b"Q"):
                self._awaited.append(self._sprung)
                self._sprung = None
            self._to_server.write(message)
            await self._to_server.drain()

    async def _look(self, kind: bytes, message: bytes) -> None:
        """Remember texts; of statements, let a trap spring."""
        if kind == b"P":
            name, text, _ = message[5:].split(b"\0", 2)
            self._texts[name] = text
        elif kind == b"B":
            _, name, _ = message[5:].split(b"\0", 2)
            await self._meet(self._texts.get(name, b""), message)
        elif kind == b"Q":
            await self._meet(message[5:-1], message)

    async def _meet(self, text: bytes, message: bytes) -> None:
        """Let a trap spring on a statement, if one does."""
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
            self._to_server.write(b"Q" + _LENGTH.pack(len(_NONSENSE) + 5) + _NONSENSE + b"\0")
        trap.then()
        if trap.fault is Fault.HOLD:
            await trap.released.wait()
        elif trap.fault is not Fault.ABORT:
            raise _BrokenError

    async def _lag(self, trap: Trap, message: bytes) -> None:
        """Take the whole request, leave the client alone, and deliver when released."""
        while message[:1] != b"Q" and not message.endswith(b"S\0\0\0\4"):
            kind = await self._from_client.readexactly(1)
            message += kind + await self._body(self._from_client)
        self._to_client.transport.abort()
        trap.then()
        self._awaited.append(trap)
        await trap.released.wait()
        self._to_server.write(message)
        await asyncio.Event().wait()

    async def _down(self) -> None:
        """Pass on what the server says, until it has gone."""
        try:
            await self._listen()
        except (OSError, asyncio.IncompleteReadError):
            # It has given up a transaction that stayed open for too long.
            for trap in self._awaited:
                if trap is not None and trap.fault is Fault.LIMBO:
                    trap.outcomes.append(b"E")
            raise

    async def _listen(self) -> None:
        while True:
            kind = await self._from_server.readexactly(1)
            message = kind + await self._body(self._from_server)
            if self._over:
                continue
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
        """The server has spoken on what has a trap: lose the reply, or give it back."""
        reply, self._reply = self._reply, []
        del self._awaited[:1]
        if trap.fault is Fault.ABORT:
            return
        refused = any(m[:1] == b"E" or m.endswith(b"ROLLBACK\0") for m in reply)
        if refused and trap.fault is not Fault.LIMBO:
            # A lost race is no commit: wait for the next one.
            trap.sprung -= 1
            self._to_client.write(b"".join(reply))
            return
        trap.outcomes.append(b"E" if refused else b"C")
        if trap.fault is Fault.LIMBO:
            raise _BrokenError
        trap.then()
        if trap.fault is Fault.AFTER:
            raise _BrokenError

    @staticmethod
    async def _body(reader: asyncio.StreamReader) -> bytes:
        length = await reader.readexactly(4)
        return length + await reader.readexactly(_LENGTH.unpack(length)[0] - 4)
