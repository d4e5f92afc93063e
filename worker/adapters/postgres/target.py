"""The target that PARITY_DATABASE_URL names, and how to connect to it.

    postgresql://user:password@host:port/database
    dsql://<cluster>.dsql.<region>.on.aws[:port][/postgres][?role=parity_worker]

PostgreSQL needs session settings for isolation and lock timeouts. DSQL has the right isolation, no
locks, an IAM token instead of a password, and TLS that is always verified.
"""

import asyncio
import math
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
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
DATABASE: Final = "postgres"
CONNECTS_PER_SECOND: Final = 20.0
"""Rate of one process. A cluster accepts 100 per second from all clients together."""
CONNECTS_AT_ONCE: Final = 50
"""Burst for a take-over. A cluster accepts a burst of 1,000 from all clients together."""
AGE_MAX_S: Final = 45 * 60.0
"""Age at which a connection is renewed, between two batches. DSQL ends it after an hour."""
# Through AWS PrivateLink the second label is dsql-<suffix>.
_ENDPOINT: Final = re.compile(r"[a-z0-9]+\.dsql(?:-[a-z0-9]+)?\.([a-z0-9-]+)\.on\.aws")


@dataclass(frozen=True, slots=True)
class DsqlAddress:
    """The parts of a ``dsql://`` URL."""

    host: str
    region: str
    port: int
    database: str
    role: str
    ca_file: str | None


def dsql_address(url: str) -> DsqlAddress:
    """Read a ``dsql://`` URL. Raises ConfigError that names the rule."""
    parts = urlsplit(url)
    host, query = parts.hostname or "", _query(parts.query)
    if parts.username or parts.password:
        raise _wrong("dsql:// takes no user or password: IAM decides, use ?role= for the role")
    named = _ENDPOINT.fullmatch(host)
    region = query.get("region") or (named[1] if named else "")
    if not host or not region:
        rule = f"{host!r} is no DSQL endpoint: use dsql://<cluster>.dsql.<region>.on.aws"
        raise _wrong(rule)
    database = parts.path.strip("/") or DATABASE
    if named and database != DATABASE:
        raise _wrong(f"DSQL clusters have only the database {DATABASE!r}, got {database!r}")
    return DsqlAddress(
        host=host,
        region=region,
        port=parts.port or 5432,
        database=database,
        role=query.get("role", DEFAULT_ROLE),
        ca_file=query.get("sslrootcert"),
    )


def _query(text: str) -> dict[str, str]:
    """Read the query of a ``dsql://`` URL. Raises ConfigError that names the rule."""
    pairs = parse_qs(text, keep_blank_values=True)
    if unknown := pairs.keys() - {"role", "region", "sslrootcert"}:
        raise _wrong(f"dsql:// has no parameter ?{min(unknown)}=: use ?role=")
    for name, values in pairs.items():
        if len(values) > 1:
            raise _wrong(f"?{name}= is given {len(values)} times: give it once")
        if not values[0]:
            raise _wrong(f"?{name}= is empty: give it a value or leave it out")
    return {name: values[0] for name, values in pairs.items()}


def _wrong(rule: str) -> ConfigError:
    return ConfigError(f"PARITY_DATABASE_URL: {rule}")


def is_dsql(url: str) -> bool:
    """Return whether a database URL names a DSQL cluster."""
    return url.startswith("dsql://")


def check_for_workers(url: str) -> None:
    """Raise ConfigError if a ``dsql://`` URL names no cluster, or names the role admin.

    The address of a PostgreSQL server does not show a superuser, so the doctor checks the rights.
    """
    if is_dsql(url) and dsql_address(url).role == ADMIN_ROLE:
        raise _wrong(
            f"?role={ADMIN_ROLE} may change and delete what a worker must not: workers run as"
            f" {DEFAULT_ROLE}, so leave ?role= out. {ADMIN_ROLE} is for `parity migrate` and"
            " `parity doctor`"
        )


def age_s(url: str, system: System) -> float:
    """Return how old a connection may become, with jitter so that lanes renew one by one."""
    return AGE_MAX_S * system.random.uniform(0.8, 1.0) if is_dsql(url) else math.inf


def cluster(url: str) -> "Dsql":
    """Return the ``Dsql`` of a URL in this event loop. All its connections share one cache."""
    known = _CLUSTERS.setdefault(asyncio.get_running_loop(), {})
    if url not in known:
        known[url] = Dsql(dsql_address(url), system())
    return known[url]


class Turns:
    """A rate limit: ``at_once`` turns as a burst, then ``per_second``."""

    def __init__(self, per_second: float, at_once: int, system: System) -> None:
        self._every_s, self._at_once = 1 / per_second, at_once
        self._system = system
        self._next_at_s = -math.inf

    async def take(self) -> None:
        """Wait for this caller's turn. A caller that is cancelled loses its turn."""
        now_s = self._system.clock()
        saved_s = (self._at_once - 1) * self._every_s
        at_s = max(self._next_at_s, now_s - saved_s)
        self._next_at_s = at_s + self._every_s
        if at_s > now_s:
            await self._system.sleep(at_s - now_s)


class Dsql:
    """Connections to one DSQL cluster as one role, with one token cache and a rate limit."""

    def __init__(self, address: DsqlAddress, system: System) -> None:
        """Raise ConfigError if ``sslrootcert`` contains no certificates."""
        self._address = address
        self._tokens = DsqlTokens(
            address.host, address.region, admin=address.role == ADMIN_ROLE, clock=system.clock
        )
        self._turns = Turns(CONNECTS_PER_SECOND, CONNECTS_AT_ONCE, system)
        try:
            self._context = ssl.create_default_context(cafile=address.ca_file)
        except OSError as error:
            raise _wrong(f"?sslrootcert={address.ca_file}: {error}: name a PEM file") from error
        self._context.set_alpn_protocols(["postgresql"])

    async def token(self) -> str:
        """Return the password of a connection. Raises Unavailable."""
        return await self._tokens.token()

    @property
    def action(self) -> str:
        """Return the action that IAM must allow for connecting."""
        return f"dsql:DbConnect{'Admin' if self._address.role == ADMIN_ROLE else ''}"

    async def connect(
        self, settings: Mapping[str, str], *, timeout_s: float
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """Connect with a token, and with TLS from the first byte, certificate and name verified."""
        await self._turns.take()
        address = self._address
        try:
            return await asyncpg.connect(
                host=address.host,
                port=address.port,
                user=address.role,
                database=address.database,
                password=self.token,
                ssl=self._context,
                direct_tls=True,
                server_settings={"application_name": settings["application_name"]},
                timeout=timeout_s,
                command_timeout=timeout_s,
            )
        except asyncpg.PostgresError:
            # The server may have refused the token, so the next attempt gets a new one.
            self._tokens.forget()
            raise

    async def close(self) -> None:
        """Close the token provider."""
        await self._tokens.close()


_CLUSTERS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Dsql]]] = (
    WeakKeyDictionary()
)
