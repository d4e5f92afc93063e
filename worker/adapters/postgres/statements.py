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
