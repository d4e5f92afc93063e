"""Every SQL text, made once from the files in ``sql``. The first comment of a file describes it.

A file is completed when it is loaded:

    -- include: postings    becomes the text of ``parts/postings.sql``
    {kind.PRICE}            becomes the number of a word of `codes`
    $trades                 becomes a numbered parameter of `parameters` with its type, $22::json

``python -m tests.composed_sql commit_batch`` prints what the database gets.
"""

import re
from importlib.resources import files
from typing import Final, NamedTuple

from worker.adapters.postgres.codes import WORDS
from worker.adapters.postgres.parameters import COUNTS, PARAMETERS

_SQL: Final = files("worker.adapters.postgres") / "sql"
_INCLUDE: Final = re.compile(r"^( *)-- include: (\w+)\n", re.MULTILINE)
_WORD: Final = re.compile(r"\{(\w+\.\w+)\}")
_PARAMETER: Final = re.compile(r"\$([a-z_]+)")
_TYPES: Final = {parameter.name: parameter.type for parameter in PARAMETERS} | COUNTS


class Composed(NamedTuple):
    """A statement over parameters of `parameters`, with their names in the order of its numbers."""

    text: str
    parameters: tuple[str, ...]


def compose(name: str) -> Composed:
    """Return the statement of a file, or of a part that is a statement by itself."""
    text = _load(name)
    used = set(_PARAMETER.findall(text))
    names = tuple(name for name in _TYPES if name in used)
    assert len(names) == len(used), f"{name}.sql has unknown parameters: {used - _TYPES.keys()}"
    numbered = {name: f"${number}::{_TYPES[name]}" for number, name in enumerate(names, 1)}
    return Composed(_PARAMETER.sub(lambda found: numbered[found[1]], text), names)


def _load(name: str) -> str:
    """Return the text of a file with its parts, and with numbers for words."""
    folder = _SQL if (_SQL / f"{name}.sql").is_file() else _SQL / "parts"
    text = (folder / f"{name}.sql").read_text(encoding="utf-8")
    return _WORD.sub(lambda found: WORDS[found[1]], _INCLUDE.sub(_part, text))


def _part(found: re.Match[str]) -> str:
    """Return a part without the comment that it begins with, as far to the right as it is asked."""
    indent, name = found.groups()
    body = re.sub(r"\A(--.*\n)+", "", _load(name))
    return "".join(f"{indent}{line}" for line in body.splitlines(keepends=True))


COMMIT: Final = compose("commit_batch")
COMMIT_BATCH: Final = COMMIT.text
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
READ_RIVALS: Final = _load("read_rivals")
READ_CURSORS: Final = _load("read_cursors")
NOTE_TOPIC: Final = _load("note_topic")
ADOPT_TOPIC: Final = _load("adopt_topic")
READ_PROOF: Final = _load("read_proof")
READ_GAPS: Final = _load("read_gaps")
READ_LANES: Final = _load("read_lanes")
READ_BATCHES: Final = _load("read_batches")
READ_RUN: Final = _load("read_run")
READ_HOLDINGS: Final = _load("read_holdings")
AUDIT_ACCOUNTS: Final = _load("audit_accounts")
AUDIT_BALANCES: Final = _load("audit_balances")
AUDIT_BATCH_KEYS: Final = _load("audit_batch_keys")
AUDIT_BATCHES: Final = _load("audit_batches")
AUDIT_CAUSES: Final = _load("audit_causes")
AUDIT_HISTORY: Final = _load("audit_history")
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
