"""What the worker tells about itself: structured log lines and Prometheus metrics.

No market or account is a label, and no payload is logged. A lane's series go when it is revoked.
"""

import logging
import math
import sys
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from typing_extensions import override

log: Final[Any] = structlog.get_logger("parity")
"""One event name a line, fields instead of prose."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BATCH: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2500)
_LABELS: Final = ("stream", "partition")
_SECRET_LOGGERS: Final = ("aiokafka", "botocore", "aiobotocore")
_LIBRARY_LINE_EVERY_S: Final = 10.0
_LIBRARY_KINDS_MAX: Final = 1_000


class _Sparing(logging.Filter):
    """Lets one line of a kind through in ten seconds: libraries complain about every try."""

    def __init__(self) -> None:
        super().__init__()
        self._shown_at_s: dict[tuple[str, str], float] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        kind, now_s = (record.name, str(record.msg)), record.created
        if abs(now_s - self._shown_at_s.get(kind, -math.inf)) < _LIBRARY_LINE_EVERY_S:
            return False
        if len(self._shown_at_s) >= _LIBRARY_KINDS_MAX:
            self._shown_at_s.clear()
        self._shown_at_s[kind] = now_s
        return True


def configure_logging(level: str, *, as_json: bool) -> None:
    """Log to stderr, as JSON or for eyes. Libraries that log secrets at DEBUG stay above it."""
    render = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    number = logging.getLevelName(level)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    libraries = logging.StreamHandler(sys.stderr)
    libraries.addFilter(_Sparing())
    logging.basicConfig(handlers=[libraries], level=max(number, logging.WARNING))
    for name in _SECRET_LOGGERS:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


class Metrics:
    """Every series of the process, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"parity_{name}", text, (*_LABELS, *more), registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"parity_{name}", text, _LABELS, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"parity_{name}", text, _LABELS, buckets=buckets, registry=registry)

        self.commands = counter("commands_total", "Commands answered")
        self.events = counter("events_total", "Events committed")
        self.batches = counter("batches_total", "Batches committed")
        self.fills = counter("fills_total", "Trades committed")
        self.draws = counter("draws_total", "Draws between pockets committed")
        self.outcomes = counter(
            "commit_outcomes_total", "What came back from the batch statement", "outcome"
        )
        self.lost_races = counter("lost_races_total", "Races lost to other lanes")
        self.alarms = counter("alarms_total", "What somebody should look at", "alarm")
        self.published = counter("events_published_total", "Records acknowledged by the broker")
        self.publish_failures = counter("publish_failures_total", "Producers thrown away")
        self.commit_seconds = histogram("commit_seconds", "Statement to answer", _SECONDS)
        self.batch_commands = histogram("batch_commands", "Commands in a batch", _BATCH)
        self.lag = gauge("lane_queued_records", "Records received and not answered yet")
        self.ready = gauge("lane_ready", "1 while the lane takes commands")
        self.behind = gauge("lane_behind_records", "Records of the topic and not answered yet")
        self._add_process(registry)

    def _add_process(self, registry: CollectorRegistry) -> None:
        """Add what a process has once, whatever lanes it holds."""
        self.assigned = Gauge("parity_assigned_partitions", "Lanes held", registry=registry)
        self.rebalances = Counter("parity_rebalances", "Assignments", registry=registry)
        self.loop_lag = Histogram(
            "parity_event_loop_lag_seconds",
            "By how much a pause of the event loop was too long",
            buckets=_SECONDS,
            registry=registry,
        )
        self.stalled = Gauge("parity_stalled_lanes", "Lanes that stand still", registry=registry)
        self.database_answers = Gauge(
            "parity_database_answers", "1 while the database answers", registry=registry
        )
        self.audit_violations = Gauge(
            "parity_audit_violations", "What the last full audit found", registry=registry
        )
        self.audit_violations.set(math.nan)


class LaneMetrics:
    """The series of one lane."""

    def __init__(self, metrics: Metrics, stream: str, partition: int) -> None:
        self._metrics = metrics
        self._labels = (stream, str(partition))
        self.names = {"stream": stream, "partition": partition}

    def committed(self, *, commands: int, events: int, fills: int, draws: int) -> None:
        """Count a committed batch."""
        labels, metrics = self._labels, self._metrics
        metrics.batches.labels(*labels).inc()
        metrics.batch_commands.labels(*labels).observe(commands)
        metrics.commands.labels(*labels).inc(commands)
        metrics.events.labels(*labels).inc(events)
        metrics.fills.labels(*labels).inc(fills)
        metrics.draws.labels(*labels).inc(draws)

    def came_back(self, outcome: str, seconds: float) -> None:
        """Count what came back from the statement."""
        self._metrics.outcomes.labels(*self._labels, outcome).inc()
        self._metrics.commit_seconds.labels(*self._labels).observe(seconds)

    def lost_race(self) -> None:
        """Count a lost race."""
        self._metrics.lost_races.labels(*self._labels).inc()

    def alarm(self, name: str, **fields: object) -> None:
        """Say that somebody should look."""
        self._metrics.alarms.labels(*self._labels, name).inc()
        log.error(name, **self.names, **fields)

    def published(self, records: int) -> None:
        """Count acknowledged records."""
        self._metrics.published.labels(*self._labels).inc(records)

    def publish_failed(self) -> None:
        """Count a producer thrown away."""
        self._metrics.publish_failures.labels(*self._labels).inc()

    def queued(self, records: int) -> None:
        """Show how many records wait."""
        self._metrics.lag.labels(*self._labels).set(records)

    def ready(self, ready: bool) -> None:
        """Show whether the lane takes commands."""
        self._metrics.ready.labels(*self._labels).set(ready)

    def behind(self, records: int) -> None:
        """Show how many records of the topic wait for their answer."""
        self._metrics.behind.labels(*self._labels).set(records)

    def gone(self) -> None:
        """Take the lane's gauges out."""
        for gauge in (self._metrics.lag, self._metrics.ready, self._metrics.behind):
            gauge.remove(*self._labels)
