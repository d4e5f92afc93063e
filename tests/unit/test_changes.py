"""Declarations of migration files, and the next action for a given state of the database."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from worker.adapters.postgres.changes import (
    Action,
    Change,
    Kind,
    Migration,
    Note,
    Presence,
    Progress,
    Verb,
    next_action,
    undone_by,
)
from worker.errors import ParityError

NOTHING: Mapping[str, Any] = dict.fromkeys(("relation", "usable", "has_default", "validated"))


def _migration(declaration: str, number: int = 16) -> Migration:
    return Migration(number, f"{number:04}_x.sql", f"-- X.\n-- {declaration}\nSELECT 1;\n")


TABLE = _migration("creates: table goods")
INDEX = _migration("creates: index goods.goods_dear")
COLUMN = _migration("creates: column goods.colour")
DROP = _migration("drops: constraint goods.goods_price")
VALIDATION = _migration("validates: constraint goods.goods_cheap")


# Declarations.


@pytest.mark.parametrize(
    ("sql", "change"),
    [
        ("-- X.\n-- creates: table t\nx", Change(Verb.CREATES, Kind.TABLE, "", "t")),
        ("-- X.\n-- creates: index t.i\nx", Change(Verb.CREATES, Kind.INDEX, "t", "i")),
        ("-- X.\n-- drops: column t.c\nx", Change(Verb.DROPS, Kind.COLUMN, "t", "c")),
        ("-- X.\n-- drops: default t.c\nx", Change(Verb.DROPS, Kind.DEFAULT, "t", "c")),
        (
            "-- X.\n-- validates: constraint t.k\nx",
            Change(Verb.VALIDATES, Kind.CONSTRAINT, "t", "k"),
        ),
        ("-- X.\nCREATE TABLE t (\n", Change(Verb.CREATES, Kind.TABLE, "", "t")),
        ("-- X.\nCREATE VIEW v AS\n", Change(Verb.CREATES, Kind.VIEW, "", "v")),
        ("-- X.\nCREATE INDEX ASYNC i ON t (c);", Change(Verb.CREATES, Kind.INDEX, "t", "i")),
    ],
)
def test_declaration_is_read(sql: str, change: Change) -> None:
    """The last three files have no declaration. Their CREATE statement serves as one."""
    assert Change.declared_in("0001_x.sql", sql) == change


@pytest.mark.parametrize(
    "sql",
    [
        "-- X.\nALTER TABLE t ADD COLUMN c integer;",
        "-- X.\n-- creates: column c\nALTER TABLE t ADD COLUMN c integer;",
        "-- X.\n-- creates: table s.t\nCREATE TABLE t (x);",
        "-- X.\n-- creates: column t.c\n-- creates: column t.d\nALTER TABLE t ...",
        "-- X.\n-- makes: column t.c\nALTER TABLE t ADD COLUMN c integer;",
    ],
    ids=["none", "without a table", "a table of a table", "two", "unknown verb"],
)
def test_unreadable_declaration_is_refused(sql: str) -> None:
    with pytest.raises(ParityError, match=r"^0016_x\.sql: expected one declaration such as"):
        Change.declared_in("0016_x.sql", sql)


# The catalog.


@pytest.mark.parametrize(
    ("declaration", "found", "presence"),
    [
        ("creates: table t", {}, Presence.ABSENT),
        ("creates: table t", {"relation": "r"}, Presence.PRESENT),
        ("creates: table t", {"relation": "v"}, Presence.OTHER),
        ("creates: view t", {"relation": "v"}, Presence.PRESENT),
        ("creates: view t", {"relation": "r"}, Presence.OTHER),
        ("creates: index t.i", {"relation": "i", "usable": True}, Presence.PRESENT),
        ("creates: index t.i", {"relation": "i", "usable": False}, Presence.UNUSABLE),
        ("creates: index t.i", {"relation": "r"}, Presence.OTHER),
        ("creates: column t.c", {"relation": "r"}, Presence.ABSENT),
        ("creates: column t.c", {"relation": "r", "has_default": False}, Presence.PRESENT),
        ("creates: column t.c", {"relation": "r", "validated": True}, Presence.ABSENT),
        ("creates: default t.c", {"relation": "r"}, Presence.ABSENT),
        ("creates: default t.c", {"relation": "r", "has_default": False}, Presence.ABSENT),
        ("creates: default t.c", {"relation": "r", "has_default": True}, Presence.PRESENT),
        ("creates: constraint t.k", {"relation": "r"}, Presence.ABSENT),
        ("creates: constraint t.k", {"relation": "r", "has_default": True}, Presence.ABSENT),
        ("creates: constraint t.k", {"relation": "r", "validated": False}, Presence.UNCHECKED),
        ("creates: constraint t.k", {"relation": "r", "validated": True}, Presence.PRESENT),
    ],
)
def test_presence_requires_the_declared_kind(
    declaration: str, found: Mapping[str, Any], presence: Presence
) -> None:
    """A column with a constraint's name is not that constraint, nor the reverse."""
    assert _migration(declaration).change.presence({**NOTHING, **found}) is presence


