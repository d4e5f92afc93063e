"""Each writing rule catches its example and passes the same thing said well."""

import re
from pathlib import Path

import pytest

from tests.style.__main__ import ROOT, SCHEMA, is_applied, main
from tests.style.prose import findings, long_subjects
from tests.style.texts import is_read

# Rule, file, text that breaks the rule, text that does not.
EXAMPLES = {
    "a relative opens a docstring": (
        "rule 1",
        "a.py",
        '"""What a process is next to its lanes."""',
        '"""The endpoints of a process."""',
    ),
    "a preposition opens an attribute's docstring": (
        "rule 1",
        "a.py",
        'class A:\n    limit_s: float\n    """For so long an answer counts."""',
        'class A:\n    limit_s: float\n    """How long an answer counts."""',
    ),
    "a conjunction opens the docstring of a function": (
        "rule 1",
        "a.py",
        'async def f():\n    """So it ends."""',
        'async def f():\n    """End the task."""',
    ),
    "a relative opens a query": (
        "rule 1",
        "a.sql",
        "-- What a lane read.\nSELECT 1",
        "-- The rows that a lane read.\nSELECT 1 -- and no more",
    ),
    "a pronoun opens a help": (
        "rule 1",
        "Makefile",
        "help: ## this list\n",
        "help: ## list the commands\n",
    ),
    "two semicolons in a comment": (
        "rule 2",
        "a.py",
        "# One ends; another begins;\n# a third waits.",
        "# One ends; another begins.\n# A third waits.",
    ),
    "a colon and a semicolon in a paragraph": (
        "rule 2",
        "a.md",
        "First: one thing; then another.",
        "First: one thing.\n\nThen: `a: b; c: d`, [a](x;), http://a: done at 10:30.",
    ),
    "two marks in one item of a list": (
        "rule 2",
        "a.md",
        "Three things:\n* a: b; c\n* d",
        "Three things:\n* a: b\n* c; d\n\n| a: b; c: d |\n|---|\n\n```\na: b; c: d;\n```\n",
    ),
    "two marks in a docstring's second paragraph": (
        "rule 2",
        "a.py",
        '"""A thing.\n\nOne: two; three.\n"""',
        '"""A thing: one.\n\nTwo: three.\n\n    code: x; y;\n"""',
    ),
    "an old word in a comment": (
        "rule 4",
        "a.yaml",
        "a: 1 # for ever",
        "a: 1 # without end",
    ),
    "an old word in a message": (
        "rule 4",
        "a.py",
        'raise E(f"the topic {t} lies elsewhere")',
        'raise E(f"the topic {t} is elsewhere")\nlies = ""',
    ),
    "an old word in a table": (
        "rule 4",
        "a.md",
        "| a | whoever reads |\n|---|---|\n",
        '| a | an engineer who reads |\n|---|---|\n\nNot "beside", not `behind`, a stand-in.',
    ),
    "who as a subject": (
        "rule 4",
        "a.py",
        "# A client: who asks is answered.",
        "# A user who asks is answered. Those who wait are too. The worker whose lane ended.",
    ),
    "an old word in the name of a test": (
        "rule 4",
        "a.py",
        "def test_a_lane_stands_still(): ...",
        "def test_a_lane_stalls(): ...",
    ),
    "A instead of PER": (
        "rule 4",
        "a.py",
        "ROWS_A_FILL = 1",
        "ROWS_PER_FILL = 1\nby_a_step = 2",
    ),
    "nine words in the name of a test": (
        "rule 6",
        "a.py",
        "class T:\n    async def test_one_two_three_four_five_six_seven_eight_nine(self): ...",
        "class T:\n    async def test_one_two_three_four_five_six_seven_eight(self): ...",
    ),
    "an escape without a reason": (
        "escape",
        "a.py",
        "# style: allow behind\n# Behind a proxy.",
        "# style: allow behind because the vendor's page says so\n# Behind a proxy.",
    ),
    "an escape that allows nothing": (
        "escape",
        "a.md",
        "<!-- style: allow behind because of a quote -->\nAfter a proxy.",
        "<!-- style: allow behind because of a quote -->\nBehind a proxy.",
    ),
}


def _rules(name: str, source: str) -> set[str]:
    return {finding.rule for finding in findings(Path(name), source)}


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_rule_catches_its_example(example: str) -> None:
    rule, name, bad, good = EXAMPLES[example]
    assert rule in _rules(name, bad)
    assert _rules(name, good) == set()


def test_a_finding_shows_place_text_and_action() -> None:
    [finding] = findings(Path("worker/a.py"), "x = 1\n# Begin anew.\n")
    assert str(finding) == 'worker/a.py:2: rule 4: "Begin anew.": not "anew": write "again"'


def test_an_escape_covers_one_text() -> None:
    source = "# Behind a proxy.  style: allow\n\n"
    source += "x = 1  # lies here, # style: allow lies because it is one\ny = 2  # lies here\n"
    assert [finding.line for finding in findings(Path("a.py"), source)] == [1, 4]


def test_a_docstring_is_escaped_after_its_end() -> None:
    source = '"""A proxy.\n\nThe server is\nbehind it.\n"""  # style: allow behind because I say so'
    assert findings(Path("a.py"), source) == []


def test_an_escape_in_a_code_span_is_text() -> None:
    assert findings(Path("a.md"), "Write `# style: allow behind` and why.") == []


def test_a_directive_is_no_prose() -> None:
    source = "x = 1  # noqa: A1; B2: anew\n# type: ignore[a]: b; c\n#!/bin/sh: a; b\n"
    assert findings(Path("a.py"), source) == []


def test_queries_in_strings_are_no_messages() -> None:
    assert findings(Path("a.py"), 'q = "SELECT lies FROM behind WHERE told"') == []


def test_a_long_subject_is_found() -> None:
    assert long_subjects([("1a", "x" * 60)]) == []
    assert "61 characters" in long_subjects([("1a", "x" * 61)])[0]


def test_only_released_migrations_are_passed_over() -> None:
    """The dump of a database that release 0.1 filled names the migrations applied there."""
    dump = (ROOT / "tests/migrations/filled_by_0_1.sql").read_text(encoding="utf-8")
    applied = re.findall(r"^\(\d+,'(\d{4}_\w+\.sql)','\w{64}','APPLIED'\)", dump, re.MULTILINE)
    files = sorted((ROOT / SCHEMA).glob("*.sql"))
    assert [f.name for f in files if is_applied(f.relative_to(ROOT))] == applied
    assert not is_applied(Path("worker/adapters/postgres/sql/0001.sql"))


def test_the_linter_keeps_its_own_rules() -> None:
    assert main(["tests/style"]) == 0


def test_every_kind_of_file_has_a_reader() -> None:
    names = ("a.py", "a.sql", "a.md", "a.toml", "a.yaml", "Makefile", ".ci/run", "Dockerfile")
    assert all(is_read(Path(name)) for name in names)
    assert not is_read(Path("LICENSE"))
