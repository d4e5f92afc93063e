"""Kinds and times of the faults, drawn from a seed, so that a mix can be repeated. Pure.

There are four fronts: workers, database, brokers, inputs. Each front has one fault at a time,
independent of the other fronts.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

KILLS_AND_CUTS_PER_MINUTE: Final = 10
"""The least rate of a valid run."""
CALM_S: Final = 6.0
"""Time before the first fault, so that there is work to interrupt."""


class Front(StrEnum):
    """The target of a fault."""

    WORKERS = "workers"
    DATABASE = "database"
    BROKERS = "brokers"
    INPUTS = "inputs"


class Sort(StrEnum):
    """The category in which a fault is counted."""

    KILL = "kills"
    CUT = "cuts"
    RESTART = "restarts"
    STALL = "stalls"
    ATTACK = "attacks"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault with its share among the faults of its front, and its duration in seconds."""

    front: Front
    sort: Sort
    weight: int
    least_s: float = 0.0
    most_s: float = 0.0


KINDS: Final[Mapping[str, Kind]] = {
    "worker killed": Kind(Front.WORKERS, Sort.KILL, 6),
    "worker asked to stop": Kind(Front.WORKERS, Sort.RESTART, 2),
    "worker stopped past its session": Kind(Front.WORKERS, Sort.STALL, 2, 12.0, 16.0),
    "worker's event loop blocked": Kind(Front.WORKERS, Sort.STALL, 1),
    "worker joins and leaves": Kind(Front.WORKERS, Sort.RESTART, 1, 2.0, 5.0),
    "statement cut before it arrives": Kind(Front.DATABASE, Sort.CUT, 5),
    "statement cut in the middle": Kind(Front.DATABASE, Sort.CUT, 5),
    "connection cut after a commit": Kind(Front.DATABASE, Sort.CUT, 6),
    "statement arrives late": Kind(Front.DATABASE, Sort.CUT, 4, 0.5, 6.0),
    "reply to a commit lost": Kind(Front.DATABASE, Sort.STALL, 1),
    "statement delayed": Kind(Front.DATABASE, Sort.STALL, 2, 0.5, 3.0),
    "database ends its sessions": Kind(Front.DATABASE, Sort.CUT, 1),
    "database unreachable": Kind(Front.DATABASE, Sort.CUT, 2, 0.5, 4.0),
    "database slow": Kind(Front.DATABASE, Sort.STALL, 1, 2.0, 5.0),
    "database killed": Kind(Front.DATABASE, Sort.KILL, 1, 0.0, 3.0),
    "broker killed": Kind(Front.BROKERS, Sort.KILL, 3, 0.5, 8.0),
    "broker stopped": Kind(Front.BROKERS, Sort.STALL, 2, 2.0, 14.0),
    "broker restarted": Kind(Front.BROKERS, Sort.RESTART, 2),
    "broker unreachable": Kind(Front.BROKERS, Sort.CUT, 3, 1.0, 8.0),
    "all brokers unreachable": Kind(Front.BROKERS, Sort.CUT, 2, 1.0, 6.0),
    "broker silent": Kind(Front.BROKERS, Sort.STALL, 1, 2.0, 12.0),
    "all brokers silent": Kind(Front.BROKERS, Sort.STALL, 1, 2.0, 8.0),
    "header names are not UTF-8": Kind(Front.INPUTS, Sort.ATTACK, 2),
    "batches of every codec": Kind(Front.INPUTS, Sort.ATTACK, 2),
    "large values": Kind(Front.INPUTS, Sort.ATTACK, 1),
    "mistakes of clients": Kind(Front.INPUTS, Sort.ATTACK, 1),
    "compression bomb": Kind(Front.INPUTS, Sort.ATTACK, 1),
    "transactions aborted": Kind(Front.INPUTS, Sort.ATTACK, 2),
    "transaction left open": Kind(Front.INPUTS, Sort.ATTACK, 1),
    "orders stamped by senders": Kind(Front.INPUTS, Sort.ATTACK, 1, 2.0, 12.0),
    "batches of events refused": Kind(Front.INPUTS, Sort.ATTACK, 1, 2.0, 8.0),
}

PAUSE_S: Final[Mapping[Front, tuple[float, float]]] = {
    # A killed member stops its group until its session ends. With shorter pauses no lane would
    # get any work done.
    Front.WORKERS: (14.0, 20.0),
    Front.DATABASE: (1.5, 4.0),
    Front.BROKERS: (10.0, 18.0),
    Front.INPUTS: (8.0, 16.0),
}


@dataclass(frozen=True, slots=True)
class Move:
    """A fault with its time, its target if there are several, and its duration."""

    at_s: float
    name: str
    target: int
    seconds: float


def mix(seed: int, length_s: float) -> dict[Front, list[Move]]:
    """Return the moves of every front in order. A longer mix of a seed begins like a shorter."""
    return {front: list(_moves(front, seed, length_s)) for front in Front}


def wanted(length_s: float) -> int:
    """Return the required number of kills and cuts."""
    return int(KILLS_AND_CUTS_PER_MINUTE * length_s / 60.0)


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
    """Yield shuffled rounds, in which each kind occurs as often as its weight."""
    weights = Counter({n: k.weight for n, k in KINDS.items() if k.front is front})
    while True:
        round_ = sorted(weights.elements())
        rng.shuffle(round_)
        yield from round_
