"""Which fault comes when: drawn from a seed, so that a mix can be played again. Pure.

There are three fronts (workers, database, brokers). On each one thing breaks at a time; between
fronts nothing is agreed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

KILLS_AND_CUTS_A_MINUTE: Final = 10
"""A mix that does not reach this has shown nothing."""
CALM_S: Final = 6.0
"""At the beginning, so that there is something to break."""


class Front(StrEnum):
    """What a fault hits."""

    WORKERS = "workers"
    DATABASE = "database"
    BROKERS = "brokers"


class Sort(StrEnum):
    """What a fault is counted as."""

    KILL = "kills"
    CUT = "cuts"
    RESTART = "restarts"
    STILL = "standstills"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: how often it comes among its front's, and how many seconds it lasts."""

    front: Front
    sort: Sort
    weight: int
    least_s: float = 0.0
    most_s: float = 0.0


KINDS: Final[Mapping[str, Kind]] = {
    "worker killed": Kind(Front.WORKERS, Sort.KILL, 6),
    "worker asked to stop": Kind(Front.WORKERS, Sort.RESTART, 2),
    "worker stopped past its session": Kind(Front.WORKERS, Sort.STILL, 2, 12.0, 16.0),
    "worker's event loop blocked": Kind(Front.WORKERS, Sort.STILL, 1),
    "worker comes and goes": Kind(Front.WORKERS, Sort.RESTART, 1, 2.0, 5.0),
    "statement cut before it arrives": Kind(Front.DATABASE, Sort.CUT, 5),
    "statement cut in its middle": Kind(Front.DATABASE, Sort.CUT, 5),
    "reply to a commit lost": Kind(Front.DATABASE, Sort.CUT, 6),
    "statement in limbo, arrives later": Kind(Front.DATABASE, Sort.CUT, 4, 0.5, 6.0),
    "reply to a commit swallowed": Kind(Front.DATABASE, Sort.STILL, 1),
    "statement held up": Kind(Front.DATABASE, Sort.STILL, 2, 0.5, 3.0),
    "database says goodbye": Kind(Front.DATABASE, Sort.CUT, 1),
    "every line to the database cut": Kind(Front.DATABASE, Sort.CUT, 2, 0.5, 4.0),
    "database slow": Kind(Front.DATABASE, Sort.STILL, 1, 2.0, 5.0),
    "database killed": Kind(Front.DATABASE, Sort.KILL, 1, 0.0, 3.0),
    "broker killed": Kind(Front.BROKERS, Sort.KILL, 3, 0.5, 8.0),
    "broker stopped": Kind(Front.BROKERS, Sort.STILL, 2, 2.0, 14.0),
    "broker restarted": Kind(Front.BROKERS, Sort.RESTART, 2),
    "lines to a broker cut": Kind(Front.BROKERS, Sort.CUT, 3, 1.0, 8.0),
    "lines to all brokers cut": Kind(Front.BROKERS, Sort.CUT, 2, 1.0, 6.0),
    "a broker silent": Kind(Front.BROKERS, Sort.STILL, 1, 2.0, 12.0),
    "all brokers silent": Kind(Front.BROKERS, Sort.STILL, 1, 2.0, 8.0),
}

PAUSE_S: Final[Mapping[Front, tuple[float, float]]] = {
    # A killed member holds up its group until its session ends: more often, and nobody works.
    Front.WORKERS: (14.0, 20.0),
    Front.DATABASE: (1.5, 4.0),
    Front.BROKERS: (10.0, 18.0),
}


@dataclass(frozen=True, slots=True)
class Move:
    """A fault: when it comes, what it hits if there is a choice, for how long."""

    at_s: float
    name: str
    target: int
    seconds: float


def mix(seed: int, length_s: float) -> dict[Front, list[Move]]:
    """Return the moves of every front, in order. The same seed begins the same, however long."""
    return {front: list(_moves(front, seed, length_s)) for front in Front}


def wanted(length_s: float) -> int:
    """Return how many kills and cuts there must be."""
    return int(KILLS_AND_CUTS_A_MINUTE * length_s / 60.0)


def _moves(front: Front, seed: int, length_s: float) -> Iterator[Move]:
    rng = Random(f"{seed}/{front}")
    at_s = CALM_S
    for name in _names(front, rng):
        kind = KINDS[name]
        move = Move(at_s, name, rng.randrange(60), rng.uniform(kind.least_s, kind.most_s))
        at_s += move.seconds + rng.uniform(*PAUSE_S[front])
        if at_s > length_s:
            return
        yield move


def _names(front: Front, rng: Random) -> Iterator[str]:
    """Yield round after round, each with every kind as often as it weighs, shuffled."""
    weights = Counter({n: k.weight for n, k in KINDS.items() if k.front is front})
    while True:
        round_ = sorted(weights.elements())
        rng.shuffle(round_)
        yield from round_
