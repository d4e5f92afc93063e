"""The table of `deploy/dsql/README.md` names existing tests and says how far each rule is shown."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "deploy" / "dsql" / "README.md"
TEXT = README.read_text(encoding="utf-8")
LINES = [
    line for line in TEXT.partition("\n## Rule by rule\n")[2].splitlines() if line.startswith("| ")
]
RULES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in LINES
    if line.count("|") == 5 and not line.startswith("| DSQL")
]
CHECKS = (REPOSITORY / "worker/doctor/checks.py").read_text(encoding="utf-8")


def test_table_has_every_rule_of_four_sections() -> None:
    assert len(RULES) > 60
    assert TEXT.count("### ") == 4


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[0][:40])
def test_lines_name_existing_tests(rule: list[str]) -> None:
    _, code, shown, how_far = rule
    assert code
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)
    assert tests
    assert re.sub(r"`[^`]*`|[, ]", "", shown) == "", "the column may have only tests"
    for path, name in tests:
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        assert re.search(rf"def {name}\(", text), f"{path} has no {name}"
    assert re.match(r"(shown on a stand-in|waits for a cluster)\b", how_far)


def test_named_files_exist() -> None:
    for path in re.findall(r"`((?:worker|tests)/[\w/]+\.(?:py|sql))", TEXT):
        assert (REPOSITORY / path).is_file(), path
    for name in re.findall(r"`(\w+\.sql)`", TEXT):
        assert (README.parent / name).is_file(), name


def test_named_checks_exist_in_the_doctor() -> None:
    for rule in RULES:
        for name in re.findall(r"\*([^*]+)\*", rule[3]):
            assert f'"{name}"' in CHECKS, name
