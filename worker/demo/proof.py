"""The proof: what went in, what came out and what the books hold, compared. Pure.

No counter of the worker is believed. Answers are matched with commands by their offsets, and the
journal with the topic byte for byte.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from worker.adapters.postgres.evidence import JournalBatch, LaneStanding, Sums
from worker.audit import AuditResult
from worker.demo.options import DRAWS_PERCENT_MIN, DUPLICATES_PERCENT_MIN, REJECTED_PERCENT_MIN
from worker.domain.state import StreamKind
from worker.ports import Outgoing, Record


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the proof."""

    name: str
    value: str
    must_be: str
    ok: bool


@dataclass(frozen=True, slots=True)
class LaneEvidence:
    """All there is of one lane: both topics read whole, its journal, its row."""

    kind: StreamKind
    standing: LaneStanding
    commands: Sequence[Record]
    events: Sequence[Record]
    batches: Sequence[JournalBatch]
    journal: Sequence[Outgoing]


@dataclass(frozen=True, slots=True)
class Killing:
    """The worker that was killed, and how far its lanes were behind just after."""

    worker: str
    owner: str
    exit_code: int | None
    lanes_behind: int
    commands_behind: int


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked for, and what was done. ``owners``: all workers that took part."""

    orders: int
    markets: int
    cash_before: int
    owners: frozenset[str]
    killing: Killing | None


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a topic, first occurrence."""

    type: str
    seq: int
    offset: int
    index: int
    fields: Mapping[str, Any]
    record: Record


@dataclass(frozen=True, slots=True)
class Heard:
    """What an output partition says once repeats are dropped."""

    events: Sequence[Event]
    repeats: int
    altered: int
    gaps: int


def hear(records: Iterable[Record]) -> Heard:
    """Drop repeats by seq; count those that differ from the first, and the steps that skip."""
    known: dict[int, Event] = {}
    repeats = altered = gaps = last = 0
    for record in records:
        event = _event(record)
        if event is None:
            gaps += 1
        elif event.seq in known:
            repeats += 1
            altered += not _same(record, known[event.seq].record)
        else:
            gaps += event.seq != last + 1
            last = event.seq
            known[event.seq] = event
    return Heard(list(known.values()), repeats, altered, gaps)


def unanswered(commands: Iterable[Record], events: Iterable[Event]) -> int:
    """Count the offsets that have no answer or several, and the answers to nothing."""
    asked = {command.offset for command in commands}
    answers = Counter(event.offset for event in events if event.index == 0)
    return sum(answers[offset] != 1 for offset in asked | set(answers)) + len(set(answers) - asked)


def market_gaps(events: Iterable[Event]) -> int:
    """Count the events that are not the next of their market."""
    last: Counter[str] = Counter()
    gaps = 0
    for event in events:
        if "market_seq" in event.fields:
            market_id, market_seq = event.fields["market_id"], event.fields["market_seq"]
            gaps += market_seq != last[market_id] + 1
            last[market_id] = market_seq
    return gaps


def journal_differences(journal: Iterable[Outgoing], events: Iterable[Event]) -> int:
    """Count the places where the journal and the topic do not hold the same bytes."""
    pairs = zip_longest(journal, (event.record for event in events))
    return sum(ours is None or told is None or not _same(ours, told) for ours, told in pairs)


def journal_gaps(batches: Sequence[JournalBatch], standing: LaneStanding) -> int:
    """Count the batches that do not begin where the one before ended, up to the lane's row."""
    gaps = batch_no = next_offset = last_seq = 0
    for batch in batches:
        begins = (batch.batch_no, batch.first_offset, batch.first_seq)
        gaps += begins != (batch_no + 1, next_offset, last_seq + 1)
        batch_no, next_offset, last_seq = batch.batch_no, batch.next_offset, batch.last_seq
    row = (standing.batch_no, standing.next_offset, standing.last_seq)
    return gaps + ((batch_no, next_offset, last_seq) != row)


def deep_sweeps(batches: Sequence[JournalBatch], events: Iterable[Event]) -> int:
    """Count the takers whose fills stand in more than one batch."""
    fills = {event.seq: event.offset for event in events if event.type == "ORDER_FILLED"}
    takers: Counter[int] = Counter()
    for batch in batches:
        seqs = range(batch.first_seq, batch.last_seq + 1)
        takers.update({fills[seq] for seq in seqs if seq in fills})
    return sum(count > 1 for count in takers.values())


def prove(lanes: Sequence[LaneEvidence], sums: Sums, audit: AuditResult, run: Run) -> list[Line]:
    """Return every line of the proof; the demo passes when all are ok."""
    heard = [hear(lane.events) for lane in lanes]
    return [
        *_topics(lanes, heard, run),
        *_books(lanes, heard, sums, run),
        _audited(audit),
        *_demands(lanes, heard, sums, run),
    ]


def _topics(lanes: Sequence[LaneEvidence], heard: Sequence[Heard], run: Run) -> Iterable[Line]:
    placed = sum(len(_placed(lane)) for lane in lanes)
    yield _least("orders published", placed, run.orders)
    for kind, name in ((StreamKind.ORDERS, "commands"), (StreamKind.TRANSFERS, "transfers")):
        ours = [(lane, said) for lane, said in zip(lanes, heard, strict=True) if lane.kind is kind]
        asked = sum(len(lane.commands) for lane, _ in ours)
        wrong = sum(unanswered(lane.commands, said.events) for lane, said in ours)
        value = f"{asked:,}, {wrong} not" if wrong else f"{asked:,}"
        yield Line(f"{name} answered exactly once", value, "each offset", not wrong and asked > 0)
    repeats, altered = sum(h.repeats for h in heard), sum(h.altered for h in heard)
    yield Line("repeats / altered", f"{repeats:,} / {altered}", "- / 0", not altered)
    yield _zero("gaps in seq", sum(h.gaps for h in heard))
    yield _zero("gaps in market_seq", sum(market_gaps(h.events) for h in heard))


