"""The ``events`` of a batch row, one line per record. The record is published from its line.

An event is its key, a tab and its value. A key in the alphabet of ids is written as it is, another
as ``~`` and base64, and a null key as nothing. A dead letter is ``!`` and a JSON object.

Publishing after a commit and again after a crash both use ``decode``. A repeat is byte-identical,
since no line depends on the owner or the time of day.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from worker.domain.commands import HEADER_NAME_ERRORS
from worker.domain.events import DeadLetter, Event
from worker.domain.state import StreamKind
from worker.ports import Outgoing
from worker.wire import events
from worker.wire.decode import Headers, is_id, record_sha

ORIGINAL_BYTES_MAX: Final = 65_536
"""Size of key, value and headers together up to which a dead letter keeps the whole record.

In base64 and with its other fields it stays below ``domain.plan.DEAD_LETTER_BYTES_MAX``.
"""
KEY_BYTES_MAX: Final = 1_024
"""Bytes kept of the key of a larger record, and in the event of an unreadable record."""
HEADERS_BYTES_MAX: Final = 16_384
"""Bytes kept of the headers of a larger record, as whole headers from the first on."""
HEADER_FRAME_BYTES: Final = 16
"""Bytes added for each header, so that many empty headers cannot evade the limit."""
SEQ_DIGITS_MAX: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The topics and partitions for the records of one lane. ``topic`` is the input topic."""

    stream: str
    topic: str
    partition: int
    events_topic: str
    dead_letters_topic: str
    dead_letter_partitions: int


def encode(items: Sequence[Event | DeadLetter], kind: StreamKind) -> str:
    """Return the journal text of ``items`` in their order, ASCII with a newline after each line."""
    keys = {item.seq: item.original.key for item in items if isinstance(item, DeadLetter)}
    return "".join(
        _dead_letter_line(item)
        if isinstance(item, DeadLetter)
        else f"{item.subject or _key_text(keys.get(item.seq))}\t{events.text(item, kind)}\n"
        for item in items
    )


def decode(journal: str, route: Route) -> list[Outgoing]:
    """Return the records to publish, in order. Raises ValueError if ``journal`` is malformed."""
    *lines, rest = journal.split("\n")
    if rest:
        raise ValueError("the journal ends within a line")
    return [
        _dead_letter(line, route) if line.startswith("!") else _event(line, route) for line in lines
    ]


def seq_of(headers: Headers, route: Route) -> int:
    """Return the seq of an event of the lane that ``route`` names, 0 for any other record."""
    source = f"{route.stream}/{route.partition}/".encode()
    for name, content in headers:
        number = (content or b"").removeprefix(source)
        if name == "ce_id" and number != content and number_of(number):
            return number_of(number)
    return 0


def number_of(digits: bytes) -> int:
    """Return a seq, or 0 if it is none. Python refuses to convert thousands of digits."""
    return int(digits) if digits.isdigit() and len(digits) <= SEQ_DIGITS_MAX else 0


_EVENT_LINE: Final = re.compile(
    r"([^\t]*)\t"
    r'(\{"type":"([A-Z_]+)","seq":([0-9]+),(?:"(?:market|account)_id":"[^"]*",)?'
    r'(?:"market_seq":[0-9]+,)?"offset":[0-9]+,"index":[0-9]+,"time_ms":(-?[0-9]+),.*\})'
).fullmatch


def _key_text(key: bytes | None) -> str:
    if key is None:
        return ""
    try:
        plain = key.decode("ascii")
    except UnicodeDecodeError:
        plain = ""
    return plain if is_id(plain) else f"~{_base64(key[:KEY_BYTES_MAX])}"


def _key_bytes(text: str) -> bytes | None:
    if not text:
        return None
    return b64decode(text[1:]) if text.startswith("~") else text.encode()


def _event(line: str, route: Route) -> Outgoing:
    found = _EVENT_LINE(line)
    if found is None:
        raise ValueError("a line of the journal is no event")
    key, value, kind, seq, time = found.groups()
    time_ms = int(time)
    return Outgoing(
        topic=route.events_topic,
        partition=route.partition,
        key=_key_bytes(key),
        value=value.encode(),
        headers=events.headers(route.stream, route.partition, int(seq), kind, time_ms),
        timestamp_ms=time_ms,
    )


def _dead_letter_line(letter: DeadLetter) -> str:
    original = letter.original
    key, value, headers = original.key, original.value, original.headers
    kept_key, kept_value, kept_headers = _kept(key, value, headers)
    given: dict[str, object] = {
        "seq": letter.seq,
        "offset": letter.offset,
        "time_ms": letter.time_ms,
        "code": letter.reason,
        "key": _base64(kept_key),
        "value": _base64(kept_value),
        "headers": [[_base64(_name(name)), _base64(content)] for name, content in kept_headers],
    }
    if (kept_key, kept_value, kept_headers) != (key, value, headers):
        given["length"] = sum(len(part) for part in (key, value) if part) + sum(
            len(_name(name)) + len(content or b"") for name, content in headers
        )
        given["sha256"] = record_sha(key, value, headers)
    return f"!{json.dumps(given, separators=(',', ':'))}\n"


def _kept(
    key: bytes | None, value: bytes | None, headers: Headers
) -> tuple[bytes | None, bytes | None, Headers]:
    """Return the kept parts of a record, which are whole or prefixes."""
    sizes = [
        len(_name(name)) + len(content or b"") + HEADER_FRAME_BYTES for name, content in headers
    ]
    if len(key or b"") + len(value or b"") + sum(sizes) <= ORIGINAL_BYTES_MAX:
        return key, value, headers
    count = sum(total <= HEADERS_BYTES_MAX for total in accumulate(sizes))
    key = key and key[:KEY_BYTES_MAX]
    value = value and value[: ORIGINAL_BYTES_MAX - len(key or b"") - sum(sizes[:count])]
    return key, value, headers[:count]


def _dead_letter(line: str, route: Route) -> Outgoing:
    given = json.loads(line[1:])
    ours = {
        "parity-dlq-code": given["code"],
        "parity-dlq-seq": given["seq"],
        "__dlq.errors.topic": route.topic,
        "__dlq.errors.partition": route.partition,
        "__dlq.errors.offset": given["offset"],
    }
    if "sha256" in given:
        ours["parity-dlq-truncated-length"] = given["length"]
        ours["parity-dlq-sha256"] = given["sha256"]
    return Outgoing(
        topic=route.dead_letters_topic,
        partition=route.partition % route.dead_letter_partitions,
        key=_bytes(given["key"]),
        value=_bytes(given["value"]),
        headers=(
            *((_text(name), _bytes(content)) for name, content in given["headers"]),
            # Last, because readers take the last header of a name. The original record cannot
            # pretend to have these.
            *((name, str(content).encode()) for name, content in ours.items()),
        ),
        timestamp_ms=given["time_ms"],
    )


def _name(name: str) -> bytes:
    return name.encode(errors=HEADER_NAME_ERRORS)


def _text(name: str) -> str:
    return b64decode(name).decode(errors=HEADER_NAME_ERRORS)


def _base64(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
