"""What a stranger can work out from the two event topics alone, by rules of its own.

Also the judge of each single event: that no fill passed a better or an older maker, that it was at
the maker's price and within the taker's, and that an answer fits its command and its history.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.fake_store import FakeDatabase, Row
from worker.domain.commands import CancelOrder, Deposit, PlaceOrder, Unreadable, Withdraw

Event = dict[str, Any]
Asked = tuple[object, ...]
SIDES: Final = {1: "BUY", 2: "SELL"}
STATUSES: Final = {"OPEN": 1, "FILLED": 2, "CANCELLED": 3, "REJECTED": 4}
REMEMBERED: Final = ("INSUFFICIENT_FUNDS", "OPEN_ORDER_LIMIT")


@dataclass(slots=True)
class Order:
    """An order from its first answer on."""

    account: str
    asked: Asked
    first: Event
    leaves: int = 0
    status: str = "OPEN"

    @property
    def side(self) -> str:
        return str(self.asked[0])

    @property
    def price(self) -> int:
        return int(str(self.asked[1]))

    @property
    def rank(self) -> tuple[int, int]:
        """Return what comes first: the better price, then the older."""
        return (-self.price if self.side == "BUY" else self.price, self.first["seq"])


@dataclass(slots=True)
class Market:
    """A market as its events tell it."""

    opened: Event
    resolved: Event | None = None
    settled: bool = False
    events: int = 0
    escrow: int = 0
    positions: Counter[str] = field(default_factory=Counter)
    orders: dict[tuple[str, str], Order] = field(default_factory=dict)
    payouts: dict[str, tuple[int, int]] = field(default_factory=dict)


class Fold:
    """Everything that the events say."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.markets: dict[str, Market] = {}
        self.balances: Counter[str] = Counter()
        self.transfers: dict[tuple[str, str], tuple[Asked, Event]] = {}
        self.trades: dict[str, tuple[int, int, int]] = {}
        self._apply: Final[dict[str, Callable[[Event, Any], None]]] = {
            "ORDER_ACCEPTED": self._accepted,
            "ORDER_REJECTED": self._rejected,
            "ORDER_FILLED": self._filled,
            "ORDER_CANCELLED": self._cancelled,
            "CANCEL_REJECTED": self._cancel_rejected,
            "COMMAND_REJECTED": self._nothing,
            "DUPLICATE": self._duplicate,
            "MARKET_OPENED": self._opened,
            "MARKET_RESOLVED": self._resolved,
            "PAYOUT": self._paid,
            "MARKET_SETTLED": self._settled,
            "DEPOSITED": self._transferred,
            "WITHDRAWN": self._transferred,
            "TRANSFER_REJECTED": self._transfer_rejected,
        }

    def apply(self, event: Event, command: object, lane: int) -> None:
        """Take in the next event of a lane. ``command`` is what was sent at its offset."""
        if "market_seq" in event and event["type"] != "MARKET_OPENED":
            market = self.markets[event["market_id"]]
            market.events += 1
            self._expect(event, market.events == event["market_seq"], "has a gap in its market")
        if event["index"] == 0:
            self._fits(event, command)
        self._apply[event["type"]](event, command)
        del lane

    def _expect(self, event: Event, holds: bool, text: str) -> None:
        if not holds:
            self.wrong.append(f"{event['type']} {text}: {event}")

    def _fits(self, event: Event, command: object) -> None:
        """Judge whether an answer can be one to its command."""
        names = ("market_id", "account_id", "order_id", "transfer_id", "operator_id")
        same = all(event[n] == getattr(command, n, event[n]) for n in names if n in event)
        self._expect(event, same, f"answers {command}")
        unreadable = event.get("reason") == "MALFORMED"
        self._expect(event, isinstance(command, Unreadable) is unreadable, "is of another kind")

    def _nothing(self, event: Event, command: object) -> None:
        """Take in what changes nothing."""

    # Orders.

    def _known(self, event: Event) -> Order | None:
        market = self.markets.get(event["market_id"])
        if market is None:
            return None
        return market.orders.get((event["account_id"], event["order_id"]))

    def _accepted(self, event: Event, command: PlaceOrder) -> None:
        self._expect(event, self._known(event) is None, "accepts an id twice")
        market = self.markets[event["market_id"]]
        self._expect(event, market.resolved is None, "comes after the end")
        order = Order(event["account_id"], _asked(command), event, event["quantity"])
        market.orders[event["account_id"], event["order_id"]] = order

    def _rejected(self, event: Event, command: PlaceOrder) -> None:
        known = self._known(event)
        differs = event["reason"] == "DUPLICATE_ID_DIFFERENT_PAYLOAD"
        altered = known is not None and known.asked != _asked(command)
        self._expect(event, differs is altered, f"forgets {known}")
        if event["reason"] in REMEMBERED and event["market_id"] in self.markets:
            order = Order(event["account_id"], _asked(command), event, 0, "REJECTED")
            key = (event["account_id"], event["order_id"])
            self.markets[event["market_id"]].orders[key] = order

    def _duplicate(self, event: Event, command: Any) -> None:  # noqa: ANN401
        if isinstance(command, PlaceOrder):
            known = self._known(event)
            first, asked = (known.first, known.asked) if known else ({}, None)
        elif isinstance(command, Deposit | Withdraw):
            name = (event["account_id"], event["transfer_id"])
            asked, first = self.transfers.get(name, (None, {}))
        else:
            return
        told = {name: first[name] for name in ("type", "seq", "reason") if name in first}
        self._expect(event, told == event["first"], f"is not what was said first: {told}")
        self._expect(event, asked == _asked(command), f"asked for something else: {asked}")

    def _filled(self, event: Event, command: object) -> None:
        market = self.markets[event["market_id"]]
        parties = {event[role]["liquidity"]: event[role] for role in ("buyer", "seller")}
        taker, maker = (
            market.orders[parties[role]["account_id"], parties[role]["order_id"]]
            for role in ("TAKER", "MAKER")
        )
        opposite = [o for o in market.orders.values() if o.leaves and o.side != taker.side]
        best = min(opposite, key=lambda order: order.rank)
        self._expect(event, best is maker, f"passes a better or older maker: {best}")
        self._expect(event, event["price"] == maker.price, "is not at the maker's price")
        beyond = event["price"] - taker.price
        within = beyond <= 0 if taker.side == "BUY" else beyond >= 0
        self._expect(event, within, "is beyond the taker's limit")
        self._expect(event, taker.account != maker.account, "is a trade with oneself")
        for order, party in ((taker, parties["TAKER"]), (maker, parties["MAKER"])):
            order.leaves -= event["quantity"]
            order.status = "OPEN" if order.leaves else "FILLED"
            left = order.leaves == party["leaves_quantity"] >= 0
            self._expect(event, left, f"leaves {order.leaves}")
        self._move(event, market)
        self._expect(event, event["index"] > 0, f"answers {command}")

    def _move(self, event: Event, market: Market) -> None:
        """Post a fill, and judge its collateral by the positions."""
        payout = market.opened["payout"]
        before = sum(max(-quantity, 0) for quantity in market.positions.values())
        market.positions[event["buyer"]["account_id"]] += event["quantity"]
        market.positions[event["seller"]["account_id"]] -= event["quantity"]
        shorts = sum(max(-q, 0) for q in market.positions.values())
        locked = 0
        for posting in event["postings"]:
            if posting["account_id"] == "$escrow":
                locked += posting["amount"]
            else:
                self.balances[posting["account_id"]] += posting["amount"]
        market.escrow += locked
        self._expect(event, locked == payout * (shorts - before), "locks another collateral")
        self._expect(event, not sum(p["amount"] for p in event["postings"]), "makes money")
        trade = (event["price"], event["quantity"], event["seq"])
        self._expect(event, event["trade_id"] not in self.trades, "has the id of another")
        self.trades[event["trade_id"]] = trade

    def _cancelled(self, event: Event, command: object) -> None:
        order = self._known(event)
        live = order is not None and order.leaves == event["cancelled_quantity"] > 0
        self._expect(event, live, f"cancels {order}")
        if order is not None:
            order.leaves, order.status = 0, "CANCELLED"
        if event["index"] == 0:
            self._expect(event, isinstance(command, CancelOrder), f"answers {command}")

    def _cancel_rejected(self, event: Event, command: object) -> None:
        order, reason = self._known(event), event["reason"]
        if reason == "ALREADY_TERMINAL":
            terminal = order is not None and not order.leaves and order.status != "REJECTED"
            self._expect(event, terminal, f"is of {order}")
        if reason == "UNKNOWN_ORDER":
            unknown = order is None or order.status == "REJECTED"
            self._expect(event, unknown, f"is of {order}")
        self._expect(event, isinstance(command, CancelOrder), f"answers {command}")

    # Markets.

    def _opened(self, event: Event, command: object) -> None:
        self._expect(event, event["market_id"] not in self.markets, "opens it twice")
        self._expect(event, event["market_seq"] == 1, f"is not its first: {command}")
        self.markets[event["market_id"]] = Market(event, events=1)

    def _resolved(self, event: Event, command: object) -> None:
        market = self.markets[event["market_id"]]
        self._expect(event, market.resolved is None, f"resolves it twice: {command}")
        market.resolved = event

    def _paid(self, event: Event, command: object) -> None:
        market, account = self.markets[event["market_id"]], event["account_id"]
        held, resolved = market.positions[account], market.resolved or {}
        due = held if resolved["outcome"] == "YES" else -held
        self._expect(event, due == event["quantity"] > 0, f"holds {held}, {command}")
        right = event["amount"] == due * market.opened["payout"]
        self._expect(event, right, "pays another amount")
        self._expect(event, account not in market.payouts, "pays twice")
        market.payouts[account] = (event["quantity"], event["amount"])
        market.escrow -= event["amount"]
        self.balances[account] += event["amount"]

    def _settled(self, event: Event, command: object) -> None:
        market = self.markets[event["market_id"]]
        paid = sum(amount for _, amount in market.payouts.values())
        right = (len(market.payouts), paid) == (event["holders"], event["paid"])
        self._expect(event, right, f"paid {market.payouts}, {command}")
        self._expect(event, not market.escrow, f"leaves {market.escrow} in escrow")
        market.settled = True

    # Transfers.

    def _transferred(self, event: Event, command: Deposit | Withdraw) -> None:
        name = (event["account_id"], event["transfer_id"])
        self._expect(event, name not in self.transfers, "moves money twice")
        sign = 1 if event["type"] == "DEPOSITED" else -1
        self.balances[event["account_id"]] += sign * event["amount"]
        self.transfers[name] = (_asked(command), event)

    def _transfer_rejected(self, event: Event, command: Deposit | Withdraw) -> None:
        name = (event["account_id"], event["transfer_id"])
        if event["reason"] in REMEMBERED:
            self.transfers.setdefault(name, (_asked(command), event))

    # Against the tables.

    def compare(self, database: FakeDatabase) -> Iterator[str]:
        """Yield where the tables say something else."""
        stored, told = _stored(database), self._told()
        for table in stored:
            if stored[table] != told[table]:
                yield f"{table} differ: {_difference(stored[table], told[table])}"

    def _told(self) -> dict[str, dict[Any, Any]]:
        """Return the tables as the events tell them."""
        found: dict[str, dict[Any, Any]] = {
            "balances": +self.balances,
            "trades": self.trades,
            "transfers": {name: event["seq"] for name, (_, event) in self.transfers.items()},
            "markets": {market_id: _of_market(m) for market_id, m in self.markets.items()},
            "orders": {},
            "positions": {},
            "payouts": {},
        }
        for market_id, market in self.markets.items():
            for name, order in market.orders.items():
                found["orders"][market_id, *name] = _of(order)
            for account, quantity in market.positions.items():
                found["positions"][market_id, account] = quantity
            for account, paid in market.payouts.items():
                found["payouts"][market_id, account] = paid
        return found


