"""Runs integration tests through ministack's DSQL proxy: ``make test-dialect``.

It shows that every statement of the worker passes a proxy that refuses much of what DSQL's dialect
refuses: SAVEPOINT, SET of most settings, UNLISTEN, FOR SHARE, arrays as columns, an index that is
not built ASYNC, DDL beside DML. It shows nothing of commits: PostgreSQL's locks and answers stand
behind it (`tests/integration/test_dsql_refusals.py` is for those), and it knows no TLS, no token.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from worker.adapters.postgres.connect import LANE_SETTINGS
from worker.embedded import EmbeddedPostgres

ROOT: Final = Path(__file__).parents[2]
# Without `test_store`: it is about locks and settings of PostgreSQL, and the proxy drops what a
# client asks for at its start. So the server has a lane's settings from the beginning.
FILES: Final = (
    "tests/dialect",
    "tests/contract/test_store.py",
    "tests/integration/test_guards.py",
    "tests/integration/test_failures.py",
    "tests/integration/test_hostile.py",
    "tests/integration/test_four_ways.py",
)
TIME_MAX_S: Final = 1_800.0


@contextmanager
def dialect_proxy(python: str, url: str) -> Iterator[str]:
    """Return the address of a server by way of the proxy."""
    parts = urlsplit(url)
    process = subprocess.Popen(
        [python, ROOT / "tests" / "dialect" / "proxy.py", str(parts.hostname), str(parts.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None, "a pipe was asked for"
    try:
        port = int(process.stdout.readline())
        yield urlunsplit(parts._replace(netloc=f"admin:any@127.0.0.1:{port}"))
    finally:
        process.kill()
        process.wait()


def main(python: str, *arguments: str) -> int:
    """Start both servers and run the tests; return what pytest returns."""
    settings = {name: value for name, value in LANE_SETTINGS.items() if name != "application_name"}
    with (
        EmbeddedPostgres.start(settings=settings) as postgres,
        dialect_proxy(python, postgres.url) as address,
    ):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *FILES, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "PARITY_TEST_DATABASE_URL": postgres.url,
                "PARITY_TEST_DIALECT_URL": address,
            },
            timeout=TIME_MAX_S,
            check=False,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
