"""The one change that a migration file declares, and how the catalog shows that it is done.

A file begins with a sentence. A line of this form then declares its change:

    -- creates: table postings
    -- creates: column batches.rules
    -- validates: constraint orders.orders_terms
    -- drops: constraint orders.orders_side

The kinds are table, view, index, column, default and constraint. A thing that belongs to a table is
named with its table, and a default has the name of its column. A change counts as done once the
catalog of the current schema has the thing, has it validated, or no longer has it. The first
fifteen files declare nothing, since their CREATE says the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from typing_extensions import override

from worker.errors import ParityError


class Verb(StrEnum):
    """The effect of a file."""

    CREATES = "creates"
    DROPS = "drops"
    VALIDATES = "validates"


class Kind(StrEnum):
    """The kind of thing that a file affects."""

    TABLE = "table"
    VIEW = "view"
    INDEX = "index"
    COLUMN = "column"
    DEFAULT = "default"
    CONSTRAINT = "constraint"


class Presence(StrEnum):
    """Whether the catalog has a thing, and in which condition."""

    ABSENT = "absent"
    OTHER = "other"
    """A relation of another kind has the name."""
    UNUSABLE = "unusable"
    """The index exists and is not built."""
    UNCHECKED = "unchecked"
    """New rows must meet the constraint, and the old rows were not checked."""
    PRESENT = "present"


APPLIED: Final = "APPLIED"
_DECLARATION: Final = re.compile(
    rf"^-- ({'|'.join(Verb)}): ({'|'.join(Kind)}) (?:(\w+)\.)?(\w+)$", re.MULTILINE
)
_CREATE: Final = re.compile(
    r"^CREATE (TABLE|VIEW|INDEX)(?: ASYNC)? (\w+)(?: ON (\w+))?", re.MULTILINE
)
_WITHOUT_TABLE: Final = frozenset({Kind.TABLE, Kind.VIEW})
_RELATION_KINDS: Final = {Kind.TABLE: "r", Kind.VIEW: "v", Kind.INDEX: "i"}


@dataclass(frozen=True, slots=True)
class Change:
    """One declaration. ``table`` is empty for a table and for a view."""

    verb: Verb
    kind: Kind
    table: str
    name: str

    @classmethod
    def declared_in(cls, file: str, sql: str) -> "Change":
        """Return what a file declares. Raises ParityError unless that is exactly one change."""
        declared = _DECLARATION.findall(sql)
        if len(declared) == 1:
            verb, kind, table, name = declared[0]
            change = cls(Verb(verb), Kind(kind), table, name)
            if bool(table) != (change.kind in _WITHOUT_TABLE):
                return change
        elif not declared and (created := _CREATE.search(sql)):
            kind, name, table = created.groups()
            return cls(Verb.CREATES, Kind(kind.lower()), table or "", name)
        raise ParityError(
            f"{file}: expected one declaration such as `-- creates: column batches.rules`,"
            f" got {[' '.join(parts) for parts in declared]}; see CONTRIBUTING.md"
        )

    @override
    def __str__(self) -> str:
        """Return the thing by its kind and name."""
        return f"{self.kind} {self.table}.{self.name}" if self.table else f"{self.kind} {self.name}"

    @property
    def only_reads(self) -> bool:
        """Return whether it only reads rows. Such a change takes long and may be repeated."""
        builds = self.verb is Verb.CREATES and self.kind is Kind.INDEX
        return builds or self.verb is Verb.VALIDATES

    def undoes(self, other: "Change") -> bool:
        """Return whether this drop takes away what ``other`` made."""
        if self.verb is not Verb.DROPS or other.verb is Verb.DROPS:
            return False
        if self.kind in _WITHOUT_TABLE and other.table == self.name:
            return True
        place, others_place = (self.table, self.name), (other.table, other.name)
        kinds = {self.kind, Kind.DEFAULT} if self.kind is Kind.COLUMN else {self.kind}
        return place == others_place and other.kind in kinds

    @property
    def looked_up(self) -> tuple[str, str]:
        """Return the arguments of ``LOOK_UP``, a relation and the name of a part of it."""
        of_relation = self.kind in _RELATION_KINDS
        return (self.name, "") if of_relation else (self.table, self.name)

    def presence(self, found: Mapping[str, Any]) -> Presence:
        """Return the presence of the thing by a row of ``LOOK_UP``, all None without a row."""
        if self.kind in _RELATION_KINDS and found["relation"] is not None:
            if found["relation"] != _RELATION_KINDS[self.kind]:
                return Presence.OTHER
            return Presence.UNUSABLE if found["usable"] is False else Presence.PRESENT
        if self.kind is Kind.CONSTRAINT and found["validated"] is not None:
            return Presence.PRESENT if found["validated"] else Presence.UNCHECKED
        there = (self.kind is Kind.COLUMN and found["has_default"] is not None) or (
            self.kind is Kind.DEFAULT and found["has_default"]
        )
        return Presence.PRESENT if there else Presence.ABSENT


LOOK_UP: Final = (
    "SELECT c.relkind::text AS relation, i.indisvalid AS usable,"
    "       a.atthasdef AS has_default, k.convalidated AS validated"
    "  FROM pg_class c"
    "  JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  LEFT JOIN pg_index i ON i.indexrelid = c.oid"
    "  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname::text = $2::text"
    "        AND a.attnum > 0 AND NOT a.attisdropped"
    "  LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.conname::text = $2::text"
    " WHERE n.nspname = current_schema() AND c.relname::text = $1::text"
)
"""Reads a relation of the current schema, and one column and constraint of it, by their names."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``schema/``."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the file, hex."""
        return sha256(self.sql.encode()).hexdigest()

    @property
    def change(self) -> Change:
        """Return the change that the file declares."""
        return Change.declared_in(self.name, self.sql)

    @property
    def title(self) -> str:
        """Return the line that the statement begins with."""
        code = (line for line in self.sql.splitlines() if not line.startswith("--"))
        return next(code, "").rstrip(" (;")


class Progress(StrEnum):
    """How far a change is, no matter which migrator made it."""

    UNDONE = "undone"
    RUNNING = "running"
    BROKEN = "broken"
    DONE = "done"


class Action(StrEnum):
    """The next step for a file."""

    NOTE = "begin"
    APPLY = "apply"
    WAIT = "wait for its job"
    REBUILD = "drop and create again"
    MARK = "mark as applied"
    NOTHING = "leave alone"


@dataclass(frozen=True, slots=True)
class Note:
    """A row of ``migrations``."""

    checksum: str
    state: str


def next_action(migration: Migration, note: Note | None, progress: Progress) -> Action:
    """Return what to do next. Raises ParityError on what only an operator can decide."""
    change = migration.change
    if note is None:
        if change.verb is Verb.CREATES and progress is not Progress.UNDONE:
            raise ParityError(
                f"{migration.name}: the database has the {change}, which no migration made;"
                " rename it or take an empty database"
            )
        return Action.NOTE
    if note.checksum != migration.checksum:
        raise ParityError(
            f"{migration.name} was changed after it was {note.state.lower()}: its checksum is"
            f" {migration.checksum[:12]}…, noted is {note.checksum[:12]}…; restore the file"
        )
    if progress is Progress.DONE:
        return Action.NOTHING if note.state == APPLIED else Action.MARK
    if note.state == APPLIED and not change.only_reads:
        now = "is there again" if change.verb is Verb.DROPS else "is gone"
        raise ParityError(f"{migration.name} was applied, but the {change} {now}; restore it")
    return {
        Progress.UNDONE: Action.APPLY,
        Progress.RUNNING: Action.WAIT,
        Progress.BROKEN: Action.REBUILD,
    }[progress]


def undone_by(every: Sequence[Migration]) -> dict[int, int]:
    """Return the number of the later file that drops what a file made, by the file's number."""
    return {
        made.number: dropped.number
        for dropped in reversed(every)
        for made in every
        if made.number < dropped.number and dropped.change.undoes(made.change)
    }
