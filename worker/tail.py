"""Printing of the records of an output topic as they arrive."""

import json
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from worker.adapters.kafka import AiokafkaBroker
from worker.config import Settings
from worker.domain.commands import HEADER_NAME_ERRORS
from worker.errors import ConfigError
from worker.ports import Record, TopicPartition

POLL_S: Final = 0.2
QUIET_POLLS: Final = 15


class Feed(StrEnum):
    """The output topics by their names on the command line."""

    EVENTS = "events"
    TRANSFER_EVENTS = "transfer-events"
    DEAD_LETTERS = "dead-letters"

    def topic(self, settings: Settings) -> str:
        """Return the topic that the settings name."""
        return dict(zip(Feed, settings.outputs, strict=True))[self]


class Start(StrEnum):
    """The first record to print."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class EventPrinter:
    """Prints records of a topic as they arrive: those with ``key``, and at most ``limit``."""

    topic: str
    start: Start = Start.EARLIEST
    key: str | None = None
    limit: int | None = None
    follow: bool = False
    as_json: bool = False

    async def lines(self, broker: AiokafkaBroker) -> AsyncGenerator[str, None]:
        """Yield a line for each record. Raises ConfigError, BrokerError."""
        render, printed = as_json if self.as_json else as_text, 0
        async with aclosing(self._records(broker)) as records:
            async for partition, record in records:
                if self.key is None or record.key == self.key.encode():
                    yield render(partition, record)
                    printed += 1
                    if printed == self.limit:
                        return

    async def _records(self, broker: AiokafkaBroker) -> AsyncGenerator[tuple[int, Record], None]:
        """Yield records as they arrive. Without ``follow``, yield only those of the beginning."""
        found = await broker.describe((self.topic,))
        if self.topic not in found:
            raise ConfigError(f"topic {self.topic} does not exist: run `parity topics`")
        partitions = [TopicPartition(self.topic, n) for n in range(found[self.topic].partitions)]
        async with broker.reader(partitions) as reader:
            ends = await reader.ends()
            starts = ends if self.start is Start.LATEST else await reader.starts()
            for partition, offset in starts.items():
                reader.seek(partition, offset)
            missing = {p for p in partitions if starts[p] < ends[p]}
            quiet = 0
            while self.follow or (missing and quiet < QUIET_POLLS):
                arrived = await reader.poll(POLL_S)
                quiet = 0 if arrived else quiet + 1
                for partition, records in arrived.items():
                    for record in records:
                        if self.follow or record.offset < ends[partition]:
                            yield partition.partition, record
                # Not the last record, because the end of a transaction may follow.
                missing = {p for p in missing if await reader.position(p) < ends[p]}


def as_json(partition: int, record: Record) -> str:
    """Return a record as JSON. Contents that are no UTF-8 are in base64."""
    given: dict[str, object] = {
        "partition": partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _shown(record.key),
        "headers": {_shown_name(name): _shown(value) for name, value in record.headers},
    }
    event = _event(record)
    return json.dumps({**given, **({"value": _shown(record.value)} if event is None else event)})


def as_text(partition: int, record: Record) -> str:
    """Return a record as a line for people."""
    event = _event(record)
    if event is None:
        code = (dict(record.headers).get("parity-dlq-code") or b"").decode(errors="replace")
        return f"{partition}/{record.offset}  {code}  key={record.key!r} value={record.value!r}"
    fields = {n: v for n, v in event["event"].items() if n not in {"type", "time_ms"}}
    shown = "  ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in fields.items()
    )
    return f"{partition}/{record.offset}  {event['event']['type']}  {shown}"


def _event(record: Record) -> dict[str, Any] | None:
    """Return the event, or None for a dead letter, which may have any content."""
    if any(name == "parity-dlq-code" for name, _ in record.headers) or record.value is None:
        return None
    try:
        value = json.loads(record.value)
    except ValueError:
        return None
    return {"event": value} if isinstance(value, dict) and "type" in value else None


def _shown_name(name: str) -> str:
    """Return a header's name. Bytes that are no UTF-8 become hexadecimal escapes."""
    return name.encode(errors=HEADER_NAME_ERRORS).decode(errors="backslashreplace")


def _shown(content: bytes | None) -> object:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(content).decode()}
