"""Private copies of the tree, and the verdict of a check on each.

A mutant is killed if a test failed or a seed showed a violation. A tree that cannot be imported,
collected or set up proves nothing. Such a mutant is invalid, and fails the run like a survivor.
"""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutants.mutant import Killer, Mutant, Nodes, Seeds

ROOT: Final = Path(__file__).parents[2]
SHIPPED: Final = ("worker", "producers", "tests")
SETTINGS: Final = ("pyproject.toml", "README.md", "LICENSE")
CHECK_S: Final = 150.0
"""Time limit of the check of a mutant."""
SOUND_S: Final = 900.0
"""Time limit of all checks on the unchanged tree."""
TEST_S: Final = 100
PYTEST: Final = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", f"--timeout={TEST_S}")
HYPOTHESIS: Final = ("-p", "tests.mutants.in_one_way")
NO_HYPOTHESIS: Final = ("-p", "no:hypothesispytest")
"""Importing Hypothesis takes longer than most tests take to fail."""
PASSED, FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for a mutant. ``by`` is its killer, or the reason that it proves nothing."""

    word: str
    by: str
    seconds: float

    @property
    def killed(self) -> bool:
        return self.word == "killed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a check. ``code`` is None if the check took too long."""

    code: int | None
    text: str


@dataclass(slots=True)
class Laboratory:
    """A folder with a sound copy of the tree, from which each mutant's copy is made."""

    folder: Path
    database_url: str

    @property
    def sound(self) -> Path:
        return self.folder / "sound"

    def prepare(self) -> None:
        """Copy the shipped code and its tests."""
        for name in SHIPPED:
            shutil.copytree(
                ROOT / name, self.sound / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in SETTINGS:
            shutil.copy2(ROOT / name, self.sound / name)

    async def check_sound(self, killers: Iterable[Killer]) -> str:
        """Run every check on the unchanged tree, and return the output of those that fail."""
        nodes = sorted({n for k in killers if isinstance(k, Nodes) for n in k.nodes})
        ranges = {k for k in killers if isinstance(k, Seeds)}
        checks: list[Killer] = [Nodes(tuple(nodes))] if nodes else []
        checks += _together(ranges)
        outcomes = [await self._run(self.sound, check, SOUND_S) for check in checks]
        return "\n".join(outcome.text for outcome in outcomes if outcome.code != PASSED)

    async def examine(self, number: int, mutant: Mutant) -> Verdict:
        """Apply a mutant to its own copy of the tree and run its check."""
        root = self.folder / f"mutant-{number}"
        began = asyncio.get_running_loop().time()
        try:
            await asyncio.to_thread(_copy, self.sound, root, mutant)
            outcome = await self._run(root, mutant.killer, CHECK_S)
            word, by = judged(outcome)
        except ValueError as error:
            word, by = "invalid", str(error)
        finally:
            await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)
        return Verdict(word, by, asyncio.get_running_loop().time() - began)

    async def _run(self, root: Path, killer: Killer, seconds: float) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *_command(killer, whole=root == self.sound),
            cwd=root,
            env=self._environment(root),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), seconds)
        except (TimeoutError, asyncio.CancelledError) as end:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            if isinstance(end, asyncio.CancelledError):
                raise
            return Outcome(None, f"not done after {seconds:.0f} s")
        return Outcome(process.returncode, output.decode(errors="replace"))

    def _environment(self, root: Path) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(root),
            "PARITY_TEST_DATABASE_URL": self.database_url,
            "COLUMNS": "400",
        }


def _command(killer: Killer, *, whole: bool) -> Sequence[str]:
    match killer:
        case Nodes(nodes):
            properties = any("/property/" in node for node in nodes)
            plugin = HYPOTHESIS if properties else NO_HYPOTHESIS
            return (*PYTEST, *plugin, *(("-n", "2") if whole else ("-x",)), *nodes)
        case Seeds(first, count):
            return ("-m", "tests.mutants.seeds", str(first), str(count))


def _together(ranges: Iterable[Seeds]) -> list[Seeds]:
    """Join ranges that overlap or touch."""
    joined: list[Seeds] = []
    for one in sorted(ranges, key=lambda each: each.first):
        last = joined[-1] if joined else None
        if last is not None and one.first <= last.first + last.count:
            end = max(one.first + one.count, last.first + last.count)
            joined[-1] = Seeds(last.first, end - last.first)
        else:
            joined.append(one)
    return joined


def _copy(sound: Path, root: Path, mutant: Mutant) -> None:
    shutil.copytree(sound, root, ignore=shutil.ignore_patterns(".*"))
    mutant.apply(root)
    for edit in mutant.edits:
        # Python would use the old bytecode of a source changed within a second at the same size.
        file = root / edit.path
        for stale in file.parent.glob(f"__pycache__/{file.stem}.*"):
            stale.unlink()


def judged(outcome: Outcome) -> tuple[str, str]:
    """Return the verdict and its reason. A tree that does not work at all is invalid."""
    failed = re.search(r"(?m)^(?:FAILED (?P<node>.*)|(?P<seed>seed \d+: .*))$", outcome.text)
    if outcome.code == PASSED:
        return "SURVIVED", ""
    if outcome.code != FAILED or failed is None:
        # The tree broke before a test could fail. Pytest reports ERROR, other programs their end.
        said = re.findall(r"(?m)^ERROR .*$", outcome.text) or outcome.text.strip().splitlines()
        return "invalid", f"exit {outcome.code}: {said[-1] if said else 'no output'}"
    if failed["seed"]:
        return "killed", failed["seed"]
    test, _, why = failed["node"].partition(" - ")
    return "killed", f"{test.rpartition('/')[2]} - {why}"
