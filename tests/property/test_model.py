"""The domain emits the same events as the model, for any cash and any cut of the batches."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.flows import RICH, flows, law, poor, rich, run
from tests.support.books import buy, deposit, sell, withdraw
from tests.support.driver import Exchange, Habits, Sent
from tests.support.model import Model, Wire
from worker.domain.facts import Limits
from worker.domain.plan import AnswerCommands, PayPage
from worker.domain.units import LaneId, MarketId, OrderId

chunks = st.integers(1, 12)
seeds = st.integers(0, 2**32)


def agree(exchange: Exchange) -> None:
    """Run the committed batches through the model in their order, and compare events and cash."""
    model = Model()
    events: list[Wire] = []
    for done in exchange.batches:
        batch = done.batch
        stops = {int(sweep.offset): sweep.index for sweep in batch.sweeps}
        stops |= {int(settlement.offset): settlement.index for settlement in batch.settlements}
        step = batch.step
        page_of = step.market_id if isinstance(step, PayPage) else None
        sweep_of = step.sweep if isinstance(step, AnswerCommands) else None
        said = model.batch(done.home, done.answered, page_of, sweep_of, stops)
        events += [{"lane": int(done.home.lane)} | event for event in said]
    assert exchange.events == sorted(events, key=lambda event: (event["lane"], event["seq"]))
    assert {a: exchange.database.cash(a) for a in model.cash} == model.cash


@law
@given(poor, flows(without=("withdraw",)), chunks)
def test_caching_lane_matches_the_model(amounts: list[int], flow: list[Sent], chunk: int) -> None:
    agree(run(Exchange(1, 1), amounts, flow, chunk))


@law
@given(poor, flows(), chunks)
def test_reading_lane_matches_the_model(amounts: list[int], flow: list[Sent], chunk: int) -> None:
    agree(run(Exchange(1, 1, Habits(forgetful=True)), amounts, flow, chunk))


@law
@given(poor, flows(), seeds)
def test_drawing_lanes_match_the_model(amounts: list[int], flow: list[Sent], seed: int) -> None:
    """Turns, batches, take-overs, sweeps and pages are random. Other lanes act in between."""
    habits = Habits(forgetful=True, rng=Random(seed))
    agree(run(Exchange(3, 2, habits), amounts, flow, 40))


@law
@given(rich, flows(), seeds)
def test_rich_accounts_need_no_fresh_reading(
    amounts: list[int], flow: list[Sent], seed: int
) -> None:
    agree(run(Exchange(3, 2, Habits(rng=Random(seed))), amounts, flow, 40))


def test_open_orders_per_account_are_limited() -> None:
    """An account may have 1,000 open orders in a market. The refusal of the next is remembered."""
    orders = [buy("m-0", "ann", 1, 1, f"o-{n}") for n in range(1_001)]
    resent = [orders[1_000], replace(orders[1_000], order_id=OrderId("o")), orders[0]]
    flow = [Sent(command, 0) for command in (*orders, *resent)]
    exchange = run(Exchange(1, 1), [RICH] * 6, flow, len(flow))
    agree(exchange)
    refused = [event["order_id"] for event in exchange.events if "reason" in event]
    assert refused == ["o-1000", "o"]


def test_deposits_beyond_the_cash_share_are_refused() -> None:
    """After a withdrawal the share has room again, and the same deposit can be sent again."""
    flow = [Sent(deposit("ann", 60, f"in-{n}"), 0) for n in range(3)]
    flow += [Sent(withdraw("ann", 20, "out"), 0), Sent(deposit("ann", 60, "in-1"), 0)]
    exchange = run(Exchange(1, 1, Habits(cash_share=100)), [0] * 6, flow, 2)
    agree(exchange)
    reasons = [event.get("reason") for event in exchange.events if "amount" in event]
    assert reasons == [None, "LIMIT", "LIMIT", None, None]


@pytest.mark.parametrize(
    ("taker_has", "maker_has", "said"),
    [
        (30, 20, [("ORDER_FILLED", 5), ("taker", 5)]),
        (30, 40, [("ORDER_FILLED", 5), ("taker", 5)]),
        (30, 16, [("ORDER_FILLED", 4), ("maker", 6)]),
        (5, 40, [("taker", 10)]),
        (60, 3, [("maker", 10)]),
        (5, 3, [("taker", 10)]),
    ],
    ids=["both run out", "taker", "maker", "taker at once", "maker at once", "both at once"],
)
def test_unfunded_side_loses_its_remainder(
    taker_has: int, maker_has: int, said: list[tuple[str, int]]
) -> None:
    """Both accounts lose money elsewhere while the taker's sweep waits for its next batch."""
    exchange = Exchange(1, 1)
    run(exchange, [50, 120, 40, 0, 0, 0], [], 1)
    orders = exchange.lanes[LaneId(0)]
    exchange.feed(
        [
            Sent(buy("m-0", "ann", 10, 5, "better"), 0),
            Sent(buy("m-0", "cyd", 10, 4, "maker"), 0),
        ]
    )
    exchange.send(
        [
            Sent(sell("m-0", "bob", 20, 4, "taker"), 0),
            Sent(withdraw("bob", 120 - 50 - taker_has, "out"), 0),
            Sent(withdraw("cyd", 40 - maker_has, "out"), 0),
        ]
    )
    exchange.run(orders, AnswerCommands(orders.waiting), Limits(rows=2_500, fills=1))
    transfers = exchange.lanes[LaneId(1)]
    exchange.run(transfers, AnswerCommands(transfers.waiting))
    exchange.run(orders, AnswerCommands([], MarketId("m-0")))
    agree(exchange)
    assert [
        (event["order_id"], event["cancelled_quantity"])
        if event["type"] == "ORDER_CANCELLED"
        else (event["type"], event["quantity"])
        for event in (event for event in exchange.events if event["lane"] == 0)
        if event["offset"] == 4 and event["index"] > 1
    ] == said
