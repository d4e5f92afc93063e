"""Are the books right? Reads only.

proof.py     from sums, cheap enough for every request: what /api/proof tells
recount.py   the full audit's rules: every row counted again, no total believed. Pure
walk.py      the full audit: carries every table to the recount, page by page, in one snapshot
auditor.py   both for one database, and the memory of the last full audit
"""

from worker.audit.auditor import Auditor
from worker.audit.invariants import Violation
from worker.audit.proof import LastAudit, Proof
from worker.audit.walk import AuditResult, full_audit

__all__ = ["AuditResult", "Auditor", "LastAudit", "Proof", "Violation", "full_audit"]
