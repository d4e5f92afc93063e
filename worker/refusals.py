"""Reports a database that refuses a lane: to the watchdog, to /readyz and by an alarm."""

from dataclasses import dataclass
from typing import Final

from worker.errors import Conflict, Misconfigured, StoreError
from worker.telemetry import LaneMetrics

REPORTED_AFTER: Final = 20
"""Refusals in a row after which chance is ruled out."""


@dataclass(slots=True)
class RefusalMonitor:
    """Consecutive refusals by the database. A lane that is being refused is not stalled.

    One monitor serves all lanes that a process owns in one partition, one after the other.
    """

    count: int = 0
    in_a_row: int = 0
    reason: str = ""
    """Text of the database once the refusals last. Empty before that."""

    def refused(self, error: StoreError, metrics: LaneMetrics, *, lasts: bool = False) -> None:
        """Count an error sent by the server; raise an alarm once when refusals last.

        Lost races raise no alarm: a metric of their own counts them.
        """
        self.count += bool(error.sqlstate)
        if not error.sqlstate or isinstance(error, Conflict):
            return
        self.in_a_row += 1
        lasts = lasts or isinstance(error, Misconfigured) or self.in_a_row >= REPORTED_AFTER
        if not lasts:
            return
        if not self.reason:
            metrics.ready(False)
            if isinstance(error, Misconfigured):
                metrics.alarm("database_misconfigured", error=str(error))
            else:
                metrics.alarm("database_refusing", error=str(error))
        self.reason = str(error)

    def ended(self, metrics: LaneMetrics) -> None:
        """Note that the database committed."""
        if self.reason:
            metrics.ready(True)
        self.in_a_row, self.reason = 0, ""
