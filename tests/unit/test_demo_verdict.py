"""The verdict on a demo: each corruption fails its own line and no other."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.support.books import deposit, place
from tests.support.history import ROUTE
from worker.adapters.postgres.evidence import Sums
from worker.audit.event_log import LaneHistory, TopicContents
from worker.audit.gather import HistoryAudit
from worker.audit.history import History
from worker.audit.invariants import Findings
from worker.audit.records import AuditedLane, StoredBatch
from worker.audit.replay import Replayed
from worker.audit.walk import result as audit_result
from worker.demo.verdict import DemoResult, Killing, deep_sweeps, prove
from worker.domain.commands import Received, Unreadable
from worker.domain.units import (
    Offset,
)

OWNERS = ("host/1", "host/2", "host/3")
Json = dict[str, Any]


@dataclass(frozen=True)
class World:
    """The result of a demo with one lane of orders and one of transfers, and its audit."""

    lanes: tuple[LaneHistory, LaneHistory]
    events: tuple[list[Json], list[Json]]
    sums: Sums
    result: DemoResult
    broken: tuple[str, ...] = ()
    rows: int = 40
    repeats: int = field(default=2)

    def failed(self) -> set[str]:
        findings = Findings()
        for rule in self.broken:
            findings.require(False, rule, "")
        history = History(
            self.lanes, (), None, [TopicContents(events, []) for events in self.events]
        )
        history.contents[0].repeats = self.repeats
        history.replayed = Replayed(1)
        audit = HistoryAudit(audit_result(findings, rows=self.rows, seconds=0.1), findings, history)
        return {line.name for line in prove(audit, self.sums, self.result) if not line.ok}


def received(offset: int, order: bool = True) -> Received:
    placed = place("m", "a", f"o{offset}", price=1)
    command = placed if order else deposit("a", 100, f"t{offset}")
    return Received(Offset(offset), 1_000, "", command)


def event(seq: int, offset: int, index: int, kind: str, **more: object) -> Json:
    return {"type": kind, "seq": seq, "offset": offset, "index": index, **more}


def lane(kind: str, last_seq: int, trades: int) -> AuditedLane:
    place = (0, kind.lower(), kind, kind.lower(), 0, 1, 0)
    return AuditedLane(*place, 1, 3, 6, "", "", last_seq, 0, 0, trades, 0, 0, 0)


def batch(number: int, first_seq: int, last_seq: int, owner: str) -> StoredBatch:
    return StoredBatch(number, 0, 0, first_seq, last_seq, 1, owner, 1, "", "", "")


UNREADABLE = Unreadable(detail="", key=None, value=b'{"type":"PLACE_ORDER"', headers=())
ORDERS = LaneHistory(
    lane("ORDERS", 7, 2),
    ROUTE,
    [*map(received, range(3)), Received(Offset(3), 1_000, "", UNREADABLE)],
    [],
    [batch(1, 1, 3, OWNERS[0]), batch(2, 4, 4, OWNERS[1]), batch(3, 5, 7, OWNERS[2])],
)
TRANSFERS = LaneHistory(
    lane("TRANSFERS", 2, 0),
    ROUTE,
    [received(0, order=False), received(1, order=False)],
    [],
    [batch(1, 1, 2, OWNERS[0])],
)
EVENTS = [
    event(1, 0, 0, "ORDER_ACCEPTED"),
    event(2, 1, 0, "ORDER_ACCEPTED"),
    event(3, 1, 1, "ORDER_FILLED"),
    event(4, 1, 2, "ORDER_FILLED"),
    event(5, 2, 0, "DUPLICATE"),
    event(6, 3, 0, "COMMAND_REJECTED"),
    event(7, 4, 0, "MARKET_RESOLVED"),
]
CASH = [event(1, 0, 0, "DEPOSITED", amount=100), event(2, 1, 0, "WITHDRAWN", amount=30)]
WORLD = World(
    (ORDERS, TRANSFERS),
    (EVENTS, CASH),
    Sums(
        ledger_sum=0,
        cash=75,
        negative_balances=0,
        markets_unbalanced=0,
        escrow=0,
        draws=1,
        markets=1,
        markets_settled=1,
    ),
    DemoResult(
        orders=4,
        markets=1,
        cash_before=5,
        owners=frozenset(OWNERS),
        killing=Killing("worker-2", OWNERS[1], -9, 1, 3),
    ),
)


def test_sound_demo_passes() -> None:
    assert WORLD.failed() == set()


def broken(*rules: str) -> Callable[[], World]:
    return lambda: replace(WORLD, broken=rules)


def with_orders(**changes: object) -> World:
    return replace(WORLD, lanes=(replace(ORDERS, **changes), TRANSFERS))  # type: ignore[arg-type]


def with_sums(**changes: int) -> World:
    return replace(WORLD, sums=replace(WORLD.sums, **changes))


def with_result(**changes: object) -> World:
    return replace(WORLD, result=replace(WORLD.result, **changes))  # type: ignore[arg-type]


def with_killing(**changes: int | str) -> World:
    assert WORLD.result.killing is not None
    return with_result(killing=replace(WORLD.result.killing, **changes))  # type: ignore[arg-type]


AUDIT = "full audit"
ANSWERED = "commands + transfers answered once"
SAME_BYTES = "events: journal / topics"

CORRUPTIONS: dict[str, tuple[Callable[[], World], set[str]]] = {
    "an order is not on the topic": (lambda: with_result(orders=5), {"orders published"}),
    "a command has no answer": (broken("unanswered"), {ANSWERED, AUDIT}),
    "a command has two answers": (broken("answer_twice"), {ANSWERED, AUDIT}),
    "an answer to nothing": (broken("answer_to_nothing"), {ANSWERED, AUDIT}),
    "nothing was transferred": (
        lambda: replace(WORLD, lanes=(ORDERS, replace(TRANSFERS, inputs=[]))),
        {ANSWERED},
    ),
    "a repeat differs": (broken("repeat_altered"), {"repeats / altered", AUDIT}),
    "the topic skips a seq": (broken("seq_gap"), {"gaps in seq", AUDIT}),
    "the topic holds what is no event": (broken("not_an_event"), {"gaps in seq", AUDIT}),
    "a market skips a seq": (broken("market_gap"), {"gaps in market_seq", AUDIT}),
    "the topic and the journal differ": (broken("journal_differs"), {SAME_BYTES, AUDIT}),
    "a dead letter is lost": (broken("dead_letters"), {SAME_BYTES, AUDIT}),
    "the journal lacks a batch": (broken("journal_gap"), {"gaps in the journal", AUDIT}),
    "a maker is passed over": (
        broken("passed_over"),
        {"fills that pass a better or older maker", AUDIT},
    ),
    "a batch comes out differently": (broken("replay_differs"), {"batches planned again", AUDIT}),
    "anything else is wrong": (broken("pocket_differs"), {AUDIT}),
    "the audit saw nothing": (lambda: replace(WORLD, rows=0), {AUDIT}),
    "money was made": (lambda: with_sums(ledger_sum=1), {"trade ledger sum"}),
    "money is lost": (lambda: with_sums(cash=74), {"cash before / after"}),
    "escrow is left": (lambda: with_sums(escrow=1), {"escrow"}),
    "positions do not sum to zero": (
        lambda: with_sums(markets_unbalanced=1),
        {"positions not summing to 0"},
    ),
    "a balance is negative": (lambda: with_sums(negative_balances=1), {"negative balances"}),
    "a fill is on the topic only": (
        lambda: with_orders(row=lane("ORDERS", 7, 1)),
        {"fills: books / topic"},
    ),
    "a market is not settled": (lambda: with_sums(markets_settled=0), {"markets settled"}),
    "too few draws": (lambda: with_sums(draws=0), {"draws"}),
    "a worker did nothing": (
        lambda: with_result(owners=frozenset({*OWNERS, "host/4"})),
        {"workers that committed"},
    ),
    "nothing was killed": (lambda: with_result(killing=None), {"worker killed at work"}),
    "the worker ended otherwise": (
        lambda: with_killing(exit_code=0),
        {"worker killed at work"},
    ),
    "the worker had nothing to do": (
        lambda: with_killing(lagging_lanes=0),
        {"worker killed at work"},
    ),
    "the worker had committed nothing": (
        lambda: with_killing(owner="host/9"),
        {"worker killed at work"},
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_fails_its_lines(name: str) -> None:
    corrupt, lines = CORRUPTIONS[name]
    assert corrupt().failed() == lines


def test_too_few_rejections_fail() -> None:
    tame = [{**each, "type": "ORDER_ACCEPTED"} for each in EVENTS]
    failed = replace(WORLD, events=(tame, CASH)).failed()
    assert {"orders rejected", "duplicates recognised"} <= failed


def test_fills_in_one_batch_are_no_sweep() -> None:
    assert deep_sweeps([batch(1, 1, 5, OWNERS[0])], EVENTS) == 0
    assert deep_sweeps(ORDERS.batches, EVENTS) == 1
