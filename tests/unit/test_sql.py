"""The SQL files themselves: what DSQL would refuse, and the rules that the guards rest on."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import worker.adapters.postgres
from tests.support.books import SCALARS, TABLES
from tests.support.dsql_lint import complaints
from worker.adapters.postgres import migrate, probes, scratch, statements
from worker.adapters.postgres.migrate import migrations
from worker.domain import ids
from worker.domain.units import PAYOUT_MAX, PAYOUT_MIN, QUANTITY_MAX, TRANSFER_MAX
from worker.wire import resume

FOLDER = Path(worker.adapters.postgres.__file__).parent
ROLES = sorted((Path(__file__).parents[2] / "deploy" / "dsql").glob("*.sql"))
QUERIES = sorted((FOLDER / "sql").glob("*.sql"))
SCHEMA = sorted((FOLDER / "schema").glob("*.sql"))
TABLE_FILES = [path for path in SCHEMA if "CREATE TABLE" in path.read_text(encoding="utf-8")]

every_file = pytest.mark.parametrize("path", [*QUERIES, *SCHEMA], ids=lambda path: path.name)
every_query = pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.name)
every_schema_file = pytest.mark.parametrize("path", SCHEMA, ids=lambda path: path.name)
every_table = pytest.mark.parametrize("path", TABLE_FILES, ids=lambda path: path.name)


def _code(path: Path) -> str:
    """Return the file without its comments."""
    return re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8"))


def _head(path: Path) -> str:
    """Return the comment that the file begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("--"))])


def _definitions(path: Path) -> list[str]:
    """Return what stands between the parentheses of a CREATE TABLE, item by item."""
    body = _code(path).split("(", 1)[1].rsplit(")", 1)[0]
    return [item.strip() for item in re.split(r",\n", body)]


@cache
def _complaints() -> Mapping[str, object]:
    return complaints(path.read_text(encoding="utf-8") for path in (*QUERIES, *SCHEMA, *ROLES))


@pytest.mark.parametrize("path", [*QUERIES, *SCHEMA, *ROLES], ids=lambda path: path.name)
def test_dsql_takes_it_as_far_as_its_linter_knows(path: Path) -> None:
    assert _complaints().get(path.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize("module", [migrate, probes, scratch])
def test_dsql_takes_what_stands_in_python_as_far_as_its_linter_knows(module: ModuleType) -> None:
    """Those without a name are met where they are sent: `integration/test_first_minutes.py`."""
    named = {text for text in vars(module).values() if isinstance(text, str)}
    texts = {text for text in named if re.match(r"(BEGIN|CREATE|INSERT|SELECT|UPDATE) \w", text)}
    assert len(texts) > 2
    assert complaints(texts) == {}


def test_the_linter_would_say_what_dsql_refuses() -> None:
    wrong, right = "CREATE INDEX i ON orders (lane)", "SELECT 1"
    assert complaints({wrong, right}).keys() == {wrong}


@every_query
def test_an_array_comes_as_text(path: Path) -> None:
    """For any other asyncpg looks into pg_type, on every connection, with jit switched off."""
    assert set(re.findall(r"\$\d+::(\w+)\[\]", _code(path))) <= {"text"}


@every_file
def test_it_begins_by_saying_what_it_does(path: Path) -> None:
    assert re.match(r"-- [A-Z]", path.read_text(encoding="utf-8"))


@every_query
def test_it_is_loaded_under_its_own_name(path: Path) -> None:
    assert getattr(statements, path.stem.upper()) == path.read_text(encoding="utf-8")


def test_every_statement_has_its_file() -> None:
    loaded = {name for name, text in vars(statements).items() if name.isupper() and name[0] != "_"}
    assert loaded == {path.stem.upper() for path in QUERIES}


@every_query
def test_it_is_one_statement(path: Path) -> None:
    assert ";" not in _code(path)


@every_query
def test_its_parameters_are_numbered_without_gap_and_explained(path: Path) -> None:
    used = {int(number) for number in re.findall(r"\$(\d+)", _code(path))}
    assert used == set(range(1, len(used) + 1))
    assert _explained(_head(path)) == used


def _explained(head: str) -> set[int]:
    """Return the parameters that a comment names: $1, or $2 to $4."""
    spans = re.findall(r"\$(\d+)(?: to \$(\d+))?", head)
    return {n for first, last in spans for n in range(int(first), int(last or first) + 1)}


def test_migrations_are_numbered_without_gap_and_named_for_what_they_make() -> None:
    assert [path.name[:4] for path in SCHEMA] == [f"{n:04d}" for n in range(1, len(SCHEMA) + 1)]
    assert [migration.number for migration in migrations()] == list(range(1, len(SCHEMA) + 1))
    made = [re.search(r"CREATE (?:TABLE|VIEW|INDEX ASYNC) (\w+)", _code(path)) for path in SCHEMA]
    assert [found and found[1] for found in made] == [path.stem[5:] for path in SCHEMA]


@every_schema_file
def test_it_makes_one_thing(path: Path) -> None:
    code = _code(path).strip()
    assert code.endswith(";")
    assert code.count(";") == 1
    assert len(re.findall(r"\bCREATE\b", code)) == 1


@every_table
def test_every_column_is_not_null(path: Path) -> None:
    columns = [item for item in _definitions(path) if not item.startswith("CONSTRAINT")]
    assert columns
    assert [column for column in columns if not column.endswith("NOT NULL")] == []


@every_table
def test_every_constraint_has_a_name_that_begins_with_its_table(path: Path) -> None:
    table = path.stem[5:]
    for item in _definitions(path):
        if re.search(r"\b(CHECK|PRIMARY KEY|UNIQUE|REFERENCES)\b", item):
            assert re.match(rf"CONSTRAINT {table}_\w+ ", item), item
    assert f"CONSTRAINT {table}_pkey PRIMARY KEY (" in _code(path)


def test_the_batch_statement_takes_what_the_helpers_of_the_tests_name() -> None:
    numbers = {int(number) for number in re.findall(r"\$(\d+)", statements.COMMIT_BATCH)}
    assert numbers == {position + 1 for position in (*SCALARS.values(), *TABLES.values())}


def test_keys_that_sql_spells_out_are_those_of_the_domain() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (*QUERIES, *SCHEMA))
    spelt = set(re.findall(r"'([0-9a-f]{8}-[0-9a-f-]{27})'", text))
    assert spelt == {ids.EXTERNAL, ids.NO_MARKET}


@pytest.mark.parametrize(
    ("table", "check"),
    [
        ("orders", f"quantity BETWEEN 1 AND {QUANTITY_MAX}"),
        ("trades", f"quantity BETWEEN 1 AND {QUANTITY_MAX}"),
        ("transfers", f"amount BETWEEN 1 AND {TRANSFER_MAX}"),
        ("markets", f"payout BETWEEN {PAYOUT_MIN} AND {PAYOUT_MAX}"),
        ("lanes", f"length(resume) <= {resume.BYTES_MAX}"),
    ],
)
def test_limits_that_sql_spells_out_are_those_of_the_domain(table: str, check: str) -> None:
    (path,) = [path for path in TABLE_FILES if path.stem[5:] == table]
    assert check in _code(path)
