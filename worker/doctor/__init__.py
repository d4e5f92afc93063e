"""Checks of everything that the worker relies on, to run first on any new target.

    checks.py      the checks, their order, and what each needs
    rehearsal.py   a small exchange played on scratch tables
    report.py      the findings, as a table and as JSON

Probes of the servers themselves are in ``worker.adapters``. The doctor writes only to a schema of
its own, which it drops however it ends, so it is safe to run next to live workers. Every check is
bounded in time.
"""

from worker.doctor.checks import examine
from worker.doctor.report import Finding, as_json, as_rows, healthy, verdict

__all__ = ["Finding", "as_json", "as_rows", "examine", "healthy", "verdict"]
