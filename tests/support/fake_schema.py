"""The schema of the in-memory database, read from the files of the real one.

Tables with their columns, keys and CHECKs after all migrations, and the types of the statement's
JSON rows. Constraints are tried in the order in which PostgreSQL tries them.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

import asyncpg

from worker.adapters.postgres import statements
from worker.adapters.postgres.parameters import NO_ROWS, PARAMETERS
from worker.errors import Poison, Refused

Row = dict[str, Any]
Key = tuple[Any, ...]


# The schema, as its files have it.


class Check(NamedTuple):
    """A CHECK constraint."""

    name: str
    holds: Callable[[Row], bool]


class Table(NamedTuple):
    """A table with all that it refuses. PostgreSQL tries CHECKs in the order of their names."""

    name: str
    columns: dict[str, str]
    required: tuple[str, ...]
    key_name: str
    key: tuple[str, ...]
    checks: tuple[Check, ...]
    defaults: dict[str, Any]

    def key_of(self, row: Row) -> Key:
        """Return the primary key of a row."""
        return tuple(row[column] for column in self.key)

    def admit(self, row: Row) -> None:
        """Raise Refused if this row may not be in the table, even if the table is empty."""
        for column in self.required:
            if row[column] is None:
                raise _null(self.name, column)
        for check in self.checks:
            if not check.holds(row):
                raise refused("23514", check.name)


class _Expression:
    """The SQL of a CHECK, as Python.

    A CHECK that may read NULL asks for it first, so that truth has two values.
    """

    _TOKENS: Final = re.compile(r"'[^']*'|\w+|<>|<=|>=|[=<>()*+,-]")
    _COMPARISONS: Final = {"=": "==", "<>": "!=", "<=": "<=", ">=": ">=", "<": "<", ">": ">"}

    def __init__(self, sql: str) -> None:
        self._left: list[str] = self._TOKENS.findall(sql)

    def compiled(self) -> Callable[[Row], bool]:
        source = self._either()
        assert not self._left, f"not understood: {self._left}"
        check: Callable[[Row], bool] = eval(f"lambda row: {source}", {"len": len})  # noqa: S307
        return check

    def _took(self, *tokens: str) -> str | None:
        return self._left.pop(0) if self._left and self._left[0] in tokens else None

    def _expect(self, token: str) -> None:
        found = self._left.pop(0)
        assert found == token, f"{token} expected, {found} found"

    def _either(self) -> str:
        return self._joined("OR", self._both)

    def _both(self) -> str:
        return self._joined("AND", self._comparison)

    def _joined(self, word: str, part: Callable[[], str]) -> str:
        parts = [part()]
        while self._took(word):
            parts.append(part())
        return f"({f' {word.lower()} '.join(parts)})"

    def _comparison(self) -> str:
        left = self._sum()
        if self._took("BETWEEN"):
            low = self._sum()
            self._expect("AND")
            return f"({low} <= {left} <= {self._sum()})"
        if self._took("IN"):
            return f"({left} in ({', '.join(self._list())},))"
        if self._took("IS"):
            inverted = "not " if self._took("NOT") else ""
            self._expect("NULL")
            return f"({left} is {inverted}None)"
        if sign := self._took(*self._COMPARISONS):
            return f"({left} {self._COMPARISONS[sign]} {self._sum()})"
        return left

    def _list(self) -> list[str]:
        self._expect("(")
        values = [self._sum()]
        while self._took(","):
            values.append(self._sum())
        self._expect(")")
        return values

    def _sum(self) -> str:
        """Return terms and signs unchanged, since Python's precedence of + - * is SQL's."""
        text = self._atom()
        while sign := self._took("+", "-", "*"):
            text = f"{text} {sign} {self._atom()}"
        return text

    def _atom(self) -> str:
        token = self._left.pop(0)
        if token == "(":  # noqa: S105
            inner = self._either()
            self._expect(")")
            return inner
        if token == "-":  # noqa: S105
            return f"-{self._atom()}"
        if token == "length":  # noqa: S105
            return f"len({self._list()[0]})"
        return token if token[0] in "'0123456789" else f"row[{token!r}]"


@cache
def schema() -> dict[str, Table]:
    """Return the tables of worker/adapters/postgres/schema."""
    folder = files("worker.adapters.postgres") / "schema"
    found = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        sql = re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8"))
        if create := re.search(r"CREATE TABLE (\w+) \((.*)\);", sql, re.DOTALL):
            found[create[1]] = _table(create[1], list(_entries(create[2])))
        elif alter := re.search(r"ALTER TABLE (?:ASYNC )?(\w+) (.*);", sql, re.DOTALL):
            found[alter[1]] = _altered(found[alter[1]], alter[2])
        else:
            assert re.search(r"CREATE (INDEX|VIEW)", sql), sql
    return found


def _altered(table: Table, action: str) -> Table:
    """Return a table after one action of ALTER TABLE."""
    if added := re.fullmatch(r"ADD COLUMN (\w+) (\w+)", action):
        return table._replace(columns={**table.columns, added[1]: added[2]})
    if default := re.fullmatch(r"ALTER COLUMN (\w+) SET DEFAULT (\d+)", action):
        return table._replace(defaults={**table.defaults, default[1]: int(default[2])})
    if check := re.fullmatch(r"ADD CONSTRAINT (\w+) CHECK \((.*)\) NOT VALID", action):
        more = Check(check[1], _Expression(check[2]).compiled())
        return table._replace(checks=tuple(sorted((*table.checks, more))))
    if dropped := re.fullmatch(r"DROP CONSTRAINT (\w+)", action):
        left = tuple(check for check in table.checks if check.name != dropped[1])
        assert len(left) < len(table.checks), action
        return table._replace(checks=left)
    assert action.startswith("VALIDATE CONSTRAINT "), action
    return table


def _entries(body: str) -> Iterator[str]:
    """Yield the items of a CREATE TABLE."""
    depth, entry = 0, ""
    for character in body:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and not depth:
            yield entry.strip()
            entry = ""
        else:
            entry += character
    yield entry.strip()


def _table(name: str, entries: list[str]) -> Table:
    columns, required, checks = {}, [], []
    key_name, key = "", ()
    for entry in entries:
        if of_key := re.fullmatch(r"CONSTRAINT (\w+) PRIMARY KEY \((.*)\)", entry):
            key_name, key = of_key[1], tuple(of_key[2].split(", "))
        elif of_check := re.fullmatch(r"CONSTRAINT (\w+) CHECK \((.*)\)", entry, re.DOTALL):
            checks.append(Check(of_check[1], _Expression(of_check[2]).compiled()))
        else:
            column, kind, *rest = entry.split()
            columns[column] = kind
            required += [column] * (rest == ["NOT", "NULL"])
    assert key, f"{name} has no key"
    return Table(name, columns, tuple(required), key_name, key, tuple(sorted(checks)), {})


def refused(sqlstate: str, constraint: str) -> Refused:
    return Refused(f"{sqlstate} {constraint}", sqlstate=sqlstate, constraint=constraint)


def _null(table: str, column: str) -> Refused:
    cause = asyncpg.NotNullViolationError(f"{table}.{column} is null")
    cause.table_name, cause.column_name = table, column
    refused = Refused(f"23502 {table}.{column}", sqlstate="23502")
    refused.__cause__ = cause
    return refused


def poison(sqlstate: str, text: str) -> Poison:
    return Poison(f"{sqlstate} {text}", sqlstate=sqlstate)


# The parameters, as ``json_to_recordset`` reads them.

_INTEGERS: Final = {"bigint": 2**63, "int": 2**31, "integer": 2**31, "smallint": 2**15}


@cache
def record_columns() -> dict[str, dict[str, str]]:
    """Return name and type of every column that commit_batch.sql takes from each table."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    pattern = r"json_to_recordset\(\$(\d+)::json\)\s+AS\s+\w+\(([^)]*)\)"
    for number, columns in re.findall(pattern, statements.COMMIT_BATCH):
        for column in columns.split(","):
            name, kind = column.split()
            found[PARAMETERS[int(number) - 1].name].setdefault(name, kind)
    return dict(found)


def records(table: str, text: str) -> list[Row]:
    """Return the rows of a table's JSON, cast as ``json_to_recordset`` casts them."""
    if text == NO_ROWS:
        return []
    columns = record_columns()[table].items()
    return [
        {name: _cast(given.get(name), kind) for name, kind in columns} for given in json.loads(text)
    ]


def _cast(value: Any, kind: str) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON value as SQL casts its text to a column's type."""
    if value is None or (type(value) is str and kind in {"uuid", "text"}):
        return value
    if kind in _INTEGERS:
        if type(value) is not int:
            raise poison("22P02", f"{value!r} is no {kind}")
        if not -_INTEGERS[kind] <= value < _INTEGERS[kind]:
            raise poison("22003", f"{value} is out of range for {kind}")
    elif kind == "boolean" and type(value) is not bool:
        raise poison("22P02", f"{value!r} is no boolean")
    return value


def bigint(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise poison("22003", "bigint out of range")
    return value
