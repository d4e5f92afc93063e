"""Each mutant still fits the code, and breaks nothing but the rule that it is about."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.laboratory import ROOT, Outcome, judged
from tests.mutants.mutant import Edit, Mutant, Nodes
from tests.mutants.tables import SCHEMA


def _broken(mutant: Mutant, folder: Path) -> list[Path]:
    """Apply a mutant to copies of the files that it edits, and return them."""
    paths = sorted({edit.path for edit in mutant.edits})
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    mutant.apply(folder)
    return [folder / path for path in paths]


@pytest.mark.parametrize("mutant", [pytest.param(m, id=m.name) for m in MUTANTS])
def test_edit_applies_and_changes_the_file(mutant: Mutant, tmp_path: Path) -> None:
    for path in _broken(mutant, tmp_path):
        assert path.read_text() != (ROOT / path.relative_to(tmp_path)).read_text()


def test_killers_exist() -> None:
    """Each with its case, which pytest names only when it collects."""
    killers = [mutant.killer for mutant in MUTANTS]
    nodes = {node for killer in killers if isinstance(killer, Nodes) for node in killer.nodes}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [*command, *sorted(nodes)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


def test_mutated_python_has_no_undefined_names(tmp_path: Path) -> None:
    for number, mutant in enumerate(MUTANTS):
        _broken(mutant, tmp_path / str(number))
    ruff = Path(sys.executable).parent / "ruff"
    command: list[str | Path] = [ruff, "check", "--isolated", "--select", "F821,F823", tmp_path]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_every_constraint_has_one_mutant() -> None:
    text = "".join(path.read_text() for path in (ROOT / SCHEMA).glob("*.sql"))
    made = set(re.findall(r"(?<!VALIDATE )(?<!DROP )CONSTRAINT (\w+)", text))
    dropped = set(re.findall(r"DROP CONSTRAINT (\w+)", text))
    names = [mutant.name for mutant in MUTANTS]
    assert [c for c in made - dropped if names.count(f"without {c}") != 1] == []


def test_edit_needs_exactly_one_occurrence(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("a = 1\na = 1\n")
    for old in ("a = 1", "a = 2"):
        with pytest.raises(ValueError, match="not once"):
            Edit("code", old, "a = 3").apply(tmp_path)


@pytest.mark.parametrize(
    ("code", "text", "word"),
    [
        (0, "3 passed", "SURVIVED"),
        (1, "FAILED tests/test_a.py::test_b - assert 1 == 2\n1 failed", "killed"),
        (1, "seed 7: a gap in the journal", "killed"),
        (1, "ERROR tests/test_a.py::test_b - asyncpg.PostgresSyntaxError", "invalid"),
        (1, "Traceback (most recent call last):\nNameError: name 'x'", "invalid"),
        (2, "ERROR tests/test_a.py - ImportError", "invalid"),
        (4, "ERROR: file or directory not found: tests/test_a.py", "invalid"),
        (None, "not done after 150 s", "invalid"),
    ],
)
def test_only_failed_tests_and_seeds_kill(code: int | None, text: str, word: str) -> None:
    assert judged(Outcome(code, text))[0] == word
