"""Selection of the tests that also run the other ways: all, except those with a reason here.

A new file runs every way until it is listed here. A file that runs a way without committing a batch
fails the run, so that a wrong selection is noticed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_CHOSEN: Final = ("tests/integration/test_*.py", "tests/contract/test_store.py")

_NO_BATCH: Final = "commits no batch"
_BY_ITSELF: Final = "chooses its ways itself, in `make test`"
_SERVERS_OF_ITS_OWN: Final = "starts its own servers and workers"
LEFT_OUT: Final[Mapping[str, str]] = {
    "tests/integration/test_bench.py": _SERVERS_OF_ITS_OWN,
    "tests/integration/test_cli.py": "waits for processes, which would block the proxy in the test",
    "tests/integration/test_demo.py": _SERVERS_OF_ITS_OWN,
    "tests/integration/test_doctor.py": "examines its own targets, in both modes",
    "tests/integration/test_dsql_connection.py": "is about tokens and TLS, through its own proxy",
    "tests/integration/test_dsql_refusals.py": _BY_ITSELF,
    "tests/integration/test_dsql_worker.py": _BY_ITSELF,
    "tests/integration/test_embedded.py": _NO_BATCH,
    "tests/integration/test_first_minutes.py": "has its own stand-in for a cluster",
    "tests/integration/test_four_ways.py": _BY_ITSELF,
    "tests/integration/test_iam_tokens.py": _NO_BATCH,
    "tests/integration/test_migrate.py": _NO_BATCH,
    "tests/integration/test_operators.py": _NO_BATCH,
    "tests/integration/test_plans.py": "asks PostgreSQL's planner, which is the same every way",
    "tests/integration/test_publisher.py": _NO_BATCH,
    "tests/integration/test_roles.py": "is about the rights of roles, in both modes",
    "tests/integration/test_secrets.py": "its server asks for a password, which no proxy has",
    "tests/integration/test_stand_ins.py": _SERVERS_OF_ITS_OWN,
    "tests/integration/test_steps.py": _BY_ITSELF,
    "tests/integration/test_store.py": "is about PostgreSQL's own locks and errors",
    "tests/integration/test_streams.py": _NO_BATCH,
    "tests/integration/test_stress.py": _SERVERS_OF_ITS_OWN,
    "tests/integration/test_upgrade.py": "has a database of its own, of an earlier release",
    "tests/integration/test_wheel.py": _NO_BATCH,
}
"""Files that run only in `make test`, each with the reason."""


def files() -> Sequence[str]:
    """Return the test files that run every way."""
    found = {str(path.relative_to(ROOT)) for pattern in _CHOSEN for path in ROOT.glob(pattern)}
    return sorted(found - set(LEFT_OUT))
