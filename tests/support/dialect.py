"""Other ways to the database than the straight one, for tests that do not say which they take.

``make test-dialect`` goes through a proxy that it starts before the tests' server. ``make
test-ways`` (``PARITY_TEST_WAY``) commits in steps, to a target that takes no batch as one
statement, and then with conflicts at COMMIT. What a worker asks goes that way. What a test does to
the tables behind its back does not: some of that DSQL refuses.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.dsql_line import DsqlLine, Habits, Refusal

PROXY_URL: Final = os.environ.get("PARITY_TEST_DIALECT_URL")
_WAY: Final = os.environ.get("PARITY_TEST_WAY")
IN_STEPS: Final = _WAY == "steps"
REFUSES_COMMITS: Final = _WAY == "conflicts"
COMMIT_MODE: Final = "steps" if IN_STEPS else "statement"
_SERVER_URL: Final = os.environ.get("PARITY_TEST_DATABASE_URL")
_around: Final[dict[str, str]] = {}
_lines: Final[list[DsqlLine]] = []


@dataclass(slots=True)
class Tally:
    """What went by the lines of this way: batches and all commits, and what was refused."""

    batches: int = 0
    commits: int = 0
    refused: int = 0

    def __add__(self, other: Self) -> "Tally":
        return Tally(
            self.batches + other.batches,
            self.commits + other.commits,
            self.refused + other.refused,
        )


def tally() -> Tally:
    """Return what went by since the last time."""
    counted = Tally()
    for line in _lines:
        refused = line.refused[Refusal.CONFLICT] + line.refused[Refusal.SCHEMA_CHANGED]
        counted += Tally(line.batches, line.commits, refused)
    _lines.clear()
    return counted


def through(url: str) -> str:
    """Return the address of a database by way of the proxy, if there is one."""
    return _at(PROXY_URL, url)


def direct(url: str) -> str:
    """Return the address of a database on its server, whichever way ``url`` goes."""
    return _at(_SERVER_URL, url) if PROXY_URL else _around.get(url, url)


@asynccontextmanager
async def way(url: str) -> AsyncIterator[str]:
    """Yield the address of a database by the way that is to be taken to it."""
    if not (IN_STEPS or REFUSES_COMMITS):
        yield through(url)
        return
    refusing = Habits(conflicts=0.4, schema_changes=0.05)
    habits = Habits(takes_cte=False) if IN_STEPS else refusing
    async with DsqlLine.before(url, habits) as line:
        _lines.append(line)
        _around[line.url] = url
        yield line.url


def _at(server: str | None, url: str) -> str:
    if server is None:
        return url
    return urlunsplit(urlsplit(server)._replace(path=urlsplit(url).path))
