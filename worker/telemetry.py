"""Structured log lines and Prometheus metrics.

No market or account is a label, and no payload is logged. A lane's gauges are removed when the lane
is revoked.

Lines of libraries, warnings and uncaught exceptions have the form of the worker's own lines. As
text each is one line, apart from a traceback, which is indented. Nothing in it can therefore pass
for another line or reach the terminal unescaped.
"""

import logging
import math
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from structlog.typing import EventDict, Processor
from typing_extensions import override

from worker.printable import printable, printable_lines

log: Final[Any] = structlog.get_logger("parity")
"""Each line has one event name, and fields instead of prose."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BATCH: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2500)
_LABELS: Final = ("stream", "partition")
_SECRET_LOGGERS: Final = ("aiokafka", "botocore", "aiobotocore")
_LIBRARY_LINE_EVERY_S: Final = 10.0
_LIBRARY_KINDS_MAX: Final = 1_000
_TRACEBACK_MARGIN: Final = "    "


class _RateLimit(logging.Filter):
    """Passes one line of a kind every ten seconds: libraries log every retry."""

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


class _LibraryLines(logging.StreamHandler[Any]):
    """Writes the lines of libraries in the form of the worker's own."""

    def __init__(self, before: Sequence[Processor], render: Sequence[Processor]) -> None:
        super().__init__(sys.stderr)
        self.addFilter(_RateLimit())
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[structlog.stdlib.add_logger_name],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *before,
                    *render,
                ],
            )
        )

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Report a line whose arguments do not fit its text. Python would print a traceback."""
        log.error("library_line_unfit", logger=record.name, text=str(record.msg))


def configure_logging(level: str, *, as_json: bool, colours: bool = False) -> None:
    """Log to stderr, as JSON or as text. Libraries that log secrets at DEBUG stay at WARNING."""
    number = logging.getLevelName(level)
    before: Sequence[Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    )
    render = _as_json() if as_json else _as_text(colours=colours)
    structlog.configure(
        processors=[*before, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _LibraryLines)]:
        root.removeHandler(earlier)
    root.addHandler(_LibraryLines(before, render))
    root.setLevel(max(number, logging.WARNING))
    for name in _SECRET_LOGGERS:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def log_uncaught() -> None:
    """Log warnings and uncaught exceptions of this process, which Python would print as text."""
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_exception
    threading.excepthook = lambda given: _log_exception(
        given.exc_type, given.exc_value, given.exc_traceback
    )
    sys.unraisablehook = lambda given: _log_exception(
        given.exc_type, given.exc_value, given.exc_traceback
    )


def _log_exception(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    log.critical("uncaught_exception", exc_info=(kind, error or kind(), trace))


def _as_json() -> Sequence[Processor]:
    return (structlog.processors.JSONRenderer(),)


def _as_text(*, colours: bool) -> Sequence[Processor]:
    traceback = structlog.dev.plain_traceback
    renderer = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=traceback)
    return _make_printable, renderer


def _make_printable(_logger: object, _method: str, fields: EventDict) -> EventDict:
    """Escape the texts of a line. The renderer shows other values by ``repr``, which escapes."""
    for name, value in fields.items():
        if name == "exception":
            fields[name] = printable_lines(value, _TRACEBACK_MARGIN)
        elif isinstance(value, str):
            fields[name] = printable(value)
    return fields


class Metrics:
    """Every series of the process, in a registry of its own. One attribute for each series."""

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
            "commit_outcomes_total", "Results of the batch statement", "outcome"
        )
        self.lost_races = counter("lost_races_total", "Conflicts lost to other lanes")
        self.alarms = counter("alarms_total", "Alarms raised", "alarm")
        self.published = counter("events_published_total", "Records acknowledged by the broker")
        self.publish_failures = counter(
            "publish_failures_total", "Producers discarded after an error"
        )
        self.commit_seconds = histogram(
            "commit_seconds", "Seconds from statement to result", _SECONDS
        )
        self.batch_commands = histogram("batch_commands", "Commands in a batch", _BATCH)
        self.lag = gauge("lane_queued_records", "Records received and not answered yet")
        self.ready = gauge("lane_ready", "1 while the lane takes commands")
        self.behind = gauge("lane_behind_records", "Records in the topic and not answered yet")
        self.unfetched = gauge("lane_unfetched", "1 while the lane's topic cannot be read")
        self._add_process(registry)

    def alarm(self, name: str, *, topic: str, **fields: object) -> None:
        """Raise an alarm about a topic, which is none of a single lane."""
        self.alarms.labels(topic, "", name).inc()
        log.error(name, topic=topic, **fields)

    def _add_process(self, registry: CollectorRegistry) -> None:
        """Add the series without labels, which belong to the process."""
        self.assigned = Gauge(
            "parity_assigned_partitions", "Lanes held by this process", registry=registry
        )
        self.rebalances = Counter(
            "parity_rebalances", "Assignments of partitions to this process", registry=registry
        )
        self.loop_lag = Histogram(
            "parity_event_loop_lag_seconds",
            "Delay of the event loop",
            buckets=_SECONDS,
            registry=registry,
        )
        self.stalled = Gauge(
            "parity_stalled_lanes",
            "Lanes without progress although broker and database answer",
            registry=registry,
        )
        self.database_answers = Gauge(
            "parity_database_answers", "1 while the database answers", registry=registry
        )
        self.audit_violations = Gauge(
            "parity_audit_violations",
            "Violations found by the last full audit, NaN before it",
            registry=registry,
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
        """Count a result of the batch statement."""
        self._metrics.outcomes.labels(*self._labels, outcome).inc()
        self._metrics.commit_seconds.labels(*self._labels).observe(seconds)

    def lost_race(self) -> None:
        """Count a lost race."""
        self._metrics.lost_races.labels(*self._labels).inc()

    def alarm(self, name: str, **fields: object) -> None:
        """Raise an alarm, which an operator must look at."""
        self._metrics.alarms.labels(*self._labels, name).inc()
        log.error(name, **self.names, **fields)

    def published(self, records: int) -> None:
        """Count acknowledged records."""
        self._metrics.published.labels(*self._labels).inc(records)

    def publish_failed(self) -> None:
        """Count a producer discarded after an error."""
        self._metrics.publish_failures.labels(*self._labels).inc()

    def queued(self, records: int) -> None:
        """Show how many records wait."""
        self._metrics.lag.labels(*self._labels).set(records)

    def ready(self, ready: bool) -> None:
        """Show whether the lane takes commands."""
        self._metrics.ready.labels(*self._labels).set(ready)

    def behind(self, records: int) -> None:
        """Show how many records of the topic are not answered."""
        self._metrics.behind.labels(*self._labels).set(records)

    def unfetched(self, unfetched: bool) -> None:
        """Show whether the lane's topic cannot be read."""
        self._metrics.unfetched.labels(*self._labels).set(unfetched)

    def gone(self) -> None:
        """Remove the lane's gauges."""
        metrics = self._metrics
        for gauge in (metrics.lag, metrics.ready, metrics.behind, metrics.unfetched):
            gauge.remove(*self._labels)
