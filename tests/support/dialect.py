"""Other ways to the database than the straight one, for tests that do not say which they take.

``make test-dialect`` goes through a proxy that it starts before the tests' server; ``make
test-ways`` commits in steps, and then with conflicts at COMMIT (``PARITY_TEST_WAY``). What a worker
asks goes that way. What a test does to the tables behind its back does not: some of that DSQL
refuses.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tests.support.dsql_line import DsqlLine, Habits

PROXY_URL: Final = os.environ.get("PARITY_TEST_DIALECT_URL")
COMMIT_MODE: Final = "steps" if os.environ.get("PARITY_TEST_WAY") == "steps" else "statement"
_IS_CONTENDED: Final = os.environ.get("PARITY_TEST_WAY") == "conflicts"
_around: Final[dict[str, str]] = {}
_SERVER_URL: Final = os.environ.get("PARITY_TEST_DATABASE_URL")


def through(url: str) -> str:
    """Return the address of a database by way of the proxy, if there is one."""
    return _at(PROXY_URL, url)


def direct(url: str) -> str:
    """Return the address of a database on its server, whichever way ``url`` goes."""
    return _at(_SERVER_URL, url) if PROXY_URL else _around.get(url, url)


@asynccontextmanager
async def contended(url: str) -> AsyncIterator[str]:
    """Yield where more than every third commit is refused, if that is the way; else ``url``."""
    if not _IS_CONTENDED:
        yield url
        return
    async with DsqlLine.before(url, Habits(conflicts=0.4, schema_changes=0.05)) as line:
        _around[line.url] = url
        yield line.url


def _at(server: str | None, url: str) -> str:
    if server is None:
        return url
    return urlunsplit(urlsplit(server)._replace(path=urlsplit(url).path))
