"""The table of tails counts what it says it counts."""

from pathlib import Path

from tests.style.tails import measures, table

# style: allow rule 4 because the dialect is what is counted
WORKER = '''"""Module; with a semicolon."""

# Whoever reads this;
# is told.


class Wide:
    """Nine attributes."""

    a: int
    """An attribute beside others."""
    b: int
    c: int

    def set(self) -> None:
        self.c = self.d = self.e = 1
        self.f = self.g = 1
        self.h = self.i = 1


def short() -> None: ...
'''
TESTS = "def test_one_two() -> None:\n    assert True\n\n\nasync def test_one() -> None: ...\n"


def _checkout(root: Path, worker: str) -> Path:
    for name, source in (("worker", worker), ("tests", TESTS)):
        (root / name).mkdir(parents=True)
        (root / name / "test_a.py").write_text(source, encoding="utf-8")
    return root


def test_every_measure_is_counted(tmp_path: Path) -> None:
    assert measures(_checkout(tmp_path, WORKER)) == {
        "function median / p90 / p99 / max lines": "4 / 4 / 4 / 4",
        "module median / max": "21 / 21",
        "comment lines": "9.5%",
        "classes > 8 attributes / > 15 methods": "1 / 0 of 1",
        "test lines per test function": "2",
        "words in a test name, median / max": "2 / 3",
        "semicolons per 1,000 words of prose, worker": "117.6",
        "semicolons per 1,000 words of prose, tests": "0.0",
        "dialect per 1,000 words of prose, worker": "176.5",
        "dialect per 1,000 words of prose, tests": "0.0",
    }


def test_another_checkout_has_its_own_column(tmp_path: Path) -> None:
    first = _checkout(tmp_path / "first", WORKER)
    second = _checkout(tmp_path / "second", WORKER.replace("told", "shown"))
    row = next(line for line in table([first, second]).splitlines() if "dialect" in line)
    assert row == "| dialect per 1,000 words of prose, worker | 176.5 | 117.6 |"
