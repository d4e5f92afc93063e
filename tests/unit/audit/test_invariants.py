"""A small sound history, forged in many ways. The audit must name the broken invariant."""

import asyncio
import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import pytest

from tests.support.books import (
    Desk,
    buy,
    cancel,
    deposit,
    market_at,
    open_market,
    orders_home,
    resolve,
    sell,
    withdraw,
)
from tests.support.fake_store import FakeBooks
from tests.support.history import batches_of, lane_history, lane_rows, rows_of
from worker.audit.event_log import LaneHistory, TopicContents, answered
from worker.audit.history import History
from worker.audit.invariants import INVARIANT_OF, INVARIANTS, Findings
from worker.audit.records import COLUMNS, AuditedLane, StoredBatch
from worker.audit.recount import recount
from worker.audit.tables import Tables
from worker.domain.commands import Outcome, PlaceOrder, Received, TimeInForce, Unreadable
from worker.domain.facts import Limits
from worker.domain.state import LaneState
from worker.domain.units import MarketId, Offset, Quantity
from worker.ports import Record
from worker.wire import journal

OPEN, DONE, NO = (market_at(0, name) for name in ("open", "done", "no"))
Json = dict[str, Any]
Rows = dict[str, list[list[Any]]]


@dataclass
class Case:
    """A history to forge: tables, and the lanes' topics and journals."""

    rows: Rows
    lanes: list[LaneHistory]
    dead_letters: list[Record]

    # The tables.

    def change(self, table: str, where: Callable[[Json], bool], **values: object) -> None:
        """Change every row of a table that ``where`` selects. There must be one."""
        columns, selected = COLUMNS[table], 0
        for row in self.rows[table]:
            fields = dict(zip(columns, row, strict=True))
            if where(fields):
                selected += 1
                for name, value in values.items():
                    row[columns.index(name)] = value(fields) if callable(value) else value
        assert selected, f"no such row of {table}"

    def delete(self, table: str, where: Callable[[Json], bool]) -> None:
        """Delete every row of a table that ``where`` selects. There must be one."""
        columns, before = COLUMNS[table], self.rows[table]
        kept = [row for row in before if not where(dict(zip(columns, row, strict=True)))]
        assert len(kept) < len(before), f"no such row of {table}"
        self.rows[table] = kept

    def broken_in_tables(self) -> set[str]:
        """Return the rules that the recount reports."""
        findings = Findings()
        recount(self.rows, findings)
        return {violation.name for violation in findings.violations()}

    # The history.

    def lane(self, number: int, **changes: object) -> None:
        """Change some fields of a lane."""
        self.lanes[number] = replace(self.lanes[number], **changes)  # type: ignore[arg-type]

    def rewrite(self, change: Callable[[list[Json]], object], number: int = 0) -> None:
        """Change a lane's events in both topic and journal, as if they had been planned so."""
        lane = self.lanes[number]
        events = [json.loads(record.value or b"") for record in lane.outputs]
        change(events)
        by_seq = {event["seq"]: event for event in events}
        batches = []
        for batch in lane.batches:
            lines = batch.events.splitlines(keepends=True)
            letters = [line for line in lines if line.startswith("!")]
            seqs = range(batch.first_seq, batch.last_seq + 1)
            said = [by_seq.pop(seq) for seq in seqs if seq in by_seq]
            batches.append(batch._replace(events="".join([*map(_line, said), *letters])))
        out = [o for batch in batches for o in journal.decode(batch.events, lane.route)]
        outputs = [
            Record(n, o.timestamp_ms, o.key, o.value, o.headers)
            for n, o in enumerate(o for o in out if o.topic == lane.route.events_topic)
        ]
        self.lane(number, batches=batches, outputs=outputs)

    def broken_in_history(self) -> set[str]:
        """Return the rules that topics, independent replay and replay report."""
        findings = Findings()
        History(self.lanes, self.dead_letters, Tables.of(self.rows)).check(findings)
        return {violation.name for violation in findings.violations()}


def _line(event: Json) -> str:
    key = event.get("market_id", event.get("account_id", ""))
    return f"{key}\t{json.dumps(event, separators=(',', ':'))}\n"


