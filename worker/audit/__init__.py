"""Are the books right? Reads only.

invariants.py  what must hold, I1 to I20, and the rules that look for it
proof.py       from sums, cheap enough for every request: what /api/proof tells
recount.py     the rules of the tables: every row counted again, no total believed. Pure
rows.py        what a recount is given: columns, kinds of ledger rows
walk.py        the full audit: carries every table to the recount, page by page, in one snapshot
auditor.py     both for one database, and the memory of the last full audit

history.py     the whole history, for topics that fit into memory. Pure
topics.py      its lanes: what was asked, answered, written and published
stranger.py    what the events alone say, by rules of their own
tables.py      the rows of the tables, held against that
replay.py      every batch planned again from its records and facts
gather.py      reads it: tables in one snapshot, then the topics
"""

from worker.audit.auditor import Auditor
from worker.audit.invariants import Violation
from worker.audit.proof import LastAudit, Proof
from worker.audit.walk import AuditResult, full_audit

__all__ = ["AuditResult", "Auditor", "LastAudit", "Proof", "Violation", "full_audit"]
