"""Rows that were read, as values of the domain."""

import json
from collections.abc import Iterable, Sequence
from sys import intern
from typing import Any, Final, Protocol

from worker.adapters.postgres.codes import OUTCOME_OF, SIDE_OF, TIME_IN_FORCE_OF
from worker.domain import ids
from worker.domain.book import OpenOrder
from worker.domain.events import EventType, First, Reason
from worker.domain.facts import (
    DeadOrder,
    Facts,
    Lack,
    OrderAnswer,
    Page,
    PageRequest,
    Payee,
    TransferAnswer,
)
from worker.domain.state import Home, Market, MarketStatus
from worker.domain.units import AccountId, LaneId, MarketId, Money, OrderId, Price, Quantity


class Row(Protocol):
    """A row with its columns by name."""

    def __getitem__(self, column: str, /) -> Any: ...  # noqa: ANN401 - whatever the column holds


def market_of(row: Row) -> Market:
    """Return the market of a row with the columns of ``load_markets.sql``."""
    return Market(
        market_id=MarketId(row["market_id"]),
        key=row["market"],
        operator_id=AccountId(row["operator_id"]),
        payout=row["payout"],
        title=row["title"],
        status=MarketStatus(row["status"]),
        outcome=OUTCOME_OF[row["outcome"]],
        market_seq=row["market_seq"],
        opened_seq=row["opened_seq"],
        resolved_seq=row["resolved_seq"],
    )


def open_order_of(row: Row) -> OpenOrder:
    """Return the order of a row with the columns of ``load_orders.sql``."""
    return OpenOrder(
        row["order_key"],
        # One text for all orders of an account, or a million orders keep a million copies.
        AccountId(intern(row["account_id"])),
        OrderId(row["order_id"]),
        SIDE_OF[row["side"]],
        Price(row["price"]),
        Quantity(row["leaves"]),
        row["seq"],
    )


def order_answer(row: Iterable[Any]) -> OrderAnswer:
    """Return the first answer of [side, price, quantity, time_in_force, seq, reason]."""
    side, price, quantity, time_in_force, seq, reason = row
    kind = EventType.ORDER_REJECTED if reason else EventType.ORDER_ACCEPTED
    first = First(kind, seq, Reason(reason) if reason else None)
    return OrderAnswer(
        SIDE_OF[side], Price(price), Quantity(quantity), TIME_IN_FORCE_OF[time_in_force], first
    )


def transfer_answer(row: Iterable[Any]) -> TransferAnswer:
    """Return the first answer of [deposit, amount, seq, reason]."""
    deposit, amount, seq, reason = row
    done = EventType.DEPOSITED if deposit else EventType.WITHDRAWN
    kind = EventType.TRANSFER_REJECTED if reason else done
    return TransferAnswer(
        deposit, Money(amount), First(kind, seq, Reason(reason) if reason else None)
    )


def page_of(request: PageRequest, orders: Sequence[Row], payees: Sequence[Row]) -> Page:
    """Return a page of a settlement: dead orders first, and payees where they leave room.

    Both were read with one row more than has room, so that the last page is known.
    """
    most, left = request.rows_max, max(request.rows_max - len(orders), 0)
    return Page(
        orders=tuple(
            DeadOrder(
                row["order_key"],
                AccountId(row["account_id"]),
                OrderId(row["order_id"]),
                Quantity(row["leaves"]),
            )
            for row in orders[:most]
        ),
        payees=tuple(
            Payee(
                row["account"],
                AccountId(row["account_id"]),
                Quantity(row["quantity"]),
                None if row["balance"] is None else Money(row["balance"]),
            )
            for row in payees[:left]
        ),
        last=len(orders) <= most and len(payees) <= left,
    )


class Names:
    """The keys of everything that a plan lacks, and the way back from keys to names."""

    def __init__(self, home: Home, lack: Lack) -> None:
        def market(market_id: MarketId) -> str:
            return ids.market_key(home.stream, market_id)

        account = ids.account_key
        self.accounts = {account(a): a for a in sorted(lack.accounts)}
        self.holdings = {(market(m), account(a)): (m, a) for m, a in sorted(lack.positions)}
        self.markets = {market(m): m for m in sorted(lack.markets)}
        self.orders = {
            ids.order_key(market(m), account(a), o): (m, a, o) for m, a, o in sorted(lack.orders)
        }
        self.transfers = {
            ids.transfer_key(account(a), t): (a, t) for a, t in sorted(lack.transfers)
        }

    def parameters(self) -> tuple[list[str], str, list[str], list[str], list[str]]:
        """Return what ``read_facts.sql`` is asked, after the lane."""
        holdings = [{"market": m, "account": a} for m, a in self.holdings]
        return (
            list(self.accounts),
            json.dumps(holdings),
            list(self.markets),
            list(self.orders),
            list(self.transfers),
        )

    def facts(self, row: Row, pages: dict[MarketId, Page]) -> Facts:
        """Return the facts of a row of ``read_facts.sql``."""
        accounts: dict[AccountId, dict[LaneId, Money] | None] = dict.fromkeys(
            self.accounts.values()
        )
        for key, lane, balance in _array(row["accounts"]):
            pockets = accounts[self.accounts[key]]
            if pockets is None:
                pockets = accounts[self.accounts[key]] = {}
            if lane is not None:
                pockets[LaneId(lane)] = Money(balance)
        positions = dict.fromkeys(self.holdings.values(), 0)
        for market, account, quantity in _array(row["positions"]):
            positions[self.holdings[market, account]] = quantity
        markets: dict[MarketId, Market | None] = dict.fromkeys(self.markets.values())
        for values in _array(row["markets"]):
            columns = dict(zip(MARKET_COLUMNS, values, strict=True))
            markets[self.markets[columns["market"]]] = market_of(columns)
        orders = dict.fromkeys(self.orders.values(), None)
        transfers = dict.fromkeys(self.transfers.values(), None)
        return Facts(
            accounts=accounts,
            positions=positions,
            markets=markets,
            orders=orders | {self.orders[v[0]]: order_answer(v[1:]) for v in _array(row["orders"])},
            transfers=transfers
            | {self.transfers[v[0]]: transfer_answer(v[1:]) for v in _array(row["transfers"])},
            pages=pages,
        )


MARKET_COLUMNS: Final = (
    "market",
    "market_id",
    "operator_id",
    "payout",
    "title",
    "status",
    "outcome",
    "market_seq",
    "opened_seq",
    "resolved_seq",
)
"""The order in which ``read_facts.sql`` gives a market."""


def _array(text: str | None) -> list[Any]:
    return json.loads(text) if text else []