async def _trade() -> Case:
    """Run every kind of command through the real plan, on the database in memory."""
    books = FakeBooks.opened()
    cash, lane, other = await books.transfers(), await books.orders(0), await books.orders(1)
    await cash.run(*[deposit(name, 100_000) for name in "abcd"], deposit("a", 100_000))
    await cash.run(withdraw("d", 500), withdraw("d", 10**9))
    await lane.run(*[open_market(market) for market in (OPEN, DONE, NO)])
    unreadable = Unreadable(detail="not JSON", key=b"k", value=b"{", headers=())
    for market in (OPEN, DONE, NO):
        ioc = replace(buy(market, "d", 1, 1, "ioc"), time_in_force=TimeInForce.IOC)
        taken: PlaceOrder = sell(market, "b", 4, 40, "taken")
        await lane.run(
            buy(market, "a", 10, 55, "better"),
            buy(market, "c", 10, 55, "younger"),
            buy(market, "d", 10, 54, "worse"),
            taken,
            taken,
            replace(taken, quantity=Quantity(5)),
            ioc,
            buy(market, "b", 10**9, 99),
            buy(market, "b", 1, 100),
            unreadable,
            cancel(market, "a", "better"),
            cancel(market, "a", "better"),
            cancel(market, "a", "none"),
            sell(market, "b", 25, 50, "deep"),
            sell(market, "a", 2, 90, "asks"),
        )
    await lane.run(resolve(DONE), resolve(NO, Outcome.NO))
    lane.limits = Limits(2_500, fills=1)
    await lane.settle()
    return _case(books, [lane, other, cash])


def _case(books: FakeBooks, desks: Iterable[Desk]) -> Case:
    tables = rows_of(books.database)
    batches = batches_of(books.database)
    lanes, dead_letters = [], []
    for row, desk in zip(lane_rows(tables), desks, strict=True):
        route = journal.Route(
            stream=row.stream,
            topic=row.topic,
            partition=row.partition,
            events_topic=f"{row.topic}.events",
            dead_letters_topic="dead",
            dead_letter_partitions=1,
        )
        stored = batches.get(row.lane, [])
        out = [o for batch in stored for o in journal.decode(batch.events, route)]
        events = [o for o in out if o.topic == route.events_topic]
        dead_letters += [o for o in out if o.topic == "dead"]
        outputs = [
            Record(n, o.timestamp_ms, o.key, o.value, o.headers) for n, o in enumerate(events)
        ]
        lanes.append(LaneHistory(row, route, desk.log, outputs, stored))
    buried = [
        Record(n, o.timestamp_ms, o.key, o.value, o.headers) for n, o in enumerate(dead_letters)
    ]
    return Case({name: [list(row) for row in rows] for name, rows in tables.items()}, lanes, buried)


@cache
def _sound_history() -> Case:
    return asyncio.run(_trade())


@pytest.fixture
def case() -> Case:
    return deepcopy(_sound_history())


def test_a_sound_history_breaks_nothing(case: Case) -> None:
    assert case.broken_in_tables() == set()
    assert case.broken_in_history() == set()


def test_the_history_has_every_type_of_event(case: Case) -> None:
    events = [json.loads(r.value or b"") for lane in case.lanes for r in lane.outputs]
    assert {event["type"] for event in events} == {
        *("ORDER_ACCEPTED", "ORDER_FILLED", "ORDER_CANCELLED", "ORDER_REJECTED"),
        *("CANCEL_REJECTED", "COMMAND_REJECTED", "DUPLICATE", "ID_CONFLICT", "MARKET_OPENED"),
        *(
            "MARKET_RESOLVED",
            "PAYOUT",
            "MARKET_SETTLED",
            "DEPOSITED",
            "WITHDRAWN",
            "TRANSFER_REJECTED",
        ),
    }
    assert case.dead_letters


# The tables alone.


def _open(row: Json) -> bool:
    return bool(row["status"] == 1)


def _rests(row: Json) -> bool:
    return bool(row["order_id"] == "asks" and row["status"] == 1)


def _moved(case: Case) -> None:
    """Move money from one pocket to another without a posting."""
    one, other = (row for row in case.rows["pockets"][:2])
    one[2], other[2] = one[2] + 1, other[2] - 1


def _negative(case: Case) -> None:
    """Post more than there is from one wallet to another."""
    one, other, *_ = (row for row in case.rows["pockets"] if row[1] == -1 and row[2])
    for row, amount in ((one, 10**6), (other, -(10**6))):
        row[2] += amount
        posting = ["00000000-0000-0000-0000-000000000001", row[0], -1, _NO_MARKET, 4, amount]
        case.rows["ledger"].append(posting)
    case.rows["ledger"].sort()


