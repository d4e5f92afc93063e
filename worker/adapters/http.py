"""What a worker tells over HTTP: its health, its metrics, the proof and the books of its markets.

Only answers questions; nothing can be changed here. Every answer but /metrics is JSON, errors too.
Bounds: 64 connections, none older than a minute, no request body, a deadline for each answer.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST
from typing_extensions import override

from worker.errors import ConfigError, ParityError

CONNECTIONS_MAX: Final = 64
CONNECTION_S: Final = 60.0
"""A connection's life: clients that keep one open for ever, or never finish a request, lose it."""
REQUEST_S: Final = 30.0
REFUSED_CONNECTION_S: Final = 2.0
SHUTDOWN_S: Final = 1.0
BODY_BYTES_MAX: Final = 1_024
LEVELS: Final = 20
LEVELS_MAX: Final = 1_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so, and what is."""

    ok: bool
    says: str


class Refusal(ParityError):
    """A request that cannot be answered: HTTP status, a stable code, a sentence, and fields."""

    def __init__(self, status: int, code: str, message: str, **fields: object) -> None:
        super().__init__(message)
        self.status, self.code, self.fields = status, code, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Where the answers come from. Only ``proof`` and ``book`` may take time, and be refused."""

    live: Callable[[], Mapping[str, Check]]
    ready: Callable[[], Mapping[str, Check]]
    lanes: Callable[[], Sequence[Mapping[str, object]]]
    metrics: Callable[[], bytes]
    proof: Callable[[], Awaitable[Mapping[str, object]]]
    book: Callable[[str, int], Awaitable[Mapping[str, object]]]
    bug: Callable[[str, Exception], None]
    """Told the path and what was raised there that nobody expected."""


class Shared(Generic[T]):
    """A computation that runs once at a time: whoever asks meanwhile gets the same result."""

    def __init__(self, compute: Callable[[], Awaitable[T]]) -> None:
        self._compute = compute
        self._running: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return the result of the computation in flight, or of a new one."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="shared computation")
            # Looked at even when everybody who waited has gone.
            self._running.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._running)

    async def stop(self) -> None:
        """Give up what is in flight."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _run(self) -> T:
        return await self._compute()


class HttpServer:
    """The server: `start`, then `close`."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._proof = Shared(answers.proof)
        self._listener: asyncio.Server | None = None
        site = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES_MAX)
        site.router.add_get("/livez", self._livez)
        site.router.add_get("/readyz", self._readyz)
        site.router.add_get("/metrics", self._metrics)
        site.router.add_get("/api/proof", self._prove)
        site.router.add_get("/api/markets/{market_id}/book", self._book)
        self._paths = [resource.canonical for resource in site.router.resources()]
        self._runner = web.AppRunner(site, access_log=None, shutdown_timeout=SHUTDOWN_S)

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, chosen by the system for 0. Raises ConfigError."""
        await self._runner.setup()
        server, loop = self._runner.server, asyncio.get_running_loop()
        assert server is not None, "a runner that is set up has a server"
        try:
            self._listener = await loop.create_server(lambda: _Gate(server), host, port)
        except OSError as error:
            await self._runner.cleanup()
            reason = error.strerror or str(error)
            text = f"PARITY_HTTP_HOST={host!r}, PARITY_HTTP_PORT='{port}': cannot listen: {reason}"
            raise ConfigError(text) from error
        return int(self._listener.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and end what is being answered, within a bound."""
        if self._listener is not None:
            self._listener.close()
        await self._proof.stop()
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in time, and in JSON whatever happens."""
        try:
            async with asyncio.timeout(REQUEST_S):
                return await handler(request)
        except Refusal as refusal:
            return _error(refusal.status, refusal.code, str(refusal), refusal.fields)
        except web.HTTPException as error:
            code = error.reason.upper().replace(" ", "_")
            return _error(error.status, code, error.reason, {"paths": self._paths})
        except TimeoutError:
            return _error(503, "TIMEOUT", "there was no answer in time", {})
        except ParityError as error:
            return _error(503, "UNAVAILABLE", str(error), {})
        except Exception as error:  # noqa: BLE001 - told, and answered like any other failure
            self._answers.bug(request.path, error)
            return _error(500, "INTERNAL", "this is a bug; the log of the worker says more", {})

    async def _livez(self, request: web.Request) -> web.Response:
        return self._health("live", self._answers.live(), request)

    async def _readyz(self, request: web.Request) -> web.Response:
        return self._health("ready", self._answers.ready(), request)

    def _health(self, name: str, checks: Mapping[str, Check], request: web.Request) -> web.Response:
        well = all(check.ok for check in checks.values())
        told = {which: {"ok": check.ok, "says": check.says} for which, check in checks.items()}
        body: dict[str, object] = {name: well, "checks": told}
        if "verbose" in request.query:
            body["lanes"] = self._answers.lanes()
        return _json(200 if well else 503, body)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._answers.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _prove(self, _: web.Request) -> web.Response:
        return _json(200, await self._proof())

    async def _book(self, request: web.Request) -> web.Response:
        levels = request.query.get("levels", str(LEVELS))
        if not (levels.isascii() and levels.isdigit() and 0 < int(levels[:9]) <= LEVELS_MAX):
            raise Refusal(400, "BAD_REQUEST", f"levels must be 1 to {LEVELS_MAX}")
        return _json(200, await self._answers.book(request.match_info["market_id"], int(levels)))


class _Gate(asyncio.Protocol):
    """Lets a connection in to the server, or tells it to come again later."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        loop = asyncio.get_running_loop()
        if len(self._server.connections) < CONNECTIONS_MAX:
            handler = self._server()
            transport.set_protocol(handler)
            handler.connection_made(transport)
            loop.call_later(CONNECTION_S, handler.close)
        else:
            self._transport = transport
            loop.call_later(REFUSED_CONNECTION_S, transport.close)

    @override
    def data_received(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            # Only now: closing on a request that was not read would reset the connection.
            self._transport.write(_BUSY)
            self._transport.close()


def _json(status: int, body: Mapping[str, object]) -> web.Response:
    return web.Response(
        status=status,
        text=f"{json.dumps(body)}\n",
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _error(status: int, code: str, message: str, fields: Mapping[str, object]) -> web.Response:
    return _json(status, {"error": {"code": code, "message": message, **fields}})


def _busy() -> bytes:
    text = f"there are {CONNECTIONS_MAX} connections already"
    body = json.dumps({"error": {"code": "BUSY", "message": text}}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


_BUSY: Final = _busy()
