"""Ways to the database through a proxy, for tests that do not choose a way themselves.

``make test-dialect`` uses a proxy in front of the tests' server. ``make test-ways``
(``PARITY_TEST_WAY``) commits in steps, to a target that refuses the batch as one statement, and
then with conflicts at COMMIT. Workers connect that way. A test's own access to the tables is
direct, because DSQL refuses some of it.
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
    """Batches, commits and refusals on this way."""

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
    """Return the counts since the last call."""
    counted = Tally()
    for line in _lines:
        refused = line.refused[Refusal.CONFLICT] + line.refused[Refusal.SCHEMA_CHANGED]
        counted += Tally(line.batches, line.commits, refused)
    _lines.clear()
    return counted


def through(url: str) -> str:
    """Return the address of a database through the proxy, if there is one."""
    return _at(PROXY_URL, url)


def direct(url: str) -> str:
    """Return the direct address of a database, whichever way ``url`` goes."""
    return _at(_SERVER_URL, url) if PROXY_URL else _around.get(url, url)


@asynccontextmanager
async def way(url: str) -> AsyncIterator[str]:
    """Yield the address of a database on the way that the tests run."""
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