_NO_MARKET = "00000000-0000-0000-0000-000000000000"

WRONG_TABLES: Final[dict[str, tuple[str, Callable[[Case], object]]]] = {
    "a lane's running total is wrong": (
        "I1",
        lambda case: case.change("lanes", lambda row: row["lane"] == 0, trades=0),
    ),
    "money moves between pockets without a posting": ("I3", _moved),
    "a wallet is overdrawn": ("I4", _negative),
    "an order is filled with more than was traded": (
        "I5",
        lambda case: case.change(
            "orders", lambda row: row["status"] == 2, quantity=lambda row: row["quantity"] + 1
        ),
    ),
    "an order has the key of another id": (
        "I6",
        lambda case: case.change("orders", lambda row: row["order_id"] == "deep", order_id="other"),
    ),
    "an order is in another lane": (
        "I8",
        lambda case: case.change("orders", lambda row: row["order_id"] == "deep", lane=1),
    ),
    "a batch begins after the end of the previous batch": (
        "I9",
        lambda case: case.change(
            "batches",
            lambda row: (row["lane"], row["batch_no"]) == (0, 2),
            first_offset=lambda row: row["first_offset"] + 1,
        ),
    ),
    "the published mark is not of an earlier batch": (
        "I11",
        lambda case: case.change(
            "lanes", lambda row: row["lane"] == 0, published_batch_no=lambda row: row["batch_no"]
        ),
    ),
    "an earlier owner commits again": (
        "I15",
        lambda case: case.change(
            "batches", lambda row: (row["lane"], row["batch_no"]) == (0, 2), epoch=0
        ),
    ),
    "a position has contracts without a trade": (
        "I16",
        lambda case: case.change(
            "positions",
            lambda row: row["paid"] is None and row["quantity"] < 0,
            quantity=lambda row: row["quantity"] - 1,
        ),
    ),
    "an escrow is one short": (
        "I17",
        lambda case: case.change(
            "markets", _open, open_interest=lambda row: row["open_interest"] - 1
        ),
    ),
    "a book is crossed": (
        "I18",
        lambda case: case.change("orders", _rests, side=1),
    ),
    "a winner is paid for another outcome": (
        "I19",
        lambda case: case.change("payouts", lambda _: True, outcome=0),
    ),
    "a trade has the seq of no event": (
        "I20",
        lambda case: case.change("trades", lambda _: True, seq=10**6),
    ),
}


@pytest.mark.parametrize("name", WRONG_TABLES)
def test_the_recount_reports_only_the_invariant(name: str, case: Case) -> None:
    invariant, forge = WRONG_TABLES[name]
    forge(case)
    found = {INVARIANT_OF[rule] for rule in case.broken_in_tables()}
    assert found == {invariant}


# Topics, independent replay and replay.


def _first(events: list[Json], kind: str, **fields: object) -> Json:
    return next(
        event for event in events if event["type"] == kind and fields.items() <= event.items()
    )


def _rewritten(
    kind: str, fields: Json | None = None, /, **changes: object
) -> Callable[[Case], object]:
    """Return a forgery that changes the first such event."""

    def change(events: list[Json]) -> None:
        event = _first(events, kind, **(fields or {}))
        event.update({n: v(event) if callable(v) else v for n, v in changes.items()})

    number = 2 if kind in {"DEPOSITED", "WITHDRAWN", "TRANSFER_REJECTED"} else 0
    return lambda case: case.rewrite(change, number)


def _pass_over(case: Case) -> None:
    """Let a sweep take the worse maker first."""

    def change(events: list[Json]) -> None:
        sweep = [e for e in events if e["type"] == "ORDER_FILLED" and e["index"] in {1, 2}]
        better, worse = sweep[1:3]
        assert better["price"] > worse["price"]
        assert better["offset"] == worse["offset"]
        stays = ("seq", "index", "market_seq", "seller")
        one, other = dict(better), dict(worse)
        better.update({name: value for name, value in other.items() if name not in stays})
        worse.update({name: value for name, value in one.items() if name not in stays})

    case.rewrite(change)


def _fill_at(price: int) -> Callable[[Case], object]:
    def change(events: list[Json]) -> None:
        fill = _first(events, "ORDER_FILLED")
        fill["price"] = price
        for posting in fill["postings"]:
            if posting["kind"] == "PRICE":
                sign = 1 if posting["amount"] > 0 else -1
                posting["amount"] = sign * price * fill["quantity"]

    return lambda case: case.rewrite(change)


