"""The rows that a check is given, their columns, and the meaning of their small numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from worker.adapters.postgres.codes import OUTCOMES, SIDES, LedgerKind
from worker.domain.commands import Outcome, Side

PRICE, COLLATERAL, PAYOUT, DRAW, DEPOSIT, WITHDRAWAL = map(int, LedgerKind)
"""Kinds of ledger rows."""
BATCH_KINDS: Final = (COLLATERAL, PAYOUT)
"""Kinds of ledger rows whose cause is a batch."""
BUY, SELL = SIDES[Side.BUY], SIDES[Side.SELL]
YES, NO = OUTCOMES[Outcome.YES], OUTCOMES[Outcome.NO]

Key = UUID | str
"""A uuid as its source gives it. All rows of one recount have the same type."""
Rows = Sequence[Sequence[Any]]


class AuditedLane(NamedTuple):
    """A lane and its stream. It has all columns of ``audit_lanes.sql``, which ``_make`` takes."""

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
    """A market: the columns of ``audit_markets.sql`` after its key."""

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
        """Return how many contracts of a position win."""
        return max({YES: position, NO: -position}.get(self.outcome, 0), 0)


class BatchPlace(NamedTuple):
    """A batch's place in its lane: the columns of ``audit_batches.sql`` after the lane."""

    batch_no: int
    first_offset: int
    next_offset: int
    first_seq: int
    last_seq: int
    epoch: int


class StoredBatch(NamedTuple):
    """A whole batch: the columns of ``audit_history.sql``. Facts and events are of ``wire``."""

    batch_no: int
    first_offset: int
    next_offset: int
    first_seq: int
    last_seq: int
    epoch: int
    owner: str
    rules: int
    plan_hash: str
    facts: str
    events: str


COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "lanes": AuditedLane._fields,
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
"""The columns of each table, in the order in which a recount takes them."""
