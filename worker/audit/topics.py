"""The rules of the topics: what a lane was asked, what it answered, what it wrote. Pure."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from worker.audit.invariants import Findings
from worker.audit.rows import LaneRow
from worker.domain import ids
from worker.domain.commands import (
    CancelOrder,
    Command,
    Deposit,
    OpenMarket,
    PlaceOrder,
    Received,
    ResolveMarket,
    Unreadable,
    Withdraw,
)
from worker.domain.state import StreamKind
from worker.domain.units import Offset
from worker.ports import Outgoing, Record
from worker.wire import journal
from worker.wire.commands import decode_order, decode_transfer, record_sha

Json = dict[str, Any]


class StoredBatch(NamedTuple):
    """A batch as its row has it. ``facts`` and ``events`` are texts of ``wire``."""

    batch_no: int
    first_offset: int
    next_offset: int
    first_seq: int
    last_seq: int
    epoch: int
    owner: str
    plan_hash: str
    facts: str
    events: str


@dataclass(frozen=True, slots=True)
class LaneHistory:
    """All there is of one lane, from its first record: both topics, its journal, its row."""

    row: LaneRow
    route: journal.Route
    inputs: Sequence[Received]
    outputs: Sequence[Record]
    batches: Sequence[StoredBatch]

    @property
    def kind(self) -> StreamKind:
        """What the lane's stream carries."""
        return StreamKind(self.row.kind)


@dataclass(slots=True)
class Heard:
    """What an output partition says once repeats are dropped."""

    events: list[Json] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    repeats: int = 0


def received(record: Record, kind: StreamKind) -> Received:
    """Return a record of an input topic as the lane understands it."""
    key, value, headers = record.key, record.value, record.headers
    decode = decode_order if kind is StreamKind.ORDERS else decode_transfer
    command = decode(key, value, headers)
    sha = record_sha(key, value, headers)
    return Received(Offset(record.offset), record.timestamp_ms, sha, command)


def seq_of(record: Record | Outgoing) -> int:
    """Return the seq that an event's header names; 0 if none does."""
    name = dict(record.headers).get("ce_id", b"")
    number = name.rpartition(b"/")[2]
    return int(number) if number.isdigit() else 0


def hear(records: Iterable[Record], findings: Findings) -> Heard:
    """Drop repeats by seq, as every consumer does; none may differ, and no seq be left out."""
    heard = Heard()
    known: dict[bytes | None, Record] = {}
    by_seq: dict[int, Record] = {}
    last = 0
    for record in records:
        first, event = known.get(record.value), None
        if first is None:
            event = _event(record.value)
            findings.require(event is not None, "not_an_event", "{}", record)
            if event is None:
                continue
            first = by_seq.get(event["seq"])
        if first is not None:
            heard.repeats += 1
            findings.require(same(record, first), "repeat_altered", "{}, {}", first, record)
        elif event is not None:
            findings.require(event["seq"] == last + 1, "seq_gap", "{} follows {}", event, last)
            last = event["seq"]
            known[record.value] = by_seq[last] = record
            heard.events.append(event)
            heard.records.append(record)
    return heard


def same(one: Record | Outgoing, other: Record | Outgoing) -> bool:
    """Return whether two records are the same to the byte, wherever they stand."""
    return content(one) == content(other)


def content(record: Record | Outgoing) -> tuple[object, ...]:
    """Return all of a record but where it stands."""
    return record.key, record.value, record.headers, record.timestamp_ms


def _event(value: bytes | None) -> Json | None:
    try:
        event = json.loads(value or b"")
        numbers = [event[name] for name in ("seq", "offset", "index", "time_ms")]
    except (ValueError, KeyError, TypeError):
        return None
    right = all(type(number) is int for number in numbers) and isinstance(event.get("type"), str)
    return event if right else None


# Against the journal.


def published(lane: LaneHistory, heard: Heard, findings: Findings) -> list[Outgoing]:
    """Hold the topic against the journal; return the journal's dead letters.

    What is published ahead of the lane is heard no more.
    """
    ahead = [event for event in heard.events if event["seq"] > lane.row.last_seq]
    findings.require(not ahead, "event_ahead", "{}: {}", lane.row, ahead[:1])
    if ahead:
        del heard.events[-len(ahead) :], heard.records[-len(ahead) :]
    written = _written(lane, findings)
    ours = [record for record in written if record.topic == lane.route.events_topic]
    for one, other in zip_longest(ours, heard.records):
        right = one is not None and other is not None and same(one, other)
        text = "{}[{}]: written {}, published {}"
        of = (lane.route.events_topic, lane.route.partition, one, other)
        findings.require(right, "journal_differs", text, *of)
    return [record for record in written if record.topic != lane.route.events_topic]


def _written(lane: LaneHistory, findings: Findings) -> list[Outgoing]:
    """Return the records of all batches, dead letters among them."""
    try:
        return [o for batch in lane.batches for o in journal.decode(batch.events, lane.route)]
    except ValueError as error:
        findings.require(False, "journal_differs", "{}: {}", lane.route, error)
        return []