def _posted(kind: str) -> Callable[[Case], object]:
    def change(events: list[Json]) -> None:
        fill = _first(events, "ORDER_FILLED")
        next(p for p in fill["postings"] if p["kind"] == kind)["amount"] += 1

    return lambda case: case.rewrite(change)


def _leaves(case: Case) -> None:
    def change(events: list[Json]) -> None:
        _first(events, "ORDER_FILLED")["buyer"]["leaves_quantity"] += 1

    case.rewrite(change)


def _repeat(case: Case) -> None:
    lane = case.lanes[0]
    altered = lane.outputs[3]._replace(timestamp_ms=1)
    case.lane(0, outputs=[*lane.outputs, altered])


def _without_an_end(case: Case) -> None:
    outputs = list(case.lanes[0].outputs)
    number = next(n for n, r in enumerate(outputs) if b"MARKET_SETTLED" in (r.value or b""))
    del outputs[number]
    case.lane(0, outputs=outputs)


def _one_trade(case: Case) -> None:
    """Give two fills the same trade id."""

    def change(events: list[Json]) -> None:
        one, other, *_ = (event for event in events if event["type"] == "ORDER_FILLED")
        other["trade_id"] = one["trade_id"]

    case.rewrite(change)


def _fifth_is(value: bytes) -> Callable[[Case], object]:
    def wrong(case: Case) -> None:
        outputs = list(case.lanes[0].outputs)
        outputs.append(outputs[5]._replace(value=value))
        case.lane(0, outputs=outputs)

    return wrong


def _ahead(case: Case) -> None:
    """Publish an event that was never committed."""
    lane = case.lanes[0]
    record = lane.outputs[-1]
    event = json.loads(record.value or b"")
    event.update(seq=event["seq"] + 1, index=event["index"] + 1, market_seq=event["market_seq"] + 1)
    ahead = record._replace(value=json.dumps(event).encode())
    case.lane(0, outputs=[*lane.outputs, ahead])


def _another_plan(case: Case) -> None:
    batches: list[StoredBatch] = list(case.lanes[0].batches)
    batches[3] = batches[3]._replace(plan_hash="0" * 64)
    case.lane(0, batches=batches)


def _asked(change: Callable[[list[Received]], list[Received]]) -> Callable[[Case], object]:
    return lambda case: case.lane(0, inputs=change(list(case.lanes[0].inputs)))


def _moved_home(case: Case) -> None:
    row: AuditedLane = case.lanes[0].row._replace(partition=1)
    case.lane(0, row=row)


def _overdrawn(case: Case) -> None:
    """Report a withdrawal of more than there is."""
    case.rewrite(lambda events: _first(events, "WITHDRAWN").update(amount=10**7), 2)


def _row(table: str, **values: object) -> Callable[[Case], object]:
    return lambda case: case.change(table, lambda _: True, **values)


def _key_of_another(case: Case) -> None:
    outputs = list(case.lanes[0].outputs)
    outputs[5] = outputs[5]._replace(key=b"other")
    case.lane(0, outputs=outputs)


