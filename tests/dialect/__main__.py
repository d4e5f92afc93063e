"""Run integration tests through ministack's DSQL proxy: ``make test-dialect``.

The proxy refuses much of what DSQL refuses, namely SAVEPOINT, SET of most settings, UNLISTEN, FOR
SHARE, array columns, an index that is not built ASYNC, and DDL in a transaction with DML. The tests
show that every statement of the worker passes. They show nothing about commits, which PostgreSQL
executes (see `tests/integration/test_dsql_refusals.py`), nor about TLS and tokens.
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
# Without `tests/integration/test_store.py`, which is about locks and settings of PostgreSQL. The
# proxy drops the settings of a startup message, so the server itself has a lane's settings.
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
    """Return the address of the proxy with the user and database of a server."""
    parts = urlsplit(url)
    process = subprocess.Popen(
        [python, ROOT / "tests" / "dialect" / "proxy.py", str(parts.hostname), str(parts.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None, "stdout is a pipe"
    try:
        port = int(process.stdout.readline())
        yield urlunsplit(parts._replace(netloc=f"admin:any@127.0.0.1:{port}"))
    finally:
        process.kill()
        process.wait()


def main(python: str, *arguments: str) -> int:
    """Start both servers, run the tests and return the exit code of pytest."""
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
