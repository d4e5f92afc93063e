"""The SQL files themselves: what DSQL would refuse, and the rules that the guards rest on."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import worker.adapters.postgres
from tests.composed_sql import composed
from tests.support.dsql_lint import complaints
from worker.adapters.postgres import (
    changes,
    codes,
    migrate,
    scratch,
    statements,
    target_checks,
)
from worker.adapters.postgres.changes import Change, Kind, Migration, Verb
from worker.adapters.postgres.migrate import migrations
from worker.adapters.postgres.parameters import COUNTS, PARAMETERS
from worker.adapters.postgres.steps import STEPS
from worker.domain import ids
from worker.domain.units import PAYOUT_MAX, PAYOUT_MIN, QUANTITY_MAX, TRANSFER_MAX
from worker.wire import resume

FOLDER = Path(worker.adapters.postgres.__file__).parent
ROLES = sorted((Path(__file__).parents[2] / "deploy" / "dsql").glob("*.sql"))
QUERIES = sorted((FOLDER / "sql").glob("*.sql"))
PARTS = sorted((FOLDER / "sql" / "parts").glob("*.sql"))
SCHEMA = sorted((FOLDER / "schema").glob("*.sql"))
TABLE_FILES = [path for path in SCHEMA if "CREATE TABLE" in path.read_text(encoding="utf-8")]
STATEMENTS = composed()

every_file = pytest.mark.parametrize(
    "path", [*QUERIES, *PARTS, *SCHEMA], ids=lambda path: path.name
)
every_schema_file = pytest.mark.parametrize("path", SCHEMA, ids=lambda path: path.name)
every_table = pytest.mark.parametrize("path", TABLE_FILES, ids=lambda path: path.name)
every_statement = pytest.mark.parametrize("text", STATEMENTS.values(), ids=STATEMENTS)


def _without_comments(text: str) -> str:
    return re.sub(r"--[^\n]*", "", text)


def _code(path: Path) -> str:
    """Return the file without its comments."""
    return _without_comments(path.read_text(encoding="utf-8"))


def _head(text: str) -> str:
    """Return the comment that a text begins with."""
    found = re.match(r"(--.*\n)*", text)
    return found[0].replace("\n-- ", " ") if found else ""


def _definitions(path: Path) -> list[str]:
    """Return the items in the parentheses of a CREATE TABLE."""
    body = _code(path).split("(", 1)[1].rsplit(")", 1)[0]
    return [item.strip() for item in re.split(r",\n", body)]


# What the database gets.


@cache
def _complaints() -> Mapping[str, object]:
    files = [path.read_text(encoding="utf-8") for path in (*SCHEMA, *ROLES)]
    return complaints([*STATEMENTS.values(), *files])


@every_statement
def test_linter_of_dsql_takes_every_statement(text: str) -> None:
    assert _complaints().get(text) is None


@pytest.mark.parametrize("path", [*SCHEMA, *ROLES], ids=lambda path: path.name)
def test_linter_of_dsql_takes_every_file(path: Path) -> None:
    assert _complaints().get(path.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize("module", [changes, migrate, scratch, target_checks])
def test_linter_of_dsql_takes_sql_in_python(module: ModuleType) -> None:
    """Others are checked where they are sent, in `integration/test_first_minutes.py`."""
    named = {text for text in vars(module).values() if isinstance(text, str)}
    texts = {text for text in named if re.match(r"(BEGIN|CREATE|INSERT|SELECT|UPDATE) \w", text)}
    assert texts
    assert complaints(texts) == {}


def test_linter_of_dsql_complains_of_what_it_refuses() -> None:
    wrong, right = "CREATE INDEX i ON orders (lane)", "SELECT 1"
    assert complaints({wrong, right}).keys() == {wrong}


@every_statement
def test_every_array_arrives_as_text(text: str) -> None:
    """Other arrays make asyncpg query pg_type on every connection, with jit switched off."""
    assert set(re.findall(r"\$\d+::(\w+)\[\]", _without_comments(text))) <= {"text"}


@every_statement
def test_every_text_is_one_statement(text: str) -> None:
    assert ";" not in _without_comments(text)


@every_statement
def test_parameters_are_numbered_without_gap(text: str) -> None:
    used = {int(number) for number in re.findall(r"\$(\d+)", _without_comments(text))}
    assert used == set(range(1, len(used) + 1))


# The files that they are made of.


@every_file
def test_every_file_begins_with_a_sentence(path: Path) -> None:
    assert re.match(r"-- [A-Z]", path.read_text(encoding="utf-8"))


def test_every_file_is_used() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (*QUERIES, *PARTS)]
    included = {name for text in texts for name in re.findall(r"-- include: (\w+)", text)}
    loaded = {name for name in STATEMENTS if not re.fullmatch(r"step_\d+", name)}
    steps = re.findall(r'compose\("(\w+)"\)', (FOLDER / "steps.py").read_text(encoding="utf-8"))
    assert {path.stem for path in PARTS} <= included | set(steps)
    own_files = {name for name in steps if name.startswith("step_")}
    assert {path.stem for path in QUERIES} == loaded | own_files


@pytest.mark.parametrize(
    "path", [path for path in QUERIES if "$1" in _code(path)], ids=lambda path: path.name
)
def test_head_of_a_query_explains_its_numbers(path: Path) -> None:
    used = {int(number) for number in re.findall(r"\$(\d+)", _code(path))}
    spans = re.findall(r"\$(\d+)(?: to \$(\d+))?", _head(path.read_text(encoding="utf-8")))
    explained = {n for first, last in spans for n in range(int(first), int(last or first) + 1)}
    assert explained == used


def test_batch_takes_every_parameter_in_order() -> None:
    assert statements.COMMIT.parameters == tuple(parameter.name for parameter in PARAMETERS)


def test_steps_take_every_parameter_and_count() -> None:
    taken = {name for step in STEPS for name in step.statement.parameters}
    assert taken == {parameter.name for parameter in PARAMETERS} | COUNTS.keys()
    counted = {step.counted_as for step in STEPS} | {"trades_mispriced", "trades_not_open", ""}
    assert counted == COUNTS.keys() | {""}


def test_parameter_that_nobody_knows_fails_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_load", lambda _: "SELECT $nothing")
    with pytest.raises(AssertionError, match="nothing"):
        statements.compose("x")


# Numbers of words.


def test_codes_have_one_word_for_each_number() -> None:
    for numbers in codes._NUMBERED.values():
        assert len(set(numbers.values())) == len(numbers)


def test_queries_spell_out_no_code() -> None:
    """A number next to a column of codes would be a second home of that code."""
    columns = "side|time_in_force|status|outcome|kind|lane"
    for path in (*QUERIES, *PARTS):
        spelt = re.findall(rf"\b(?:{columns}) [=<>]+ -?[1-9]|\bWHEN [1-9]", _code(path))
        assert not spelt, path


@pytest.mark.parametrize(
    ("file", "column", "words"),
    [
        ("0006_markets", "status", codes._NUMBERED["market"]),
        ("0006_markets", "outcome", codes._NUMBERED["outcome"]),
        ("0009_orders", "side", codes._NUMBERED["side"]),
        ("0009_orders", "time_in_force", codes._NUMBERED["time_in_force"]),
        ("0009_orders", "status", codes._NUMBERED["order"]),
        ("0012_ledger", "kind", codes._NUMBERED["kind"]),
    ],
)
def test_schema_explains_numbers_as_the_code_has_them(
    file: str, column: str, words: Mapping[str, int]
) -> None:
    (path,) = [path for path in SCHEMA if path.stem == file]
    listed = re.search(rf"\b{column}: ([^.]*)\.", _head(path.read_text(encoding="utf-8")))
    assert listed
    pairs = [item.split() for item in listed[1].split(", ")]
    assert {word.upper(): int(number) for number, word in pairs} == words


@every_schema_file
def test_schema_file_is_one_statement(path: Path) -> None:
    code = _code(path).strip()
    assert code.endswith(";")
    assert code.count(";") == 1


# What a schema file declares, and what it does.

UNDECLARED: Final = 15
"""Files up to this number are from before declarations. They never change."""
_FORMS: Final = (
    (r"CREATE TABLE (?P<name>\w+)", Verb.CREATES, Kind.TABLE),
    (r"CREATE VIEW (?P<name>\w+)", Verb.CREATES, Kind.VIEW),
    (r"CREATE OR REPLACE VIEW (?P<table>\w+)", Verb.CREATES, Kind.COLUMN),
    (
        r"CREATE (?:UNIQUE )?INDEX ASYNC (?P<name>\w+) ON (?P<table>\w+)",
        Verb.CREATES,
        Kind.INDEX,
    ),
    (r"ALTER TABLE (?P<table>\w+) ADD COLUMN (?P<name>\w+)", Verb.CREATES, Kind.COLUMN),
    (
        r"ALTER TABLE (?P<table>\w+) ALTER COLUMN (?P<name>\w+) SET DEFAULT",
        Verb.CREATES,
        Kind.DEFAULT,
    ),
    (r"ALTER TABLE (?P<table>\w+) ADD CONSTRAINT (?P<name>\w+)", Verb.CREATES, Kind.CONSTRAINT),
    (
        r"ALTER TABLE ASYNC (?P<table>\w+) VALIDATE CONSTRAINT (?P<name>\w+)",
        Verb.VALIDATES,
        Kind.CONSTRAINT,
    ),
    (r"ALTER TABLE (?P<table>\w+) DROP CONSTRAINT (?P<name>\w+)", Verb.DROPS, Kind.CONSTRAINT),
    (r"ALTER TABLE (?P<table>\w+) DROP COLUMN (?P<name>\w+)", Verb.DROPS, Kind.COLUMN),
    (
        r"ALTER TABLE (?P<table>\w+) ALTER COLUMN (?P<name>\w+) DROP DEFAULT",
        Verb.DROPS,
        Kind.DEFAULT,
    ),
    (r"DROP TABLE (?P<name>\w+)", Verb.DROPS, Kind.TABLE),
    (r"DROP VIEW (?P<name>\w+)", Verb.DROPS, Kind.VIEW),
    (r"DROP INDEX (?P<name>\w+)", Verb.DROPS, Kind.INDEX),
)
"""Every form of DDL that a file may have, and the change that it makes."""
NAMES: Final = {
    (Verb.CREATES, Kind.COLUMN): "{0.table}_{0.name}",
    (Verb.CREATES, Kind.DEFAULT): "{0.table}_{0.name}_default",
    (Verb.VALIDATES, Kind.CONSTRAINT): "{0.name}_valid",
    (Verb.DROPS, Kind.COLUMN): "{0.table}_{0.name}_dropped",
    (Verb.DROPS, Kind.DEFAULT): "{0.table}_{0.name}_default_dropped",
}
"""How a file is named for its change."""


def _disagreements(migration: Migration) -> list[str]:
    """Return in what a file's declaration and its statement differ."""
    change, code = migration.change, re.sub(r"--[^\n]*\n", "", migration.sql).strip()
    found = [
        (match.groupdict(), verb, kind)
        for form, verb, kind in _FORMS
        if (match := re.match(f"{form}\\b", code))
    ]
    if len(found) != 1:
        return [f"a statement of none of the forms known: {code[:40]}"]
    ((groups, verb, kind),) = found
    # A statement that replaces a view names no column, and DROP INDEX names no table.
    name, table = groups.get("name", change.name), groups.get("table", change.table)
    stated = Change(verb, kind, table, name)
    wrong = [] if stated == change else [f"declared {change.verb} {change}, does {stated}"]
    if "name" not in groups and not re.search(rf"\b{change.name}\b", code):
        wrong.append(f"the view has no {change.name}")
    return wrong


