"""What a plan is sure to lack is known before it is made."""

from worker.domain.commands import OpenMarket, PlaceOrder, Received, Side, TimeInForce
from worker.domain.plan import Answer, Batch, PayPage, foresee, plan
from worker.domain.state import Facts, Home, LaneState, Limits, StreamKind
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
)

MARKET, ANN = MarketId("m"), AccountId("ann")
LIMITS = Limits(2_500)


def order(offset: int, market_id: MarketId = MARKET) -> Received:
    command = PlaceOrder(
        market_id=market_id,
        account_id=ANN,
        order_id=OrderId(str(offset)),
        side=Side.BUY,
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
