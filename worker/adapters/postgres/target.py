"""Where the database is: what PARITY_DATABASE_URL names, and how to connect to it.

    postgresql://user:password@host:port/database
    dsql://<cluster>.dsql.<region>.on.aws[:port][/postgres][?role=parity_worker]

DSQL takes no session settings that PostgreSQL needs (its isolation is what we ask for, it has no
locks), an IAM token instead of a password, and TLS that is always verified.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

import asyncpg

from worker.adapters.postgres.tokens import DsqlTokens
from worker.adapters.system import system
from worker.errors import ConfigError
from worker.ports import System

DEFAULT_ROLE: Final = "parity_worker"
ADMIN_ROLE: Final = "admin"
_REGION: Final = 2
"""Where a cluster's host name has its region, counted from 0."""
CONNECTS_A_SECOND: Final = 20.0
"""Of one process; a cluster takes 100 a second from everybody."""
AGE_MAX_S: Final = 45 * 60.0
"""DSQL ends a connection after an hour; ours ends earlier, between two batches."""


@dataclass(frozen=True, slots=True)
class DsqlAddress:
    """What a ``dsql://`` URL says."""

    host: str
    region: str
    port: int
    database: str
    role: str
    ca_file: str | None


def dsql_address(url: str) -> DsqlAddress:
    """Read a ``dsql://`` URL. Raises ConfigError that names the rule."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    labels = host.split(".")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    region = query.get("region") or (
        labels[2] if labels[1:2] == ["dsql"] and len(labels) > _REGION else ""
    )
    if not host or not region:
        raise ConfigError(
            f"PARITY_DATABASE_URL: {host!r} is no DSQL endpoint; expected"
            " dsql://<cluster>.dsql.<region>.on.aws"
        )
    unknown = query.keys() - {"role", "region", "sslrootcert"}
    if unknown or parts.username or parts.password:
        raise ConfigError(
            "PARITY_DATABASE_URL: dsql:// takes ?role= and ?sslrootcert=, and no user or password:"
            f" the IAM role decides (unknown: {', '.join(sorted(unknown)) or 'user'})"
        )
    return DsqlAddress(
        host=host,
        region=region,
        port=parts.port or 5432,
        database=parts.path.strip("/") or "postgres",
        role=query.get("role", DEFAULT_ROLE),
        ca_file=query.get("sslrootcert"),
    )


def is_dsql(url: str) -> bool:
    """Return whether a database URL names a DSQL cluster."""
    return url.startswith("dsql://")


def age_s(url: str, system: System) -> float:
    """Return how old a connection may become; jittered, so that lanes do not renew together."""
    return AGE_MAX_S * system.random.uniform(0.8, 1.0) if is_dsql(url) else inf


def cluster(url: str) -> "Dsql":
    """Return the one ``Dsql`` of a URL in this event loop: its tokens serve all connections."""
    known = _CLUSTERS.setdefault(asyncio.get_running_loop(), {})
    if url not in known:
        known[url] = Dsql(dsql_address(url), system())
    return known[url]


class Dsql:
    """Connections to one DSQL cluster as one role: one token provider, bounded in rate."""

    def __init__(self, address: DsqlAddress, system: System) -> None:
        self._address, self._system = address, system
        self._tokens = DsqlTokens(
            address.host, address.region, admin=address.role == ADMIN_ROLE, clock=system.clock
        )
        self._turn = asyncio.Lock()
        self._next_at_s = 0.0
        self._context = ssl.create_default_context(cafile=address.ca_file)
        self._context.set_alpn_protocols(["postgresql"])

    async def connect(
        self, settings: Mapping[str, str], *, timeout_s: float
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """Connect with a token. TLS from the first byte, certificate and name verified."""
        await self._take_turn()
        address = self._address
        return await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=address.role,
            database=address.database,
            password=self._tokens.token,
            ssl=self._context,
            direct_tls=True,
            server_settings={"application_name": settings["application_name"]},
            timeout=timeout_s,
            command_timeout=timeout_s,
        )

    async def close(self) -> None:
        """Let go of the token provider."""
        await self._tokens.close()

    async def _take_turn(self) -> None:
        async with self._turn:
            wait_s = self._next_at_s - self._system.clock()
            if wait_s > 0:
                await self._system.sleep(wait_s)
            self._next_at_s = self._system.clock() + 1 / CONNECTS_A_SECOND


_CLUSTERS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Dsql]]] = (
    WeakKeyDictionary()
)
