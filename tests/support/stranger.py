"""A stranger's check: it knows the events of both topics and the rules, and no code of the worker.

Give it each partition's event values, first occurrences, in order. It raises AssertionError at the
first event that cannot follow from those before it, and holds every order, position, balance and
escrow in the end. It trusts no order between partitions, for there is none.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Name = tuple[str, str]
TRANSFERS = {"DEPOSITED", "WITHDRAWN", "TRANSFER_REJECTED"}


@dataclass
class Order:
    name: Name
    side: str
    price: int
    leaves: int
    kept: bool
    offset: int
    seq: int

    @property
    def rank(self) -> tuple[int, int]:
        return (-self.price if self.side == "BUY" else self.price, self.seq)


@dataclass
class Market:
    payout: int
    seq: int = 0
    escrow: int = 0
    outcome: str = ""
    settled: bool = False
    accepted: set[Name] = field(default_factory=set)
    live: dict[Name, Order] = field(default_factory=dict)
    positions: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)

    def best(self, side: str) -> Order | None:
        return min((o for o in self.live.values() if o.side == side), key=lambda o: o.rank, default=None)

    def at_rest(self) -> bool:
        """Whether the last order was matched to its end: nothing crosses, nothing lingers."""
        bid, ask = self.best("BUY"), self.best("SELL")
        crossed = bid is not None and ask is not None and bid.price >= ask.price
        return not crossed and all(order.kept for order in self.live.values())


@dataclass
class Stranger:
    cash: Counter[str] = field(default_factory=Counter)
    markets: dict[str, Market] = field(default_factory=dict)
    transfers: set[Name] = field(default_factory=set)

    def read(self, values: Iterable[bytes]) -> None:
        """Follow the events of one partition."""
        seq, time_ms, indexes, told = 0, 0, Counter[int](), dict[int, Json]()
        for value in values:
            event: Json = json.loads(value)
            offset = event["offset"]
            seq += 1
            assert event["seq"] == seq, event
            assert event["index"] == indexes[offset], event
            assert event["time_ms"] >= time_ms, event
            indexes[offset] += 1
            time_ms, told[seq] = event["time_ms"], event
            if "market_seq" in event:
                self._count(event)
            if event["type"] == "DUPLICATE":
                _check_duplicate(event, told)
            elif event["type"] in TRANSFERS:
                self._transfer(event)
            elif event["type"] != "COMMAND_REJECTED":
                getattr(self, f"_{event['type'].lower()}")(event)

    def _count(self, event: Json) -> None:
        if event["type"] == "MARKET_OPENED":
            assert event["market_id"] not in self.markets, event
            self.markets[event["market_id"]] = Market(event["payout"])
        market = self.markets[event["market_id"]]
        market.seq += 1
        assert event["market_seq"] == market.seq, event

    def _transfer(self, event: Json) -> None:
        name = (event["account_id"], event["transfer_id"])
        if event["type"] != "TRANSFER_REJECTED":
            assert name not in self.transfers, event
            self.transfers.add(name)
            self.cash[name[0]] += event["amount"] * (1 if event["type"] == "DEPOSITED" else -1)

    def _market_opened(self, event: Json) -> None:
        assert 2 <= event["payout"] <= 1_000_000, event

    def _order_rejected(self, event: Json) -> None:
        assert event["index"] == 0, event

    def _cancel_rejected(self, event: Json) -> None:
        name = (event["account_id"], event["order_id"])
        if event["reason"] in ("ALREADY_TERMINAL", "UNKNOWN_ORDER"):
            market = self.markets[event["market_id"]]
            assert name not in market.live, event
            assert (name in market.accepted) == (event["reason"] == "ALREADY_TERMINAL"), event

    def _order_accepted(self, event: Json) -> None:
        market, name = self.markets[event["market_id"]], (event["account_id"], event["order_id"])
        assert event["index"] == 0, event
        assert not market.outcome, event
        assert market.at_rest(), event
        assert 0 < event["price"] < market.payout, event
        assert event["quantity"] > 0, event
        assert name not in market.accepted, event
        market.accepted.add(name)
        kept = event["time_in_force"] == "GTC"
        market.live[name] = Order(
            name, event["side"], event["price"], event["quantity"], kept, event["offset"], event["seq"]
        )

    def _order_filled(self, event: Json) -> None:
        market, price = self.markets[event["market_id"]], event["price"]
        parties = {"BUY": event["buyer"], "SELL": event["seller"]}
        orders = {s: market.live[p["account_id"], p["order_id"]] for s, p in parties.items()}
        taker = orders.pop(event["taker_side"])
        (maker,) = orders.values()
        assert not market.outcome, event
        assert maker is market.best(maker.side), f"passed over {market.best(maker.side)}: {event}"
        assert (taker.offset, taker.seq > maker.seq) == (event["offset"], True), event
        assert price == maker.price, event
        assert taker.rank[0] <= (-price if taker.side == "BUY" else price), event
        assert taker.name[0] != maker.name[0], event
        for order in (taker, maker):
            party, order.leaves = parties[order.side], order.leaves - event["quantity"]
            assert party["leaves_quantity"] == order.leaves >= 0 < event["quantity"], event
            assert party["liquidity"] == ("TAKER" if order is taker else "MAKER"), event
            if not order.leaves:
                del market.live[order.name]
        self._settle(market, event)

    def _settle(self, market: Market, event: Json) -> None:
        buyer, seller = event["buyer"]["account_id"], event["seller"]["account_id"]
        moved = event["price"] * event["quantity"]
        expected = [(buyer, -moved, "PRICE"), (seller, moved, "PRICE")]
        locked = 0
        for account, change in ((buyer, event["quantity"]), (seller, -event["quantity"])):
            before = min(market.positions[account], 0)
            market.positions[account] += change
            locks = market.payout * (before - min(market.positions[account], 0))
            locked += locks
            expected += [(account, -locks, "COLLATERAL")] if locks else []
        expected += [("$escrow", locked, "COLLATERAL")] if locked else []
        stated = [(p["account_id"], p["amount"], p["kind"]) for p in event["postings"]]
        assert sorted(stated) == sorted(expected), event
        market.escrow += locked
        for account, amount, _ in stated:
            self.cash[account] += amount
        del self.cash["$escrow"]

    def _order_cancelled(self, event: Json) -> None:
        market = self.markets[event["market_id"]]
        order = market.live.pop((event["account_id"], event["order_id"]))
        assert order.leaves == event["cancelled_quantity"], event
        assert (event["reason"] == "MARKET_RESOLVED") == bool(market.outcome), event
        assert (event["reason"] == "REQUESTED") == (event["index"] == 0), event
        assert event["reason"] != "IOC" or not order.kept, event

    def _market_resolved(self, event: Json) -> None:
        market = self.markets[event["market_id"]]
        assert not market.outcome, event
        market.outcome = event["outcome"]

    def _payout(self, event: Json) -> None:
        market, account = self.markets[event["market_id"]], event["account_id"]
        won = market.positions[account] * (1 if market.outcome == "YES" else -1)
        assert event["quantity"] == won > 0, event
        assert event["amount"] == won * market.payout, event
        assert account not in market.paid, event
        market.paid[account] = event["amount"]
        market.escrow -= event["amount"]
        self.cash[account] += event["amount"]

    def _market_settled(self, event: Json) -> None:
        market = self.markets[event["market_id"]]
        assert (len(market.paid), market.paid.total()) == (event["holders"], event["paid"]), event
        assert not market.live, event
        assert market.escrow == 0, event
        market.settled = True

    def close(self, halted: Collection[str] = ()) -> None:
        """Check what must hold once all partitions were read."""
        assert all(balance >= 0 for balance in self.cash.values()), self.cash
        for name, market in self.markets.items():
            assert sum(market.positions.values()) == 0, market
            owed = market.payout * sum(q for q in market.positions.values() if q > 0)
            assert market.escrow == owed - market.paid.total(), market
            assert market.outcome or name in halted or market.at_rest(), market


def _check_duplicate(event: Json, told: dict[int, Json]) -> None:
    """The first answer to an id is in the same lane, says what the repeat says of it, and came before."""
    first = told[event["first"]["seq"]]
    assert first["seq"] < event["seq"], event
    for name in ("type", "reason"):
        assert first.get(name) == event["first"].get(name), event
    for name in ("market_id", "account_id", "order_id", "transfer_id", "operator_id"):
        assert first.get(name) == event.get(name), event
