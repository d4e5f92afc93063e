"""Marks: a part of a batch can be planned on trial, and taken back without a trace.

A mark holds a copy of the draft, so it costs time in proportion to the batch. Mark once for a group
of commands that must all succeed. A condition on one order needs no mark: see ``matching``.

No rule of this release uses a mark. The laws of ``tests/property`` exercise them on every kind of
command, so that a rule may.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Final

from worker.domain.draft import Draft
from worker.domain.purse import Purse
from worker.domain.rows import MarketChange, OrderRow
from worker.domain.units import MarketId

_GIVEN: Final = ("state", "facts", "limits")
"""Fields that no planning changes."""
_KEPT: Final = ("lack",)
"""Fields that a rollback leaves as they are. The facts that a trial lacked are read all the same.
Otherwise the draft could go on with a verdict that rests on facts which nobody has read."""
_OWN: Final = ("tally", "books")
"""Fields that are marked and rolled back in a way of their own."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One point of a draft. It serves for one rollback."""

    values: dict[str, Any]
    tallied_rows: int
    changes: dict[MarketId, int]
    """Changes of each book up to the mark."""


def mark(draft: Draft) -> Mark:
    """Return the present point of the draft."""
    values = {name: _copied(getattr(draft, name)) for name in _MARKED}
    changes = {market_id: book.changes for market_id, book in draft.books.items()}
    return Mark(values, draft.tally.rows, changes)


def rollback(draft: Draft, to: Mark) -> None:
    """Make the draft what it was at a mark, apart from its lack."""
    for market_id, book in draft.books.items():
        book.undo(to.changes.get(market_id, 0))
    draft.tally.rows = to.tallied_rows
    for name, value in to.values.items():
        setattr(draft, name, value)


def _copied(value: Any) -> Any:  # noqa: ANN401 - any field
    """Return a copy that later planning does not reach. Values that never change are shared."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | set):
        return value.copy()
    if isinstance(value, Purse):
        # Its tally is the draft's, which all purses share.
        inner = {name: _copied(getattr(value, name)) for name in _PURSE_FIELDS}
        return replace(value, **inner)
    if isinstance(value, OrderRow | MarketChange):
        return replace(value)
    return value


_PURSE_FIELDS: Final = tuple(field.name for field in fields(Purse) if field.name != "tally")
_MARKED: Final = tuple(
    field.name for field in fields(Draft) if field.name not in (*_GIVEN, *_KEPT, *_OWN)
)
