"""Checks of the books and of their history, which only read.

Tables:

    invariants.py   the invariants I1 to I20, and the rules that look for each
    proof.py        the proof from sums, cheap enough for every request to /api/proof
    records.py      the rows that a check is given
    recount.py      every row counted again, and no total believed. Pure
    walk.py         the full audit, which gives every table to the recount, page by page
    auditor.py      proof and audit of one database, and the result of the last audit

History, of topics that fit into memory:

    history.py      all checks of a whole history. Pure
    event_log.py    each lane's commands, answers, journal and published events
    independent.py  the state as the events alone show it, by rules of its own
    tables.py       the rows of the tables, compared with that state
    replay.py       every batch of the present rules planned again from its records and facts
    restore.py      the state of a lane between two batches, from its events
    gather.py       reads the tables in one snapshot, then the topics
"""

from worker.audit.auditor import Auditor
from worker.audit.invariants import Violation
from worker.audit.proof import LastAudit, Proof
from worker.audit.walk import AuditResult, full_audit

__all__ = ["AuditResult", "Auditor", "LastAudit", "Proof", "Violation", "full_audit"]
