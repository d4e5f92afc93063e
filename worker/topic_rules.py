"""The settings that the topics of an exchange need, and what is wrong with a topic. Pure.

`parity topics` creates topics with them. `parity run` and `parity doctor` verify them. A worker
does so at work, too, because an operator can change them at any time.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from worker.ports import TopicDescription

STAMPS: Final = "message.timestamp.type"
LOG_APPEND_TIME: Final = "LogAppendTime"
CREATE_TIME: Final = "CreateTime"
CLEANUP: Final = "cleanup.policy"
BATCH_BYTES: Final = "max.message.bytes"
IN_SYNC: Final = "min.insync.replicas"
OLDEST_MS: Final = "message.timestamp.before.max.ms"
"""How far before the broker's clock a record's stamp may be. Known to brokers since Kafka 3.6."""
FUTURE_MS: Final = "message.timestamp.after.max.ms"
RETENTION_MS: Final = "retention.ms"
DESCRIBED: Final = (STAMPS, CLEANUP, BATCH_BYTES, IN_SYNC, OLDEST_MS, FUTURE_MS, RETENTION_MS)
"""The settings that are read from the brokers."""

PUBLISHED_BYTES_MAX: Final = 524_288
"""Size of a batch of events, half of the usual ``max.message.bytes``. It has room for the events of
one batch of the database."""
USUAL_BATCH_BYTES: Final = 1_048_588
"""Kafka's own default."""
YEAR_MS: Final = 365 * 24 * 3_600_000
HOUR_MS: Final = 3_600_000

INPUT_SETTINGS: Final[Mapping[str, str]] = {STAMPS: LOG_APPEND_TIME, CLEANUP: "delete"}
OUTPUT_SETTINGS: Final[Mapping[str, str]] = {
    # An event carries lane time, so that publishing it again gives the same bytes.
    STAMPS: CREATE_TIME,
    CLEANUP: "delete",
    BATCH_BYTES: str(USUAL_BATCH_BYTES),
}


def problem(topic: TopicDescription, *, is_input: bool) -> str:
    """Return what is wrong with a topic's settings, and the right setting. Empty: it fits."""
    return "; ".join(_problems(topic, is_input=is_input))


def foreign(topic: str, known_id: str, found_id: str) -> str:
    """Return why a topic is not the one that a stream reads. Empty: it is, as far as is known."""
    if not known_id or not found_id or known_id == found_id:
        return ""
    return (
        f"foreign history: topic {topic} has the id {found_id} and its stream was read from"
        f" {known_id}: it was recreated, or the brokers are of another cluster. RUNBOOK, 'The input"
        " topic is not what it was', brings it back"
    )


def _problems(topic: TopicDescription, *, is_input: bool) -> Iterator[str]:
    settings = topic.settings
    if is_input and settings.get(STAMPS) != LOG_APPEND_TIME:
        yield f"has {STAMPS}=CreateTime: set LogAppendTime, the clock of this exchange"
    if not is_input and settings.get(STAMPS) == LOG_APPEND_TIME:
        yield f"has {STAMPS}=LogAppendTime: set CreateTime, as its records carry lane time"
    lost = "commands that wait" if is_input else "events that consumers need"
    policy = settings.get(CLEANUP, "delete")
    if policy != "delete":
        yield f"has {CLEANUP}={policy}: set delete, since compaction removes {lost}"
    retention_ms = _number(settings, RETENTION_MS, HOUR_MS)
    if 0 <= retention_ms < HOUR_MS:
        yield f"has {RETENTION_MS}={retention_ms}: set at least {HOUR_MS}, or it removes {lost}"
    in_sync = _number(settings, IN_SYNC, 1)
    if topic.replicas < in_sync:
        yield (
            f"has {topic.replicas} replicas and {IN_SYNC}={in_sync}, so that nothing can be"
            f" written: set at most {topic.replicas}"
        )
    if not is_input:
        yield from _output_problems(settings)


def _output_problems(settings: Mapping[str, str]) -> Iterator[str]:
    """Yield the limits by which the brokers would refuse events."""
    at_most = _number(settings, BATCH_BYTES, USUAL_BATCH_BYTES)
    if at_most < PUBLISHED_BYTES_MAX:
        yield (
            f"has {BATCH_BYTES}={at_most}: set {USUAL_BATCH_BYTES}, since batches of events have up"
            f" to {PUBLISHED_BYTES_MAX} bytes"
        )
    # Events of a backlog, and those published again, are as old as their commands.
    oldest_ms = _number(settings, OLDEST_MS, YEAR_MS)
    if oldest_ms < YEAR_MS:
        yield f"has {OLDEST_MS}={oldest_ms}: remove it, since events may be published much later"
    future_ms = _number(settings, FUTURE_MS, HOUR_MS)
    if future_ms < HOUR_MS:
        yield f"has {FUTURE_MS}={future_ms}: set {HOUR_MS}, since the brokers' clocks differ"


def _number(settings: Mapping[str, str], name: str, otherwise: int) -> int:
    return int(settings.get(name) or otherwise)
