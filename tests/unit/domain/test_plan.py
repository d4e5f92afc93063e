"""Plans: foreseen facts, internal errors, parked work, pockets, caches and cut sweeps."""

from collections.abc import Iterator
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
from worker.domain.events import CancelReason, Event, Reason
from worker.domain.facts import Facts, Lack, Limits, Page, Payee
from worker.domain.ids import partition_of
from worker.domain.plan import (
    AnswerCommands,
    Batch,
    Park,
    PayPage,
    RuleBroken,
    Step,
    foresee,
    plan,
    shortened,
)
from worker.domain.state import Home, LaneState, MarketStatus, Settlement, StreamKind, Sweep
from worker.domain.units import (
    CASH_MAX,
    AccountId,
    LaneId,
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
    offset: int,
    market_id: MarketId = MARKET,
    account_id: AccountId = ANN,
    side: Side = Side.BUY,
    quantity: int = 1,
) -> Received:
    command = PlaceOrder(
        market_id=market_id,
        account_id=account_id,
        order_id=OrderId(str(offset)),
        side=side,
        price=Price(40),
        quantity=Quantity(quantity),
        time_in_force=TimeInForce.GTC,
    )
    return Received(Offset(offset), 1, "sha", command)


def with_a_market() -> LaneState:
    state = LaneState(Home(LaneId(0), "orders", 0, 1, StreamKind.ORDERS, CASH_MAX))
    opening = OpenMarket(market_id=MARKET, operator_id=ANN, payout=100, title="t")
    step = AnswerCommands([Received(Offset(0), 1, "sha", opening)])
    batch = plan(state, step, Facts(markets={MARKET: None}), LIMITS)
    assert isinstance(batch, Batch)
    batch.adopt()
    return state


def test_account_and_position_of_orders_are_foreseen() -> None:
    lack = foresee(with_a_market(), AnswerCommands([order(1)]), LIMITS)
    assert (lack.accounts, lack.positions) == ({ANN}, {(MARKET, ANN)})


def test_plain_order_lacks_only_foreseen_facts() -> None:
    state = with_a_market()
    facts = Facts(accounts={ANN: {LaneId(-1): Money(1_000)}}, positions={(MARKET, ANN): 0})
    assert isinstance(plan(state, AnswerCommands([order(1)]), facts, LIMITS), Batch)


def test_known_or_foreign_facts_are_not_foreseen() -> None:
    state = with_a_market()
    state.accounts[ANN] = {LaneId(-1): Money(1_000)}
    state.positions[MARKET, ANN] = 0
    assert not foresee(state, AnswerCommands([order(1), order(2, MarketId("elsewhere"))]), LIMITS)
    assert not foresee(state, PayPage(MARKET), LIMITS)


def test_only_commands_of_the_batch_are_foreseen() -> None:
    assert not foresee(with_a_market(), AnswerCommands([order(1)]), Limits(2_500, commands=0))


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
def test_command_with_internal_error_is_answered_once(command: Command) -> None:
    """The command changes neither orders nor pockets."""
    facts = Facts(internal_rejects=frozenset({Offset(1)}))
    batch = batch_of(with_a_market(), AnswerCommands([received(command)]), facts)
    (event,) = batch.draft.entries
    assert isinstance(event, Event)
    assert getattr(event.body, "reason", None) is Reason.INTERNAL_REJECT
    assert (batch.answered, batch.draft.new_orders, list(batch.draws())) == (1, {}, [])


def test_internal_error_halts_the_market() -> None:
    """The halted market refuses new orders, and an open order can still be cancelled."""
    state = with_a_market()
    rich = Facts(accounts={ANN: {LaneId(-1): Money(1_000)}}, positions={(MARKET, ANN): 0})
    batch_of(state, AnswerCommands([order(1)]), rich).adopt()
    halting = Facts(internal_rejects=frozenset({Offset(2)}), halts=frozenset({Offset(2)}))
    batch_of(state, AnswerCommands([order(2)]), halting).adopt()
    assert state.markets[MARKET].status is MarketStatus.HALTED
    refused = batch_of(
        state, AnswerCommands([order(3)]), Facts(orders={(MARKET, ANN, OrderId("3")): None})
    )
    assert "MARKET_HALTED" in str(refused.draft.entries)
    refused.discard()
    cancel = CancelOrder(market_id=MARKET, account_id=ANN, order_id=OrderId("1"))
    assert "REQUESTED" in str(batch_of(state, AnswerCommands([received(cancel, 3)])).draft.entries)


