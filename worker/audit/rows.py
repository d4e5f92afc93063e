"""The rows that a recount is given: their columns, and what their small numbers stand for."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

PRICE, COLLATERAL, PAYOUT, DRAW, DEPOSIT, WITHDRAWAL = range(1, 7)
"""Kinds of ledger rows."""
OF_A_BATCH: Final = (COLLATERAL, PAYOUT)
"""Kinds of which the cause is a batch."""
BUY, SELL = 1, 2
YES, NO = 1, 2

Key = UUID | str
"""A uuid, as its source has it: all rows of one recount have the same kind."""
Rows = Sequence[Sequence[Any]]


class LaneRow(NamedTuple):
    """A lane and its stream, as their rows have them."""

    lane: int
    stream: str
    kind: str
    topic: str
    partition: int
    partitions: int
    first_lane: int
    epoch: int
    batch_no: int
    next_offset: int
    last_record_sha: str
    resume: str
    last_seq: int
    published_batch_no: int
    lane_time_ms: int
    trades: int
    ledger_sum: int
    cash_in: int
    cash_out: int


class MarketRow(NamedTuple):
    """A market as its row has it."""

    stream: str
    lane: int
    market_id: str
    payout: int
    status: int
    outcome: int
    escrow: int
    open_interest: int
    market_seq: int
    opened_seq: int
    resolved_seq: int

    def winning(self, position: int) -> int:
        """Return how many contracts of a position are to be paid."""
        return max({YES: position, NO: -position}.get(self.outcome, 0), 0)


class BatchPlace(NamedTuple):
    """A batch's place in its lane."""

    batch_no: int
    first_offset: int
    next_offset: int
    first_seq: int
    last_seq: int
    epoch: int


COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "lanes": LaneRow._fields,
    "accounts": ("account", "account_id"),
    "markets": ("market", *MarketRow._fields),
    "ledger": ("cause", "account", "lane", "market", "kind", "amount"),
    "pockets": ("account", "lane", "balance"),
    "trades": ("trade", "market", "buyer", "seller", "price", "quantity", "seq"),
    "transfers": (
        "transfer",
        "account",
        "transfer_id",
        "lane",
        "deposit",
        "amount",
        "seq",
        "reason",
    ),
    "orders": (
        "order_key",
        "market",
        "account",
        "lane",
        "order_id",
        "side",
        "price",
        "quantity",
        "time_in_force",
        "leaves",
        "status",
        "seq",
        "reason",
    ),
    "positions": ("market", "account", "quantity", "paid"),
    "payouts": ("market", "account", "outcome", "quantity", "amount", "held"),
    "batch_keys": ("batch_id", "lane", "batch_no"),
    "batches": ("lane", *BatchPlace._fields),
}
"""The columns of each table, in the order in which a recount is given them."""
