"""The way through the dialect proxy, which ``make test-dialect`` starts before the tests' server.

What a worker asks goes through it. What a test does to the tables behind its back does not: some
of that DSQL refuses.
"""

import os
from typing import Final
from urllib.parse import urlsplit, urlunsplit

PROXY_URL: Final = os.environ.get("PARITY_TEST_DIALECT_URL")
_SERVER_URL: Final = os.environ.get("PARITY_TEST_DATABASE_URL")


def through(url: str) -> str:
    """Return the address of a database by way of the proxy, if there is one."""
    return _at(PROXY_URL, url)


def direct(url: str) -> str:
    """Return the address of a database on its server, whichever way ``url`` goes."""
    return _at(_SERVER_URL, url) if PROXY_URL else url


def _at(server: str | None, url: str) -> str:
    if server is None:
        return url
    return urlunsplit(urlsplit(server)._replace(path=urlsplit(url).path))
