"""Kinds, times and rates of the faults, all drawn from the seed.

Every seed leaves out some kinds of fault and makes others frequent, since a mix of all at medium
rates would hide the effect of a single kind. Every call of a port is a named await. The pairs of
fault and await are counted.
"""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from random import Random
from typing import Final, NamedTuple


class Fault(StrEnum):
    """A kind of fault."""

    KILL = "SIGKILL"
    STALL = "stall"
    UNAVAILABLE = "no connection"
    LOST_BEFORE = "lost before COMMIT"
    LOST_AFTER = "lost after COMMIT"
    COMMIT_LATE = "COMMIT in limbo"
    ARRIVES_LATE = "statement in limbo"
    CONFLICT = "40001"
    SCHEMA_CHANGED = "OC001"
    SLOW = "slow store"
    TOO_LARGE = "54000"
    BROKER_FAILS = "broker fails"
    BROKER_SLOW = "slow broker"
    PRODUCE_LOST = "produce lost"
    ACK_LOST = "ack lost"
    PRODUCE_HALF = "produce half done"
    PRODUCE_LIMBO = "produce in limbo"
    PRODUCE_REFUSED = "produce refused"
    LATE_REVOKE = "late revocation"
    # Faults of the world, not of one call.
    ZOMBIE = "two owners"
    STORM = "40001 storm"
    DATABASE_DOWN = "database down"
    BROKER_DOWN = "broker down"
    OUTPUT_DOWN = "output topic down"
    REBALANCE = "rebalance"
    REDELIVERED = "delivered again"
    TERM = "SIGTERM"
    OFFSETS_LOST = "group offsets lost"
    CLOCK_JUMP = "clock jump"
    FETCH_REFUSED = "partition refused"
    SENDERS_STAMPS = "stamps of senders"


READINGS: Final = ("markets", "open_orders", "read", "standing", "journal")
WRITINGS: Final = ("take_over", "commit")
STORE_CALLS: Final = (*WRITINGS, *READINGS)
ASKED_OF_BROKER: Final = ("start", "poll", "bounds", "tail", "commit_hint", "leave", "producer")
OF_STORE: Final = ("connect", *STORE_CALLS, "disconnect")
OF_BROKER: Final = (
    "consumer",
    *ASKED_OF_BROKER,
    "send",
    "producer_close",
    "assigned",
    "revoked",
    "sleep",
)
PROCESS_CALLS: Final = (*OF_STORE, *OF_BROKER)

APPLIES: Final[dict[Fault, tuple[str, ...]]] = {
    Fault.KILL: PROCESS_CALLS,
    Fault.STALL: PROCESS_CALLS,
    Fault.UNAVAILABLE: ("connect",),
    Fault.LOST_BEFORE: STORE_CALLS,
    Fault.LOST_AFTER: STORE_CALLS,
    Fault.COMMIT_LATE: WRITINGS,
    Fault.ARRIVES_LATE: WRITINGS,
    Fault.CONFLICT: STORE_CALLS,
    Fault.SCHEMA_CHANGED: STORE_CALLS,
    Fault.SLOW: ("connect", *STORE_CALLS),
    Fault.TOO_LARGE: ("commit",),
    Fault.BROKER_FAILS: ASKED_OF_BROKER,
    Fault.BROKER_SLOW: (*ASKED_OF_BROKER, "send"),
    Fault.PRODUCE_LOST: ("send",),
    Fault.ACK_LOST: ("send",),
    Fault.PRODUCE_HALF: ("send",),
    Fault.PRODUCE_LIMBO: ("send",),
    Fault.PRODUCE_REFUSED: ("send",),
    Fault.LATE_REVOKE: ("revoked",),
}
"""The named awaits that a fault can hit."""
OF_THE_WORLD: Final = tuple(fault for fault in Fault if fault not in APPLIES)
OF_THE_PROCESS: Final = (Fault.KILL, Fault.STALL)
SLOW_S: Final = 1.0
"""Additional time of a slow call."""
RATES: Final = (0.0, 0.0, 0.01, 0.03, 0.08)
"""Probabilities that a fault hits a call. A seed picks one for each kind."""
WEIGHTS: Final = {"poll": 0.15, "sleep": 0.15, "commit": 1.5, "send": 1.0, "read": 0.6}
RARE_WEIGHT: Final = 2.0
"""Weight of the other calls, which are few and should be hit as well."""


class Strike(NamedTuple):
    """A fault of the world with its time."""

    at_s: float
    fault: Fault
    lasts_s: float
    dice: float


@dataclass(slots=True)
class Faults:
    """The faults of one seed."""

    random: Random
    clock: Callable[[], float]
    until_s: float
    counts: Counter[tuple[Fault, str]] = field(default_factory=Counter)
    down_until_s: dict[Fault, float] = field(default_factory=lambda: defaultdict(float))
    strikes: list[Strike] = field(default_factory=list)
    _tables: dict[tuple[str, bool], tuple[list[float], list[Fault]]] = field(default_factory=dict)
    _rates: dict[Fault, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rates = {fault: self.random.choice(RATES) for fault in APPLIES}
        # Each kill and stall costs seconds of virtual time, so both are rarer.
        for fault in OF_THE_PROCESS:
            self._rates[fault] /= 8
        # Never drawn, because the database itself counts the rows.
        self._rates[Fault.TOO_LARGE] = 0.0
        self.strikes = sorted(self._strikes())

    def _strikes(self) -> Iterable[Strike]:
        for fault in OF_THE_WORLD:
            for _ in range(self.random.choice((0, 0, 1, 1, 2))):
                at_s = self.random.uniform(0.5, self.until_s)
                yield Strike(at_s, fault, self.random.uniform(0.5, 12.0), self.random.random())

    def calm(self, until_s: float, strikes: Iterable[Strike] = ()) -> None:
        """Allow only these strikes until ``until_s``."""
        self.until_s, self.strikes = until_s, sorted(strikes)
        self._rates = dict.fromkeys(APPLIES, 0.0)
        self._tables.clear()

    def of_call(self, call: str, *, process: bool) -> Fault | None:
        """Draw the fault of a call and count it. ``process`` selects faults of the process."""
        if self.clock() >= self.until_s:
            return None
        table = self._tables.get((call, process))
        if table is None:
            table = self._tables[call, process] = self._table(call, process=process)
        thresholds, faults = table
        at = bisect(thresholds, self.random.random())
        if at == len(faults):
            return None
        self.counts[faults[at], call] += 1
        return faults[at]

    def _table(self, call: str, *, process: bool) -> tuple[list[float], list[Fault]]:
        weight = WEIGHTS.get(call, RARE_WEIGHT)
        faults = [
            fault
            for fault, calls in APPLIES.items()
            if call in calls and (fault in OF_THE_PROCESS) is process
        ]
        return list(accumulate(self._rates[fault] * weight for fault in faults)), faults

    def strike(self, fault: Fault, lasts_s: float) -> None:
        """Begin a fault of the world."""
        self.counts[fault, ""] += 1
        end_s = min(self.clock() + lasts_s, self.until_s)
        self.down_until_s[fault] = max(self.down_until_s[fault], end_s)

    def lasting(self, fault: Fault) -> bool:
        """Return whether a fault of the world lasts."""
        return self.clock() < self.down_until_s[fault]
