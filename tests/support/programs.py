"""Modules of this repository, run as programs to their end."""

import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

from tests.support.system import REPOSITORY

ENDS_WITHIN_S = 60.0


class Result(NamedTuple):
    """The exit code and both outputs of a program."""

    code: int
    out: str
    err: str


def ran(
    module: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    within_s: float = ENDS_WITHIN_S,
) -> Result:
    """Run a module with its arguments, and wait for its end. Blocks the event loop."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)
