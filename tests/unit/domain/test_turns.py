"""Turns: answers alternate with long work, and commands of a busy market wait."""

from collections.abc import Sequence

import pytest

from tests.support.books import (
    buy,
    cancel,
    deposit,
    market_at,
    open_market,
    orders_home,
    resolve,
    sell,
)
from tests.support.books import received as at
from worker.domain import orders, turns
from worker.domain.commands import Command, Received, Side, TimeInForce
from worker.domain.events import (
    CancelRejected,
    CommandRejected,
    Duplicate,
    Event,
    EventType,
    First,
    OrderAccepted,
    OrderRejected,
    Reason,
)
from worker.domain.facts import Facts, Lack, Limits, OrderAnswer
from worker.domain.plan import AnswerCommands, Batch, PayPage, foresee, plan
from worker.domain.rows import ROWS_PER_FILL
from worker.domain.state import LaneState, Settlement
from worker.domain.turns import Turns, answering, long_work
from worker.domain.units import AccountId, LaneId, MarketId, Money, Offset, Price, Quantity

BUSY, CALM, THIRD = (market_at(0, name) for name in ("busy", "calm", "third"))
NAMES = [AccountId(name) for name in ("ann", "bob", *(f"m-{n}" for n in range(40)))]
ONE_FILL = Limits(2_500, fills=1)
TAKER = OrderAnswer(
    Side.BUY, Price(50), Quantity(30), TimeInForce.GTC, First(EventType.ORDER_ACCEPTED, 9)
)


class Lane:
    """A lane whose accounts are rich, with its log."""

    def __init__(self, *commands: Command) -> None:
        self.state = LaneState(orders_home(0))
        self.log: list[Received] = []
        self.turns = Turns()
        self.batches: list[Batch] = []
        self.recorded: list[tuple[Offset, ...] | None] = []
        """Offsets that each batch records as answered."""
        self.facts = Facts(
            accounts={name: {LaneId(0): Money(10**9)} for name in NAMES},
            positions={(market, name): 0 for market in (BUSY, CALM, THIRD) for name in NAMES},
            markets=dict.fromkeys((BUSY, CALM, THIRD, MarketId("nowhere"))),
        )
        self.send(open_market(BUSY), open_market(CALM), open_market(THIRD))
        self.run()
        self.send(*commands)

    def send(self, *commands: Command) -> None:
        first = len(self.log)
        self.log += [at(Offset(first + n), command) for n, command in enumerate(commands)]

    @property
    def unanswered(self) -> list[Received]:
        waiting, end = self.state.waiting, self.state.next_offset
        return [each for each in self.log if each.offset >= end or each.offset in waiting]

    def step(self, limits: Limits = ONE_FILL) -> Batch | None:
        """Commit the next batch."""
        step = self.turns.next(self.state, self.unanswered)
        if step is None:
            return None
        facts = _unread(self.facts, self.state)
        batch = plan(self.state, step, facts, limits)
        if isinstance(batch, Lack):
            facts = facts.and_read(Facts(orders=dict.fromkeys(batch.orders)))
            batch = plan(self.state, step, facts, limits)
        assert isinstance(batch, Batch), batch
        self.recorded.append(batch.answers)
        batch.adopt()
        self.batches.append(batch)
        return batch

    def run(self, limits: Limits = ONE_FILL) -> None:
        while self.step(limits) is not None:
            assert len(self.batches) < 1_000, "it never ends"

    def events(self) -> list[Event]:
        """Return the events of all batches but the first."""
        entries = (each for batch in self.batches[1:] for each in batch.draft.entries)
        return [each for each in entries if isinstance(each, Event)]

    def said(self, first: int) -> list[tuple[int, type, Reason | None]]:
        """Return the events of commands from ``first`` on: place, kind, reason of a refusal."""
        return [
            (event.offset - first, type(event.body), getattr(event.body, "reason", None))
            for event in self.events()
            if event.offset >= first
        ]

    def answered(self) -> list[list[int]]:
        """Return the offsets that each batch answered, after the first batch."""
        found = []
        for batch in self.batches[1:]:
            assert isinstance(batch.step, AnswerCommands)
            found.append([int(each.offset) for each in batch.step.commands[: batch.answered]])
        return found


def _unread(facts: Facts, state: LaneState) -> Facts:
    """Return the facts that no batch has changed yet."""
    return Facts(
        accounts={name: p for name, p in facts.accounts.items() if name not in state.accounts},
        positions={h: q for h, q in facts.positions.items() if h not in state.positions},
        markets=facts.markets,
        orders=facts.orders,
    )


def makers(market: MarketId, count: int) -> list[Command]:
    return [sell(market, f"m-{n}", 1, 50, f"{market}-{n}") for n in range(count)]


def sweeping(*commands: Command, count: int = 6) -> Lane:
    """Return a lane with an unfinished sweep of ``count`` makers, and further commands."""
    lane = Lane(*makers(BUSY, count))
    lane.run()
    lane.send(buy(BUSY, "ann", count, 50, "taker"))
    lane.step()
    lane.batches[1:] = []
    lane.send(*commands)
    return lane