@every_schema_file
def test_declaration_says_what_the_statement_does(path: Path) -> None:
    (migration,) = [m for m in migrations() if m.name == path.name]
    assert _disagreements(migration) == []
    declared = re.search(rf"^-- ({'|'.join(Verb)}): ", migration.sql, re.MULTILINE)
    assert declared or migration.number <= UNDECLARED


@pytest.mark.parametrize(
    ("declared", "statement"),
    [
        ("creates: column t.c", "ALTER TABLE t ADD COLUMN d integer;"),
        ("creates: column t.c", "ALTER TABLE u ADD COLUMN c integer;"),
        ("creates: column t.c", "ALTER TABLE t DROP COLUMN c;"),
        ("creates: constraint t.c", "ALTER TABLE t ADD COLUMN c integer;"),
        ("creates: constraint t.k", "ALTER TABLE ASYNC t VALIDATE CONSTRAINT k;"),
        ("validates: constraint t.k", "ALTER TABLE t ADD CONSTRAINT k CHECK (c > 0) NOT VALID;"),
        ("creates: column v.c", "CREATE OR REPLACE VIEW v AS SELECT b FROM t;"),
        ("creates: view v", "CREATE OR REPLACE VIEW v AS SELECT b FROM t;"),
        ("creates: table t", "CREATE VIEW t AS SELECT 1;"),
        ("creates: index t.i", "CREATE INDEX ASYNC i ON u (c);"),
        ("creates: table t", "CREATE MATERIALIZED VIEW t AS SELECT 1;"),
    ],
)
def test_disagreement_with_the_statement_is_found(declared: str, statement: str) -> None:
    assert _disagreements(Migration(16, "0016_x.sql", f"-- X.\n-- {declared}\n{statement}\n"))


