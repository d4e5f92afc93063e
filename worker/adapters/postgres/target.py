"""Where the database is: what PARITY_DATABASE_URL names, and how to connect to it.

    postgresql://user:password@host:port/database
    dsql://<cluster>.dsql.<region>.on.aws[:port][/postgres][?role=parity_worker]

DSQL takes no session settings that PostgreSQL needs (its isolation is what we ask for, it has no
locks), an IAM token instead of a password, and TLS that is always verified.
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
CONNECTS_A_SECOND: Final = 20.0
"""Of one process; a cluster takes 100 a second from everybody."""
CONNECTS_AT_ONCE: Final = 50
"""What a take-over may need; a cluster takes 1,000 at once from everybody."""
AGE_MAX_S: Final = 45 * 60.0
"""DSQL ends a connection after an hour; ours ends earlier, between two batches."""
# The second label is dsql-<suffix> behind AWS PrivateLink.
_ENDPOINT: Final = re.compile(r"[a-z0-9]+\.dsql(?:-[a-z0-9]+)?\.([a-z0-9-]+)\.on\.aws")


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
    host, query = parts.hostname or "", _query(parts.query)
    if parts.username or parts.password:
        raise _unfit("dsql:// takes no user or password: the IAM role decides; name ?role=")
    named = _ENDPOINT.fullmatch(host)
    region = query.get("region") or (named[1] if named else "")
    if not host or not region:
        raise _unfit(f"{host!r} is no DSQL endpoint; write dsql://<cluster>.dsql.<region>.on.aws")
    database = parts.path.strip("/") or DATABASE
    if named and database != DATABASE:
        raise _unfit(f"a cluster has one database, {DATABASE}, and none {database!r}")
    return DsqlAddress(
        host=host,
        region=region,
        port=parts.port or 5432,
        database=database,
        role=query.get("role", DEFAULT_ROLE),
        ca_file=query.get("sslrootcert"),
    )


def _query(text: str) -> dict[str, str]:
    """Read what stands behind the question mark. Raises ConfigError that names the rule."""
    pairs = parse_qs(text, keep_blank_values=True)
    if unknown := pairs.keys() - {"role", "region", "sslrootcert"}:
        raise _unfit(f"dsql:// does not know ?{min(unknown)}=; it takes ?role=")
    for name, values in pairs.items():
        if len(values) > 1:
            raise _unfit(f"?{name}= is given {len(values)} times; give it once")
        if not values[0]:
            raise _unfit(f"?{name}= is empty; give it a value or leave it out")
    return {name: values[0] for name, values in pairs.items()}


def _unfit(rule: str) -> ConfigError:
    return ConfigError(f"PARITY_DATABASE_URL: {rule}")


def is_dsql(url: str) -> bool:
    """Return whether a database URL names a DSQL cluster."""
    return url.startswith("dsql://")


def check_for_workers(url: str) -> None:
    """Raise ConfigError for a ``dsql://`` URL that can name no cluster, or only names its admin.

    PostgreSQL's superusers cannot be told by their address: there the doctor looks at the rights.
    """
    if is_dsql(url) and dsql_address(url).role == ADMIN_ROLE:
        raise _unfit(
            f"?role={ADMIN_ROLE} may change and delete what a worker must not;"
            f" workers run as {DEFAULT_ROLE}: leave ?role= out. {ADMIN_ROLE} is for"
            " `parity migrate` and `parity doctor`"
        )


def age_s(url: str, system: System) -> float:
    """Return how old a connection may become; jittered, so that lanes do not renew together."""
    return AGE_MAX_S * system.random.uniform(0.8, 1.0) if is_dsql(url) else math.inf


def cluster(url: str) -> "Dsql":
    """Return the one ``Dsql`` of a URL in this event loop: its tokens serve all connections."""
    known = _CLUSTERS.setdefault(asyncio.get_running_loop(), {})
    if url not in known:
        known[url] = Dsql(dsql_address(url), system())
    return known[url]


class Turns:
    """Spreads what is asked for: ``at_once`` in the beginning, then so many a second."""

    def __init__(self, a_second: float, at_once: int, system: System) -> None:
        self._every_s, self._at_once = 1 / a_second, at_once
        self._system = system
        self._next_at_s = -math.inf

    async def take(self) -> None:
        """Return when it is this caller's turn; the turn of who gives up is lost."""
        now_s = self._system.clock()
        saved_s = (self._at_once - 1) * self._every_s
        at_s = max(self._next_at_s, now_s - saved_s)
        self._next_at_s = at_s + self._every_s
        if at_s > now_s:
            await self._system.sleep(at_s - now_s)


class Dsql:
    """Connections to one DSQL cluster as one role: one token provider, bounded in rate."""

    def __init__(self, address: DsqlAddress, system: System) -> None:
        """Raise ConfigError when ``sslrootcert`` holds no certificates."""
        self._address = address
        self._tokens = DsqlTokens(
            address.host, address.region, admin=address.role == ADMIN_ROLE, clock=system.clock
        )
        self._turns = Turns(CONNECTS_A_SECOND, CONNECTS_AT_ONCE, system)
        try:
            self._context = ssl.create_default_context(cafile=address.ca_file)
        except OSError as error:
            raise _unfit(f"?sslrootcert={address.ca_file}: {error}; name a PEM file") from error
        self._context.set_alpn_protocols(["postgresql"])

    async def token(self) -> str:
        """Return what a connection gives as its password. Raises Unavailable."""
        return await self._tokens.token()

    @property
    def action(self) -> str:
        """Return what IAM must allow who connects."""
        return f"dsql:DbConnect{'Admin' if self._address.role == ADMIN_ROLE else ''}"

    async def connect(
        self, settings: Mapping[str, str], *, timeout_s: float
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """Connect with a token. TLS from the first byte, certificate and name verified."""
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
            # Refused with this token, whatever for: the next attempt comes with a new one.
            self._tokens.forget()
            raise

    async def close(self) -> None:
        """Let go of the token provider."""
        await self._tokens.close()


_CLUSTERS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Dsql]]] = (
    WeakKeyDictionary()
)