def buried(letters: Iterable[Outgoing], graves: Iterable[Record], findings: Findings) -> None:
    """Every dead letter of the journals must have been published, at least once, and no other."""
    written = Counter(repr(content(letter)) for letter in letters)
    found = {repr(content(record)) for record in graves}
    differing = sorted(written.keys() ^ found)
    findings.require(not differing, "dead_letters", "{}", differing[:1])
    twice = [letter for letter, times in written.items() if times > 1]
    findings.require(not twice, "dead_letters", "written twice: {}", twice[:1])


# Against what was asked.


_ANSWERS: Final[Mapping[type, frozenset[str]]] = {
    PlaceOrder: frozenset({"ORDER_ACCEPTED", "ORDER_REJECTED", "DUPLICATE"}),
    CancelOrder: frozenset({"ORDER_CANCELLED", "CANCEL_REJECTED"}),
    OpenMarket: frozenset({"MARKET_OPENED", "COMMAND_REJECTED", "DUPLICATE"}),
    ResolveMarket: frozenset({"MARKET_RESOLVED", "COMMAND_REJECTED", "DUPLICATE"}),
    Deposit: frozenset({"DEPOSITED", "TRANSFER_REJECTED", "DUPLICATE"}),
    Withdraw: frozenset({"WITHDRAWN", "TRANSFER_REJECTED", "DUPLICATE"}),
    Unreadable: frozenset({"COMMAND_REJECTED"}),
}
_TAKES_ITS_ID: Final = frozenset({"ORDER_ACCEPTED", "DEPOSITED", "WITHDRAWN"})
_REMEMBERED: Final = frozenset({"INSUFFICIENT_FUNDS", "OPEN_ORDER_LIMIT"})
_OTHER_CONTENT: Final = "DUPLICATE_ID_DIFFERENT_PAYLOAD"
_BEFORE_ANY_ID: Final = frozenset({"INTERNAL_REJECT", "WRONG_PARTITION", "UNKNOWN_MARKET"})
"""Refusals before which nobody looks whether the id is known."""
_STAMPS: Final = frozenset({"type", "seq", "market_seq", "offset", "index", "time_ms"})


def answered(lane: LaneHistory, heard: Heard, findings: Findings) -> None:
    """Every record below the cursor must have one answer, which fits it, and no other any."""
    answers: defaultdict[int, list[Json]] = defaultdict(list)
    for event in heard.events:
        if event["index"] == 0:
            answers[event["offset"]].append(event)
    asked: dict[object, Command] = {}
    for record in lane.inputs:
        if record.offset < lane.row.next_offset:
            found = answers.pop(record.offset, [])
            of = (lane.route.topic, lane.route.partition, record, found)
            findings.require(found, "unanswered", "{}[{}] {}", *of[:3])
            findings.require(len(found) < 2, "answer_twice", "{}[{}] {}: {}", *of)  # noqa: PLR2004
            for event in found[:1]:
                fits = _fits(event, record.command, asked)
                findings.require(fits, "answer_unfit", "{}[{}] {}: {}", *of)
    nothing = next(iter(answers.values()), None)
    findings.require(not answers, "answer_to_nothing", "{}: {}", lane.route, nothing)


def at_home(lane: LaneHistory, heard: Heard, findings: Findings) -> None:
    """A market's events must stand in its home partition, and an account's transfers in its."""
    name = "market_id" if lane.kind is StreamKind.ORDERS else "account_id"
    done = {"DEPOSITED", "WITHDRAWN"}
    for event in heard.events:
        if "market_seq" in event or event["type"] in done:
            home = ids.partition_of(event[name], lane.row.partitions)
            astray = home != lane.row.partition
            text = "{}[{}]: {}, home {}"
            of = (lane.route.events_topic, lane.row.partition, event, home)
            findings.require(not astray, "event_astray", text, *of)


def _fits(event: Json, command: Command, asked: dict[object, Command]) -> bool:
    """Judge whether an answer can be one to its command. ``asked``: what each id was taken by."""
    kind, reason = event["type"], event.get("reason")
    if kind not in _ANSWERS[type(command)]:
        return False
    if isinstance(command, Unreadable):
        return reason in {"MALFORMED", "INTERNAL_REJECT"}
    told = (name for name in event if name not in _STAMPS and hasattr(command, name))
    if not all(event[name] == getattr(command, name) for name in told):
        return False
    name = _id_of(command)
    if name is None or reason in _BEFORE_ANY_ID:
        return reason != "MALFORMED"
    known = asked.get(name)
    if kind in _TAKES_ITS_ID or reason in _REMEMBERED:
        asked[name] = command
        return known is None
    return {"DUPLICATE": known == command, _OTHER_CONTENT: known not in {None, command}}.get(
        reason or kind, known is None
    )


def _id_of(command: Command) -> object:
    """Return the id that a command would take, None if it takes none."""
    match command:
        case PlaceOrder():
            return command.market_id, command.account_id, command.order_id
        case Deposit() | Withdraw():
            return command.account_id, command.transfer_id
        case _:
            return None
