"""Connections with the settings that the statements rely on, checked once made."""

import asyncio
import ssl
from typing import Final, Protocol

import asyncpg

from worker.adapters.postgres import outcomes, target
from worker.errors import ConfigError

LANE_SETTINGS: Final = {
    "application_name": "parity",
    "default_transaction_isolation": "repeatable read",
    # The batch statement joins few rows to large tables by key. Planned on empty tables it would
    # otherwise turn into hash joins and sequential scans once they have grown.
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "jit": "off",
    "lock_timeout": "200ms",
    "idle_in_transaction_session_timeout": "5s",
}
ENCODING: Final = "UTF8"
AUDIT_SETTINGS: Final = {
    "application_name": "parity-audit",
    "default_transaction_isolation": "repeatable read",
    "default_transaction_read_only": "on",
    "jit": "off",
}


class Connect(Protocol):
    """Makes connections, as `connect` does."""

    async def __call__(
        self, url: str, settings: dict[str, str], /, *, timeout_s: float
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a connection. Raises Unavailable."""


async def connect(
    url: str, settings: dict[str, str], *, timeout_s: float
) -> "asyncpg.Connection[asyncpg.Record]":
    """Return a connection whose every call ends within ``timeout_s``. Raises Unavailable.

    ``settings`` are PostgreSQL's; DSQL has no locks to bound and one isolation, and takes none.
    """
    try:
        if target.is_dsql(url):
            connection = await target.cluster(url).connect(settings, timeout_s=timeout_s)
        else:
            connection = await asyncpg.connect(
                url, server_settings=settings, timeout=timeout_s, command_timeout=timeout_s
            )
    # First, because a certificate that does not verify is a ValueError, too.
    except ssl.SSLError as error:
        raise outcomes.of_connect(error, url) from error
    except ValueError as error:
        raise ConfigError(f"PARITY_DATABASE_URL: {error}") from error
    except outcomes.DRIVER_ERRORS as error:
        raise outcomes.of_connect(error, url) from error
    try:
        isolation = await connection.fetchval("SHOW transaction_isolation")
    except outcomes.DRIVER_ERRORS as error:
        connection.terminate()
        raise outcomes.of_connect(error, url) from error
    except asyncio.CancelledError:
        connection.terminate()
        raise
    try:
        _require(isolation, connection.get_settings())
    except ConfigError:
        connection.terminate()
        raise
    return connection


def _require(isolation: str, settings: object) -> None:
    """Raise ConfigError if the database cannot keep the books. ``settings`` are the session's."""
    if isolation != "repeatable read":
        raise ConfigError(
            f"the database runs transactions in {isolation!r}; Parity needs 'repeatable read'"
        )
    encoding = getattr(settings, "server_encoding", ENCODING)
    if encoding != ENCODING:
        raise ConfigError(
            f"the database is encoded in {encoding}, which has no place for every title; Parity"
            f" needs {ENCODING}: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
