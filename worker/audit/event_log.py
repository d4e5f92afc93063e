"""The rules of the topics, which compare each lane's commands, answers and journal. Pure."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final

from worker.audit.invariants import Findings
from worker.audit.records import AuditedLane, StoredBatch
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
from worker.domain.events import REMEMBERED
from worker.domain.state import StreamKind
from worker.domain.units import Offset
from worker.ports import Outgoing, Record
from worker.wire import journal
from worker.wire import resume as resume_text
from worker.wire.decode import decode_order, decode_transfer, record_sha

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LaneHistory:
    """Everything about one lane from its first record: its row, both topics and its journal."""

    row: AuditedLane
    route: journal.Route
    inputs: Sequence[Received]
    outputs: Sequence[Record]
    batches: Sequence[StoredBatch]

    @property
    def kind(self) -> StreamKind:
        """The kind of the lane's stream."""
        return StreamKind(self.row.kind)


@dataclass(slots=True)
class TopicContents:
    """The contents of an output partition without repeats."""

    events: list[Json] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    repeats: int = 0


def received(record: Record, kind: StreamKind) -> Received:
    """Return a record of an input topic as the lane understands it."""
    key, value, headers = record.key, record.value, record.headers
    decode = decode_order if kind is StreamKind.ORDERS else decode_transfer
    command = decode(key, value, headers)
    sha = record_sha(key, value, headers)
    return Received(Offset(record.offset), record.arrival_ms, sha, command)


def seq_of(record: Record | Outgoing) -> int:
    """Return the seq in an event's header, or 0 if there is none."""
    name = dict(record.headers).get("ce_id") or b""
    return journal.number_of(name.rpartition(b"/")[2])


def read(records: Iterable[Record], findings: Findings) -> TopicContents:
    """Drop repeats by seq, as every consumer does. No repeat may differ, and no seq be missing."""
    contents = TopicContents()
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
            contents.repeats += 1
            findings.require(same(record, first), "repeat_altered", "{}, {}", first, record)
        elif event is not None:
            findings.require(event["seq"] == last + 1, "seq_gap", "{} follows {}", event, last)
            last = event["seq"]
            known[record.value] = by_seq[last] = record
            contents.events.append(event)
            contents.records.append(record)
    return contents


def same(one: Record | Outgoing, other: Record | Outgoing) -> bool:
    """Return whether two records have the same bytes, whatever their offsets."""
    return content(one) == content(other)


def content(record: Record | Outgoing) -> tuple[object, ...]:
    """Return everything of a record except its place."""
    return record.key, record.value, record.headers, record.timestamp_ms


def _event(value: bytes | None) -> Json | None:
    try:
        event = json.loads(value or b"")
        numbers = [event[name] for name in ("seq", "offset", "index", "time_ms")]
    except (ValueError, KeyError, TypeError):
        return None
    right = all(type(number) is int for number in numbers) and isinstance(event.get("type"), str)
    return event if right else None


# Comparison with the journal.


def published(lane: LaneHistory, contents: TopicContents, findings: Findings) -> list[Outgoing]:
    """Compare the topic with the journal, and return the journal's dead letters.

    Events published ahead of the lane are removed from ``contents``.
    """
    ahead = [event for event in contents.events if event["seq"] > lane.row.last_seq]
    findings.require(not ahead, "event_ahead", "{}: {}", lane.row, ahead[:1])
    if ahead:
        del contents.events[-len(ahead) :], contents.records[-len(ahead) :]
    written = _written(lane, findings)
    ours = [record for record in written if record.topic == lane.route.events_topic]
    for one, other in zip_longest(ours, contents.records):
        right = one is not None and other is not None and same(one, other)
        text = "{}[{}]: written {}, published {}"
        of = (lane.route.events_topic, lane.route.partition, one, other)
        findings.require(right, "journal_differs", text, *of)
    return [record for record in written if record.topic != lane.route.events_topic]


def _written(lane: LaneHistory, findings: Findings) -> list[Outgoing]:
    """Return the records of all batches, including dead letters."""
    try:
        return [o for batch in lane.batches for o in journal.decode(batch.events, lane.route)]
    except ValueError as error:
        findings.require(False, "journal_differs", "{}: {}", lane.route, error)
        return []


def same_dead_letters(
    letters: Iterable[Outgoing], records: Iterable[Record], findings: Findings
) -> None:
    """Check that the dead letters of the journals were published, and no others."""
    written = Counter(repr(content(letter)) for letter in letters)
    found = {repr(content(record)) for record in records}
    differing = sorted(written.keys() ^ found)
    findings.require(not differing, "dead_letters", "{}", differing[:1])
    twice = [letter for letter, times in written.items() if times > 1]
    findings.require(not twice, "dead_letters", "written twice: {}", twice[:1])


# Comparison with the commands.