WRONG_HISTORIES: Final[dict[str, Callable[[Case], object]]] = {
    "fill_postings": _posted("PRICE"),
    "collateral": _posted("COLLATERAL"),
    "cash_negative": _overdrawn,
    "range": _rewritten("ORDER_ACCEPTED", {"order_id": "ioc"}, price=0),
    "leaves": _leaves,
    "id_twice": _one_trade,
    "first_answer": _rewritten("DUPLICATE", first=lambda event: {**event["first"], "seq": 1}),
    "passed_over": _pass_over,
    "fill_price": _fill_at(54),
    "event_astray": _moved_home,
    "unanswered": _asked(lambda log: [*log, replace(log[-1], offset=Offset(log[-1].offset - 1))]),
    "answer_to_nothing": _asked(lambda log: log[:-1]),
    "answer_twice": _rewritten("ORDER_CANCELLED", {"reason": "IOC"}, index=0),
    "answer_unfit": _rewritten("ORDER_REJECTED", reason="MALFORMED", account_id="c"),
    "index_gap": _rewritten("ORDER_CANCELLED", {"reason": "IOC"}, index=2),
    "refusal_unfit": _rewritten("CANCEL_REJECTED", reason="UNKNOWN_ORDER"),
    "event_ahead": _ahead,
    "repeat_altered": _repeat,
    "seq_gap": _without_an_end,
    "market_gap": _rewritten("ORDER_CANCELLED", market_seq=1_000),
    "not_an_event": _fifth_is(b"{}"),
    "time_falls": _rewritten("ORDER_CANCELLED", time_ms=0),
    "journal_differs": _key_of_another,
    "dead_letters": lambda case: case.dead_letters.clear(),
    "balances_told": _row("pockets", balance=1),
    "positions_told": _row("positions", quantity=1),
    "orders_told": _row("orders", seq=1),
    "trades_told": _row("trades", price=1),
    "transfers_told": _row("transfers", amount=1),
    "markets_told": _row("markets", escrow=1),
    "payouts_told": _row("payouts", amount=1),
    "crossed": _rewritten("ORDER_ACCEPTED", {"order_id": "asks"}, side="BUY"),
    "after_the_end": _rewritten(
        "ORDER_CANCELLED", {"reason": "MARKET_RESOLVED"}, reason="UNFUNDED"
    ),
    "payout_unfit": _rewritten("PAYOUT", quantity=lambda event: event["quantity"] + 1),
    "settled_unfit": _rewritten("MARKET_SETTLED", holders=0),
    "event_unfounded": _rewritten("ORDER_FILLED", taker_side="BUY"),
    "replay_differs": _another_plan,
}
"""A forgery for each rule, which must report it."""
BY_CONSTRUCTION: Final = {"journal_differs", "replay_differs", "answer_unfit"} | set(
    INVARIANTS["I13"].history
)
"""Rules that may report the forgery too, since journal, plan, command or table is unchanged."""


def test_every_rule_of_history_has_its_forgery() -> None:
    rules = {rule for invariant in INVARIANTS.values() for rule in invariant.history}
    assert set(WRONG_HISTORIES) == rules


@pytest.mark.parametrize("field", [{"seq": 1}, {"type": "ORDER_REJECTED"}])
def test_wrong_first_answer_of_a_conflict_is_found(case: Case, field: Json) -> None:
    _rewritten("ID_CONFLICT", first=lambda event: {**event["first"], **field})(case)
    assert "first_answer" in case.broken_in_history()


@pytest.mark.parametrize("rule", WRONG_HISTORIES)
def test_the_history_reports_the_rule(rule: str, case: Case) -> None:
    WRONG_HISTORIES[rule](case)
    found = case.broken_in_history()
    assert rule in found
    others = {INVARIANT_OF[name] for name in found - BY_CONSTRUCTION - {rule}}
    assert others <= {INVARIANT_OF[rule]}


def test_a_senseless_event_is_noted_and_skipped(case: Case) -> None:
    """No later check fails because of an order that never existed."""
    _rewritten("ORDER_CANCELLED", {"reason": "REQUESTED"}, order_id="never")(case)
    assert "event_unfounded" in case.broken_in_history()


def test_every_invariant_has_rules_or_a_reason() -> None:
    assert list(INVARIANTS) == [f"I{number}" for number in range(1, 21)]
    without_rules = {n for n, i in INVARIANTS.items() if not (i.rows or i.history)}
    assert without_rules == {n for n, i in INVARIANTS.items() if i.unchecked} == {"I14"}


@pytest.mark.parametrize(("busy_seq", "fits"), [(5, True), (7, False)])
def test_repeat_of_waiting_order_may_be_refused_first(busy_seq: int, fits: bool) -> None:
    """The market is swept. The order waits, and its repeat finds no more room to wait."""
    command = buy(MarketId("m"), "a", 1, 10, "x")
    inputs = [Received(Offset(offset), 0, "", command) for offset in (0, 1)]
    accepted = {"type": "ORDER_ACCEPTED", "seq": 6, "offset": 0, "index": 0}
    busy = {"type": "ORDER_REJECTED", "reason": "MARKET_BUSY", "offset": 1, "index": 0}
    findings = Findings()
    events = [accepted, {**busy, "seq": busy_seq}]
    lane = lane_history(LaneState(orders_home(0)), inputs, ())
    passed = replace(lane, row=lane.row._replace(next_offset=2))
    answered(passed, TopicContents(events), findings)
    assert (findings.count("answer_unfit") == 0) == fits