def _books(
    lanes: Sequence[LaneEvidence], heard: Sequence[Heard], sums: Sums, run: Run
) -> Iterable[Line]:
    yield _zero("trade ledger sum", sums.ledger_sum)
    before = run.cash_before + sum(_cash_in(h.events) for h in heard)
    yield _equal("cash before / after", before, sums.cash)
    yield _zero("escrow", sums.escrow)
    yield _zero("positions not summing to 0", sums.markets_unbalanced)
    yield _zero("negative balances", sums.negative_balances)
    fills = sum(event.type == "ORDER_FILLED" for h in heard for event in h.events)
    yield _equal("fills: books / topic", sum(n.standing.trades for n in lanes), fills)
    pairs = list(zip(lanes, heard, strict=True))
    differing = sum(journal_differences(lane.journal, said.events) for lane, said in pairs)
    written, told = sum(len(n.journal) for n in lanes), sum(len(h.events) for h in heard)
    value = f"{written:,} / {told:,}" + (f", {differing} differ" if differing else "")
    same = not differing and written > 0
    yield Line("events: journal / topics", value, "same bytes", same)
    yield _zero("gaps in the journal", sum(journal_gaps(n.batches, n.standing) for n in lanes))
    settled = f"{sums.markets_settled} of {sums.markets}"
    all_settled = sums.markets == sums.markets_settled == run.markets
    yield Line("markets settled", settled, f"{run.markets}", all_settled)


def _audited(audit: AuditResult) -> Line:
    count = sum(violation.count for violation in audit.violations)
    value = f"{audit.rows:,} rows, {count} wrong" if count else f"{audit.rows:,} rows, all right"
    return Line("full audit", value, "all right", not count and audit.rows > 0)


def _demands(
    lanes: Sequence[LaneEvidence], heard: Sequence[Heard], sums: Sums, run: Run
) -> Iterable[Line]:
    answers: Counter[str] = Counter()
    for lane, said in zip(lanes, heard, strict=True):
        placed = _placed(lane)
        answers.update(e.type for e in said.events if e.index == 0 and e.offset in placed)
    rejected = answers["ORDER_REJECTED"] + answers["COMMAND_REJECTED"]
    yield _least("orders rejected", rejected, _percent(REJECTED_PERCENT_MIN, run.orders))
    duplicates = _percent(DUPLICATES_PERCENT_MIN, run.orders)
    yield _least("duplicates recognised", answers["DUPLICATE"], duplicates)
    yield _least("draws", sums.draws, _percent(DRAWS_PERCENT_MIN, run.orders))
    deep = sum(deep_sweeps(n.batches, h.events) for n, h in zip(lanes, heard, strict=True))
    yield _least("sweeps deeper than a batch", deep, 1)
    committed = {batch.owner for lane in lanes for batch in lane.batches} & run.owners
    wanted = len(run.owners)
    value = f"{len(committed)} of {wanted}"
    enough = committed == run.owners and wanted > 1
    yield Line("workers that committed", value, f"{wanted} of {wanted}", enough)
    yield _killed(run.killing, committed)


def _killed(killing: Killing | None, committed: set[str]) -> Line:
    name, must_be = "worker killed at work", "SIGKILL"
    if killing is None:
        return Line(name, "none", must_be, ok=False)
    value = f"{killing.worker}, {killing.commands_behind:,} behind"
    died = killing.exit_code == -9  # noqa: PLR2004  SIGKILL
    at_work = died and killing.lanes_behind > 0 and killing.owner in committed
    return Line(name, value, must_be, at_work)


def _event(record: Record) -> Event | None:
    try:
        fields = json.loads(record.value or b"")
        numbers = (int(fields["seq"]), int(fields["offset"]), int(fields["index"]))
        return Event(str(fields["type"]), *numbers, fields, record)
    except (ValueError, KeyError, TypeError):
        return None


def _same(one: Record | Outgoing, other: Record | Outgoing) -> bool:
    return (one.key, one.value, one.headers, one.timestamp_ms) == (
        other.key,
        other.value,
        other.headers,
        other.timestamp_ms,
    )


def _placed(lane: LaneEvidence) -> set[int]:
    marker = b'"PLACE_ORDER"'
    return {c.offset for c in lane.commands if c.value is not None and marker in c.value}


def _cash_in(events: Iterable[Event]) -> int:
    sign = {"DEPOSITED": 1, "WITHDRAWN": -1}
    return sum(sign[e.type] * int(e.fields["amount"]) for e in events if e.type in sign)


def _percent(percent: int, whole: int) -> int:
    return max(1, whole * percent // 100)


def _zero(name: str, value: int) -> Line:
    return Line(name, f"{value:,}", "0", value == 0)


def _equal(name: str, one: int, other: int) -> Line:
    return Line(name, f"{one:,} / {other:,}", "equal", one == other)


def _least(name: str, value: int, least: int) -> Line:
    return Line(name, f"{value:,}", f">= {least:,}", value >= least)
