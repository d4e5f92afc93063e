"""What many seeds showed together: faults by kind and await, windows, speed, violations."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.faults import APPLIES, OF_THE_WORLD, Fault
from tests.simulation.world import Result

WINDOWS: Final = {
    "W1": "crash before COMMIT was sent",
    "W2": "outcome of COMMIT unknown",
    "W3": "COMMIT in limbo, its owner dead or replaced",
    "W4": "zombie after a rebalance sends a batch",
    "W5": "zombie takes over after the true owner",
    "W6": "crash after COMMIT, before publishing",
    "W7": "crash after publishing, before the acknowledgement is heard",
    "W8": "crash after the acknowledgement, before its mark is committed",
    "W9": "zombie publishes late",
    "W10": "publishing a batch fails",
    "W11": "publish queue full, partition paused",
    "W12": "commit of group offsets lost",
    "W13": "group offsets gone",
    "W14": "topic recreated, refilled, or past its retention",
    "W15": "partitions added, commands astray",
    "W16": "broker down",
    "W18": "record that is no command",
    "W19": "the same id again",
    "W20": "rebalance with a batch in flight",
    "W21": "two members believe they own a partition",
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
    "sweep cut",
    "sweep taken over",
    "settlement cut",
    "settlement taken over",
    "refused for its contents",
    "own attempt won",
    "another plan won",
    "fenced",
)
"""Paths of the code that must be taken now and then, or the seeds prove less than they seem to."""
NOT_HERE: Final = {
    "W17": "acknowledged events lost by the cluster: the worker does not look; an operator's tool",
    "W22": "database restored to an older point: an operator's decision, no code of a lane",
}
"""Windows that the simulation does not reach, and why."""


@dataclass(slots=True)
class Report:
    """Adds up results."""

    seeds: int = 0
    virtual_s: float = 0.0
    records: int = 0
    events: int = 0
    batches: int = 0
    faults: Counter[tuple[Fault, str]] = field(default_factory=Counter)
    windows: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[str]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count one seed."""
        self.seeds += 1
        self.virtual_s += result.virtual_s
        self.records += result.records
        self.events += result.events
        self.batches += result.batches
        self.faults += result.faults
        self.windows += result.windows
        if result.violations:
            self.failed[result.seed] = result.violations

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield the whole report."""
        yield (
            f"{self.seeds} seeds, {self.virtual_s / 3_600:.1f} virtual hours,"
            f" {self.seeds / max(seconds, 1e-9):.1f} seeds/s"
        )
        yield f"{self.records} records, {self.batches} batches, {self.events} events"
        yield from self._by_kind()
        yield from self._by_await()
        yield from self._by_window()
        for seed, violations in self.failed.items():
            yield f"seed {seed}: {len(violations)} violations"
            yield from (f"    {text[:400]}" for text in violations[:5])
        yield f"{len(self.failed)} seeds with violations"

    def _by_kind(self) -> Iterator[str]:
        kinds: Counter[Fault] = Counter()
        for (fault, _), times in self.faults.items():
            kinds[fault] += times
        yield f"\n{sum(kinds.values())} faults"
        yield from (f"    {fault:<22}{kinds[fault]:>9}" for fault in Fault)

    def _by_await(self) -> Iterator[str]:
        yield "\nfault x await"
        unreached = []
        for fault, calls in APPLIES.items():
            reached = ", ".join(f"{call} {self.faults[fault, call]}" for call in calls)
            yield f"    {fault:<22}{reached}"
            unreached += [f"{fault} x {call}" for call in calls if not self.faults[fault, call]]
        unreached += [str(fault) for fault in OF_THE_WORLD if not self.faults[fault, ""]]
        yield f"unreached: {', '.join(unreached) or 'none'}"

    def _by_window(self) -> Iterator[str]:
        yield "\nfailure windows"
        for name, text in WINDOWS.items():
            yield f"    {name:<5}{text:<62}{self.windows[name]:>8}"
        for name, text in NOT_HERE.items():
            yield f"    {name:<5}not reached: {text}"
        yield "\nsituations"
        yield from (f"    {name:<30}{self.windows[name]:>8}" for name in SITUATIONS)
        unreached = [name for name in (*WINDOWS, *SITUATIONS) if not self.windows[name]]
        yield f"unreached: {', '.join(unreached) or 'none'}\n"
