"""The full audit, which gives every row of one snapshot to the recount, in bounded pages."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from worker.adapters.postgres import statements
from worker.adapters.postgres.books import Books, Rows, Snapshot
from worker.audit.invariants import INVARIANTS, Findings, Violation
from worker.audit.records import Key
from worker.audit.recount import ByCause, LedgerStep, PostingRow, Recount, causes
from worker.audit.replay import Replayed
from worker.audit.tables import Tables
from worker.ports import Monotonic

PAGE_ROWS: Final = 5_000
POSTINGS_EACH_MAX: Final = 8
"""Postings read for one trade or transfer, which has two. The rest is room for wrong ones."""

_PAGED: Final[Mapping[str, str]] = {
    "accounts": statements.AUDIT_ACCOUNTS,
    "markets": statements.AUDIT_MARKETS,
    "ledger": statements.AUDIT_LEDGER,
    "pockets": statements.AUDIT_POCKETS,
    "trades": statements.AUDIT_TRADES,
    "transfers": statements.AUDIT_TRANSFERS,
    "orders": statements.AUDIT_ORDERS,
    "positions": statements.AUDIT_POSITIONS,
    "payouts": statements.AUDIT_PAYOUTS,
    "batch_keys": statements.AUDIT_BATCH_KEYS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """The result of an audit. ``checked`` counts the checks of each invariant."""

    rows: int
    seconds: float
    violations: tuple[Violation, ...]
    events: int = 0
    replayed: Replayed | None = None
    """The batches planned again, None if the topics were not read."""
    checked: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> Mapping[str, object]:
        """Return the JSON of `parity audit --json`."""
        return {
            "consistent": not self.violations,
            "rows": self.rows,
            "events": self.events,
            "batchesReplanned": self.replayed.planned if self.replayed else None,
            "batchesOfOtherRules": self.replayed.other_rules if self.replayed else None,
            "seconds": round(self.seconds, 3),
            "violations": [
                {
                    "invariant": v.invariant,
                    "name": v.name,
                    "count": v.count,
                    "examples": list(v.examples),
                }
                for v in self.violations
            ],
        }

    def by_invariant(self) -> Mapping[str, Mapping[str, object]]:
        """Return each invariant with the counts of its checks and violations."""
        return {
            name: {
                "sentence": invariant.sentence,
                "checked": self.checked.get(name, 0),
                "violations": sum(v.count for v in self.violations if v.invariant == name),
                "unchecked": invariant.unchecked or None,
            }
            for name, invariant in INVARIANTS.items()
        }


async def full_audit(books: Books, clock: Monotonic, *, page_rows: int = PAGE_ROWS) -> AuditResult:
    """Audit every table. Raises StoreError, and ConfigError when there are no tables."""
    began_s, findings = clock(), Findings()
    async with books.snapshot(paged=True) as snapshot:
        rows = await walk(snapshot, findings, page_rows=page_rows)
    return result(findings, rows=rows, seconds=clock() - began_s)


def result(
    findings: Findings,
    *,
    rows: int,
    seconds: float,
    events: int = 0,
    replayed: Replayed | None = None,
) -> AuditResult:
    """Return the result of an audit that has these findings."""
    return AuditResult(
        rows=rows,
        seconds=seconds,
        violations=findings.violations(),
        events=events,
        replayed=replayed,
        checked=findings.checked(),
    )


async def walk(
    snapshot: Snapshot,
    findings: Findings,
    tables: Tables | None = None,
    *,
    page_rows: int = PAGE_ROWS,
) -> int:
    """Give every row to a recount, and to ``tables`` if given. Return the number of rows."""
    recount, count = Recount(findings), 0
    for step in recount.steps():
        async for page in _pages(snapshot, step.table, recount, page_rows):
            step.take(page, await _by_cause(snapshot, step, page))
            if tables is not None:
                tables.take(step.table, page)
            if step.table not in {"lanes", "balances"}:
                count += len(page)
    return count


async def _pages(
    snapshot: Snapshot, table: str, recount: Recount, page_rows: int
) -> AsyncIterator[Rows]:
    if table in _PAGED:
        async for page in snapshot.pages(_PAGED[table], page_rows):
            yield page
    elif table == "lanes":
        yield await snapshot.lanes()
    elif table == "balances":
        yield await snapshot.balances()
    else:
        for lane, row in recount.lanes.items():
            for first in range(1, row.batch_no + 1, page_rows):
                yield await snapshot.batches(lane, first, min(first + page_rows - 1, row.batch_no))


async def _by_cause(snapshot: Snapshot, step: LedgerStep, page: Rows) -> ByCause:
    if not step.needs:
        return {}
    asked = [UUID(str(cause)) for cause in causes(step, page)]
    if step.needs == "batches":
        return {row[0]: () for row in await snapshot.causes(asked)}
    found: defaultdict[Key, list[PostingRow]] = defaultdict(list)
    postings = await snapshot.postings(asked, len(asked) * POSTINGS_EACH_MAX)
    for cause, account, lane, _, kind, amount in postings:
        found[cause].append((account, lane, kind, amount))
    return found
