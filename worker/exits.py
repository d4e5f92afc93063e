"""The errors that end a program, and the code of `worker.exit_codes` for each.

An error without a row here is a bug and ends with its traceback.
"""

from typing import Final, NamedTuple

from producers.client import PublisherError, TopicUnfit
from producers.encode import InvalidCommand
from worker.errors import (
    BrokerError,
    ConfigError,
    Conflict,
    OutcomeUnknown,
    ParityError,
    StoreError,
    Unavailable,
)
from worker.exit_codes import FAILED, UNREACHABLE, USAGE

_MISSING_DATABASE: Final = "3D000"


class Ending(NamedTuple):
    """The end of a program by an error: its exit code, and the prefix of its message."""

    code: int
    source: str = ""


_ENDINGS: Final[tuple[tuple[tuple[type[Exception], ...], Ending], ...]] = (
    ((ConfigError, InvalidCommand, TopicUnfit), Ending(USAGE)),
    ((BrokerError, PublisherError), Ending(UNREACHABLE, "Kafka: ")),
    ((Unavailable, OutcomeUnknown, Conflict), Ending(UNREACHABLE, "database: ")),
    ((OSError,), Ending(UNREACHABLE)),
    ((ParityError,), Ending(FAILED)),
)
"""The first row that has the error's class applies."""
EXPECTED: Final = tuple(kind for kinds, _ in _ENDINGS for kind in kinds)
"""Every error that ends a program with a message instead of a traceback."""


def ending(error: Exception) -> Ending:
    """Return the end of a program by ``error``, which is one of EXPECTED."""
    if isinstance(error, StoreError) and error.sqlstate == _MISSING_DATABASE:
        return Ending(USAGE, "database: ")
    return next(found for kinds, found in _ENDINGS if isinstance(error, kinds))
