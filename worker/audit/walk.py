"""The full audit: every row of the database, in bounded pages, in one snapshot, to the recount."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from worker.adapters.postgres import statements
from worker.adapters.postgres.books import Books, Rows, Snapshot
from worker.audit.recount import JournalRow, LaneTotals, MarketRow, Posting, Recount, Violation
from worker.ports import Monotonic

PAGE_ROWS: Final = 5_000
POSTINGS_EACH_MAX: Final = 8
"""Postings read of one trade or transfer: two, and room to find what does not belong there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What a full audit found in how many rows."""

    rows: int
    seconds: float
    violations: tuple[Violation, ...]

    def as_json(self) -> Mapping[str, object]:
        """Return it as `parity audit --json` prints it."""
        return {
            "consistent": not self.violations,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "violations": [
                {"name": v.name, "count": v.count, "examples": list(v.examples)}
                for v in self.violations
            ],
        }


async def full_audit(books: Books, clock: Monotonic, *, page_rows: int = PAGE_ROWS) -> AuditResult:
    """Walk everything. Raises StoreError, and ConfigError when there are no tables."""
    began_s = clock()
    async with books.snapshot(paged=True) as snapshot:
        walk = _Walk(snapshot, page_rows)
        recount = await walk.everything()
    return AuditResult(
        rows=walk.rows, seconds=clock() - began_s, violations=recount.findings.violations()
    )


class _Walk:
    def __init__(self, snapshot: Snapshot, page_rows: int) -> None:
        self._snapshot, self._page_rows = snapshot, page_rows
        self.rows = 0

    async def everything(self) -> Recount:
        lanes = {row[0]: LaneTotals(*row[1:]) for row in await self._snapshot.lanes()}
        markets: dict[UUID, MarketRow] = {}
        async for page in self._pages(statements.AUDIT_MARKETS):
            markets.update((row[0], MarketRow(*row[1:])) for row in page)
        recount = Recount(lanes, markets)
        await self._ledger(recount)
        await self._each(statements.AUDIT_POCKETS, recount.pockets)
        recount.without_pocket()
        await self._each_with_postings(statements.AUDIT_TRADES, recount.trades)
        await self._each_with_postings(statements.AUDIT_TRANSFERS, recount.transfers)
        recount.unfounded()
        await self._each(statements.AUDIT_ORDERS, recount.orders)
        recount.unfilled()
        await self._each(statements.AUDIT_POSITIONS, recount.positions)
        recount.without_position()
        await self._each(statements.AUDIT_PAYOUTS, recount.payouts)
        recount.without_payout()
        recount.market_rows()
        await self._each(statements.AUDIT_BATCH_KEYS, recount.batch_keys)
        for lane in lanes:
            await self._journal(recount, lane)
        recount.lane_rows()
        return recount

    async def _pages(self, statement: str) -> AsyncIterator[Rows]:
        async for page in self._snapshot.pages(statement, self._page_rows):
            self.rows += len(page)
            yield page

    async def _each(self, statement: str, take: Callable[[Rows], None]) -> None:
        async for page in self._pages(statement):
            take(page)

    async def _ledger(self, recount: Recount) -> None:
        """Hand on whole causes: what a page ends with waits for the next one."""
        held: list[Any] = []
        async for page in self._pages(statements.AUDIT_LEDGER):
            rows = [*held, *page]
            begins = len(rows) - 1
            while begins and rows[begins - 1][0] == rows[-1][0]:
                begins -= 1
            recount.ledger(rows[:begins])
            held = rows[begins:]
        recount.ledger(held)

    async def _each_with_postings(
        self, statement: str, take: Callable[[Rows, Mapping[UUID, Sequence[Posting]]], None]
    ) -> None:
        async for page in self._pages(statement):
            causes = [row[0] for row in page]
            most = len(causes) * POSTINGS_EACH_MAX
            postings: defaultdict[UUID, list[Posting]] = defaultdict(list)
            for cause, account, lane, _, kind, amount in await self._snapshot.postings(
                causes, most
            ):
                postings[cause].append((account, lane, kind, amount))
            take(page, postings)

    async def _journal(self, recount: Recount, lane: int) -> None:
        last = JournalRow(0, 0, 0, 0, 0, 0)
        batch_no = recount.lanes[lane].batch_no
        for first in range(1, batch_no + 1, self._page_rows):
            until = min(first + self._page_rows - 1, batch_no)
            rows = await self._snapshot.batches(lane, first, until)
            self.rows += len(rows)
            last = recount.journal(lane, rows, last)
        recount.journal_end(lane, last)
