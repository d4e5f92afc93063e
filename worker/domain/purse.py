"""One account's pockets while a batch is planned: their balances, draws and needs.

``need`` is the deepest point a pocket reaches below its balance before the batch, measured after
each whole fill or draw. The statement moves a pocket only where its balance still covers the need.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from worker.domain.rows import ROWS_PER_DRAW, ROWS_PER_POCKET, ROWS_PER_SOURCE
from worker.domain.units import WALLET, LaneId, Money

Draw = tuple[LaneId, Money]
"""A pocket, and the amount drawn from it."""
UNKNOWN_CASH = Money(2**62)
"""Placeholder for a balance not read yet, so that the plan goes on and finds its other lacks."""


@dataclass(slots=True)
class Tally:
    """Rows that the purses of a batch add: one per pocket, and two postings per draw."""

    rows: int = 0


@dataclass(slots=True)
class Purse:
    """The pockets of one account, as planned so far. ``fresh`` if they were read for this batch."""

    home: LaneId
    pockets: dict[LaneId, Money]
    exists: bool
    fresh: bool
    tally: Tally
    known: bool = True
    draws_allowed: bool = True
    exact_draws: bool = False
    moved: dict[LaneId, int] = field(default_factory=dict)
    needs: dict[LaneId, int] = field(default_factory=dict)
    new: set[LaneId] = field(default_factory=set)
    drawn: dict[LaneId, Money] = field(default_factory=dict)

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
        """Return the cash that this batch may spend, which without draws is the own pocket's."""
        return self.total if self.draws_allowed else self.own

    def sources(self, pockets: Mapping[LaneId, Money] | None = None) -> list[LaneId]:
        """Return the pockets to draw from: wallet first, then the largest, then the lowest lane."""
        pockets = self.pockets if pockets is None else pockets
        return sorted(
            (lane for lane, balance in pockets.items() if balance and lane != self.home),
            key=lambda lane: (lane != WALLET, -pockets[lane], lane),
        )

    def draws(self, amount: int, own: int, pockets: Mapping[LaneId, Money]) -> list[Draw]:
        """Return the draws from ``pockets`` by which ``own`` reaches ``amount``.

        The caller has made sure that the pockets suffice.
        """
        found: list[Draw] = []
        for source in self.sources(pockets) if amount > own else ():
            shortfall, balance = amount - own, pockets[source]
            if shortfall <= 0:
                break
            give = shortfall if self.exact_draws else max(shortfall, balance // 4)
            found.append((source, Money(min(balance, give))))
            own += found[-1][1]
        return found

    def move(self, lane: LaneId, amount: int) -> None:
        """Add ``amount``, which may be negative, to a pocket and update the pocket's need."""
        if not self.known:
            return
        if lane not in self.pockets:
            self.new.add(lane)
        if lane not in self.moved:
            self.tally.rows += ROWS_PER_POCKET
        self.pockets[lane] = Money(self.pockets.get(lane, 0) + amount)
        moved = self.moved[lane] = self.moved.get(lane, 0) + amount
        self.needs[lane] = max(self.needs.get(lane, 0), -moved)
        assert self.pockets[lane] >= 0, "a pocket is never planned below zero"

    def take(self, source: LaneId, amount: Money, target: LaneId) -> None:
        """Draw ``amount`` from one pocket into another."""
        self.move(source, -amount)
        self.move(target, amount)
        if source not in self.drawn:
            self.tally.rows += ROWS_PER_DRAW
        self.drawn[source] = Money(self.drawn.get(source, 0) + amount)

    def drawn_to(self, source: LaneId) -> LaneId:
        """Return the target of draws: the own pocket, or the wallet if that is the source."""
        return WALLET if source == self.home else self.home

    def pay(self, amount: int, draws: Iterable[Draw]) -> None:
        """Make the draws, then take ``amount``, which may be negative, from the own pocket."""
        for source, drawn in draws:
            self.take(source, drawn, self.home)
        self.move(self.home, -amount)

    def rows_max(self, amount: int, own: int, pockets: Mapping[LaneId, Money]) -> int:
        """Return the rows that paying ``amount`` may add at the balances ``own`` and ``pockets``.

        The own pocket is one row, and each source adds its pocket and two postings.
        """
        rows, short = ROWS_PER_POCKET, amount - own
        for source in self.sources(pockets) if short > 0 and self.draws_allowed else ():
            rows, short = rows + ROWS_PER_SOURCE, short - pockets[source]
            if short <= 0:
                break
        return rows
