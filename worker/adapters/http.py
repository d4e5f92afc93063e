"""The HTTP server of a worker: health, metrics, the proof and the order books. It only reads.

Every answer but /metrics is JSON, errors included. Bounds: 64 connections, none older than a
minute, 16 requests for proof or books at once, a small request body, a deadline for each answer.
Every answer 503 says with Retry-After when to ask again.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Generic, Protocol, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST
from typing_extensions import override

from worker.errors import ConfigError, ParityError
from worker.ports import Check, Monotonic

CONNECTIONS_MAX: Final = 64
CONNECTION_S: Final = 60.0
"""How long a connection may live, whether its client is idle or slow."""
REQUESTS_MAX: Final = 16
"""Requests under /api answered at once. Health and metrics are never refused for their number."""
REQUEST_S: Final = 30.0
RETRY_AFTER_S: Final = 1
PROOF_KEPT_S: Final = 1.0
"""How old a proof may be that is shown again."""
REFUSED_CONNECTION_S: Final = 2.0
SHUTDOWN_S: Final = 1.0
BODY_BYTES_MAX: Final = 1_024
LEVELS: Final = 20
LEVELS_MAX: Final = 1_000

T = TypeVar("T")


class Refusal(ParityError):
    """A request that cannot be answered: HTTP status, a stable code, a message, more fields."""

    def __init__(self, status: int, code: str, message: str, **fields: object) -> None:
        super().__init__(message)
        self.status, self.code, self.fields = status, code, fields


class Answers(Protocol):
    """The source of the answers. Only ``proof`` and ``book`` may take time or raise Refusal."""

    def live(self) -> Mapping[str, Check]:
        """Return the checks of /livez."""

    def ready(self) -> Mapping[str, Check]:
        """Return the checks of /readyz."""

    def lanes(self) -> Sequence[Mapping[str, object]]:
        """Return every lane, for ?verbose."""

    def metrics(self) -> bytes:
        """Return all metrics in Prometheus' text format."""

    async def proof(self) -> Mapping[str, object]:
        """Return the proof of the books."""

    async def book(self, market_id: str, levels: int) -> Mapping[str, object]:
        """Return the best ``levels`` of a market's book."""

    def bug(self, path: str, error: Exception) -> None:
        """Report an unexpected error that a request to ``path`` has raised."""


