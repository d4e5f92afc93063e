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
    if side is Side.BUY:
        closes = min(quantity, -position) if position < 0 else 0
        return Money(price * (quantity - closes) - (payout - price) * closes)
    closes = min(quantity, position) if position > 0 else 0
    return Money((payout - price) * (quantity - closes) - price * closes)


def affordable(
    side: Side, price: Price, payout: int, position: int, *, cash: int, wanted: int
) -> Quantity:
    """Return the largest quantity up to ``wanted`` that ``cash`` pays for, closing first."""
    opening = cost(side, price, payout, 0, 1)
    closes = min(wanted, max(0, -signed(side, position)))
    brought = -cost(side, price, payout, position, closes)
    return Quantity(min(wanted, closes + (cash + brought) // opening))


def locked(payout: int, before: int, after: int) -> Money:
    """Return the collateral that the turn of a position locks; negative: releases."""
    return Money(payout * (max(-after, 0) - max(-before, 0)))
