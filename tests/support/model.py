"""A reference model: the rules of the exchange in the plainest form, to compare the domain with.

The model uses the wire format of the README, with commands as input and whole events as output,
both as dicts. It has a sorted list per side and a balance per account, and computes every number
from its definition and not from a formula of the domain. It has no pockets, facts or budgets. About
batches it knows only where one stopped short (``stops``), since other lanes may act there.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid5

from worker.domain import ids
from worker.domain.commands import (
    CancelOrder,
    Deposit,
    OpenMarket,
    PlaceOrder,
    Received,
    ResolveMarket,
    Unreadable,
    Withdraw,
)
from worker.domain.state import Home, StreamKind

Wire = dict[str, Any]
"""An event as a reader of the topic sees it."""

NAMESPACE: Final = UUID("6f3c1a52-2a0e-5c55-9f0e-0a8f3f7c1d11")
OPEN_ORDERS_PER_ACCOUNT_MAX: Final = 1_000


def uuid_of(*names: object) -> str:
    return str(uuid5(NAMESPACE, "/".join(map(str, names))))


def collateral(payout: int, before: int, after: int) -> int:
    """Return the collateral that a change of position locks, negative if it is released."""
    return payout * (max(0, -after) - max(0, -before))


@dataclass(slots=True)
class Order:
    """An order from its first answer on. A refused order keeps ``leaves`` 0."""

    account: str
    order_id: str
    side: str
    price: int
    asked: tuple[object, ...]
    leaves: int
    first: Wire

    def crosses(self, maker: "Order") -> bool:
        return maker.price <= self.price if self.side == "BUY" else maker.price >= self.price

    def rank(self) -> tuple[int, int]:
        return (-self.price if self.side == "BUY" else self.price, self.first["seq"])


@dataclass(slots=True)
class Market:
    """A market with its whole history. ``books`` have the open orders, best first.

    After the resolution, ``due`` has the orders to close and the holders to pay, and ``place`` the
    offset and index of the next event.
    """

    market_id: str
    key: str
    operator: str
    payout: int
    title: str
    opened_seq: int
    resolved_seq: int = 0
    outcome: str | None = None
    events: int = 0
    due: "deque[Order | tuple[str, int]]" = field(default_factory=deque)
    paid: list[int] = field(default_factory=list)
    place: tuple[int, int] = (0, 0)
    orders: dict[tuple[str, str], Order] = field(default_factory=dict)
    books: dict[str, list[Order]] = field(default_factory=lambda: {"BUY": [], "SELL": []})
    positions: dict[str, int] = field(default_factory=dict)

    def delta(self, order: Order, price: int, quantity: int) -> tuple[int, int]:
        """Return the cash from a trade without collateral, and the collateral that it locks."""
        sign = 1 if order.side == "BUY" else -1
        before = self.positions.get(order.account, 0)
        locks = collateral(self.payout, before, before + sign * quantity)
        return -sign * price * quantity, locks


@dataclass(slots=True)
class Lane:
    """The state of a lane. A sweep is market, order, whether IOC, offset and index."""

    home: Home
    sweeps: dict[str, tuple[Market, Order, bool, int, int]] = field(default_factory=dict)
    stops: Mapping[int, int] = field(default_factory=dict)
    seq: int = 0
    time_ms: int = 0
    offset: int = 0
    index: int = 0
    net: int = 0


class Model:
    """The whole exchange: all lanes, one command at a time."""

    def __init__(self) -> None:
        self.cash: dict[str, int] = {}
        self.markets: dict[str, Market] = {}
        self.transfers: dict[tuple[str, str], tuple[tuple[object, ...], Wire]] = {}
        self._lanes: dict[int, Lane] = {}
        self._out: list[Wire] = []

    def batch(
        self,
        home: Home,
        received: Sequence[Received],
        page_of: str | None = None,
        sweep_of: str | None = None,
        stops: Mapping[int, int] | None = None,
    ) -> list[Wire]:
        """Return the batch's events. ``stops`` has the next index of each unfinished offset."""
        lane = self._lanes.setdefault(home.lane, Lane(home))
        lane.stops = stops or {}
        self._out = []
        if page_of is not None:
            self._settle(lane, self.markets[page_of])
        if sweep_of is not None:
            market, order, ioc, lane.offset, lane.index = lane.sweeps.pop(sweep_of)
            self._match(lane, market, order, ioc=ioc)
        for each in received:
            self._answer(lane, each)
        return self._out

    def _answer(self, lane: Lane, received: Received) -> None:
        lane.offset, lane.index = received.offset, 0
        lane.time_ms = max(lane.time_ms, received.time_ms)
        rules: dict[type, Callable[[Lane, Any], None]] = {
            PlaceOrder: self._place,
            CancelOrder: self._cancel_order,
            OpenMarket: self._open,
            ResolveMarket: self._resolve,
            Deposit: self._deposit,
            Withdraw: self._withdraw,
            Unreadable: self._unreadable,
        }
        rules[type(received.command)](lane, received.command)

    def _say(
        self, lane: Lane, kind: str, subject: str | None, market: Market | None = None
    ) -> Wire:
        lane.seq += 1
        event: Wire = {"type": kind, "seq": lane.seq, "offset": lane.offset}
        event |= {"index": lane.index, "time_ms": lane.time_ms}
        if subject is not None:
            orders = lane.home.kind is StreamKind.ORDERS
            event["market_id" if orders else "account_id"] = subject
        if market is not None:
            market.events += 1
            event["market_seq"] = market.events
        lane.index += 1
        self._out.append(event)
        return event

    # Orders.

    def _place(self, lane: Lane, ask: PlaceOrder) -> None:
        market = self._market(lane, ask.market_id)
        name = {"account_id": ask.account_id, "order_id": ask.order_id}
        known = market.orders.get((ask.account_id, ask.order_id)) if market else None
        asked = (ask.side, ask.price, ask.quantity, ask.time_in_force)
        if known and market:
            kind = "DUPLICATE" if known.asked == asked else "ID_CONFLICT"
            event = self._say(lane, kind, ask.market_id, market)
            event |= name | {"first": known.first}
            return
        reason = self._refusal(lane, ask, market)
        kind = "ORDER_REJECTED" if reason else "ORDER_ACCEPTED"
        event = self._say(lane, kind, ask.market_id, market)
        event |= name
        if reason:
            event["reason"] = reason
        else:
            event |= {"side": ask.side, "price": ask.price, "quantity": ask.quantity}
            event["time_in_force"] = ask.time_in_force
        if market and reason in (None, "OPEN_ORDER_LIMIT", "INSUFFICIENT_FUNDS"):
            leaves = 0 if reason else ask.quantity
            order = Order(
                ask.account_id, ask.order_id, ask.side, ask.price, asked, leaves, first_of(event)
            )
            market.orders[ask.account_id, ask.order_id] = order
            self._match(lane, market, order, ioc=ask.time_in_force == "IOC")

    def _refusal(self, lane: Lane, ask: PlaceOrder, market: Market | None) -> str | None:
        if market is None:
            return self._no_market(lane, ask.market_id)
        draft = Order(ask.account_id, ask.order_id, ask.side, ask.price, (), 0, {})
        brings, locks = market.delta(draft, ask.price, ask.quantity)
        resting = [order for order in market.books[ask.side] if order.account == ask.account_id]
        other = "SELL" if ask.side == "BUY" else "BUY"
        resting += [order for order in market.books[other] if order.account == ask.account_id]
        checks = (
            (market.outcome is not None, "MARKET_NOT_OPEN"),
            (ask.price < 1 or ask.price > market.payout - 1, "BAD_PRICE"),
            (ask.quantity < 1 or ask.quantity > 10**9, "BAD_QTY"),
            (ask.account_id not in self.cash, "UNKNOWN_ACCOUNT"),
            (
                ask.time_in_force == "GTC" and len(resting) >= OPEN_ORDERS_PER_ACCOUNT_MAX,
                "OPEN_ORDER_LIMIT",
            ),
            (self.cash.get(ask.account_id, 0) + brings - locks < 0, "INSUFFICIENT_FUNDS"),
        )
        return next((reason for refused, reason in checks if refused), None)

    def _match(self, lane: Lane, market: Market, taker: Order, *, ioc: bool) -> None:
        makers = market.books["SELL" if taker.side == "BUY" else "BUY"]
        while taker.leaves and makers and taker.crosses(makers[0]):
            if makers[0].account == taker.account:
                self._cancel(lane, market, taker, "SELF_TRADE")
            elif lane.index == lane.stops.get(lane.offset):
                lane.sweeps[market.market_id] = (market, taker, ioc, lane.offset, lane.index)
                return
            else:
                self._meet(lane, market, taker, makers[0])
        if taker.leaves and ioc:
            self._cancel(lane, market, taker, "IOC")
        if taker.leaves:
            market.books[taker.side].append(taker)
            market.books[taker.side].sort(key=Order.rank)

    def _meet(self, lane: Lane, market: Market, taker: Order, maker: Order) -> None:
        wanted = min(taker.leaves, maker.leaves)
        taker_can = self._can(market, taker, maker.price, wanted)
        maker_can = self._can(market, maker, maker.price, wanted)
        if taker_can and maker_can:
            self._trade(lane, market, (taker, maker), min(taker_can, maker_can))
        if taker_can < wanted and taker_can <= maker_can:
            self._cancel(lane, market, taker, "UNFUNDED")
        elif maker_can < wanted:
            self._cancel(lane, market, maker, "UNFUNDED")
        elif not maker.leaves:
            market.books[maker.side].remove(maker)

    def _can(self, market: Market, order: Order, price: int, wanted: int) -> int:
        """Return the largest quantity that the account can pay for."""

        def broke(quantity: int) -> bool:
            brings, locks = market.delta(order, price, quantity)
            return self.cash[order.account] + brings - locks < 0

        return bisect_left(range(1, wanted + 1), True, key=broke)

    def _trade(
        self, lane: Lane, market: Market, orders: tuple[Order, Order], quantity: int
    ) -> None:
        taker, maker = orders
        buyer, seller = orders if taker.side == "BUY" else (maker, taker)
        event = self._say(lane, "ORDER_FILLED", market.market_id, market)
        event["trade_id"] = uuid_of("trade", lane.home.lane, lane.offset, event["index"])
        event |= {"price": maker.price, "quantity": quantity, "taker_side": taker.side}
        moves = [(order, *market.delta(order, maker.price, quantity)) for order in (buyer, seller)]
        locked = [(order.account, -locks) for order, _, locks in moves]
        locked.append(("$escrow", sum(locks for *_, locks in moves)))
        postings = [(order.account, brings, "PRICE") for order, brings, _ in moves]
        postings += [(account, amount, "COLLATERAL") for account, amount in locked if amount]
        event["postings"] = [
            {"account_id": account, "amount": amount, "kind": kind}
            for account, amount, kind in postings
        ]
        for order, brings, locks in moves:
            order.leaves -= quantity
            self.cash[order.account] += brings - locks
            sign = 1 if order is buyer else -1
            held = market.positions.get(order.account, 0)
            market.positions[order.account] = held + sign * quantity
        for role, order in (("buyer", buyer), ("seller", seller)):
            event[role] = {"account_id": order.account, "order_id": order.order_id}
            event[role]["leaves_quantity"] = order.leaves
            event[role]["liquidity"] = "TAKER" if order is taker else "MAKER"

    def _cancel(self, lane: Lane, market: Market, order: Order, reason: str) -> None:
        event = self._say(lane, "ORDER_CANCELLED", market.market_id, market)
        event |= {"account_id": order.account, "order_id": order.order_id}
        event |= {"cancelled_quantity": order.leaves, "reason": reason}
        order.leaves = 0
        if order in market.books[order.side]:
            market.books[order.side].remove(order)

    def _cancel_order(self, lane: Lane, ask: CancelOrder) -> None:
        market = self._market(lane, ask.market_id)
        order = market.orders.get((ask.account_id, ask.order_id)) if market else None
        if market is None:
            reason = self._no_market(lane, ask.market_id)
        elif market.outcome:
            reason = "MARKET_NOT_OPEN"
        elif order and order.leaves:
            return self._cancel(lane, market, order, "REQUESTED")
        else:
            accepted = order and "reason" not in order.first
            reason = "ALREADY_TERMINAL" if accepted else "UNKNOWN_ORDER"
        event = self._say(lane, "CANCEL_REJECTED", ask.market_id, market)
        event |= {"account_id": ask.account_id, "order_id": ask.order_id, "reason": reason}
        return None

    # Markets.

    def _market(self, lane: Lane, market_id: str) -> Market | None:
        return self.markets.get(market_id) if at_home(lane, market_id) else None

    def _no_market(self, lane: Lane, market_id: str) -> str:
        return "UNKNOWN_MARKET" if at_home(lane, market_id) else "WRONG_PARTITION"

    def _open(self, lane: Lane, ask: OpenMarket) -> None:
        market = self._market(lane, ask.market_id)
        same = market and (market.operator, market.payout, market.title) == (
            ask.operator_id,
            ask.payout,
            ask.title,
        )
        if market and same:
            event = self._say(lane, "DUPLICATE", ask.market_id, market)
            event["first"] = {"type": "MARKET_OPENED", "seq": market.opened_seq}
        elif market or not at_home(lane, ask.market_id) or not 2 <= ask.payout <= 1_000_000:
            event = self._say(lane, "COMMAND_REJECTED", ask.market_id, market)
            event["reason"] = "MARKET_EXISTS" if market else "BAD_PAYOUT"
            if not at_home(lane, ask.market_id):
                event["reason"] = "WRONG_PARTITION"
        else:
            key = uuid_of("market", lane.home.stream, ask.market_id)
            market = Market(
                ask.market_id, key, ask.operator_id, ask.payout, ask.title, lane.seq + 1
            )
            self.markets[ask.market_id] = market
            event = self._say(lane, "MARKET_OPENED", ask.market_id, market)
            event |= {"payout": ask.payout, "title": ask.title}
        event["operator_id"] = ask.operator_id

    def _resolve(self, lane: Lane, ask: ResolveMarket) -> None:
        market = self._market(lane, ask.market_id)
        if market and market.operator == ask.operator_id and market.outcome is None:
            market.outcome, market.resolved_seq = ask.outcome, lane.seq + 1
            event = self._say(lane, "MARKET_RESOLVED", ask.market_id, market)
            event |= {"outcome": ask.outcome, "operator_id": ask.operator_id}
            self._falls_due(lane, market)
            self._settle(lane, market)
            return
        if market and market.operator == ask.operator_id and market.outcome == ask.outcome:
            event = self._say(lane, "DUPLICATE", ask.market_id, market)
            event["first"] = {"type": "MARKET_RESOLVED", "seq": market.resolved_seq}
        else:
            event = self._say(lane, "COMMAND_REJECTED", ask.market_id, market)
            event["reason"] = self._no_market(lane, ask.market_id)
            if market:
                mine = market.operator == ask.operator_id
                event["reason"] = "ALREADY_RESOLVED" if mine else "NOT_OPERATOR"
        event["operator_id"] = ask.operator_id

    def _falls_due(self, lane: Lane, market: Market) -> None:
        dead = [order for order in market.orders.values() if order.leaves]
        dead.sort(key=lambda order: order_key(market, order))
        sign = 1 if market.outcome == "YES" else -1
        won = [(account, sign * held) for account, held in market.positions.items()]
        won.sort(key=lambda item: uuid_of("account", item[0]))
        market.due = deque([*dead, *(item for item in won if item[1] > 0)])
        market.place = (lane.offset, lane.index)
        market.books = {"BUY": [], "SELL": []}

    def _settle(self, lane: Lane, market: Market) -> None:
        lane.offset, lane.index = market.place
        while market.due and lane.index != lane.stops.get(lane.offset):
            due = market.due.popleft()
            if isinstance(due, Order):
                self._cancel(lane, market, due, "MARKET_RESOLVED")
                continue
            account, quantity = due
            event = self._say(lane, "PAYOUT", market.market_id, market)
            amount = quantity * market.payout
            event |= {"account_id": account, "quantity": quantity, "amount": amount}
            self.cash[account] += amount
            market.paid.append(amount)
        if lane.offset not in lane.stops:
            event = self._say(lane, "MARKET_SETTLED", market.market_id, market)
            event |= {"holders": len(market.paid), "paid": sum(market.paid)}
        market.place = (lane.offset, lane.index)

    # Transfers.

    def _deposit(self, lane: Lane, ask: Deposit) -> None:
        over = lane.net + ask.amount > lane.home.cash_share
        if self._transfer(lane, ask, "DEPOSITED", [(over, "LIMIT")]):
            self.cash[ask.account_id] = self.cash.get(ask.account_id, 0) + ask.amount
            lane.net += ask.amount

    def _withdraw(self, lane: Lane, ask: Withdraw) -> None:
        cash = self.cash.get(ask.account_id)
        poor = (cash is not None and cash < ask.amount, "INSUFFICIENT_FUNDS")
        if self._transfer(lane, ask, "WITHDRAWN", [(cash is None, "UNKNOWN_ACCOUNT"), poor]):
            self.cash[ask.account_id] -= ask.amount
            lane.net -= ask.amount

    def _transfer(
        self, lane: Lane, ask: Deposit | Withdraw, done: str, checks: list[tuple[bool, str]]
    ) -> bool:
        name, asked = (ask.account_id, ask.transfer_id), (done, ask.amount)
        known = self.transfers.get(name) if at_home(lane, ask.account_id) else None
        if known:
            kind = "DUPLICATE" if known[0] == asked else "ID_CONFLICT"
            event = self._say(lane, kind, ask.account_id)
            event |= {"transfer_id": ask.transfer_id, "first": known[1]}
            return False
        checks = [
            (not at_home(lane, ask.account_id), "WRONG_PARTITION"),
            (not 1 <= ask.amount <= 10**13, "BAD_AMOUNT"),
            *checks,
        ]
        reason = next((reason for refused, reason in checks if refused), None)
        event = self._say(lane, "TRANSFER_REJECTED" if reason else done, ask.account_id)
        event |= {"transfer_id": ask.transfer_id, "amount": ask.amount}
        if reason:
            event["reason"] = reason
        if reason in (None, "INSUFFICIENT_FUNDS"):
            self.transfers[name] = (asked, first_of(event))
        return reason is None

    def _unreadable(self, lane: Lane, ask: Unreadable) -> None:
        event = self._say(lane, "COMMAND_REJECTED", None)
        event |= {"reason": "MALFORMED", "detail": ask.detail}


def at_home(lane: Lane, key: str) -> bool:
    return ids.partition_of(key, lane.home.partitions) == lane.home.partition


def order_key(market: Market, order: Order) -> str:
    return uuid_of("order", market.key, uuid_of("account", order.account), order.order_id)


def first_of(event: Wire) -> Wire:
    return {name: event[name] for name in ("type", "seq", "reason") if name in event}
