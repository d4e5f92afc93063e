"""The table of failures and of the tests that show them safe, in FAILURES.md.

``python -m tests.failures_table`` writes FAILURES.md from the rows of failures.toml and the marks
``@pytest.mark.shows(...)`` of the tests. It reads the marks from the source and runs no test.
"""

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

TESTS: Final = Path(__file__).parent
TABLE: Final = TESTS / "FAILURES.md"
SHOWN_MAX: Final = 4
"""Tests named in a row. The others are only counted."""
NOT_YET: Final = "no test shows it"
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "on real parts": ("integration", "chaos", "contract"),
    "in simulation": ("simulation",),
    "by itself": ("unit", "property"),
}
"""Folders of the tests that a column names."""
HEAD: Final = """\
# Failures, and the tests that show them safe

`python -m tests.failures_table` makes this page from `failures.toml` and the marks
`@pytest.mark.shows`, and a test keeps it up to date. A row names up to four tests per column.

* **On real parts**: Apache Kafka, PostgreSQL, and workers as tasks or processes.
* **In simulation**: the worker's own code in virtual time, and every invariant after each seed.
* **By itself**: one part of the worker, with fakes at its ports.
"""


class Test(NamedTuple):
    """A test that shows a failure to be safe, and its place."""

    path: str
    line: int
    name: str

    def link(self) -> str:
        """Return the name as Markdown, linked to the test's file."""
        return f"[{self.name.removeprefix('test_').replace('_', ' ')}]({self.path})"


def marks(root: Path = TESTS) -> Mapping[str, Sequence[Test]]:
    """Return the tests that show each id, in the order of their files."""
    found: defaultdict[str, list[Test]] = defaultdict(list)
    for path in sorted(root.rglob("test_*.py")):
        where = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for shown in _shown(node):
                    found[shown].append(Test(where, node.lineno, node.name))
    return {shown: sorted(set(tests)) for shown, tests in found.items()}


def _shown(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(".mark.shows"):
            yield from (ast.literal_eval(argument) for argument in decorator.args)


def rows() -> Mapping[str, Mapping[str, Any]]:
    """Return the sections of the table, each with a title and the rows by id."""
    with (TESTS / "failures.toml").open("rb") as file:
        return tomllib.load(file)


def ids() -> Sequence[str]:
    """Return the ids of all rows, in order."""
    return [name for section in rows().values() for name in section if name != "title"]


def table() -> str:
    """Return the whole page."""
    found = marks()
    return "\n".join(
        [HEAD, *(line for section in rows().values() for line in _lines(section, found))]
    )


def _lines(section: Mapping[str, Any], found: Mapping[str, Sequence[Test]]) -> Iterator[str]:
    given = {name: row for name, row in section.items() if name != "title"}
    open_ = [name for name in given if name not in found]
    real = sum(any(_in(test, "on real parts") for test in found.get(name, ())) for name in given)
    yield f"## {section['title']}\n"
    yield f"{len(given)}, {real} of them shown on real parts, {len(open_)} not yet shown.\n"
    yield f"| | what happens | {' | '.join(COLUMNS)} | not yet, and why |"
    yield "|---" * (len(COLUMNS) + 3) + "|"
    for name, row in given.items():
        tests = found.get(name, ())
        cells = [_cell([test for test in tests if _in(test, column)]) for column in COLUMNS]
        why = "" if tests else row.get("not_yet", NOT_YET)
        yield f"| {name} | {row['what']} | {' | '.join(cells)} | {why} |"
    yield ""


def _in(test: Test, column: str) -> bool:
    return test.path.split("/")[0] in COLUMNS[column]


def _cell(tests: Sequence[Test]) -> str:
    shown = "<br>".join(test.link() for test in tests[:SHOWN_MAX])
    more = len(tests) - SHOWN_MAX
    return shown + (f"<br>and {more} more" if more > 0 else "")


def main() -> int:
    """Write the page. Return 1 if a mark names an id without a row."""
    strange = sorted(set(marks()) - set(ids()))
    if strange:
        print(f"failures.toml has no row for {', '.join(strange)}", file=sys.stderr)
        return 1
    TABLE.write_text(table(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
