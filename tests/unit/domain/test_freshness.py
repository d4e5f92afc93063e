"""Cached balances may support an acceptance, which the statement checks again, but no refusal."""

import pytest

from tests.support.books import buy, deposit, open_market, received, sell, withdraw
from worker.domain.commands import Command
from worker.domain.facts import Facts, Lack, Limits
from worker.domain.plan import AnswerCommands, Batch, plan
from worker.domain.state import Home, LaneState, StreamKind
from worker.domain.units import CASH_MAX, WALLET, AccountId, LaneId, MarketId, Money

MARKET, ANN, BEN = MarketId("m"), AccountId("ann"), AccountId("ben")
LIMITS = Limits(2_500)


def _plan(state: LaneState, command: Command, facts: Facts | None = None) -> Batch | Lack:
    return plan(
        state, AnswerCommands([received(state.next_offset, command)]), facts or Facts(), LIMITS
    )


def _run(state: LaneState, command: Command, facts: Facts) -> None:
    batch = _plan(state, command, facts)
    assert isinstance(batch, Batch)
    batch.adopt()


def _orders_lane() -> LaneState:
    """Ben offers 10 at 60, which takes 400 of collateral."""
    state = LaneState(Home(LaneId(0), "orders", 0, 1, StreamKind.ORDERS, CASH_MAX))
    _run(state, open_market(MARKET), Facts(markets={MARKET: None}))
    money = Facts(accounts={BEN: {WALLET: Money(1_000)}}, positions={(MARKET, BEN): 0})
    _run(state, sell(MARKET, BEN, 10, 60, "offer"), money)
    state.positions[MARKET, ANN] = 0
    state.accounts[ANN] = {WALLET: Money(600)}
    return state


def _transfers_lane() -> LaneState:
    return LaneState(Home(LaneId(1), "transfers", 0, 1, StreamKind.TRANSFERS, CASH_MAX))


def test_order_is_filled_on_cached_balances() -> None:
    assert isinstance(_plan(_orders_lane(), buy(MARKET, ANN, 10, 60)), Batch)


@pytest.mark.parametrize(("poor", "quantity"), [(ANN, 10), (BEN, 10)], ids=["taker", "maker"])
def test_fill_is_limited_only_by_fresh_balances(poor: AccountId, quantity: int) -> None:
    state = _orders_lane()
    state.accounts[poor] = {WALLET: Money(0), LaneId(3): Money(1)}
    lack = _plan(state, buy(MARKET, ANN, quantity, 60))
    assert isinstance(lack, Lack)
    assert lack.accounts == {poor}


def test_order_is_refused_only_on_fresh_balances() -> None:
    state = _orders_lane()
    lack = _plan(state, buy(MARKET, ANN, 11, 60))
    assert isinstance(lack, Lack)
    assert lack.accounts == {ANN}
    refused = _plan(state, buy(MARKET, ANN, 11, 60), Facts(accounts={ANN: {WALLET: Money(600)}}))
    assert isinstance(refused, Batch)
    assert "INSUFFICIENT_FUNDS" in str(refused.draft.entries)


def test_withdrawal_is_refused_only_on_fresh_balances() -> None:
    state = _transfers_lane()
    state.accounts[ANN] = {WALLET: Money(5)}
    lack = _plan(state, withdraw(ANN, 6))
    assert isinstance(lack, Lack)
    assert lack.accounts == {ANN}


def test_account_is_created_only_if_read_as_absent() -> None:
    lack = _plan(_transfers_lane(), deposit(ANN, 6))
    assert isinstance(lack, Lack)
    assert lack.accounts == {ANN}
    batch = _plan(_transfers_lane(), deposit(ANN, 6), Facts(accounts={ANN: None}))
    assert isinstance(batch, Batch)
    assert batch.draft.new_accounts == [ANN]
