"""What a plan is sure to lack is known before it is made."""

from dataclasses import replace
from typing import NoReturn

import pytest

from worker.domain import draft, orders
from worker.domain.book import Book, OpenOrder
from worker.domain.commands import (
    CancelOrder,
    Command,
    Deposit,
    OpenMarket,
    Outcome,
    PlaceOrder,
    Received,
    ResolveMarket,
    Side,
    TimeInForce,
    Unreadable,
    Withdraw,
)
from worker.domain.events import Event, Reason
from worker.domain.ids import partition_of
from worker.domain.plan import Answer, Batch, Park, PayPage, RuleBroken, Step, foresee, plan
from worker.domain.state import (
    Facts,
    Home,
    LaneState,
    Limits,
    MarketStatus,
    Page,
    Payee,
    Settlement,
    StreamKind,
    Sweep,
)
from worker.domain.units import (
    CASH_MAX,
    AccountId,
    Lane,
    MarketId,
    Money,
    Offset,
    OrderId,
    Price,
    Quantity,
    TransferId,
)
from worker.wire import facts as facts_text

MARKET, ANN, BEN = MarketId("m"), AccountId("ann"), AccountId("ben")
LIMITS = Limits(2_500)


def order(
    offset: int, market_id: MarketId = MARKET, account_id: AccountId = ANN, side: Side = Side.BUY
) -> Received:
    command = PlaceOrder(
        market_id=market_id,
        account_id=account_id,
        order_id=OrderId(str(offset)),
        side=side,
        price=Price(40),
        quantity=Quantity(1),
        time_in_force=TimeInForce.GTC,
    )
    return Received(Offset(offset), 1, "sha", command)


def with_a_market() -> LaneState:
    state = LaneState(Home(Lane(0), "orders", 0, 1, StreamKind.ORDERS, CASH_MAX))
    opening = OpenMarket(market_id=MARKET, operator_id=ANN, payout=100, title="t")
    step = Answer([Received(Offset(0), 1, "sha", opening)])
    batch = plan(state, step, Facts(markets={MARKET: None}), LIMITS)
    assert isinstance(batch, Batch)
    batch.adopt()
    return state


def test_the_account_and_position_of_an_order_are_foreseen() -> None:
    lack = foresee(with_a_market(), Answer([order(1)]), LIMITS)
    assert (lack.accounts, lack.positions) == ({ANN}, {(MARKET, ANN)})


def test_what_is_foreseen_is_all_that_a_plain_order_lacks() -> None:
    state = with_a_market()
    facts = Facts(accounts={ANN: {Lane(-1): Money(1_000)}}, positions={(MARKET, ANN): 0})
    assert isinstance(plan(state, Answer([order(1)]), facts, LIMITS), Batch)


def test_nothing_is_foreseen_of_what_is_known_or_not_asked_here() -> None:
    state = with_a_market()
    state.accounts[ANN] = {Lane(-1): Money(1_000)}
    state.positions[MARKET, ANN] = 0
    assert not foresee(state, Answer([order(1), order(2, MarketId("elsewhere"))]), LIMITS)
    assert not foresee(state, PayPage(MARKET), LIMITS)


def test_no_more_is_foreseen_than_a_batch_may_hold() -> None:
    assert not foresee(with_a_market(), Answer([order(1)]), Limits(2_500, commands=0))


def received(command: Command, offset: int = 1) -> Received:
    return Received(Offset(offset), 1, "sha", command)


def batch_of(state: LaneState, step: Step, facts: Facts | None = None) -> Batch:
    planned = plan(state, step, facts or Facts(), LIMITS)
    assert isinstance(planned, Batch), planned
    return planned


