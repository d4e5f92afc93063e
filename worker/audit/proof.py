"""The proof that the books balance, from sums of one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker.adapters.postgres.books import Books

STATUSES: Final = ("open", "halted", "settling", "settled")


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAudit:
    """The last full audit of this process: its age and its result."""

    age_s: float
    violations: int

    def as_json(self) -> Mapping[str, object]:
        """Return the JSON that is a part of the proof's."""
        return {
            "ageSeconds": round(self.age_s, 1),
            "consistent": not self.violations,
            "violations": self.violations,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The books at one moment. Money is in the smallest unit, ``positions_off`` counts markets.

    Has more than 15 attributes, one for each field of its JSON.
    """

    backend: str
    trades: int
    ledger_imbalance: int
    negative_balances: int
    cash_in: int
    cash_out: int
    cash_in_pockets: int
    escrow: int
    positions_off: int
    escrow_mismatches: int
    open_interest_mismatches: int
    journal_gaps: int
    batches: int
    events: int
    batches_unpublished: int
    markets: Mapping[str, int]
    last_audit: LastAudit | None

    @property
    def cash_conserved(self) -> bool:
        """Whether all cash that came in and did not go out is in a pocket or an escrow."""
        return self.cash_in_pockets + self.escrow == self.cash_in - self.cash_out

    @property
    def consistent(self) -> bool:
        """Whether everything is as it must be."""
        wrong = (
            self.ledger_imbalance,
            self.negative_balances,
            self.positions_off,
            self.escrow_mismatches,
            self.open_interest_mismatches,
            self.journal_gaps,
            self.last_audit is not None and self.last_audit.violations,
        )
        return self.cash_conserved and not any(wrong)

    def as_json(self) -> Mapping[str, object]:
        """Return the JSON of /api/proof and `parity proof --json`."""
        return {
            "backend": self.backend,
            "trades": self.trades,
            "ledgerImbalance": self.ledger_imbalance,
            "negativeBalances": self.negative_balances,
            "cashConserved": self.cash_conserved,
            "consistent": self.consistent,
            "cashIn": self.cash_in,
            "cashOut": self.cash_out,
            "cashInPockets": self.cash_in_pockets,
            "escrow": self.escrow,
            "positionsOff": self.positions_off,
            "escrowMismatches": self.escrow_mismatches,
            "openInterestMismatches": self.open_interest_mismatches,
            "journalGaps": self.journal_gaps,
            "batches": self.batches,
            "events": self.events,
            "batchesUnpublished": self.batches_unpublished,
            "markets": dict(self.markets),
            "lastAudit": None if self.last_audit is None else self.last_audit.as_json(),
        }


async def prove(books: Books, last_audit: LastAudit | None = None) -> Proof:
    """Return the proof as of now. Raises StoreError, and ConfigError when there are no tables."""
    async with books.snapshot() as snapshot:
        backend = await snapshot.backend()
        totals = dict(await snapshot.totals())
        gaps = await snapshot.gaps()
    del totals["cash_in_net"]
    markets = {status: totals.pop(f"markets_{status}") for status in STATUSES}
    return Proof(
        backend=backend, journal_gaps=gaps, markets=markets, last_audit=last_audit, **totals
    )