_REPEATS: Final = ("DUPLICATE", "ID_CONFLICT")
_ANSWERS: Final[Mapping[type, frozenset[str]]] = {
    PlaceOrder: frozenset({"ORDER_ACCEPTED", "ORDER_REJECTED", *_REPEATS}),
    CancelOrder: frozenset({"ORDER_CANCELLED", "CANCEL_REJECTED"}),
    OpenMarket: frozenset({"MARKET_OPENED", "COMMAND_REJECTED", "DUPLICATE"}),
    ResolveMarket: frozenset({"MARKET_RESOLVED", "COMMAND_REJECTED", "DUPLICATE"}),
    Deposit: frozenset({"DEPOSITED", "TRANSFER_REJECTED", *_REPEATS}),
    Withdraw: frozenset({"WITHDRAWN", "TRANSFER_REJECTED", *_REPEATS}),
    Unreadable: frozenset({"COMMAND_REJECTED"}),
}
_TAKES_ITS_ID: Final = frozenset({"ORDER_ACCEPTED", "DEPOSITED", "WITHDRAWN"})
_REMEMBERED: Final = frozenset(map(str, REMEMBERED))
_OTHER_CONTENT: Final = ("ID_CONFLICT", "DUPLICATE_ID_DIFFERENT_PAYLOAD")
"""Answers to an id sent with other content. The rules before 3 gave the second, as a reason."""
_BEFORE_ANY_ID: Final = frozenset({"INTERNAL_REJECT", "WRONG_PARTITION", "UNKNOWN_MARKET"})
"""Reasons of refusals that are made before the id is looked up."""
_STAMPS: Final = frozenset({"type", "seq", "market_seq", "offset", "index", "time_ms"})


def answered(lane: LaneHistory, contents: TopicContents, findings: Findings) -> None:
    """Check that each record before the cursor has one fitting answer, unless it waits.

    No other record may have any.
    """
    waiting = _waiting(lane.row)
    answers: defaultdict[int, list[Json]] = defaultdict(list)
    for event in contents.events:
        if event["index"] == 0:
            answers[event["offset"]].append(event)
    first: list[tuple[Json, Received]] = []
    for record in lane.inputs:
        if record.offset < lane.row.next_offset and record.offset not in waiting:
            found = answers.pop(record.offset, [])
            of = (lane.route.topic, lane.route.partition, record, found)
            findings.require(found, "unanswered", "{}[{}] {}", *of[:3])
            findings.require(len(found) < 2, "answer_twice", "{}[{}] {}: {}", *of)  # noqa: PLR2004
            first += [(event, record) for event in found[:1]]
    # A command that waited is answered after later ones, and takes its id only then.
    asked: dict[object, Command] = {}
    for event, record in sorted(first, key=_by_seq):
        fits = _fits(event, record.command, asked)
        findings.require(fits, "answer_unfit", "{} {}: {}", lane.route, record, event)
    nothing = next(iter(answers.values()), None)
    findings.require(not answers, "answer_to_nothing", "{}: {}", lane.route, nothing)


def _by_seq(answer: tuple[Json, Received]) -> int:
    seq: int = answer[0]["seq"]
    return seq


def _waiting(row: AuditedLane) -> frozenset[Offset]:
    """Return the offsets that wait. A resume text that cannot be read is noted by the recount."""
    try:
        return resume_text.decode(row.resume)[2]
    except (ValueError, KeyError, TypeError):
        return frozenset()


def at_home(lane: LaneHistory, contents: TopicContents, findings: Findings) -> None:
    """Check that events are in the home partition of their market or, for transfers, account."""
    name = "market_id" if lane.kind is StreamKind.ORDERS else "account_id"
    done = {"DEPOSITED", "WITHDRAWN"}
    for event in contents.events:
        if "market_seq" in event or event["type"] in done:
            home = ids.partition_of(event[name], lane.row.partitions)
            astray = home != lane.row.partition
            text = "{}[{}]: {}, home {}"
            of = (lane.route.events_topic, lane.row.partition, event, home)
            findings.require(not astray, "event_astray", text, *of)


def _fits(event: Json, command: Command, asked: dict[object, Command]) -> bool:
    """Return whether an answer fits its command. ``asked`` has the command that took each id."""
    kind, reason = event["type"], event.get("reason")
    if kind not in _ANSWERS[type(command)]:
        return False
    if isinstance(command, Unreadable):
        return reason in {"MALFORMED", "INTERNAL_REJECT"}
    repeated = (name for name in event if name not in _STAMPS and hasattr(command, name))
    if not all(event[name] == getattr(command, name) for name in repeated):
        return False
    name = _id_of(command)
    if name is None or reason in _BEFORE_ANY_ID:
        return reason != "MALFORMED"
    known = asked.get(name)
    if kind in _TAKES_ITS_ID or reason in _REMEMBERED:
        asked[name] = command
        return known is None
    conflicts = dict.fromkeys(_OTHER_CONTENT, known not in {None, command})
    return {"DUPLICATE": known == command, **conflicts}.get(reason or kind, known is None)


def _id_of(command: Command) -> object:
    """Return the id that a command takes, or None if it takes none."""
    match command:
        case PlaceOrder():
            return command.market_id, command.account_id, command.order_id
        case Deposit() | Withdraw():
            return command.account_id, command.transfer_id
        case _:
            return None
