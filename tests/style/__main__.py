"""Check the writing rules: ``python -m tests.style [PATH...]``, part of ``make lint``.

Without paths it reads every file of the repository, otherwise those files and folders.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.style.prose import Finding, findings, long_subjects
from tests.style.texts import is_read

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = Path("tests/style/test_prose.py")
"""The only file that breaks the rules on purpose."""
SCHEMA: Final = Path("worker/adapters/postgres/schema")
APPLIED_BEFORE: Final = "0016"
"""Applied migrations never change, since databases keep the checksum of every byte.

Release 0.1 applied the files before this number, which are older than the rules.
"""


def main(arguments: Sequence[str]) -> int:
    """Print every finding; return 1 if there is one."""
    parser = argparse.ArgumentParser(prog="python -m tests.style")
    parser.add_argument("paths", nargs="*", help="files and folders, relative to the repository")
    parser.add_argument("--commits", metavar="BASE", help="check the subjects since BASE as well")
    given = parser.parse_args(arguments)
    chosen = _files(given.paths)
    lines = [str(finding) for path in chosen for finding in _findings(path)]
    lines += long_subjects(_commits(given.commits)) if given.commits else []
    print(*lines, f"{len(lines)} findings in {len(chosen)} files", sep="\n")
    return 1 if lines else 0


def _findings(path: Path) -> list[Finding]:
    return findings(path, (ROOT / path).read_text(encoding="utf-8"))


def _files(paths: Sequence[str]) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths]
    names = _git(command)
    files = [Path(name) for name in names if (ROOT / name).is_file()]
    return [path for path in files if is_read(path) and path != EXAMPLES and not is_applied(path)]


def is_applied(path: Path) -> bool:
    """Return whether the file is a migration from before the rules."""
    return path.parent == SCHEMA and path.name < APPLIED_BEFORE


def _commits(base: str) -> list[tuple[str, str]]:
    lines = _git(["git", "log", "--format=%h %s", f"{base}..HEAD"])
    return [(commit, subject) for commit, _, subject in (line.partition(" ") for line in lines)]


def _git(command: Sequence[str]) -> list[str]:
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