# The next action.


@pytest.mark.parametrize(
    ("migration", "note", "progress", "action"),
    [
        (TABLE, None, Progress.UNDONE, Action.NOTE),
        (TABLE, "STARTED", Progress.UNDONE, Action.APPLY),
        (TABLE, "STARTED", Progress.DONE, Action.MARK),
        (TABLE, "APPLIED", Progress.DONE, Action.NOTHING),
        (INDEX, "STARTED", Progress.RUNNING, Action.WAIT),
        (INDEX, "STARTED", Progress.BROKEN, Action.REBUILD),
        (INDEX, "STARTED", Progress.DONE, Action.MARK),
        (INDEX, "APPLIED", Progress.UNDONE, Action.APPLY),
        (INDEX, "APPLIED", Progress.BROKEN, Action.REBUILD),
        (INDEX, "APPLIED", Progress.RUNNING, Action.WAIT),
        (DROP, None, Progress.UNDONE, Action.NOTE),
        (DROP, None, Progress.DONE, Action.NOTE),
        (DROP, "STARTED", Progress.UNDONE, Action.APPLY),
        (DROP, "STARTED", Progress.DONE, Action.MARK),
        (DROP, "APPLIED", Progress.DONE, Action.NOTHING),
        (VALIDATION, None, Progress.DONE, Action.NOTE),
        (VALIDATION, "STARTED", Progress.RUNNING, Action.WAIT),
        (VALIDATION, "APPLIED", Progress.UNDONE, Action.APPLY),
    ],
)
def test_action_follows_from_note_and_progress(
    migration: Migration, note: str | None, progress: Progress, action: Action
) -> None:
    noted = None if note is None else Note(migration.checksum, note)
    assert next_action(migration, noted, progress) is action


@pytest.mark.parametrize(
    ("migration", "note", "progress", "message"),
    [
        (TABLE, None, Progress.DONE, "has the table goods, which no migration made"),
        (COLUMN, None, Progress.DONE, "has the column goods.colour, which no migration made"),
        (INDEX, None, Progress.BROKEN, "has the index goods.goods_dear, which no migration made"),
        (TABLE, Note("0" * 64, "STARTED"), Progress.UNDONE, "was changed after it was started"),
        (TABLE, Note("0" * 64, "APPLIED"), Progress.DONE, "was changed after it was applied"),
        (TABLE, Note(TABLE.checksum, "APPLIED"), Progress.UNDONE, "the table goods is gone"),
        (
            DROP,
            Note(DROP.checksum, "APPLIED"),
            Progress.UNDONE,
            "the constraint goods.goods_price is there again",
        ),
    ],
)
def test_unexpected_state_is_left_to_the_operator(
    migration: Migration, note: Note | None, progress: Progress, message: str
) -> None:
    with pytest.raises(ParityError, match=message):
        next_action(migration, note, progress)


def test_checksum_covers_every_byte() -> None:
    assert TABLE.checksum != replace(TABLE, sql=f"{TABLE.sql} ").checksum


# Files that undo others.


@pytest.mark.parametrize(
    ("earlier", "later", "undone"),
    [
        ("creates: constraint t.k", "drops: constraint t.k", True),
        ("validates: constraint t.k", "drops: constraint t.k", True),
        ("creates: column t.c", "drops: column t.c", True),
        ("creates: default t.c", "drops: column t.c", True),
        ("creates: column t.c", "drops: default t.c", False),
        ("creates: column t.c", "drops: constraint t.c", False),
        ("creates: constraint t.k", "drops: constraint u.k", False),
        ("creates: constraint t.k", "drops: constraint t.j", False),
        ("creates: table t", "drops: table t", True),
        ("creates: table t", "drops: view t", False),
        ("creates: index t.i", "drops: table t", True),
        ("creates: column v.c", "drops: view v", True),
        ("creates: column t.c", "drops: table u", False),
        ("drops: column t.c", "drops: table t", False),
    ],
)
def test_drop_undoes_what_it_names(earlier: str, later: str, undone: bool) -> None:
    """Dropping a table drops all that belongs to the table. A drop itself is never undone."""
    files = [_migration(earlier, 16), _migration(later, 18)]
    assert undone_by(files) == ({16: 18} if undone else {})


def test_nothing_is_undone_by_an_earlier_file() -> None:
    files = [_migration("drops: table t", 16), _migration("creates: table t", 18)]
    assert undone_by(files) == {}
