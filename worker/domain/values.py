"""Values: data that never changes once it is made.

The type checker refuses an assignment to a field. The interpreter would too for a frozen dataclass,
but makes those four times as slowly (0.54 against 0.11 us for seven fields), and an order makes a
dozen; so where that counts, a value is frozen for the checker alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def value(cls: type[T], /) -> type[T]: ...
@overload
def value(*, kw_only: bool) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(
    cls: type[T] | None = None, /, *, kw_only: bool = False
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class a value: a dataclass with slots, equal and hashed by its fields."""
    make = dataclass(slots=True, unsafe_hash=True, kw_only=kw_only)
    return make if cls is None else make(cls)
