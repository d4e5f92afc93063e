"""What the stress test fires, and when it says FAIL."""

from dataclasses import replace
from random import Random

import pytest

from worker.adapters.postgres.evidence import Holdings
from worker.stress.volley import Heard, Names, Proof, orders_of

HOLDINGS = Holdings(cash=900, negative_balances=0, ledger_sum=0, postings=4)
PROOF = Proof(fired=3, answered=3, trades=2, before=HOLDINGS, after=HOLDINGS)
WRONG = {
    "an order is not answered": replace(PROOF, answered=2),
    "nothing was traded": replace(PROOF, trades=0, after=replace(HOLDINGS, postings=0)),
    "postings do not sum to zero": replace(PROOF, after=replace(HOLDINGS, ledger_sum=-1)),
    "a posting is missing": replace(PROOF, after=replace(HOLDINGS, postings=3)),
    "cash is lost": replace(PROOF, after=replace(HOLDINGS, cash=899)),
    "a balance is negative": replace(PROOF, after=replace(HOLDINGS, negative_balances=1)),
}


def test_right_books_are_told_in_the_words_of_the_article() -> None:
    assert PROOF.lines() == (
        "=== consistency proof ===",
        "orders fired: 3",
        "trade ledger sum: 0 (must be 0)",
        "cash before/after: 900 / 900 (must be equal)",
        "negative balances: 0 (must be 0)",
        "PASS",
    )


@pytest.mark.parametrize("name", WRONG)
def test_wrong_books_fail(name: str) -> None:
    assert WRONG[name].lines()[-1] == "FAIL"


def test_the_orders_meet_in_every_market_under_names_of_the_run() -> None:
    names = Names.of_run("r1", 3)

    orders = orders_of(names, 216, Random(1))

    assert len({order.order_id for order in orders}) == 216
    assert {order.market_id for order in orders} == set(names.markets)
    assert len({order.price for order in orders}) <= 5
    assert all("r1" in order.market_id and "r1" in order.account_id for order in orders)


def test_a_repeated_event_changes_nothing() -> None:
    heard = Heard()

    for _ in range(2):
        heard.note({"type": "ORDER_FILLED", "trade_id": "t"})
        heard.note({"type": "ORDER_REJECTED", "market_id": "m", "order_id": "o"})

    assert (heard.trades, heard.answered) == ({"t"}, {("m", "o")})
