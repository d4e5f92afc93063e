"""A part of a batch that is planned on trial, and taken back."""

from tests.unit.domain.test_plan import ANN, BEN, LIMITS, MARKET, order, with_a_market
from worker.domain.commands import Side
from worker.domain.draft import Draft
from worker.domain.facts import Facts
from worker.domain.marks import mark, rollback
from worker.domain.plan import _answer
from worker.domain.units import WALLET, AccountId, Money

RICH = Facts(
    accounts={name: {WALLET: Money(1_000)} for name in (ANN, BEN)},
    positions={(MARKET, name): 0 for name in (ANN, BEN)},
)


def test_trial_leaves_no_rows() -> None:
    """Neither a fill, nor its draws, nor the orders in the book outlive the rollback."""
    draft = Draft.over(with_a_market(), RICH, LIMITS)
    _answer(draft, order(1))
    before = mark(draft)
    rows, entries, pockets = draft.rows(), list(draft.entries), dict(draft.purses[ANN].pockets)
    _answer(draft, order(2, account_id=BEN, side=Side.SELL))
    assert draft.trades
    assert draft.purses[ANN].drawn
    rollback(draft, before)
    assert (draft.rows(), draft.entries, draft.trades) == (rows, entries, [])
    assert (draft.purses[ANN].pockets, draft.purses[ANN].drawn) == (pockets, {})
    assert draft.purses.keys() == {ANN}
    assert [found.account_id for found in draft.book(MARKET).priority(Side.BUY)] == [ANN]


def test_lack_of_a_trial_is_read() -> None:
    """A verdict that follows from the trial may rest on facts that nobody has read yet."""
    draft = Draft.over(with_a_market(), RICH, LIMITS)
    before = mark(draft)
    _answer(draft, order(1, account_id=AccountId("stranger")))
    rollback(draft, before)
    assert "stranger" in draft.lack.accounts
