"""Every SQL text, loaded once; the file says what it does and what its parameters are."""

from importlib.resources import files
from typing import Final

_SQL = files("worker.adapters.postgres") / "sql"


def _load(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")


COMMIT_BATCH: Final = _load("commit_batch")
READ_FACTS: Final = _load("read_facts")
READ_DEAD_ORDERS: Final = _load("read_dead_orders")
READ_PAYEES: Final = _load("read_payees")
TAKE_OVER: Final = _load("take_over")
READ_LANE: Final = _load("read_lane")
LOAD_MARKETS: Final = _load("load_markets")
LOAD_ORDERS: Final = _load("load_orders")
READ_JOURNAL: Final = _load("read_journal")
REGISTER_STREAM: Final = _load("register_stream")
READ_STREAMS: Final = _load("read_streams")
READ_PROOF: Final = _load("read_proof")
READ_GAPS: Final = _load("read_gaps")
READ_LANES: Final = _load("read_lanes")
READ_BATCHES: Final = _load("read_batches")
READ_RUN: Final = _load("read_run")
READ_HOLDINGS: Final = _load("read_holdings")
AUDIT_BATCH_KEYS: Final = _load("audit_batch_keys")
AUDIT_BATCHES: Final = _load("audit_batches")
AUDIT_LANES: Final = _load("audit_lanes")
AUDIT_LEDGER: Final = _load("audit_ledger")
AUDIT_MARKETS: Final = _load("audit_markets")
AUDIT_ORDERS: Final = _load("audit_orders")
AUDIT_PAYOUTS: Final = _load("audit_payouts")
AUDIT_POCKETS: Final = _load("audit_pockets")
AUDIT_POSITIONS: Final = _load("audit_positions")
AUDIT_POSTINGS: Final = _load("audit_postings")
AUDIT_TRADES: Final = _load("audit_trades")
AUDIT_TRANSFERS: Final = _load("audit_transfers")
STEP_STREAM: Final = _load("step_stream")
STEP_LANES: Final = _load("step_lanes")
STEP_FENCE: Final = _load("step_fence")
STEP_ACCOUNTS: Final = _load("step_accounts")
STEP_NEW_MARKETS: Final = _load("step_new_markets")
STEP_TRADES: Final = _load("step_trades")
STEP_POSITIONS: Final = _load("step_positions")
STEP_PAYOUTS: Final = _load("step_payouts")
STEP_TRANSFERS: Final = _load("step_transfers")
STEP_LEDGER: Final = _load("step_ledger")
STEP_POCKETS: Final = _load("step_pockets")
STEP_NEW_POCKETS: Final = _load("step_new_pockets")
STEP_MARKETS: Final = _load("step_markets")
STEP_NEW_ORDERS: Final = _load("step_new_orders")
STEP_ORDER_CHANGES: Final = _load("step_order_changes")
STEP_BATCH: Final = _load("step_batch")
