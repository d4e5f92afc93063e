"""Run the integration tests with another way to commit: ``make test-ways``.

``python -m tests.ways steps`` commits every batch in steps, against a target that refuses the batch
as one statement. ``python -m tests.ways conflicts`` refuses more than every third commit after all
its statements succeeded. The end of the output counts batches and refusals per file, and a file
without any fails the run.
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
    """Run the tests and return the exit code of pytest."""
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