def test_migrations_are_numbered_without_gap() -> None:
    assert [migration.number for migration in migrations()] == list(range(1, len(SCHEMA) + 1))
    assert [path.name[:4] for path in SCHEMA] == [f"{n:04d}" for n in range(1, len(SCHEMA) + 1)]


@every_schema_file
def test_schema_file_is_named_for_its_change(path: Path) -> None:
    (change,) = [m.change for m in migrations() if m.name == path.name]
    plain = "{0.name}" if change.verb is Verb.CREATES else "{0.name}_dropped"
    assert path.stem[5:] == NAMES.get((change.verb, change.kind), plain).format(change)


def test_a_name_is_used_once() -> None:
    """A late migrator could otherwise drop or create what a later file made under that name."""
    relations = {Kind.TABLE, Kind.VIEW, Kind.INDEX}
    made = [m.change for m in migrations() if m.change.verb is Verb.CREATES]
    names = [(c.name,) if c.kind in relations else (c.kind, c.table, c.name) for c in made]
    names += [(Kind.CONSTRAINT, t, n) for t, n in _constraints_of_tables()]
    assert len(names) == len(set(names))


def test_a_file_changes_only_what_is_there() -> None:
    """Every drop and every validation names something that an earlier file made."""
    there = {(Kind.CONSTRAINT, *names) for names in _constraints_of_tables()}
    for change in (migration.change for migration in migrations()):
        thing = (change.kind, change.table, change.name)
        assert change.verb is Verb.CREATES or thing in there, change
        (there.discard if change.verb is Verb.DROPS else there.add)(thing)


