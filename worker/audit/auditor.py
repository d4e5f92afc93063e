"""Proof and full audit of one database, and the memory of the last full audit."""

from worker.adapters.postgres.books import Books
from worker.audit.proof import LastAudit, Proof, prove
from worker.audit.walk import AuditResult, full_audit
from worker.errors import ParityError
from worker.ports import Monotonic, Sleep
from worker.telemetry import Metrics, log


class Auditor:
    """The proof and the audits of one process."""

    def __init__(self, books: Books, clock: Monotonic) -> None:
        self._books, self._clock = books, clock
        self._last: AuditResult | None = None
        self._ended_s = 0.0

    async def prove(self) -> Proof:
        """Return the proof as of now. Raises StoreError."""
        last = None
        if self._last is not None:
            violations = sum(violation.count for violation in self._last.violations)
            last = LastAudit(age_s=self._clock() - self._ended_s, violations=violations)
        return await prove(self._books, last)

    async def audit(self) -> AuditResult:
        """Run a full audit and keep its result for the proof. Raises StoreError."""
        self._last = await full_audit(self._books, self._clock)
        self._ended_s = self._clock()
        return self._last

    async def run(self, every_s: float, sleep: Sleep, metrics: Metrics) -> None:
        """Audit every ``every_s`` seconds while the process lives, or never if it is 0."""
        while every_s:
            await sleep(every_s)
            try:
                result = await self.audit()
            except ParityError as error:
                log.warning("audit_failed", error=str(error))
            else:
                metrics.audit_violations.set(sum(v.count for v in result.violations))
                report = log.error if result.violations else log.info
                report("audited", **result.as_json())
