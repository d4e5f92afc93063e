"""When a database that refuses a lane is reported."""

import pytest

from worker.errors import Conflict, Misconfigured, OutcomeUnknown, StoreError
from worker.refusals import REPORTED_AFTER, RefusalMonitor
from worker.telemetry import LaneMetrics, Metrics

MISSING = Misconfigured("42P01 relation is missing", sqlstate="42P01")
FULL = OutcomeUnknown("53100 no space", sqlstate="53100")
HELD = Conflict("55P03 held", sqlstate="55P03")
LATE = OutcomeUnknown("timeout")


def alarms_of(metrics: LaneMetrics) -> dict[str, float]:
    found = metrics._metrics.alarms.collect()
    return {
        sample.labels["alarm"]: sample.value
        for metric in found
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


@pytest.mark.parametrize(
    ("error", "times", "lasts", "alarm"),
    [
        (MISSING, 3, False, "database_misconfigured"),
        (FULL, REPORTED_AFTER - 1, False, ""),
        (FULL, REPORTED_AFTER, False, "database_refusing"),
        (FULL, REPORTED_AFTER + 3, False, "database_refusing"),
        (FULL, 1, True, "database_refusing"),
        (HELD, 2 * REPORTED_AFTER, False, ""),
        (LATE, 2 * REPORTED_AFTER, False, ""),
    ],
)
def test_lasting_refusals_are_reported_once(
    error: StoreError, times: int, lasts: bool, alarm: str
) -> None:
    metrics, monitor = LaneMetrics(Metrics(), "orders", 0), RefusalMonitor()
    for _ in range(times):
        monitor.refused(error, metrics, lasts=lasts)
    assert monitor.count == (times if error.sqlstate else 0)
    assert monitor.reason == (str(error) if alarm else "")
    assert alarms_of(metrics) == ({alarm: 1} if alarm else {})
    monitor.ended(metrics)
    assert monitor == RefusalMonitor(count=monitor.count)