def test_order_elsewhere_waits_two_batches() -> None:
    """Also if commands of the busy market are in front of it."""
    lane = sweeping(cancel(BUSY, "ann", "taker"), buy(CALM, "bob", 1, 40, "calm"), count=30)
    for _ in range(2):
        lane.step()
    taker, order = lane.log[-2].offset, lane.log[-1].offset
    assert [order] in lane.answered()
    assert (order,) in lane.recorded
    assert lane.state.waiting == {taker}


def test_commands_of_busy_market_keep_their_order() -> None:
    late = [cancel(BUSY, "ann", "taker"), buy(CALM, "bob", 1, 40, "calm"), *makers(BUSY, 1)]
    lane = sweeping(*late)
    lane.run()
    first = lane.log[-3].offset
    assert [n for found in lane.answered() for n in found] == [first + 1, first, first + 2]
    assert (lane.state.waiting, lane.state.sweeps) == (frozenset(), ())
    assert lane.state.next_offset == len(lane.log)


def test_nothing_waits_without_a_later_answer() -> None:
    """The cursor passes a command only for the sake of another."""
    lane = sweeping(buy(CALM, "bob", 1, 40), cancel(BUSY, "ann", "taker"))
    while lane.state.sweeps:
        lane.step()
        assert lane.state.waiting == frozenset()


def test_sweeps_of_several_markets_take_turns() -> None:
    lane = Lane(*makers(BUSY, 5), *makers(CALM, 5))
    lane.run()
    lane.send(buy(BUSY, "ann", 5, 50), buy(CALM, "ann", 5, 50))
    swept = []
    while batch := lane.step():
        step = batch.step
        assert isinstance(step, AnswerCommands)
        swept.append(step.sweep)
    turns_of = [market for market in swept if market]
    assert turns_of[1:5] in ([CALM, BUSY] * 2, [BUSY, CALM] * 2)


def test_rejected_resolutions_share_a_batch() -> None:
    """Rejections trade nothing and pay nobody, so one statement may hold any number of them."""
    stranger = resolve(BUSY)
    stranger.operator_id = AccountId("stranger")  # type: ignore[misc]
    lane = Lane(*[resolve("nowhere"), stranger] * 20, buy(CALM, "bob", 1, 40))
    batch = lane.step()
    assert batch is not None
    assert batch.answered == 41


def test_resolution_is_alone_and_lets_others_pass() -> None:
    lane = Lane(*makers(CALM, 1), resolve(BUSY), resolve(THIRD), buy(CALM, "bob", 1, 40))
    first = 3
    step = lane.turns.next(lane.state, lane.unanswered)
    assert isinstance(step, AnswerCommands)
    assert [each.offset for each in step.commands] == [first, first + 3]
    assert [each.offset for each in step.held] == [first + 1, first + 2]
    batch = plan(lane.state, step, lane.facts, ONE_FILL)
    assert isinstance(batch, Batch)
    batch.adopt()
    assert lane.state.waiting == {first + 1, first + 2}
    for market, offset in ((BUSY, first + 1), (THIRD, first + 2)):
        work = long_work(lane.state, lane.unanswered)[market]
        assert isinstance(work, AnswerCommands)
        assert [each.offset for each in work.commands] == [offset]


def test_resolution_follows_the_orders_before_it() -> None:
    """An order that waited for a sweep is answered before its market is resolved."""
    lane = Lane(buy(BUSY, "bob", 1, 40), resolve(BUSY), buy(CALM, "bob", 1, 40))
    lane.state.waiting, lane.state.next_offset = frozenset(map(Offset, (3, 4))), Offset(5)
    assert not long_work(lane.state, lane.unanswered)
    assert [each.offset for each in answering(lane.state, lane.unanswered).commands] == [3, 5]
    lane.step()
    assert BUSY in long_work(lane.state, lane.unanswered)


def test_full_settlements_hold_up_resolutions_only() -> None:
    lane = Lane(resolve(BUSY), buy(CALM, "bob", 1, 40))
    lane.state.settlements = tuple(
        Settlement(
            market_id=MarketId(f"s-{n}"),
            offset=Offset(0),
            index=1,
            cursor="",
            holders=0,
            paid=Money(0),
        )
        for n in range(turns.SETTLEMENTS_MAX)
    )
    work = long_work(lane.state, lane.unanswered)
    assert {type(step) for step in work.values()} == {PayPage}
    assert [each.offset for each in answering(lane.state, lane.unanswered).commands] == [4]
    lane.state.settlements = lane.state.settlements[1:]
    assert BUSY in long_work(lane.state, lane.unanswered)


