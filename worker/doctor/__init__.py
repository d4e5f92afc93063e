"""Does the target have what the worker relies on? The first thing to run on a real cluster.

    checks.py      what is asked, in which order, and what hangs on what
    rehearsal.py   a small exchange played on scratch tables
    report.py      what came back, as a table and as JSON

Probes of the servers themselves are in ``worker.adapters``. It writes to a schema of its own, which
it drops however it ends; beside live workers it is harmless. Every check is bounded in time.
"""

from worker.doctor.checks import examine
from worker.doctor.report import Finding, as_json, as_rows, healthy, verdict

__all__ = ["Finding", "as_json", "as_rows", "examine", "healthy", "verdict"]