def test_parked_sweep_rests_in_its_halted_market() -> None:
    state = with_a_market()
    rest = OpenOrder("key", ANN, OrderId("9"), Side.BUY, Price(40), Quantity(3), 7)
    state.sweeps = (
        Sweep(
            market_id=MARKET, order=rest, time_in_force=TimeInForce.GTC, offset=Offset(1), index=4
        ),
    )
    batch_of(state, Park(MARKET, sweep=True)).adopt()
    assert state.book(MARKET).get(rest.name) == rest
    assert len(state.sweeps) == 0
    assert state.markets[MARKET].status is MarketStatus.HALTED


def test_parked_settlement_stays_and_is_marked() -> None:
    state = with_a_market()
    state.settlements = (
        Settlement(
            market_id=MARKET, offset=Offset(1), index=1, cursor="", holders=0, paid=Money(0)
        ),
    )
    batch_of(state, Park(MARKET)).adopt()
    assert [s.parked for s in state.settlements] == [True]


def test_batch_names_pockets_once_in_lock_order() -> None:
    """The batch has one draw for each source pocket."""
    state = with_a_market()
    pockets = {LaneId(-1): Money(10), LaneId(3): Money(1_000)}
    facts = Facts(
        accounts={ANN: pockets, BEN: {LaneId(-1): Money(1_000)}},
        positions={(MARKET, ANN): 0, (MARKET, BEN): 0},
    )
    sell = order(1, account_id=BEN, side=Side.SELL)
    batch = batch_of(state, AnswerCommands([sell, order(2)]), facts)
    rows = batch.pockets()
    assert rows == sorted(rows, key=lambda row: (row.account, row.lane))
    assert len({(row.account, row.lane) for row in rows}) == len(rows)
    assert sorted(draw.amount for draw in batch.draws()) == [10, 250, 250]


def test_internal_error_leaves_the_books_unchanged() -> None:
    """The exception has the offset of the command."""
    state = with_a_market()
    state.markets[MARKET] = replace(state.markets[MARKET], payout=None)  # type: ignore[arg-type]
    with pytest.raises(RuleBroken) as broken:
        plan(state, AnswerCommands([order(1)]), Facts(), LIMITS)
    assert (broken.value.offset, broken.value.answering) == (1, True)
    assert len(state.book(MARKET)) == 0


@pytest.mark.shows("F13")
def test_plan_without_memory_blames_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(*_: object, **__: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(orders, "propose", without_memory)
    facts = Facts(accounts={ANN: {LaneId(-1): Money(1_000)}}, positions={(MARKET, ANN): 0})
    with pytest.raises(MemoryError):
        plan(with_a_market(), AnswerCommands([order(1)]), facts, LIMITS)


def test_market_is_halted_once() -> None:
    state = with_a_market()
    for offset in (1, 2):
        bug = frozenset({Offset(offset)})
        batch_of(
            state, AnswerCommands([order(offset)]), Facts(internal_rejects=bug, halts=bug)
        ).adopt()
    assert state.markets[MARKET].status is MarketStatus.HALTED


def test_market_of_another_partition_is_refused() -> None:
    partition = 1 - partition_of(MARKET, 2)
    state = LaneState(Home(LaneId(0), "orders", partition, 2, StreamKind.ORDERS, CASH_MAX))
    for command in COMMANDS[2:4]:
        (event,) = batch_of(state, AnswerCommands([received(command)])).draft.entries
        assert "WRONG_PARTITION" in str(event)


def test_winner_without_a_pocket_gets_one() -> None:
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


def test_cached_accounts_and_positions_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draft, "CACHED_ROWS_MAX", 1)
    state = with_a_market()
    state.accounts[BEN] = {LaneId(-1): Money(1)}
    facts = Facts(accounts={ANN: {LaneId(-1): Money(1_000)}}, positions={(MARKET, ANN): 0})
    batch_of(state, AnswerCommands([order(1)]), facts).adopt()
    assert list(state.accounts) == [ANN]


def test_dead_orders_are_swept_and_others_keep_priority() -> None:
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


def test_full_lane_rejects_orders_that_may_rest() -> None:
    """An order that cannot rest is accepted, and room made by a cancel is used again."""
    state, limits = with_a_market(), Limits(2_500, open_orders=2)
    facts = Facts(
        accounts={ANN: {LaneId(-1): Money(9_000)}},
        positions={(MARKET, ANN): 0},
        orders={(MARKET, ANN, OrderId("3")): None},
    )
    passing = order(4).command
    assert isinstance(passing, PlaceOrder)
    passing = replace(passing, time_in_force=TimeInForce.IOC)
    gone = CancelOrder(market_id=MARKET, account_id=ANN, order_id=OrderId("1"))
    step = AnswerCommands(
        [order(1), order(2), order(3), received(passing, 4), received(gone, 5), order(6)]
    )
    batch = plan(state, step, facts, limits)

    assert isinstance(batch, Batch)
    bodies = [e.body for e in batch.draft.entries if isinstance(e, Event) and not e.index]
    reasons = [getattr(body, "reason", None) for body in bodies]
    assert reasons == [None, None, Reason.LANE_ORDER_LIMIT, None, CancelReason.REQUESTED, None]
    assert OrderId("3") not in {row.order_id for row in batch.draft.new_orders.values()}
    batch.discard()
    assert state.resting.orders == 0


