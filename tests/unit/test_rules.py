"""The rules' version: recorded inputs are answered as they were, or the version is another one."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from enum import Enum
from typing import Any

import pytest

from tests import golden_plans
from tests.golden_plans import LaneRecording
from tests.support.books import deposit
from tests.support.fake_store import FakeBooks
from tests.support.history import assert_restored
from worker.audit.records import StoredBatch
from worker.domain.book import OpenOrder
from worker.domain.commands import Received
from worker.domain.digest import RULES, plan_digest
from worker.domain.events import CancelReason, DeadLetter, EventType, Reason
from worker.domain.plan import AnswerCommands, Batch, Gather, Park, PayPage, plan
from worker.domain.state import LaneState
from worker.domain.units import WALLET
from worker.wire import facts as facts_text
from worker.wire import journal
from worker.wire.events import TYPES

UNRECORDED = {
    Reason.LIMIT,
    Reason.OPEN_ORDER_LIMIT,
    Reason.LANE_ORDER_LIMIT,
    Reason.MARKET_BUSY,
}
"""Answers that take hundreds of records, or a limit that no record has."""
CHANGED = """
The rules answer a recorded input in another way than rules {rules} did:
lane {lane}, batch {batch_no}, which answers offsets {first} to {last}.
Its first answer is now {answer}
If that is intended: increment RULES in worker/domain/digest.py, run `python -m tests.golden_plans`
and commit the new file tests/golden/rules_{next}.json. If not: the change has broken a rule.
"""


def planned(lane: LaneRecording) -> Iterator[tuple[golden_plans.Batch, Batch, str]]:
    """Plan every recorded batch again; yield what was recorded, the plan and its answers."""
    inputs, state = lane.inputs(), LaneState(lane.home)
    for recorded_batches, recorded in enumerate(lane.batches):
        facts, limits, noted, _ = facts_text.decode(recorded.facts)
        step = facts_text.step_of(noted, inputs, state.next_offset, recorded.next_offset)
        batch = plan(state, step, facts, limits)
        assert isinstance(batch, Batch), f"{CHANGED}: the plan lacks {batch}"
        yield recorded, batch, journal.encode(batch.draft.entries, lane.home.kind)
        if state.batch_no == recorded_batches:
            batch.adopt()


def stored_batch(batch: Batch, events: str, facts: str) -> StoredBatch:
    """Return the row of a batch that is not adopted yet."""
    draft, state = batch.draft, batch.draft.state
    return StoredBatch(
        batch_no=batch.batch_no,
        first_offset=state.next_offset,
        next_offset=draft.next_offset,
        first_seq=state.last_seq + 1,
        last_seq=draft.seq,
        epoch=1,
        owner="",
        rules=RULES,
        plan_hash=plan_digest(batch, events, facts_text.without_mark(facts)),
        facts=facts,
        events=events,
    )


LANES = golden_plans.load(RULES)


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: f"lane {lane.home.lane}")
def test_recorded_inputs_are_answered_as_recorded(lane: LaneRecording) -> None:
    for recorded, batch, answers in planned(lane):
        assert (
            plan_digest(batch, answers, facts_text.without_mark(recorded.facts)) == recorded.digest
        ), CHANGED.format(
            rules=RULES,
            next=RULES + 1,
            lane=lane.home.lane,
            batch_no=batch.batch_no,
            first=batch.draft.state.next_offset,
            last=batch.draft.next_offset - 1,
            answer=answers.partition("\n")[0],
        )


def test_record_is_what_the_recorder_makes() -> None:
    """A new kind of command or answer is added to the recorder, and with new rules to a file."""
    commands, answers, reasons, steps = set(), set(), set(), set()
    for lane in LANES:
        commands |= {type(received.command) for received in lane.inputs()}
        for _, batch, _ in planned(lane):
            steps.add(type(batch.step))
            for entry in batch.draft.entries:
                if not isinstance(entry, DeadLetter):
                    answers.add(TYPES[type(entry.body)])
                    reasons.add(getattr(entry.body, "reason", None))
    every_command = set(Received.__annotations__["command"].__args__)
    assert commands == every_command
    assert answers == set(EventType)
    assert reasons - {None} == {*Reason, *CancelReason} - UNRECORDED
    assert steps == {AnswerCommands, PayPage, Gather, Park}


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: f"lane {lane.home.lane}")
def test_state_between_recorded_batches_is_restored(lane: LaneRecording) -> None:
    """Also after what has no event: a step that parks, and an error that halts a market."""
    batches: list[StoredBatch] = []
    for recorded, batch, answers in planned(lane):
        batches.append(stored_batch(batch, answers, recorded.facts))
        batch.adopt()
        assert_restored(batch.draft.state, lane.inputs(), batches)


async def test_every_batch_is_stored_with_the_rules() -> None:
    books = FakeBooks.opened()
    await (await books.transfers()).run(deposit("ann", 100))
    assert [row["rules"] for row in books.database.rows("batches")] == [RULES]


# Every field of what a batch writes has a part in the digest.

IMPLIED = (
    {("new_orders", name) for name in ("market", "account", "order_id", "ref")}
    | {("transfers", name) for name in ("account", "transfer_id", "ref")}
    | {("sweeps", "market_id"), ("settlements", "market_id")}
)
"""A key is made of these, or the same."""
DERIVED = {
    ("purses", name) for name in ("home", "pockets", "exists", "fresh", "tally", "known")
} | {("purses", name) for name in ("draws_allowed", "exact_draws", "moved")}
"""Fields that a plan starts from, and fields that follow from needs and draws."""
HOLDERS = (
    "new_orders",
    "trades",
    "transfers",
    "payouts",
    "market_changes",
    "purses",
    "settlements",
    "sweeps",
)


def test_every_field_of_every_row_changes_the_digest() -> None:
    tried, noticed = set(), set()
    for lane in LANES:
        for recorded, batch, answers in planned(lane):
            facts = recorded.facts
            digest = plan_digest(batch, answers, facts)
            assert plan_digest(batch, answers, f"{facts} ") != digest
            assert plan_digest(batch, f"{answers}x", facts) != digest
            for holder, name, other in _altered(batch):
                tried.add((holder, name))
                if plan_digest(other, answers, facts) != digest:
                    noticed.add((holder, name))
    assert {holder for holder, _ in tried} == {*HOLDERS, "changed_orders", "draft"}
    assert tried - noticed == IMPLIED | DERIVED


def _altered(batch: Batch) -> Iterator[tuple[str, str, Batch]]:
    """Yield the batch with one field of one row changed, and what that is."""
    draft = batch.draft
    for holder in HOLDERS:
        held = getattr(draft, holder)
        for key, row in held.items() if isinstance(held, dict) else enumerate(held):
            for name, other in _variants(row):
                rows = {**held, key: other} if isinstance(held, dict) else [other]
                yield holder, name, _with(batch, draft=_with(draft, **{holder: rows}))
    for key, (leaves, status) in draft.changed_orders.items():
        for name, row in (("leaves", (leaves + 1, status)), ("status", (leaves, _another(status)))):
            orders = {**draft.changed_orders, key: row}
            yield "changed_orders", name, _with(batch, draft=_with(draft, changed_orders=orders))
    for name in ("next_offset", "last_record_sha", "time_ms", "seq", "new_accounts", "waiting"):
        other = _with(draft, **{name: _another(getattr(draft, name))})
        yield "draft", name, _with(batch, draft=other)


def _variants(row: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any row
    for field in fields(row):
        yield field.name, _with(row, **{field.name: _another(getattr(row, field.name))})


def _with(value: Any, **fields: Any) -> Any:  # noqa: ANN401 - any row
    return replace(value, **fields)


def _another(value: Any) -> Any:  # noqa: ANN401 - any field
    if isinstance(value, Enum):
        return next(other for other in type(value) if other is not value)
    change = _CHANGES.get(type(value))
    return change(value) if change else value


_CHANGES: dict[type, Callable[[Any], Any]] = {
    bool: lambda value: not value,
    int: lambda value: value + 1,
    str: lambda value: f"{value}x",
    type(None): lambda _: "another",
    dict: lambda value: {key: amount + 1 for key, amount in value.items()},
    set: lambda value: value ^ {WALLET, 0},
    list: lambda value: [*value, "another"],
    OpenOrder: lambda value: _with(value, price=value.price + 1),
}