def _constraints_of_tables() -> list[tuple[str, str]]:
    """Return table and name of every constraint that a CREATE TABLE has."""
    return [
        (path.stem[5:], name)
        for path in TABLE_FILES
        for name in re.findall(r"\bCONSTRAINT (\w+)", _code(path))
    ]


@every_table
def test_every_column_is_not_null(path: Path) -> None:
    columns = [item for item in _definitions(path) if not item.startswith("CONSTRAINT")]
    assert columns
    assert [column for column in columns if not column.endswith("NOT NULL")] == []


@every_table
def test_constraint_names_begin_with_their_table(path: Path) -> None:
    table = path.stem[5:]
    for item in _definitions(path):
        if re.search(r"\b(CHECK|PRIMARY KEY|UNIQUE|REFERENCES)\b", item):
            assert re.match(rf"CONSTRAINT {table}_\w+ ", item), item
    assert f"CONSTRAINT {table}_pkey PRIMARY KEY (" in _code(path)


def test_keys_in_sql_are_the_domains() -> None:
    schema = "".join(path.read_text(encoding="utf-8") for path in SCHEMA)
    text = "".join([schema, *STATEMENTS.values()])
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
def test_limits_in_sql_are_the_domains(table: str, check: str) -> None:
    (path,) = [path for path in TABLE_FILES if path.stem[5:] == table]
    assert check in _code(path)
