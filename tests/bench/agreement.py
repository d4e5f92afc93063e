"""Checks that the books are right after a measurement, and equal for all ways."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

import asyncpg

from tests.bench.case import Case

_TRADES: Final = """
SELECT m.market_id, t.buyer::text, t.seller::text, t.price, t.quantity
  FROM trades t JOIN markets m ON m.market = t.market WHERE m.stream = $1"""
_CASH: Final = "SELECT account::text, sum(balance)::bigint FROM pockets GROUP BY account"
_ESCROW: Final = "SELECT market_id, escrow FROM markets WHERE stream = $1"
_LEDGER: Final = "SELECT sum(amount)::bigint FROM all_postings"


class BooksDiffer(Exception):
    """A measurement is invalid, because money was lost or the ways have different books."""


@dataclass(frozen=True, slots=True)
class Books:
    """Trades, cash and escrows after a flow."""

    trades: Counter[tuple[object, ...]]
    cash: dict[str, int]
    escrow: dict[str, int]
    ledger_sum: int

    @property
    def total(self) -> int:
        """Return the sum of all money."""
        return sum(self.cash.values()) + sum(self.escrow.values())


async def read_books(url: str, case: Case) -> Books:
    """Read the books of the case's flow."""
    connection = await asyncpg.connect(url, command_timeout=60)
    try:
        return Books(
            Counter(tuple(row) for row in await connection.fetch(_TRADES, case.orders_topic)),
            dict(tuple(row) for row in await connection.fetch(_CASH)),
            dict(tuple(row) for row in await connection.fetch(_ESCROW, case.orders_topic)),
            await connection.fetchval(_LEDGER),
        )
    finally:
        await connection.close()


def require_conserved(what: str, before: Books, after: Books) -> None:
    """Raise BooksDiffer if money was gained or lost, or nothing was traded."""
    if before.total != after.total or after.ledger_sum:
        raise BooksDiffer(
            f"{what}: cash {before.total} became {after.total}, ledger sum {after.ledger_sum}"
        )
    if not after.trades:
        raise BooksDiffer(f"{what}: nothing was traded")


def require_equal(what: str, one: Books, other: Books) -> None:
    """Raise BooksDiffer unless both have the same trades, cash by account and escrows."""
    for name in ("trades", "cash", "escrow"):
        if getattr(one, name) != getattr(other, name):
            raise BooksDiffer(f"{what}: the {name} differ")
