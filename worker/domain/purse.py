"""One account's pockets while a batch is planned: what it can pay, and how deep that takes each.

``need`` is the deepest point a pocket reaches below its balance before the batch, measured after
each whole fill or draw. The statement moves a pocket only where its balance still covers the need.
"""

from dataclasses import dataclass, field

from worker.domain.units import WALLET, Lane, Money

UNKNOWN_CASH = Money(2**62)
"""Stands for a balance not read yet: the plan goes on, to find what else it lacks."""


@dataclass(slots=True)
class Tally:
    """Rows that the purses of a batch add: a pocket each, two postings a draw."""

    rows: int = 0


@dataclass(slots=True)
class Purse:
    """The pockets of one account, as planned so far. ``fresh``: read for this very batch."""

    home: Lane
    pockets: dict[Lane, Money]
    exists: bool
    fresh: bool
    tally: Tally
    known: bool = True
    draws_allowed: bool = True
    exact_draws: bool = False
    moved: dict[Lane, int] = field(default_factory=dict)
    needs: dict[Lane, int] = field(default_factory=dict)
    new: set[Lane] = field(default_factory=set)
    drawn: dict[Lane, Money] = field(default_factory=dict)

    @property
    def own(self) -> Money:
        """Return the balance in this lane's pocket."""
        return UNKNOWN_CASH if not self.known else self.pockets.get(self.home, Money(0))

    @property
    def total(self) -> Money:
        """Return the balance over all pockets."""
        return UNKNOWN_CASH if not self.known else Money(sum(self.pockets.values()))

    @property
    def spendable(self) -> Money:
        """Return what this batch may spend: everything, or only the own pocket without draws."""
        return self.total if self.draws_allowed else self.own

    def sources(self) -> list[Lane]:
        """Return the pockets to draw from: wallet first, then the largest, then the lowest lane."""
        return sorted(
            (lane for lane, balance in self.pockets.items() if balance and lane != self.home),
            key=lambda lane: (lane != WALLET, -self.pockets[lane], lane),
        )

    def move(self, lane: Lane, amount: int) -> None:
        """Add ``amount`` (negative: take) to a pocket and note how deep that takes it."""
        if not self.known:
            return
        if lane not in self.pockets:
            self.new.add(lane)
        if lane not in self.moved:
            self.tally.rows += 1
        self.pockets[lane] = Money(self.pockets.get(lane, 0) + amount)
        moved = self.moved[lane] = self.moved.get(lane, 0) + amount
        self.needs[lane] = max(self.needs.get(lane, 0), -moved)
        assert self.pockets[lane] >= 0, "a pocket is never planned below zero"

    def take(self, source: Lane, amount: Money, target: Lane) -> None:
        """Draw ``amount`` from one pocket into another."""
        self.move(source, -amount)
        self.move(target, amount)
        if source not in self.drawn:
            self.tally.rows += 2
        self.drawn[source] = Money(self.drawn.get(source, 0) + amount)

    def drawn_to(self, source: Lane) -> Lane:
        """Return where the draws from ``source`` went: to the own pocket, or from it home."""
        return WALLET if source == self.home else self.home

    def cover(self, amount: int) -> None:
        """Draw until the own pocket holds ``amount``. The caller has made sure that it can."""
        if amount <= self.own:
            return
        for source in self.sources() if self.known else ():
            shortfall = amount - self.own
            if shortfall <= 0:
                return
            balance = self.pockets[source]
            give = shortfall if self.exact_draws else max(shortfall, balance // 4)
            self.take(source, Money(min(balance, give)), self.home)

    def rows_max(self, amount: int) -> int:
        """Return the rows that paying ``amount`` may add: the pocket, and three per draw."""
        rows, short = 1, amount - self.own
        for source in self.sources() if short > 0 and self.draws_allowed else ():
            rows, short = rows + 3, short - self.pockets[source]
            if short <= 0:
                break
        return rows
