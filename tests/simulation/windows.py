"""Windows, faults and situations that the seeds must reach, so that they prove what they claim.

The failure windows W1 to W23 and the faults F1 to F75 are those of `tests/failures.toml`. The list
`UNREACHED` has what no seed reaches, with the reason, and a long run fails if the list is wrong.
"""

from typing import Final

from tests.simulation.faults import Fault

WINDOWS: Final = {
    "W1": "crash before COMMIT was sent",
    "W2": "outcome of COMMIT unknown",
    "W3": "COMMIT in limbo, its owner dead or replaced",
    "W4": "zombie after a rebalance sends a batch",
    "W5": "zombie takes over after the true owner",
    "W6": "crash after COMMIT, before publishing",
    "W7": "crash after publishing, before the acknowledgement arrives",
    "W8": "crash after the acknowledgement, before its mark is committed",
    "W9": "zombie publishes late",
    "W10": "publishing a batch fails",
    "W11": "publish queue full, partition paused",
    "W12": "commit of group offsets lost",
    "W13": "group offsets gone",
    "W14": "topic recreated, refilled, or past its retention",
    "W15": "partitions added, commands misrouted",
    "W16": "broker down",
    "W17": "acknowledged events lost by the cluster",
    "W18": "record that is no command",
    "W19": "the same id again",
    "W20": "rebalance with a batch in flight",
    "W21": "two members believe they own a partition",
    "W22": "database restored to an earlier state",
    "W23": "clocks that differ and jump",
}
SITUATIONS: Final = (
    "draw",
    "drawn exactly",
    "race lost",
    "planned without draws",
    "gathering",
    "funds in use",
    "unfunded",
    "insufficient funds",
    "self trade",
    "one coin in every lane",
    "hot account in every lane",
    "sweeps left",
    "sweeps taken over",
    "settlements left",
    "settlements taken over",
    "waiting left",
    "waiting taken over",
    "refused for its contents",
    "own attempt won",
    "another plan won",
    "fenced",
    "expelled from the group",
    "topic recreated",
    "topic refilled",
    "topic replaced",
    "topic past its retention",
    "topic spoilt under a running lane",
    "partitions added",
    "partition not the market's",
    "market busy",
)
"""Paths of the code and actions of clients that must occur now and then."""
UNREACHED: Final[dict[object, str]] = {}
"""Windows, situations and pairs of fault and await that no seed reaches, with the reason."""

FAULTS: Final[dict[str, tuple[tuple[Fault, str] | str, ...]]] = {
    "F1": ((Fault.KILL, "poll"),),
    "F2": ((Fault.KILL, "read"), "W1"),
    "F3": ((Fault.KILL, "commit"),),
    "F4": ((Fault.KILL, "commit"), (Fault.LOST_AFTER, "commit")),
    "F5": ("W6",),
    "F6": ("W7", "W8"),
    "F7": ((Fault.KILL, "markets"), (Fault.KILL, "open_orders"), (Fault.KILL, "bounds")),
    "F9": ((Fault.TERM, ""),),
    "F10": ((Fault.STALL, "commit"), (Fault.ZOMBIE, ""), "W4"),
    "F12": ((Fault.STALL, "poll"),),
    "F14": ((Fault.LOST_BEFORE, "commit"),),
    "F15": ((Fault.COMMIT_LATE, "commit"), (Fault.LOST_BEFORE, "commit")),
    "F16": ((Fault.LOST_AFTER, "commit"), "own attempt won"),
    "F17": ((Fault.COMMIT_LATE, "commit"), (Fault.ARRIVES_LATE, "commit"), "W3"),
    "F18": ((Fault.COMMIT_LATE, "commit"), "W2"),
    "F19": ((Fault.CONFLICT, "commit"), (Fault.STORM, "")),
    "F20": ((Fault.CONFLICT, "read"),),
    "F22": ((Fault.SCHEMA_CHANGED, "commit"), (Fault.SCHEMA_CHANGED, "read")),
    "F23": ((Fault.DATABASE_DOWN, ""),),
    "F26": ((Fault.UNAVAILABLE, "connect"),),
    "F27": ((Fault.TOO_LARGE, "commit"),),
    "F32": ((Fault.BROKER_DOWN, ""),),
    "F31": ("W22",),
    "F35": ((Fault.BROKER_FAILS, "start"), (Fault.BROKER_FAILS, "producer")),
    "F36": ((Fault.REBALANCE, ""), "W20"),
    "F40": ((Fault.LATE_REVOKE, "revoked"), "expelled from the group"),
    "F41": ((Fault.REDELIVERED, ""),),
    "F43": ((Fault.OFFSETS_LOST, ""),),
    "F44": ("topic recreated",),
    "F45": ("topic refilled", "topic replaced"),
    "F46": ("topic past its retention",),
    "F47": ("partitions added",),
    "F48": ("partition not the market's",),
    "F59": ("W19",),
    "F61": ((Fault.CLOCK_JUMP, ""),),
    "F64": ((Fault.OUTPUT_DOWN, ""), (Fault.PRODUCE_REFUSED, "send")),
}
"""Faults of the checklist, each with its fault and await in the simulation, or with its effect."""


REACHED: Final = tuple(window for window in WINDOWS if window not in UNREACHED)
"""The failure windows that the simulation shows to be safe."""
