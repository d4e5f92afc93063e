"""The proof of the demo finds what is wrong: each corruption turns one line, and that line only."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from worker.adapters.postgres.evidence import JournalBatch, LaneStanding, Sums
from worker.audit import AuditResult, Violation
from worker.demo.proof import (
    Killing,
    LaneEvidence,
    Run,
    deep_sweeps,
    hear,
    journal_gaps,
    market_gaps,
    prove,
    unanswered,
)
from worker.domain.state import StreamKind
from worker.domain.units import Lane
from worker.ports import Outgoing, Record

OWNERS = ("host/1", "host/2", "host/3")


@dataclass(frozen=True)
class World:
    """What a demo left behind: one lane of orders, one of transfers."""

    orders: LaneEvidence
    transfers: LaneEvidence
    sums: Sums
    audit: AuditResult
    run: Run

    def failed(self) -> list[str]:
        lines = prove([self.orders, self.transfers], self.sums, self.audit, self.run)
        return [line.name for line in lines if not line.ok]


def command(offset: int, kind: str) -> Record:
    return Record(offset, 1_000 + offset, b"m", json.dumps({"type": kind}).encode(), ())


def event(seq: int, offset: int, index: int, kind: str, **more: object) -> Record:
    fields = {"type": kind, "seq": seq, "offset": offset, "index": index, **more}
    headers = (("ce_id", f"orders/0/{seq}".encode()),)
    return Record(seq - 1, 2_000 + offset, b"m", json.dumps(fields).encode(), headers)


def of_market(seq: int, offset: int, index: int, kind: str) -> Record:
    return event(seq, offset, index, kind, market_id="m", market_seq=seq)


def as_published(record: Record) -> Outgoing:
    return Outgoing("events", 0, record.key, record.value, record.headers, record.timestamp_ms)


def at(records: Sequence[Record]) -> list[Record]:
    return [record._replace(offset=offset) for offset, record in enumerate(records)]


def an_orders_lane() -> LaneEvidence:
    kinds = ["OPEN_MARKET", *["PLACE_ORDER"] * 4, "RESOLVE_MARKET"]
    told = [
        of_market(1, 0, 0, "MARKET_OPENED"),
        of_market(2, 1, 0, "ORDER_ACCEPTED"),
        of_market(3, 2, 0, "ORDER_ACCEPTED"),
        of_market(4, 2, 1, "ORDER_FILLED"),
        of_market(5, 2, 2, "ORDER_FILLED"),
        of_market(6, 3, 0, "DUPLICATE"),
        of_market(7, 4, 0, "ORDER_REJECTED"),
        of_market(8, 5, 0, "MARKET_RESOLVED"),
    ]
    return LaneEvidence(
        kind=StreamKind.ORDERS,
        standing=LaneStanding(Lane(0), "orders", 0, OWNERS[2], 3, 6, 8, 2),
        commands=[command(offset, kind) for offset, kind in enumerate(kinds)],
        # The second batch was published twice: by the worker that was killed and by its successor.
        events=at([*told[:5], *told[4:]]),
        batches=[
            JournalBatch(1, 0, 3, 1, 4, OWNERS[0], ""),
            JournalBatch(2, 3, 3, 5, 5, OWNERS[1], ""),
            JournalBatch(3, 3, 6, 6, 8, OWNERS[2], ""),
        ],
        journal=[as_published(record) for record in told],
    )


def a_transfers_lane() -> LaneEvidence:
    told = [event(1, 0, 0, "DEPOSITED", amount=100), event(2, 1, 0, "WITHDRAWN", amount=30)]
    return LaneEvidence(
        kind=StreamKind.TRANSFERS,
        standing=LaneStanding(Lane(1), "transfers", 0, OWNERS[0], 1, 2, 2, 0),
        commands=[command(0, "DEPOSIT"), command(1, "WITHDRAW")],
        events=told,
        batches=[JournalBatch(1, 0, 2, 1, 2, OWNERS[0], "")],
        journal=[as_published(record) for record in told],
    )


WORLD = World(
    an_orders_lane(),
    a_transfers_lane(),
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
    AuditResult(rows=40, seconds=0.1, violations=()),
    Run(
        orders=4,
        markets=1,
        cash_before=5,
        owners=frozenset(OWNERS),
        killing=Killing("worker-2", OWNERS[1], -9, 1, 3),
    ),
)


def test_a_sound_demo_passes() -> None:
    assert WORLD.failed() == []


def with_orders(**changes: object) -> World:
    return replace(WORLD, orders=replace(WORLD.orders, **changes))  # type: ignore[arg-type]


def with_sums(**changes: int) -> World:
    return replace(WORLD, sums=replace(WORLD.sums, **changes))


def with_run(**changes: object) -> World:
    return replace(WORLD, run=replace(WORLD.run, **changes))  # type: ignore[arg-type]


def with_killing(**changes: int | str) -> World:
    assert WORLD.run.killing is not None
    return with_run(killing=replace(WORLD.run.killing, **changes))  # type: ignore[arg-type]


def rewritten(record: Record, **fields: object) -> Record:
    value = {**json.loads(record.value or b""), **fields}
    return record._replace(value=json.dumps(value).encode())


TOPIC = WORLD.orders.events
JOURNAL = list(WORLD.orders.journal)
BATCHES = list(WORLD.orders.batches)
JOURNAL_LINE = "events: journal / topics"

CORRUPTIONS: dict[str, tuple[Callable[[], World], set[str]]] = {
    "an order is not on the topic": (
        lambda: with_run(orders=5),
        {"orders published"},
    ),
    "a command has no answer": (
        lambda: with_orders(commands=[*WORLD.orders.commands, command(6, "CANCEL_ORDER")]),
        {"commands answered exactly once"},
    ),
    "a command has two answers": (
        lambda: with_orders(
            events=[*TOPIC, event(9, 4, 0, "ORDER_REJECTED")],
            journal=[*JOURNAL, as_published(event(9, 4, 0, "ORDER_REJECTED"))],
            batches=[*BATCHES[:2], replace(BATCHES[2], last_seq=9)],
            standing=replace(WORLD.orders.standing, last_seq=9),
        ),
        {"commands answered exactly once"},
    ),
    "an answer to nothing": (
        lambda: with_orders(commands=WORLD.orders.commands[:-1]),
        {"commands answered exactly once"},
    ),
    "a transfer has no answer": (
        lambda: replace(
            WORLD,
            transfers=replace(
                WORLD.transfers, commands=[*WORLD.transfers.commands, command(2, "DEPOSIT")]
            ),
        ),
        {"transfers answered exactly once"},
    ),
    "a repeat differs in its value": (
        lambda: with_orders(events=[*TOPIC[:5], rewritten(TOPIC[5], price=1), *TOPIC[6:]]),
        {"repeats / altered"},
    ),
    "a repeat differs in a header": (
        lambda: with_orders(events=[*TOPIC[:5], TOPIC[5]._replace(headers=()), *TOPIC[6:]]),
        {"repeats / altered"},
    ),
    "the topic skips a seq": (
        lambda: with_orders(events=[*TOPIC[:3], *TOPIC[6:]]),
        {
            "gaps in seq",
            "gaps in market_seq",
            "fills: books / topic",
            JOURNAL_LINE,
            "sweeps deeper than a batch",
        },
    ),
    "the topic holds what is no event": (
        lambda: with_orders(events=[*TOPIC, TOPIC[0]._replace(offset=9, value=b"?")]),
        {"gaps in seq"},
    ),
    "the topic and the journal differ in one byte": (
        lambda: with_orders(journal=[JOURNAL[0]._replace(value=b"{}"), *JOURNAL[1:]]),
        {JOURNAL_LINE},
    ),
    "the journal lacks an event": (
        lambda: with_orders(journal=JOURNAL[:-1]),
        {JOURNAL_LINE},
    ),
    "the journal lacks a batch": (
        lambda: with_orders(batches=[BATCHES[0], BATCHES[2]]),
        {
            "gaps in the journal",
            "sweeps deeper than a batch",
            "workers that committed",
            "worker killed at work",
        },
    ),
    "money was made": (lambda: with_sums(ledger_sum=1), {"trade ledger sum"}),
    "money is lost": (lambda: with_sums(cash=74), {"cash before / after"}),
    "escrow is left": (lambda: with_sums(escrow=1), {"escrow"}),
    "positions do not sum to zero": (
        lambda: with_sums(markets_unbalanced=1),
        {"positions not summing to 0"},
    ),
    "a balance is negative": (lambda: with_sums(negative_balances=1), {"negative balances"}),
    "a fill is on the topic only": (
        lambda: with_orders(standing=replace(WORLD.orders.standing, trades=1)),
        {"fills: books / topic"},
    ),
    "a market is not settled": (lambda: with_sums(markets_settled=0), {"markets settled"}),
    "the audit finds something": (
        lambda: replace(
            WORLD,
            audit=replace(
                WORLD.audit, violations=(Violation(name="pocket", count=1, examples=("a",)),)
            ),
        ),
        {"full audit"},
    ),
    "the audit saw nothing": (
        lambda: replace(WORLD, audit=replace(WORLD.audit, rows=0)),
        {"full audit"},
    ),
    "too few draws": (lambda: with_sums(draws=0), {"draws"}),
    "a worker did nothing": (
        lambda: with_run(owners=frozenset({*OWNERS, "host/4"})),
        {"workers that committed"},
    ),
    "nothing was killed": (lambda: with_run(killing=None), {"worker killed at work"}),
    "the worker ended otherwise": (
        lambda: with_killing(exit_code=0),
        {"worker killed at work"},
    ),
    "the worker had nothing to do": (
        lambda: with_killing(lanes_behind=0),
        {"worker killed at work"},
    ),
    "the worker had committed nothing": (
        lambda: with_killing(owner="host/9"),
        {"worker killed at work"},
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_fails_its_lines(name: str) -> None:
    corrupt, lines = CORRUPTIONS[name]

    assert set(corrupt().failed()) == lines


def test_too_few_of_a_kind_fail() -> None:
    tame = [rewritten(record, type="ORDER_ACCEPTED") for record in TOPIC]

    failed = with_orders(events=tame).failed()

    assert "orders rejected" in failed
    assert "duplicates recognised" in failed


def test_repeats_are_dropped_by_seq() -> None:
    heard = hear(TOPIC)

    assert [one.seq for one in heard.events] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (heard.repeats, heard.altered, heard.gaps) == (1, 0, 0)


def test_first_occurrences_out_of_order_are_gaps() -> None:
    assert hear(at([TOPIC[1], TOPIC[0]])).gaps == 2


def test_events_that_follow_an_answer_are_no_answers() -> None:
    assert unanswered([command(2, "PLACE_ORDER")], hear(TOPIC[2:5]).events) == 0


def test_each_market_counts_by_itself() -> None:
    one = event(1, 0, 0, "MARKET_OPENED", market_id="a", market_seq=1)
    other = event(2, 1, 0, "MARKET_OPENED", market_id="b", market_seq=1)
    again = event(3, 2, 0, "ORDER_ACCEPTED", market_id="b", market_seq=3)

    assert market_gaps(hear([one, other]).events) == 0
    assert market_gaps(hear([one, other, again]).events) == 1


def test_a_journal_that_ends_before_its_lane_has_a_gap() -> None:
    assert journal_gaps(BATCHES, WORLD.orders.standing) == 0
    assert journal_gaps(BATCHES[:2], WORLD.orders.standing) == 1


def test_a_journal_that_goes_beyond_its_lane_has_a_gap() -> None:
    assert journal_gaps(BATCHES, replace(WORLD.orders.standing, batch_no=2)) == 1


def test_fills_within_one_batch_are_no_deep_sweep() -> None:
    one_batch = [JournalBatch(1, 0, 3, 1, 5, OWNERS[0], "")]

    assert deep_sweeps(one_batch, hear(TOPIC).events) == 0
    assert deep_sweeps(BATCHES, hear(TOPIC).events) == 1