def test_resolved_market_leaves_room_for_orders() -> None:
    state = with_a_market()
    facts = Facts(accounts={ANN: {LaneId(-1): Money(9_000)}}, positions={(MARKET, ANN): 0})
    batch_of(state, AnswerCommands([order(1), order(2)]), facts).adopt()
    assert state.resting.orders == 2
    ends = ResolveMarket(market_id=MARKET, operator_id=ANN, outcome=Outcome.YES)
    page = Facts(pages={MARKET: Page((), (), last=True)})
    batch_of(state, AnswerCommands([received(ends, 3)]), page).adopt()
    assert state.resting.orders == 0


def test_recorded_limits_of_older_batches_have_no_bound() -> None:
    """A batch that was recorded before lanes had a limit is planned again without one."""
    text = facts_text.encode(Facts(), LIMITS, AnswerCommands([]), 0)
    assert "open_orders" not in text
    _, limits, _, _ = facts_text.decode(text)
    assert limits.open_orders > 10_000_000


def test_cut_sweep_stops_before_an_unread_maker() -> None:
    """Cat's cached purse is too small, so it must be read before cat's order is cancelled."""
    state = with_a_market()
    facts = Facts(
        accounts={name: {LaneId(-1): Money(9_000)} for name in (ANN, BEN)},
        positions={(MARKET, name): 0 for name in (ANN, BEN)},
    )
    for offset, name in ((1, BEN), (2, AccountId("cat"))):
        known = Facts(accounts={name: {LaneId(-1): Money(60)}}, positions={(MARKET, name): 0})
        asks = order(offset, account_id=name, side=Side.SELL)
        batch_of(state, AnswerCommands([asks]), known).adopt()
    state.accounts[AccountId("cat")] = {LaneId(-1): Money(0)}
    step = AnswerCommands([order(3, quantity=2)])
    lack = plan(state, step, facts, LIMITS)
    assert isinstance(lack, Lack)
    assert (lack.accounts, lack.commands, lack.makers) == ({AccountId("cat")}, 0, 1)

    cut = plan(state, step, facts, shortened(step, LIMITS, lack))

    assert isinstance(cut, Batch)
    (sweep,) = cut.sweeps
    assert (cut.answered, cut.draft.fills, sweep.order.leaves) == (1, 1, 1)


def test_cut_sweep_meets_at_least_one_maker() -> None:
    """Batches that answer no command and meet no maker would follow each other without end."""
    step = AnswerCommands([], MARKET)
    assert shortened(step, LIMITS, Lack()) == replace(LIMITS, commands=0, makers=1)


def test_takers_share_the_makers_named_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 50 takers meets unknown makers, and 20 makers before them could not pay."""
    state = with_a_market()
    makers = [AccountId(f"maker-{n}") for n in range(1_000)]
    for n, name in enumerate(makers):
        ask = OpenOrder(f"k{n}", name, OrderId("ask"), Side.SELL, Price(40), Quantity(1), n)
        state.book(MARKET).add(ask)
    state.book(MARKET).keep()
    penniless = {name: {LaneId(-1): Money(0)} for name in makers[:20]}
    facts = Facts(
        accounts={ANN: {LaneId(-1): Money(9_000)}, **penniless},
        positions={(MARKET, name): 0 for name in (ANN, *makers[:20])},
    )
    looked_at = 0

    def priority(book: Book, side: Side) -> Iterator[OpenOrder]:
        nonlocal looked_at
        for found in _PRIORITY(book, side):
            looked_at += 1
            yield found

    monkeypatch.setattr(Book, "priority", priority)
    lack = plan(state, AnswerCommands([order(n) for n in range(1, 51)]), facts, LIMITS)
    assert isinstance(lack, Lack)
    assert len(lack.accounts) >= 80
    assert looked_at <= 80 + 4 * 50


_PRIORITY = Book.priority


@pytest.mark.parametrize(
    "step", [Park(MARKET, sweep=True), Park(MARKET), PayPage(MARKET)], ids=repr
)
def test_step_is_recorded_with_its_batch(step: Step) -> None:
    text = facts_text.encode(Facts(), LIMITS, step, 3)
    assert facts_text.decode(text) == (Facts(), LIMITS, step, 3)
