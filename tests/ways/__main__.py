"""Runs the integration tests another way to the database: ``make test-ways``.

``python -m tests.ways steps`` commits every batch in steps, to a target that takes none as one
statement; ``python -m tests.ways conflicts`` has more than every third commit refused when all of
it is done. What each file took of its way is printed at the end, and none at all is a failure.
"""

import os
import subprocess
import sys
from typing import Final

from tests.ways.selection import ROOT, files

WAYS: Final = ("steps", "conflicts")
PROCESSES: Final = "2"
TIME_MAX_S: Final = 3_600.0


def main(way: str, *arguments: str) -> int:
    """Run the tests; return what pytest returns."""
    if way not in WAYS:
        print(f"a way is one of {', '.join(WAYS)}", file=sys.stderr)
        return 2
    chosen = [] if any(argument.startswith("tests/") for argument in arguments) else files()
    command = [sys.executable, "-m", "pytest", "-p", "tests.ways.tally", "-n", PROCESSES]
    done = subprocess.run(
        [*command, "--dist", "loadfile", "--no-loadscope-reorder", *chosen, *arguments],
        cwd=ROOT,
        env={**os.environ, "PARITY_TEST_WAY": way},
        timeout=TIME_MAX_S,
        check=False,
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