COMMANDS: list[Command] = [
    order(1).command,
    CancelOrder(market_id=MARKET, account_id=ANN, order_id=OrderId("1")),
    OpenMarket(market_id=MARKET, operator_id=ANN, payout=100, title="t"),
    ResolveMarket(market_id=MARKET, operator_id=ANN, outcome=Outcome.YES),
    Deposit(account_id=ANN, transfer_id=TransferId("d"), amount=Money(1)),
    Withdraw(account_id=ANN, transfer_id=TransferId("w"), amount=Money(1)),
    Unreadable(detail="", key=None, value=None, headers=()),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_that_met_a_bug_is_answered_once_and_changes_nothing(command: Command) -> None:
    facts = Facts(internal_rejects=frozenset({Offset(1)}))
    batch = batch_of(with_a_market(), Answer([received(command)]), facts)
    (event,) = batch.draft.entries
    assert isinstance(event, Event)
    assert getattr(event.body, "reason", None) is Reason.INTERNAL_REJECT
    assert (batch.answered, batch.draft.new_orders, list(batch.draws())) == (1, {}, [])


def test_a_bug_in_the_rules_halts_the_market_and_a_cancel_still_works_there() -> None:
    state = with_a_market()
    rich = Facts(accounts={ANN: {Lane(-1): Money(1_000)}}, positions={(MARKET, ANN): 0})
    batch_of(state, Answer([order(1)]), rich).adopt()
    halting = Facts(internal_rejects=frozenset({Offset(2)}), halts=frozenset({Offset(2)}))
    batch_of(state, Answer([order(2)]), halting).adopt()
    assert state.markets[MARKET].status is MarketStatus.HALTED
    refused = batch_of(state, Answer([order(3)]), Facts(orders={(MARKET, ANN, OrderId("3")): None}))
    assert "MARKET_HALTED" in str(refused.draft.entries)
    refused.discard()
    cancel = CancelOrder(market_id=MARKET, account_id=ANN, order_id=OrderId("1"))
    assert "REQUESTED" in str(batch_of(state, Answer([received(cancel, 3)])).draft.entries)


def test_a_sweep_that_is_parked_rests_in_its_halted_market() -> None:
    state = with_a_market()
    rest = OpenOrder("key", ANN, OrderId("9"), Side.BUY, Price(40), Quantity(3), 7)
    state.sweep = Sweep(
        market_id=MARKET, order=rest, time_in_force=TimeInForce.GTC, offset=Offset(1), index=4
    )
    batch_of(state, Park()).adopt()
    assert state.book(MARKET).get(rest.name) == rest
    assert str(state.sweep) == "None"
    assert state.markets[MARKET].status is MarketStatus.HALTED


def test_a_settlement_that_is_parked_stays_and_is_marked() -> None:
    state = with_a_market()
    state.settlements = (
        Settlement(
            market_id=MARKET, offset=Offset(1), index=1, cursor="", holders=0, paid=Money(0)
        ),
    )
    batch_of(state, Park(MARKET)).adopt()
    assert [s.parked for s in state.settlements] == [True]


def test_a_batch_names_each_pocket_once_in_one_order_and_each_draw_by_its_source() -> None:
    state = with_a_market()
    pockets = {Lane(-1): Money(10), Lane(3): Money(1_000)}
    facts = Facts(
        accounts={ANN: pockets, BEN: {Lane(-1): Money(1_000)}},
        positions={(MARKET, ANN): 0, (MARKET, BEN): 0},
    )
    sell = order(1, account_id=BEN, side=Side.SELL)
    batch = batch_of(state, Answer([sell, order(2)]), facts)
    rows = batch.pockets()
    assert rows == sorted(rows, key=lambda row: (row.account, row.lane))
    assert len({(row.account, row.lane) for row in rows}) == len(rows)
    assert sorted(draw.amount for draw in batch.draws()) == [10, 250, 250]


def test_a_bug_leaves_the_books_as_they_were_and_names_the_offset() -> None:
    state = with_a_market()
    state.markets[MARKET] = replace(state.markets[MARKET], payout=None)  # type: ignore[arg-type]
    with pytest.raises(RuleBroken) as broken:
        plan(state, Answer([order(1)]), Facts(), LIMITS)
    assert (broken.value.offset, broken.value.answering) == (1, True)
    assert len(state.book(MARKET)) == 0


@pytest.mark.shows("F13")
def test_a_worker_without_memory_blames_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(orders, "match", without_memory)
    facts = Facts(accounts={ANN: {Lane(-1): Money(1_000)}}, positions={(MARKET, ANN): 0})
    with pytest.raises(MemoryError):
        plan(with_a_market(), Answer([order(1)]), facts, LIMITS)


def test_a_market_is_halted_once() -> None:
    state = with_a_market()
    for offset in (1, 2):
        bug = frozenset({Offset(offset)})
        batch_of(state, Answer([order(offset)]), Facts(internal_rejects=bug, halts=bug)).adopt()
    assert state.markets[MARKET].status is MarketStatus.HALTED


def test_a_market_of_another_partition_is_neither_opened_nor_resolved_here() -> None:
    partition = 1 - partition_of(MARKET, 2)
    state = LaneState(Home(Lane(0), "orders", partition, 2, StreamKind.ORDERS, CASH_MAX))
    for command in COMMANDS[2:4]:
        (event,) = batch_of(state, Answer([received(command)])).draft.entries
        assert "WRONG_PARTITION" in str(event)


def test_a_winner_without_a_pocket_here_gets_one() -> None:
    state = with_a_market()
    state.markets[MARKET] = replace(
        state.markets[MARKET], status=MarketStatus.SETTLING, outcome=Outcome.YES
    )
    state.settlements = (
        Settlement(
            market_id=MARKET, offset=Offset(1), index=1, cursor="", holders=0, paid=Money(0)
        ),
    )
    payees = (Payee("key-1", ANN, Quantity(2), None), Payee("key-2", BEN, Quantity(1), Money(5)))
    page = Page(orders=(), payees=payees, last=True)
    batch = batch_of(state, PayPage(MARKET), Facts(pages={MARKET: page}))
    assert {(row.need, row.new) for row in batch.pockets()} == {(0, True), (0, False)}
    batch.adopt()
    assert len(state.settlements) == 0


def test_what_is_remembered_of_accounts_and_positions_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draft, "CACHED_ROWS_MAX", 1)
    state = with_a_market()
    state.accounts[BEN] = {Lane(-1): Money(1)}
    facts = Facts(accounts={ANN: {Lane(-1): Money(1_000)}}, positions={(MARKET, ANN): 0})
    batch_of(state, Answer([order(1)]), facts).adopt()
    assert list(state.accounts) == [ANN]


def test_names_that_died_are_swept_out_and_those_that_live_keep_their_turn() -> None:
    book = Book()
    resting = [
        OpenOrder(f"k{n}", ANN, OrderId(str(n)), Side.SELL, Price(50), Quantity(1), n)
        for n in range(200)
    ]
    for one in resting:
        book.add(one)
    for one in resting[1:-1]:
        book.remove(one)
    book.keep()
    assert list(book.priority(Side.SELL)) == [resting[0], resting[-1]]


@pytest.mark.parametrize("step", [Park(), Park(MARKET), PayPage(MARKET)], ids=repr)
def test_a_step_is_recorded_with_its_batch(step: Step) -> None:
    text = facts_text.encode(Facts(), LIMITS, step, 3)
    assert facts_text.decode(text) == (Facts(), LIMITS, step, 3)