def test_full_waiting_room_refuses_commands_of_swept_market(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everybody else goes on, and what waits is answered after the sweep."""
    monkeypatch.setattr(turns, "WAITING_MAX", 2)
    waits: Sequence[Command] = [cancel(BUSY, "ann", f"x-{n}") for n in range(2)]
    beyond: list[Command] = [
        buy(BUSY, "bob", 1, 40, "new"),
        cancel(BUSY, "m-9", f"{BUSY}-9"),
        resolve(BUSY),
    ]
    again = buy(BUSY, "ann", 30, 50, "taker")
    lane = sweeping(*waits, *beyond, again, buy(CALM, "bob", 1, 40, "calm"), count=30)
    lane.facts = lane.facts.and_read(
        Facts(orders={(BUSY, AccountId("ann"), again.order_id): TAKER})
    )
    for _ in range(2):
        lane.step()
    first = len(lane.log) - 7
    assert lane.state.waiting == {first, first + 1}
    assert lane.state.sweeps, "the sweep is not over"
    assert lane.said(first) == [
        (2, OrderRejected, Reason.MARKET_BUSY),
        (3, CancelRejected, Reason.MARKET_BUSY),
        (4, CommandRejected, Reason.MARKET_BUSY),
        (5, Duplicate, None),
        (6, OrderAccepted, None),
    ]
    lane.run()
    assert lane.said(first)[5:] == [(n, CancelRejected, Reason.UNKNOWN_ORDER) for n in (0, 1)]
    assert (lane.state.waiting, lane.state.next_offset) == (frozenset(), len(lane.log))


def test_refused_command_lets_cursor_pass_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if no command of another market follows, or the waiting ones would be lost."""
    monkeypatch.setattr(turns, "WAITING_MAX", 2)
    lane = sweeping(*(cancel(BUSY, "ann", f"x-{n}") for n in range(3)), count=30)
    lane.step()
    lane.step()
    first = len(lane.log) - 3
    assert lane.state.waiting == {first, first + 1}
    assert lane.state.next_offset == first + 3
    lane.run()
    assert [n for n, _, _ in lane.said(first)] == [2, 0, 1]


def test_heir_of_a_fuller_waiting_room_answers_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier release may have let more commands wait."""
    lane = sweeping(
        *(cancel(BUSY, "ann", f"x-{n}") for n in range(3)), buy(CALM, "bob", 1, 40), count=30
    )
    lane.step()
    lane.step()
    first = len(lane.log) - 4
    assert lane.state.waiting == {first, first + 1, first + 2}
    monkeypatch.setattr(turns, "WAITING_MAX", 1)
    lane.send(buy(CALM, "bob", 1, 41))
    assert [each.offset for each in answering(lane.state, lane.unanswered).commands] == [first + 4]


def test_full_waiting_room_stops_answers_before_resolution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resolution ends after one batch, so its market refuses nothing meanwhile."""
    monkeypatch.setattr(turns, "WAITING_MAX", 2)
    calm = [buy(CALM, "bob", 1, 40, f"c-{n}") for n in range(4)]
    waits: list[Command] = [resolve(BUSY), *(cancel(BUSY, "ann", f"x-{n}") for n in range(3))]
    mixed = [each for pair in zip(waits, calm, strict=True) for each in pair]
    lane = Lane(*mixed)
    step = answering(lane.state, lane.unanswered)
    assert (len(step.commands), len(step.held)) == (2, 2)


def test_full_waiting_room_stops_new_resolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its batch would let the cursor pass a command that must wait, and none may any more."""
    lane = sweeping(cancel(BUSY, "ann", "x"), resolve(CALM))
    assert set(long_work(lane.state, lane.unanswered)) == {BUSY, CALM}
    monkeypatch.setattr(turns, "WAITING_MAX", 0)
    assert set(long_work(lane.state, lane.unanswered)) == {BUSY}


def test_only_ending_sweeps_foresee_later_commands() -> None:
    lane = sweeping(buy(BUSY, "stranger", 1, 40, "later"), count=30)
    step = answering(lane.state, lane.unanswered, BUSY)
    assert not foresee(lane.state, step, Limits(2 * ROWS_PER_FILL))
    assert foresee(lane.state, step, Limits(2_500)).accounts == {"stranger"}


def test_batch_without_room_for_a_fill_suspends() -> None:
    lane = Lane(*makers(BUSY, 1))
    lane.run()
    lane.send(buy(BUSY, "ann", 1, 50, "taker"))
    for _ in range(2):
        lane.step(Limits(3))
        assert [sweep.market_id for sweep in lane.state.sweeps] == [BUSY]
    lane.run()
    assert not lane.state.sweeps


def test_sweep_beyond_the_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that fits into a batch of its own is answered there."""
    monkeypatch.setattr(orders, "SWEEPS_MAX", 1)
    lane = sweeping(count=30)
    lane.send(*makers(CALM, 5))
    for _ in range(2):
        lane.step()
    fits, large = buy(CALM, "bob", 1, 50, "fits"), buy(CALM, "bob", 2, 50, "large")
    lane.send(buy(CALM, "bob", 1, 50, "fills"), fits, large)
    for _ in range(6):
        lane.step()
    said = [str(entry) for batch in lane.batches for entry in batch.draft.entries]
    assert [text for text in said if "fits" in text and "OrderFilled" in text]
    assert [text for text in said if "'large'" in text and "LIMIT" in text]


def test_transfers_have_no_turns() -> None:
    state = LaneState(orders_home(0))
    taken = [at(Offset(0), deposit("ann", 5))]
    assert answering(state, taken) == AnswerCommands(taken)