def _stored(database: FakeDatabase) -> dict[str, dict[Any, Any]]:
    """Return the tables by the names that clients know."""
    names = {row["account"]: row["account_id"] for row in database.rows("accounts")}
    keys = {row["market"]: row["market_id"] for row in database.rows("markets")}
    pockets: Counter[str] = Counter()
    for row in database.rows("pockets"):
        pockets[names[row["account"]]] += row["balance"]

    def holding(row: Row) -> tuple[str, str]:
        return keys[row["market"]], names[row["account"]]

    rows = database.rows
    return {
        "balances": +pockets,
        "trades": {r["trade"]: (r["price"], r["quantity"], r["seq"]) for r in rows("trades")},
        "transfers": {(names[r["account"]], r["transfer_id"]): r["seq"] for r in rows("transfers")},
        "markets": {row["market_id"]: _told_market(row) for row in rows("markets")},
        "orders": {(*holding(row), row["order_id"]): _told(row) for row in rows("orders")},
        "positions": {holding(row): row["quantity"] for row in rows("positions")},
        "payouts": {holding(row): (row["quantity"], row["amount"]) for row in rows("payouts")},
    }


def _difference(stored: Any, told: Any) -> str:  # noqa: ANN401
    keys = [key for key in {**stored, **told} if stored.get(key) != told.get(key)]
    return ", ".join(f"{k}: {stored.get(k)} stored, {told.get(k)} told" for k in keys[:3])


def _asked(command: Any) -> Asked:  # noqa: ANN401
    if isinstance(command, PlaceOrder):
        return (command.side, command.price, command.quantity, command.time_in_force)
    return (type(command), command.amount)


def _told(row: Row) -> tuple[object, ...]:
    return (
        SIDES[row["side"]],
        row["price"],
        row["quantity"],
        row["leaves"],
        row["status"],
        row["seq"],
        row["reason"],
    )


def _of(order: Order) -> tuple[object, ...]:
    side, price, quantity, _ = order.asked
    status, first = STATUSES[order.status], order.first
    return (side, price, quantity, order.leaves, status, first["seq"], first.get("reason", ""))


def _told_market(row: Row) -> tuple[object, ...]:
    return tuple(
        row[name]
        for name in ("status", "outcome", "escrow", "market_seq", "opened_seq", "resolved_seq")
    )


def _of_market(market: Market) -> tuple[object, ...]:
    resolved = market.resolved
    outcome = {"YES": 1, "NO": 2}[resolved["outcome"]] if resolved else 0
    status = 4 if market.settled else 3 if resolved else 1
    return (
        status,
        outcome,
        market.escrow,
        market.events,
        market.opened["seq"],
        resolved["seq"] if resolved else 0,
    )
