"""Numbers of the words in the tables. Each pair is stated here and nowhere else.

A number keeps its meaning for good, since rows hold it; a new word takes a new number. The SQL
files write a word in braces, ``{kind.PRICE}``, and get the number when they are loaded.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeVar

from worker.domain import ids
from worker.domain.commands import Outcome, Side, TimeInForce
from worker.domain.state import MarketStatus, OrderStatus
from worker.domain.units import ESCROW, OUTSIDE, WALLET

T = TypeVar("T")


class LedgerKind(IntEnum):
    """The reason for a row of the ledger."""

    PRICE = 1
    COLLATERAL = 2
    PAYOUT = 3
    DRAW = 4
    DEPOSIT = 5
    WITHDRAWAL = 6


SIDES: Final[Mapping[Side, int]] = {Side.BUY: 1, Side.SELL: 2}
TIMES_IN_FORCE: Final[Mapping[TimeInForce, int]] = {TimeInForce.GTC: 1, TimeInForce.IOC: 2}
OUTCOMES: Final[Mapping[Outcome | None, int]] = {None: 0, Outcome.YES: 1, Outcome.NO: 2}


def _words(numbers: Mapping[T, int]) -> dict[int, T]:
    return {number: word for word, number in numbers.items()}


SIDE_OF: Final = _words(SIDES)
TIME_IN_FORCE_OF: Final = _words(TIMES_IN_FORCE)
OUTCOME_OF: Final = _words(OUTCOMES)

# MarketStatus and OrderStatus are numbers in the domain already, because it compares them.
_NUMBERED: Final[Mapping[str, Mapping[str, int]]] = {
    "side": {side.name: number for side, number in SIDES.items()},
    "time_in_force": {value.name: number for value, number in TIMES_IN_FORCE.items()},
    "outcome": {value.name if value else "NONE": number for value, number in OUTCOMES.items()},
    "market": {status.name: status.value for status in MarketStatus},
    "order": {status.name: status.value for status in OrderStatus},
    "kind": {kind.name: kind.value for kind in LedgerKind},
    "lane": {"WALLET": WALLET, "ESCROW": ESCROW, "OUTSIDE": OUTSIDE},
}
WORDS: Final[Mapping[str, str]] = {
    f"{group}.{word}": str(number)
    for group, words in _NUMBERED.items()
    for word, number in words.items()
} | {"key.EXTERNAL": f"'{ids.EXTERNAL}'", "key.NO_MARKET": f"'{ids.NO_MARKET}'"}
"""Every word that SQL may write in braces, and what the database reads instead."""
