"""A replay of the public events, which shares no code with the domain. Pure.

The replay reads lane after lane, since partitions have no order among them. At the end it has every
order, trade, position, balance and escrow. An event that cannot follow from earlier events of its
lane is noted as a violation. An event that makes no sense at all is also skipped.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final

from worker.audit.invariants import Findings

Json = dict[str, Any]
Name = tuple[str, str]
REMEMBERED: Final = ("INSUFFICIENT_FUNDS", "OPEN_ORDER_LIMIT")
"""Reasons of a refusal that takes its id permanently."""
OPEN, FILLED, CANCELLED, REJECTED = 1, 2, 3, 4


@dataclass(slots=True)
class Order:
    """An accepted order."""

    account: str
    side: str
    price: int
    leaves: int
    accepted: Json
    status: int = OPEN

    @property
    def rank(self) -> tuple[int, int]:
        """Return the sort key of a queue: the better price first, then the older order."""
        return (-self.price if self.side == "BUY" else self.price, self.accepted["seq"])


@dataclass(slots=True)
class ReplayedMarket:
    """A market as its events show it. ``queues`` also have orders that are no longer open."""

    opened: Json
    seq: int = 0
    locked: int = 0
    resolved: Json | None = None
    settled: bool = False
    orders: dict[Name, Order] = field(default_factory=dict)
    passing: set[Name] = field(default_factory=set)
    queues: dict[str, list[tuple[int, int, Name]]] = field(
        default_factory=lambda: {"BUY": [], "SELL": []}
    )
    open_orders: int = 0
    refused: dict[Name, Json] = field(default_factory=dict)
    positions: Counter[str] = field(default_factory=Counter)
    paid: dict[str, Json] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """Return YES, NO, or an empty text before the resolution."""
        return str(self.resolved["outcome"]) if self.resolved else ""

    @property
    def escrow(self) -> int:
        """Return the collateral that was locked and not paid."""
        return self.locked - sum(int(event["amount"]) for event in self.paid.values())

    def best(self, side: str) -> Order | None:
        """Return the first open order of a side."""
        queue = self.queues[side]
        while queue and not self.orders[queue[0][2]].leaves:
            heappop(queue)
        return self.orders[queue[0][2]] if queue else None

    def at_rest(self) -> bool:
        """Return whether no bid meets an ask and no order waits that must not rest."""
        bid, ask = self.best("BUY"), self.best("SELL")
        crossed = bid and ask and bid.price >= ask.price
        self.passing = {name for name in self.passing if self.orders[name].leaves}
        return not crossed and not self.passing


class IndependentReplay:
    """The state of the exchange, rebuilt from its public events."""

    def __init__(self, findings: Findings) -> None:
        self._require = findings.require
        self.cash: Counter[str] = Counter()
        self.markets: dict[str, ReplayedMarket] = {}
        self.transfers: dict[Name, Json] = {}
        self.trades: dict[str, Json] = {}
        self._rules: Final[dict[str, Callable[[Json, ReplayedMarket], None]]] = {
            "ORDER_ACCEPTED": self._accepted,
            "ORDER_REJECTED": self._rejected,
            "ORDER_FILLED": self._filled,
            "ORDER_CANCELLED": self._cancelled,
            "CANCEL_REJECTED": self._cancel_rejected,
            "MARKET_RESOLVED": self._resolved,
            "PAYOUT": self._payout,
            "MARKET_SETTLED": self._settled,
        }

    def read(self, events: Sequence[Json]) -> None:
        """Read all events of a lane, from its first one."""
        indexes: defaultdict[int, int] = defaultdict(int)
        by_seq: dict[int, Json] = {}
        time_ms = 0
        for event in events:
            try:
                offset, index = event["offset"], event["index"]
                self._require(index == indexes[offset], "index_gap", "{}", event)
                self._require(event["time_ms"] >= time_ms, "time_falls", "{}", event)
                indexes[offset], time_ms = index + 1, event["time_ms"]
                by_seq[event["seq"]] = event
                self._follow(event, by_seq)
            except (KeyError, TypeError) as missing:
                text = "{} names an unknown id, or lacks a field: {!r}"
                self._require(False, "event_unfounded", text, event, missing)

    def close(self, halted: Collection[str] = ()) -> None:
        """Check the final state. A market in ``halted`` may hold orders that could not go on."""
        for account, balance in self.cash.items():
            self._require(balance >= 0, "cash_negative", "{} has {}", account, balance)
        for market_id, market in self.markets.items():
            longs = sum(max(quantity, 0) for quantity in market.positions.values())
            due = market.opened["payout"] * longs
            text = "market {}: {} locked, {} due"
            self._require(market.locked == due, "collateral", text, market_id, market.locked, due)
            rests = market.resolved or market_id in halted or market.at_rest()
            self._require(rests, "crossed", "market {}", market_id)

    def rows(self) -> dict[str, dict[Any, Any]]:
        """Return the rows of the tables as the events show them."""
        found: dict[str, dict[Any, Any]] = {
            "balances": +self.cash,
            "positions": {},
            "orders": {},
            "trades": {trade: _trade(event) for trade, event in self.trades.items()},
            "transfers": {
                name: (event["type"], event["amount"], event["seq"], event.get("reason", ""))
                for name, event in self.transfers.items()
            },
            "markets": {name: _market(market) for name, market in self.markets.items()},
            "payouts": {},
        }
        for market_id, market in self.markets.items():
            for name, order in market.orders.items():
                found["orders"][market_id, *name] = _order(order)
            for name, event in market.refused.items():
                found["orders"][market_id, *name] = (REJECTED, event["seq"], event["reason"])
            for account, quantity in market.positions.items():
                found["positions"][market_id, account] = quantity
            for account, event in market.paid.items():
                found["payouts"][market_id, account] = (event["quantity"], event["amount"])
        return found

    def _follow(self, event: Json, by_seq: dict[int, Json]) -> None:
        match event["type"]:
            case "DUPLICATE" | "ID_CONFLICT":
                self._duplicate(event, by_seq.get(event["first"]["seq"], {}))
            case "DEPOSITED" | "WITHDRAWN":
                self._transferred(event)
            case "TRANSFER_REJECTED" if event["reason"] in REMEMBERED:
                self.transfers.setdefault(_transfer_name(event), event)
            case "MARKET_OPENED":
                known = event["market_id"] in self.markets
                self._require(not known, "id_twice", "{}", event)
                self.markets.setdefault(event["market_id"], ReplayedMarket(event))
                self._range(event["payout"] > 1, event)
            case _:
                pass
        if "market_seq" in event:
            market = self.markets[event["market_id"]]
            market.seq += 1
            right = event["market_seq"] == market.seq
            self._require(right, "market_gap", "{} follows {}", event, market.seq - 1)
            market.seq = event["market_seq"]
            if (rule := self._rules.get(event["type"])) is not None:
                rule(event, market)

    def _range(self, holds: object, event: Json) -> None:
        self._require(holds, "range", "{}", event)

    def _duplicate(self, event: Json, first: Json) -> None:
        repeated = event["first"]
        same = all(first.get(name) == repeated[name] for name in repeated)
        ids = all(first.get(name) == event[name] for name in event if name.endswith("_id"))
        self._require(same and ids, "first_answer", "{} repeats {}", event, first)

    def _transferred(self, event: Json) -> None:
        name = _transfer_name(event)
        self._require(name not in self.transfers, "id_twice", "{}", event)
        self.transfers[name] = event
        self._range(event["amount"] > 0, event)
        self.cash[event["account_id"]] += (
            event["amount"] if event["type"] == "DEPOSITED" else -event["amount"]
        )

    # Orders.

    def _accepted(self, event: Json, market: ReplayedMarket) -> None:
        name = _order_name(event)
        known = name in market.orders or name in market.refused
        self._require(not known, "id_twice", "{}", event)
        self._require(not market.resolved, "after_the_end", "{}", event)
        self._require(market.at_rest(), "crossed", "before {}", event)
        side, price, quantity = event["side"], event["price"], event["quantity"]
        self._range(0 < price < market.opened["payout"] and quantity > 0, event)
        order = market.orders[name] = Order(name[0], side, price, quantity, event)
        heappush(market.queues[side], (*order.rank, name))
        market.open_orders += 1
        if event["time_in_force"] != "GTC":
            market.passing.add(name)

    def _rejected(self, event: Json, market: ReplayedMarket) -> None:
        if event["reason"] in REMEMBERED:
            name = _order_name(event)
            known = name in market.orders or name in market.refused
            self._require(not known, "id_twice", "{}", event)
            market.refused[name] = event

    def _filled(self, event: Json, market: ReplayedMarket) -> None:
        parties = {event[role]["liquidity"]: event[role] for role in ("buyer", "seller")}
        taker = market.orders[_order_name(parties["TAKER"])]
        maker = market.orders[_order_name(parties["MAKER"])]
        side = "BUY" if event["buyer"]["liquidity"] == "TAKER" else "SELL"
        caused = (
            taker.accepted["offset"] == event["offset"]
            and taker.side == event["taker_side"] == side != maker.side
        )
        self._require(caused, "event_unfounded", "{} of {}", event, taker)
        self._require(not market.resolved, "after_the_end", "{}", event)
        best = market.best(maker.side)
        self._require(best is maker, "passed_over", "{} passes over {}", event, best)
        better = (taker.price - event["price"]) * (1 if side == "BUY" else -1)
        priced = event["price"] == maker.price and better >= 0 and taker.account != maker.account
        self._require(priced, "fill_price", "{} of {} and {}", event, taker, maker)
        self._range(event["quantity"] > 0, event)
        for order, role in ((taker, "TAKER"), (maker, "MAKER")):
            left = order.leaves - event["quantity"]
            stated = parties[role]["leaves_quantity"]
            self._require(left == stated >= 0, "leaves", "{} leaves {}", event, left)
            self._left(market, order, max(stated, 0), FILLED)
        self._require(event["trade_id"] not in self.trades, "id_twice", "{}", event)
        self.trades[event["trade_id"]] = event
        self._post(event, market)

    def _left(self, market: ReplayedMarket, order: Order, leaves: int, ends_as: int) -> None:
        order.leaves = leaves
        if not leaves and order.status == OPEN:
            order.status = ends_as
            market.open_orders -= 1

    def _post(self, event: Json, market: ReplayedMarket) -> None:
        """Compute the money of a fill again, and compare it with the event's postings."""
        due: Counter[Name] = Counter()
        for party, sign in ((event["buyer"], 1), (event["seller"], -1)):
            account, before = party["account_id"], market.positions[party["account_id"]]
            after = market.positions[account] = before + sign * event["quantity"]
            locked = market.opened["payout"] * (max(-after, 0) - max(-before, 0))
            due[account, "PRICE"] -= sign * event["price"] * event["quantity"]
            due[account, "COLLATERAL"] -= locked
            due["$escrow", "COLLATERAL"] += locked
        stated: Counter[Name] = Counter()
        for posting in event["postings"]:
            stated[posting["account_id"], posting["kind"]] += posting["amount"]
        for kind, rule in (("PRICE", "fill_postings"), ("COLLATERAL", "collateral")):
            same = _of_kind(stated, kind) == _of_kind(due, kind)
            self._require(same, rule, "{}, not {}", event, due)
        for (account, _), amount in stated.items():
            if account == "$escrow":
                market.locked += amount
            else:
                self.cash[account] += amount

    def _cancelled(self, event: Json, market: ReplayedMarket) -> None:
        order = market.orders[_order_name(event)]
        live = order.leaves == event["cancelled_quantity"] > 0
        self._require(live, "leaves", "{} of {}", event, order)
        self._left(market, order, 0, CANCELLED)
        ended = (event["reason"] == "MARKET_RESOLVED") == bool(market.resolved)
        self._require(ended, "after_the_end", "{}", event)
        asked = (event["reason"] == "REQUESTED") == (event["index"] == 0)
        self._require(asked, "refusal_unfit", "{}", event)

    def _cancel_rejected(self, event: Json, market: ReplayedMarket) -> None:
        order, reason = market.orders.get(_order_name(event)), event["reason"]
        terminal = order is not None and not order.leaves
        fits = {"ALREADY_TERMINAL": terminal, "UNKNOWN_ORDER": order is None}.get(reason, True)
        self._require(fits, "refusal_unfit", "{} of {}", event, order)

    # The end of a market.

    def _resolved(self, event: Json, market: ReplayedMarket) -> None:
        self._require(market.resolved is None, "after_the_end", "{}", event)
        market.resolved = event

    def _payout(self, event: Json, market: ReplayedMarket) -> None:
        account = event["account_id"]
        won = market.positions[account] * (1 if market.outcome == "YES" else -1)
        due = (won, won * market.opened["payout"])
        right = (event["quantity"], event["amount"]) == due and won > 0
        first = bool(market.resolved) and account not in market.paid
        self._require(right and first, "payout_unfit", "{}, due {}", event, due)
        market.paid[account] = event
        self.cash[account] += event["amount"]

    def _settled(self, event: Json, market: ReplayedMarket) -> None:
        paid = sum(payout["amount"] for payout in market.paid.values())
        stated = (len(market.paid), paid) == (event["holders"], event["paid"])
        done = paid == market.locked and not market.open_orders and not market.settled
        self._require(stated and done, "settled_unfit", "{}: {} locked", event, market.locked)
        market.settled = True


def _order_name(fields: Json) -> Name:
    return fields["account_id"], fields["order_id"]


def _transfer_name(event: Json) -> Name:
    return event["account_id"], event["transfer_id"]


def _of_kind(postings: Counter[Name], kind: str) -> dict[str, int]:
    return {account: n for (account, its), n in postings.items() if its == kind and n}


def _trade(event: Json) -> tuple[object, ...]:
    parties = (event["buyer"]["account_id"], event["seller"]["account_id"])
    return (event["market_id"], *parties, event["price"], event["quantity"], event["seq"])


def _order(order: Order) -> tuple[object, ...]:
    asked = (order.accepted[n] for n in ("side", "price", "quantity", "time_in_force"))
    return (order.status, order.accepted["seq"], *asked, order.leaves)


def _market(market: ReplayedMarket) -> tuple[object, ...]:
    resolved_seq = market.resolved["seq"] if market.resolved else 0
    state = (market.outcome, market.settled, market.escrow, market.seq)
    return (market.opened["payout"], *state, market.opened["seq"], resolved_seq)
