"""Which tests go other ways to the database: all that do not say here why they do not.

A new file goes every way, until it is put here. One that goes a way and commits nothing there fails
the run, so no reason can grow old unseen on that side.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_CHOSEN: Final = ("tests/integration/test_*.py", "tests/contract/test_store.py")

_NO_BATCH: Final = "commits no batch"
_BY_ITSELF: Final = "says itself which way it goes, in `make test`"
_SERVERS_OF_ITS_OWN: Final = "starts servers and workers of its own"
LEFT_OUT: Final[Mapping[str, str]] = {
    "tests/integration/test_bench.py": _SERVERS_OF_ITS_OWN,
    "tests/integration/test_cli.py": "waits for processes, so that no line of the test would run",
    "tests/integration/test_demo.py": _SERVERS_OF_ITS_OWN,
    "tests/integration/test_doctor.py": "examines targets of its own, both modes",
    "tests/integration/test_dsql_connection.py": "is about tokens and TLS, by a line of its own",
    "tests/integration/test_dsql_refusals.py": _BY_ITSELF,
    "tests/integration/test_dsql_worker.py": _BY_ITSELF,
    "tests/integration/test_embedded.py": _NO_BATCH,
    "tests/integration/test_first_minutes.py": "has a stand-in of its own for a cluster",
    "tests/integration/test_four_ways.py": _BY_ITSELF,
    "tests/integration/test_iam_tokens.py": _NO_BATCH,
    "tests/integration/test_migrate.py": _NO_BATCH,
    "tests/integration/test_plans.py": "asks PostgreSQL's planner, which no way changes",
    "tests/integration/test_publisher.py": _NO_BATCH,
    "tests/integration/test_roles.py": "is about who may do what, both modes",
    "tests/integration/test_secrets.py": "its server asks for a password, which no line knows",
    "tests/integration/test_stand_ins.py": _SERVERS_OF_ITS_OWN,
    "tests/integration/test_steps.py": _BY_ITSELF,
    "tests/integration/test_store.py": "is about PostgreSQL's locks and errors, word for word",
    "tests/integration/test_streams.py": _NO_BATCH,
    "tests/integration/test_stress.py": _SERVERS_OF_ITS_OWN,
}
"""Not worth another way, and why."""


def files() -> Sequence[str]:
    """Return the files of tests that go every way."""
    found = {str(path.relative_to(ROOT)) for pattern in _CHOSEN for path in ROOT.glob(pattern)}
    return sorted(found - set(LEFT_OUT))
