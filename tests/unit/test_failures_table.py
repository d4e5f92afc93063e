"""The table of failures follows from the marks and sentences, and has every row."""

from pathlib import Path

from tests import failures_table
from tests.failures_table import TABLE, ids, marks, rows, table

WRONG = """
import pytest

@pytest.mark.slow
@pytest.mark.shows("W1", "F2")
@pytest.mark.shows("W2")
async def test_it() -> None: ...

@pytest.mark.parametrize("shows", ["W3"])
def test_another() -> None: ...
"""


def test_table_is_up_to_date() -> None:
    assert TABLE.read_text(encoding="utf-8") == table(), "run `python -m tests.failures_table`"


def test_no_row_is_missing() -> None:
    windows = [f"W{number}" for number in range(1, 24)]
    faults = [f"F{number}" for number in range(1, 76)]
    assert [name for name in ids() if name[0] in "WF"] == [*windows, *faults]
    page = table()
    assert all(f"\n| {name} |" in page for name in ids())


def test_every_mark_has_a_row() -> None:
    assert not set(marks()) - set(ids())


def test_row_without_a_test_gives_a_reason() -> None:
    names = set(ids())
    for line in table().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in names:
            assert any(cells[2:5]) != bool(cells[5]), line


def test_every_row_has_its_own_sentence() -> None:
    sentences = [
        row["what"]
        for section in rows().values()
        for name, row in section.items()
        if name != "title"
    ]
    assert len(set(sentences)) == len(sentences) == len(ids())


def test_marks_are_read_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos" / "test_it.py").write_text(WRONG, encoding="utf-8")

    found = failures_table.marks(tmp_path)

    assert {name: [test.name for test in tests] for name, tests in found.items()} == {
        name: ["test_it"] for name in ("W1", "F2", "W2")
    }
