"""The verdict on a demo: the lines that its history and books must satisfy. Pure.

No counter of the worker is trusted: the audit has read both topics, compared them with journal and
tables, and planned every batch again.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from worker.adapters.postgres.evidence import Sums
from worker.audit.event_log import LaneHistory
from worker.audit.gather import HistoryAudit
from worker.audit.history import History
from worker.audit.invariants import INVARIANTS
from worker.audit.records import StoredBatch
from worker.demo.options import DRAWS_PERCENT_MIN, DUPLICATES_PERCENT_MIN, REJECTED_PERCENT_MIN
from worker.domain.commands import PlaceOrder, Received, Unreadable
from worker.domain.state import StreamKind
from worker.stage.show import Line, equal, least, zero

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Killing:
    """The worker that was killed, and the lag of its lanes just after."""

    worker: str
    owner: str
    exit_code: int | None
    lagging_lanes: int
    lag: int


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The options of a demo and what happened. ``owners``: all workers that took part."""

    orders: int
    markets: int
    cash_before: int
    owners: frozenset[str]
    killing: Killing | None


def deep_sweeps(batches: Sequence[StoredBatch], events: Iterable[Json]) -> int:
    """Count the takers whose fills are in more than one batch."""
    fills = {event["seq"]: event["offset"] for event in events if event["type"] == "ORDER_FILLED"}
    takers: Counter[int] = Counter()
    for batch in batches:
        seqs = range(batch.first_seq, batch.last_seq + 1)
        takers.update({fills[seq] for seq in seqs if seq in fills})
    return sum(count > 1 for count in takers.values())


def prove(audit: HistoryAudit, sums: Sums, result: DemoResult) -> list[Line]:
    """Return every line of the proof; the demo passes when all are ok."""
    return [
        *_topics(audit, result),
        *_books(audit, sums, result),
        *_audited(audit),
        *_demands(audit.history, sums, result),
    ]


def _topics(audit: HistoryAudit, result: DemoResult) -> Iterable[Line]:
    history, wrong = audit.history, audit.findings.count
    yield least("orders published", sum(len(_placed(n)) for n in history.lanes), result.orders)
    asked = Counter[StreamKind]()
    for lane in history.lanes:
        asked[lane.kind] += len(lane.inputs)
    value = f"{asked[StreamKind.ORDERS]:,} + {asked[StreamKind.TRANSFERS]:,}"
    unanswered = wrong(*INVARIANTS["I9"].history, *INVARIANTS["I10"].history)
    value += f", {unanswered} not" if unanswered else ""
    answered = not unanswered and len(+asked) == len(StreamKind)
    yield Line("commands + transfers answered once", value, "each offset", answered)
    repeats, altered = sum(h.repeats for h in history.contents), wrong("repeat_altered")
    yield Line("repeats / altered", f"{repeats:,} / {altered}", "- / 0", not altered)
    yield zero("gaps in seq", wrong("seq_gap", "not_an_event"))
    yield zero("gaps in market_seq", wrong("market_gap"))


def _books(audit: HistoryAudit, sums: Sums, result: DemoResult) -> Iterable[Line]:
    history, wrong = audit.history, audit.findings.count
    events = [event for heard in history.contents for event in heard.events]
    yield zero("trade ledger sum", sums.ledger_sum)
    yield equal("cash before / after", result.cash_before + _cash_in(events), sums.cash)
    yield zero("escrow", sums.escrow)
    yield zero("positions not summing to 0", sums.markets_unbalanced)
    yield zero("negative balances", sums.negative_balances)
    fills = sum(event["type"] == "ORDER_FILLED" for event in events)
    yield equal("fills: books / topic", sum(lane.row.trades for lane in history.lanes), fills)
    differing = wrong("journal_differs", "dead_letters")
    written = sum(lane.row.last_seq for lane in history.lanes)
    value = f"{written:,} / {len(events):,}" + (f", {differing} differ" if differing else "")
    same = not differing and written > 0
    yield Line("events: journal / topics", value, "same bytes", same)
    yield zero("gaps in the journal", wrong(*INVARIANTS["I9"].rows))
    settled = f"{sums.markets_settled} of {sums.markets}"
    all_settled = sums.markets == sums.markets_settled == result.markets
    yield Line("markets settled", settled, f"{result.markets}", all_settled)


def _audited(audit: HistoryAudit) -> Iterable[Line]:
    wrong = audit.findings.count
    yield zero("fills that pass a better or older maker", wrong(*INVARIANTS["I7"].history))
    replayed, altered = audit.history.replayed, wrong("replay_differs")
    value = str(replayed) + (f", {altered} differ" if altered else "")
    yield Line("batches planned again", value, "same bytes", not altered and replayed.planned > 0)
    count = sum(violation.count for violation in audit.result.violations)
    value = f"{audit.result.rows:,} rows, " + (f"{count} wrong" if count else "all right")
    yield Line("full audit", value, "all right", not count and audit.result.rows > 0)


def _demands(history: History, sums: Sums, result: DemoResult) -> Iterable[Line]:
    pairs = list(zip(history.lanes, history.contents, strict=True))
    answers: Counter[str] = Counter()
    for lane, said in pairs:
        placed = _placed(lane)
        first = (event for event in said.events if event["index"] == 0)
        answers.update(event["type"] for event in first if event["offset"] in placed)
    rejected = sum(answers[kind] for kind in ("ORDER_REJECTED", "ID_CONFLICT", "COMMAND_REJECTED"))
    yield least("orders rejected", rejected, _percent(REJECTED_PERCENT_MIN, result.orders))
    duplicates = _percent(DUPLICATES_PERCENT_MIN, result.orders)
    yield least("duplicates recognised", answers["DUPLICATE"], duplicates)
    yield least("draws", sums.draws, _percent(DRAWS_PERCENT_MIN, result.orders))
    deep = sum(deep_sweeps(lane.batches, said.events) for lane, said in pairs)
    yield least("sweeps deeper than a batch", deep, 1)
    committed = {batch.owner for lane, _ in pairs for batch in lane.batches} & result.owners
    wanted = len(result.owners)
    value = f"{len(committed)} of {wanted}"
    enough = committed == result.owners and wanted > 1
    yield Line("workers that committed", value, f"{wanted} of {wanted}", enough)
    yield _killed(result.killing, committed)


def _killed(killing: Killing | None, committed: set[str]) -> Line:
    name, must_be = "worker killed at work", "SIGKILL"
    if killing is None:
        return Line(name, "none", must_be, ok=False)
    value = f"{killing.worker}, lag {killing.lag:,}"
    died = killing.exit_code == -9  # noqa: PLR2004  SIGKILL
    at_work = died and killing.lagging_lanes > 0 and killing.owner in committed
    return Line(name, value, must_be, at_work)


def _placed(lane: LaneHistory) -> set[int]:
    return {received.offset for received in lane.inputs if _is_order(received)}


def _is_order(received: Received) -> bool:
    """Return whether the record was an order, readable or not."""
    command = received.command
    if isinstance(command, Unreadable):
        return b'"PLACE_ORDER"' in (command.value or b"")
    return isinstance(command, PlaceOrder)


def _cash_in(events: Iterable[Json]) -> int:
    sign = {"DEPOSITED": 1, "WITHDRAWN": -1}
    return sum(sign[e["type"]] * int(e["amount"]) for e in events if e["type"] in sign)


def _percent(percent: int, whole: int) -> int:
    return max(1, whole * percent // 100)
