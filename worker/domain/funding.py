"""What a trade costs each side, exactly, in integers.

Positions are signed contracts. Trading first closes what the account holds on the other side, then
opens. Each short contract locks ``payout`` in the market's escrow, so any resolution is payable.
"""

from worker.domain.commands import Side
from worker.domain.units import Money, Price, Quantity


def signed(side: Side, quantity: int) -> int:
    """Return by how much ``quantity`` traded on ``side`` moves the position."""
    return quantity if side is Side.BUY else -quantity


def cost(side: Side, price: Price, payout: int, position: int, quantity: int) -> Money:
    """Return the cash that trading ``quantity`` takes, collateral included; negative: it brings."""
    opening, closing = _per_contract(side, price, payout)
    closes = min(quantity, _closable(side, position))
    return Money(opening * (quantity - closes) - closing * closes)


def affordable(
    side: Side, price: Price, payout: int, position: int, *, cash: int, wanted: int
) -> Quantity:
    """Return the largest quantity up to ``wanted`` that ``cash`` pays for, closing first."""
    opening, closing = _per_contract(side, price, payout)
    closes = min(wanted, _closable(side, position))
    if closes == wanted:
        return Quantity(wanted)
    return Quantity(min(wanted, closes + (cash + closing * closes) // opening))


def locked(payout: int, before: int, after: int) -> Money:
    """Return the collateral that the turn of a position locks; negative: releases."""
    return Money(payout * (max(-after, 0) - max(-before, 0)))


def _per_contract(side: Side, price: Price, payout: int) -> tuple[int, int]:
    """Return what opening one contract takes and what closing one brings."""
    return (price, payout - price) if side is Side.BUY else (payout - price, price)


def _closable(side: Side, position: int) -> int:
    return max(-position, 0) if side is Side.BUY else max(position, 0)