class Shared(Generic[T]):
    """A computation that runs once at a time, and whose result is kept for ``kept_s``.

    Callers that come meanwhile share the result. An error is given to those that wait for it, and
    not kept.
    """

    def __init__(
        self, compute: Callable[[], Awaitable[T]], *, kept_s: float, clock: Monotonic
    ) -> None:
        self._compute, self._kept_s, self._clock = compute, kept_s, clock
        self._running: asyncio.Task[T] | None = None
        self._began_s = 0.0

    async def __call__(self) -> tuple[T, float]:
        """Return a result, kept, in flight or new, and the seconds since its computation began."""
        if self._running is None or (self._running.done() and not self._is_fresh(self._running)):
            self._began_s = self._clock()
            self._running = asyncio.create_task(self._run(), name="shared computation")
            # When all callers have left, asyncio would log the exception as never retrieved.
            self._running.add_done_callback(lambda task: task.cancelled() or task.exception())
        began_s = self._began_s
        return await asyncio.shield(self._running), self._clock() - began_s

    def _is_fresh(self, done: "asyncio.Task[T]") -> bool:
        failed = done.cancelled() or done.exception() is not None
        return not failed and self._clock() - self._began_s <= self._kept_s

    async def stop(self) -> None:
        """Cancel the computation in flight."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _run(self) -> T:
        return await self._compute()


class HttpServer:
    """The server. Call ``start``, then ``close``."""

    def __init__(self, answers: Answers, clock: Monotonic) -> None:
        self._answers = answers
        self._proof = Shared(answers.proof, kept_s=PROOF_KEPT_S, clock=clock)
        self._answering = 0
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
        """Listen, and return the port. The system chooses it for 0. Raises ConfigError."""
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
        """Stop listening, and end requests in flight within a bound."""
        if self._listener is not None:
            self._listener.close()
        await self._proof.stop()
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in time, and in JSON whatever happens."""
        try:
            async with asyncio.timeout(REQUEST_S):
                limited = request.path.startswith("/api/")
                return await (self._in_turn(request, handler) if limited else handler(request))
        except Refusal as refusal:
            return _error(refusal.status, refusal.code, str(refusal), refusal.fields)
        except web.HTTPException as error:
            code = error.reason.upper().replace(" ", "_")
            return _error(error.status, code, error.reason, {"paths": self._paths})
        except TimeoutError:
            return _error(503, "TIMEOUT", f"no answer within {REQUEST_S:g} s", {})
        except ParityError as error:
            return _error(503, "UNAVAILABLE", str(error), {})
        except Exception as error:  # noqa: BLE001 - a bug is reported and answered like any other failure
            self._answers.bug(request.path, error)
            return _error(500, "INTERNAL", "this is a bug: see the worker's log", {})

    async def _in_turn(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer, unless too many requests wait for their answers."""
        if self._answering >= REQUESTS_MAX:
            text = f"{REQUESTS_MAX} requests are being answered, the maximum: try again later"
            raise Refusal(503, "BUSY", text)
        self._answering += 1
        try:
            return await handler(request)
        finally:
            self._answering -= 1

    async def _livez(self, request: web.Request) -> web.Response:
        return self._health("live", self._answers.live(), request)

    async def _readyz(self, request: web.Request) -> web.Response:
        return self._health("ready", self._answers.ready(), request)

    def _health(self, name: str, checks: Mapping[str, Check], request: web.Request) -> web.Response:
        healthy = all(check.ok for check in checks.values())
        shown = {which: {"ok": check.ok, "says": check.says} for which, check in checks.items()}
        body: dict[str, object] = {name: healthy, "checks": shown}
        if "verbose" in request.query:
            body["lanes"] = self._answers.lanes()
        return _json(200 if healthy else 503, body)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._answers.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _prove(self, _: web.Request) -> web.Response:
        proof, age_s = await self._proof()
        return _json(200, {**proof, "ageSeconds": round(age_s, 3)})

    async def _book(self, request: web.Request) -> web.Response:
        levels = _levels(request.query.getall("levels", (str(LEVELS),)))
        return _json(200, await self._answers.book(request.match_info["market_id"], levels))


class _Gate(asyncio.Protocol):
    """Passes a connection to the server, or answers BUSY if there are too many."""

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
            # Closing before the request was read would reset the connection and lose the answer.
            self._transport.write(_BUSY)
            self._transport.close()


_INTEGER: Final = re.compile(r"[1-9][0-9]{0,3}").fullmatch


def _levels(given: Sequence[str]) -> int:
    """Return the number of levels asked for. A text is measured before it is computed with."""
    text = " ".join(given)
    if not _INTEGER(text) or int(text) > LEVELS_MAX:
        rule = f"must be one integer from 1 to {LEVELS_MAX}, without sign or leading zeros"
        raise Refusal(400, "BAD_REQUEST", f"levels={text[:20]!r}: {rule}")
    return int(text)


def _json(status: int, body: Mapping[str, object]) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if status == _UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return web.Response(
        status=status,
        text=f"{json.dumps(body)}\n",
        content_type="application/json",
        headers=headers,
    )


_UNAVAILABLE: Final = 503


def _error(status: int, code: str, message: str, fields: Mapping[str, object]) -> web.Response:
    return _json(status, {"error": {"code": code, "message": message, **fields}})


def _busy() -> bytes:
    text = f"{CONNECTIONS_MAX} connections are open, the maximum: try again later"
    body = json.dumps({"error": {"code": "BUSY", "message": text}}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: {RETRY_AFTER_S}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


_BUSY: Final = _busy()
