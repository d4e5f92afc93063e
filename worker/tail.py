"""What an output topic says, record by record as it comes."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from worker.adapters.kafka import AiokafkaBroker
from worker.config import Settings
from worker.errors import ConfigError
from worker.ports import Record, TopicPartition

POLL_S: Final = 0.2
QUIET_POLLS: Final = 15


class Feed(StrEnum):
    """What can be looked at as it comes."""

    EVENTS = "events"
    TRANSFER_EVENTS = "transfer-events"
    DEAD_LETTERS = "dead-letters"

    def topic(self, settings: Settings) -> str:
        """Return its topic."""
        return dict(zip(Feed, settings.outputs, strict=True))[self]


class Start(StrEnum):
    """Where to begin."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Tail:
    """What to tell of a topic: records with ``key``, ``limit`` of them, or all."""

    topic: str
    start: Start
    key: str | None
    limit: int | None
    follow: bool


async def follow(broker: AiokafkaBroker, tail: Tail) -> AsyncIterator[tuple[int, Record]]:
    """Yield (partition, record) as they arrive. Raises ConfigError, BrokerError."""
    yielded = 0
    async for partition, record in _records(broker, tail):
        if tail.key is None or record.key == tail.key.encode():
            yield partition, record
            yielded += 1
            if yielded == tail.limit:
                return


async def _records(broker: AiokafkaBroker, tail: Tail) -> AsyncIterator[tuple[int, Record]]:
    """Yield records as they arrive; without ``follow`` only those that are there now."""
    found = await broker.describe((tail.topic,))
    if tail.topic not in found:
        raise ConfigError(f"topic {tail.topic} does not exist: run `parity topics`")
    partitions = [TopicPartition(tail.topic, n) for n in range(found[tail.topic].partitions)]
    async with broker.reader(partitions) as reader:
        ends = await reader.ends()
        starts = ends if tail.start is Start.LATEST else await reader.starts()
        for partition, offset in starts.items():
            reader.seek(partition, offset)
        missing = {p for p in partitions if starts[p] < ends[p]}
        quiet = 0
        while tail.follow or (missing and quiet < QUIET_POLLS):
            arrived = await reader.poll(POLL_S)
            quiet = 0 if arrived else quiet + 1
            for partition, records in arrived.items():
                for record in records:
                    if tail.follow or record.offset < ends[partition]:
                        yield partition.partition, record
                if records and records[-1].offset >= ends[partition] - 1:
                    missing.discard(partition)


def as_json(partition: int, record: Record) -> str:
    """Return a record as JSON; what is no UTF-8 in base64."""
    given: dict[str, object] = {
        "partition": partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _shown(record.key),
        "headers": {name: _shown(value) for name, value in record.headers},
    }
    event = _event(record)
    return json.dumps({**given, **({"value": _shown(record.value)} if event is None else event)})


def as_text(partition: int, record: Record) -> str:
    """Return a record as a line for eyes."""
    event = _event(record)
    if event is None:
        code = dict(record.headers).get("parity-dlq-code", b"").decode(errors="replace")
        return f"{partition}/{record.offset}  {code}  key={record.key!r} value={record.value!r}"
    fields = {n: v for n, v in event["event"].items() if n not in {"type", "time_ms"}}
    told = "  ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in fields.items()
    )
    return f"{partition}/{record.offset}  {event['event']['type']}  {told}"


def _event(record: Record) -> dict[str, Any] | None:
    """Return the event; None for a dead letter, which may be anything."""
    if any(name == "parity-dlq-code" for name, _ in record.headers) or record.value is None:
        return None
    try:
        value = json.loads(record.value)
    except ValueError:
        return None
    return {"event": value} if isinstance(value, dict) and "type" in value else None


def _shown(content: bytes | None) -> object:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(content).decode()}
