"""The report on many seeds: faults by kind and await, windows, speed, violations."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.faults import APPLIES, OF_BROKER, OF_STORE, OF_THE_WORLD, Fault
from tests.simulation.windows import SITUATIONS, UNREACHED, WINDOWS
from tests.simulation.world import Result

MANY: Final = 10_000
"""Number of seeds that must reach everything, except the entries of `UNREACHED`."""


@dataclass(slots=True)
class Report:
    """Sums of results."""

    seeds: int = 0
    cpu_s: float = 0.0
    virtual_s: float = 0.0
    records: int = 0
    events: int = 0
    batches: int = 0
    faults: Counter[tuple[Fault, str]] = field(default_factory=Counter)
    windows: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[str]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Add the result of one seed."""
        self.seeds += 1
        self.virtual_s += result.virtual_s
        self.records += result.records
        self.events += result.events
        self.batches += result.batches
        self.faults += result.faults
        self.windows += result.windows
        if result.violations:
            self.failed[result.seed] = result.violations

    def merge(self, other: "Report") -> None:
        """Add the report of another process."""
        self.seeds += other.seeds
        self.cpu_s += other.cpu_s
        self.virtual_s += other.virtual_s
        self.records += other.records
        self.events += other.events
        self.batches += other.batches
        self.faults += other.faults
        self.windows += other.windows
        self.failed.update(other.failed)

    # Coverage.

    def has_met(self, what: tuple[Fault, str] | str) -> bool:
        """Return whether a window or situation was reached, or a fault has hit an await."""
        return bool(self.windows[what] if isinstance(what, str) else self.faults[what])

    def unreached(self) -> Iterator[object]:
        """Yield every window, situation and pair of fault and await that never occurred."""
        pairs = [(fault, call) for fault, calls in APPLIES.items() for call in calls]
        pairs += [(fault, "") for fault in OF_THE_WORLD]
        everything: list[tuple[Fault, str] | str] = [*WINDOWS, *SITUATIONS, *pairs]
        yield from (what for what in everything if not self.has_met(what))

    def misjudged(self) -> list[str]:
        """Return the differences between `UNREACHED` and what many seeds have not reached."""
        if self.seeds < MANY:
            return []
        found = set(self.unreached())
        unlisted = [f"{_named(what)} was not reached" for what in found if what not in UNREACHED]
        reached = [f"{_named(what)} was reached" for what in UNREACHED if what not in found]
        return sorted(unlisted) + sorted(reached)

    # Output.

    def lines(self, seconds: float, processes: int = 1) -> Iterator[str]:
        """Yield the whole report. ``seconds`` is the real time of the run."""
        yield (
            f"{self.seeds:,} seeds in {seconds:.0f} s by {processes} process(es),"
            f" {self.seeds / max(seconds, 1e-9):.1f} seeds/s; {self.cpu_s:.0f} s of CPU,"
            f" {self.seeds / max(self.cpu_s, 1e-9):.1f} seeds per CPU second"
        )
        yield (
            f"{self.virtual_s / 3_600:.1f} virtual hours: {self.records:,} records,"
            f" {self.batches:,} batches, {self.events:,} events"
        )
        yield from self._by_kind()
        yield from self._by_await(OF_STORE)
        yield from self._by_await(OF_BROKER)
        yield from self._by_window()
        yield "\nunreached"
        yield from (f"    {_named(what)}{_why(what)}" for what in self.unreached())
        yield ""
        yield from (f"misjudged: {text}" for text in self.misjudged())
        for seed, violations in self.failed.items():
            yield f"seed {seed}: {len(violations)} violations"
            yield from (f"    {text[:400]}" for text in violations[:5])
            yield f"    again: make simulate SEED={seed}"
        yield f"{len(self.failed)} seeds with violations"

    def _by_kind(self) -> Iterator[str]:
        kinds: Counter[Fault] = Counter()
        for (fault, _), times in self.faults.items():
            kinds[fault] += times
        yield f"\n{sum(kinds.values()):,} faults"
        yield from (f"    {fault:<22}{kinds[fault]:>9,}" for fault in Fault)

    def _by_await(self, calls: Sequence[str]) -> Iterator[str]:
        """Yield a row for each await with a column for each fault. A dot means it cannot hit."""
        met = [fault for fault, where in APPLIES.items() if set(where) & set(calls)]
        words = [(fault.split() + [""] * 3)[:3] for fault in met]
        yield "\nfault x await"
        for line in range(3):
            yield " " * 18 + "".join(f"{word[line]:>12}" for word in words)
        for call in calls:
            cells = (f"{self.faults[f, call]:,}" if call in APPLIES[f] else "." for f in met)
            yield f"    {call:<14}" + "".join(f"{cell:>12}" for cell in cells)

    def _by_window(self) -> Iterator[str]:
        yield "\nfailure windows"
        for name, text in WINDOWS.items():
            yield f"    {name:<5}{text:<62}{self.windows[name]:>9,}"
        yield "\nsituations"
        yield from (f"    {name:<36}{self.windows[name]:>9,}" for name in SITUATIONS)


def _named(what: object) -> str:
    return " x ".join(filter(None, what)) if isinstance(what, tuple) else str(what)


def _why(what: object) -> str:
    return f": {UNREACHED[what]}" if what in UNREACHED else ""
