"""The table of `deploy/dsql/README.md`: what it names is there, and every line says how far."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "deploy" / "dsql" / "README.md"
TEXT = README.read_text(encoding="utf-8")
LINES = [line for line in TEXT.splitlines() if line.startswith("| ")]
RULES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in LINES
    if line.count("|") == 5 and not line.startswith("| DSQL")
]
CHECKS = (REPOSITORY / "worker/doctor/checks.py").read_text(encoding="utf-8")


def test_there_is_a_line_for_every_rule_of_the_four_sections() -> None:
    assert len(RULES) > 60
    assert TEXT.count("### ") == 4


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[0][:40])
def test_a_line_names_tests_that_exist_and_says_how_far(rule: list[str]) -> None:
    _, code, shown, how_far = rule
    assert code
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)
    assert tests
    assert re.sub(r"`[^`]*`|[, ]", "", shown) == "", "nothing but tests stands there"
    for path, name in tests:
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        assert re.search(rf"def {name}\(", text), f"{path} has no {name}"
    assert re.match(r"(shown on a stand-in|waits for a cluster)\b", how_far)


def test_files_that_are_named_exist() -> None:
    for path in re.findall(r"`((?:worker|tests)/[\w/]+\.(?:py|sql))", TEXT):
        assert (REPOSITORY / path).is_file(), path
    for name in re.findall(r"`(\w+\.sql)`", TEXT):
        assert (README.parent / name).is_file(), name


def test_checks_of_the_doctor_that_are_named_are_made() -> None:
    for rule in RULES:
        for name in re.findall(r"\*([^*]+)\*", rule[3]):
            assert f'"{name}"' in CHECKS, name
