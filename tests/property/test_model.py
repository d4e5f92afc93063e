"""The core says what the model says, event by event, whoever can pay and however it is cut."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.driver import Exchange, Habits, Sent
from tests.support.flows import (
    RICH,
    buy,
    deposit,
    flows,
    law,
    poor,
    rich,
    run,
    sell,
    withdraw,
)
from tests.support.model import Model, Wire
from worker.domain.plan import Answer, PayPage
from worker.domain.state import Limits
from worker.domain.units import Lane, OrderId

chunks = st.integers(1, 12)
seeds = st.integers(0, 2**32)


def agree(exchange: Exchange) -> None:
    """Let the model repeat what the lanes did, in the order in which it was committed."""
    model = Model()
    events: list[Wire] = []
    for done in exchange.batches:
        left = (done.batch.sweep, *done.batch.settlements)
        stops = {int(each.offset): each.index for each in left if each is not None}
        page_of = done.batch.step.market_id if isinstance(done.batch.step, PayPage) else None
        said = model.batch(done.home, done.answered, page_of, stops)
        events += [{"lane": int(done.home.lane)} | event for event in said]
    assert exchange.events == sorted(events, key=lambda event: (event["lane"], event["seq"]))
    assert {a: exchange.database.cash(a) for a in model.cash} == model.cash


@law
@given(poor, flows(without=("withdraw",)), chunks)
def test_one_lane_with_its_caches(amounts: list[int], flow: list[Sent], chunk: int) -> None:
    agree(run(Exchange(1, 1), amounts, flow, chunk))


@law
@given(poor, flows(), chunks)
def test_one_lane_that_reads_everything(amounts: list[int], flow: list[Sent], chunk: int) -> None:
    agree(run(Exchange(1, 1, Habits(forgetful=True)), amounts, flow, chunk))


@law
@given(poor, flows(), seeds)
def test_lanes_that_draw(amounts: list[int], flow: list[Sent], seed: int) -> None:
    """Turns, batches, take-overs, sweeps and pages by chance; other lanes come in between."""
    habits = Habits(forgetful=True, rng=Random(seed))
    agree(run(Exchange(3, 2, habits), amounts, flow, 40))


@law
@given(rich, flows(), seeds)
def test_rich_accounts_need_no_fresh_look(amounts: list[int], flow: list[Sent], seed: int) -> None:
    agree(run(Exchange(3, 2, Habits(rng=Random(seed))), amounts, flow, 40))


def test_an_account_has_a_thousand_open_orders_in_a_market() -> None:
    orders = [buy("m-0", "ann", f"o-{n}", price=1, quantity=1) for n in range(1_001)]
    resent = [orders[1_000], replace(orders[1_000], order_id=OrderId("o")), orders[0]]
    flow = [Sent(command, 0) for command in (*orders, *resent)]
    exchange = run(Exchange(1, 1), [RICH] * 6, flow, len(flow))
    agree(exchange)
    refused = [event["order_id"] for event in exchange.events if "reason" in event]
    assert refused == ["o-1000", "o"]


def test_a_lane_takes_in_its_share_of_all_cash_and_no_more() -> None:
    flow = [Sent(deposit("ann", f"in-{n}", 60), 0) for n in range(3)]
    flow += [Sent(withdraw("ann", "out", 20), 0), Sent(deposit("ann", "in-1", 60), 0)]
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
def test_whose_money_ran_out_loses_the_rest(
    taker_has: int, maker_has: int, said: list[tuple[str, int]]
) -> None:
    """Both accounts lose money elsewhere while the taker's sweep waits for its next batch."""
    exchange = Exchange(1, 1)
    run(exchange, [50, 120, 40, 0, 0, 0], [], 1)
    orders = exchange.lanes[Lane(0)]
    exchange.feed(
        [
            Sent(buy("m-0", "ann", "better", price=5, quantity=10), 0),
            Sent(buy("m-0", "cyd", "maker", price=4, quantity=10), 0),
        ]
    )
    exchange.send(
        [
            Sent(sell("m-0", "bob", "taker", price=4, quantity=20), 0),
            Sent(withdraw("bob", "out", 120 - 50 - taker_has), 0),
            Sent(withdraw("cyd", "out", 40 - maker_has), 0),
        ]
    )
    exchange.run(orders, Answer(orders.waiting), Limits(rows=2_500, fills=1))
    transfers = exchange.lanes[Lane(1)]
    exchange.run(transfers, Answer(transfers.waiting))
    exchange.run(orders, Answer([]))
    agree(exchange)
    assert [
        (event["order_id"], event["cancelled_quantity"])
        if event["type"] == "ORDER_CANCELLED"
        else (event["type"], event["quantity"])
        for event in (event for event in exchange.events if event["lane"] == 0)
        if event["offset"] == 4 and event["index"] > 1
    ] == said
