"""A stranger's check: it knows the events of both topics and the rules, none of our code.

Raises AssertionError at the first event that cannot follow from those before it in its partition;
in the end it holds every order, position, balance and escrow. Partitions have no order.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Name = tuple[str, str]


@dataclass
class Order:
    side: str
    price: int
    leaves: int
    accepted: Json


@dataclass
class Market:
    payout: int
    seq: int = 0
    locked: int = 0
    settled: bool = False
    outcome: str = ""
    accepted: set[Name] = field(default_factory=set)
    live: dict[Name, Order] = field(default_factory=dict)
    positions: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)

    def best(self, side: str) -> Order | None:
        found, sign = [o for o in self.live.values() if o.side == side], 1 - 2 * (side == "BUY")
        return min(found, key=lambda o: (sign * o.price, o.accepted["seq"]), default=None)

    def at_rest(self) -> bool:
        bid, ask = self.best("BUY"), self.best("SELL")
        crossed = bid and ask and bid.price >= ask.price
        return not crossed and all(o.accepted["time_in_force"] == "GTC" for o in self.live.values())


@dataclass
class Stranger:
    cash: Counter[str] = field(default_factory=Counter)
    markets: dict[str, Market] = field(default_factory=dict)
    transfers: set[Name] = field(default_factory=set)

    def read(self, values: Iterable[bytes]) -> None:
        indexes, told = Counter[int](), list[Json]()
        for seq, event in enumerate(map(json.loads, values), start=1):
            assert not told or event["time_ms"] >= told[-1]["time_ms"], event
            assert (event["seq"], event["index"]) == (seq, indexes[event["offset"]]), event
            indexes[event["offset"]] += 1
            told.append(event)
            if event["type"] == "DUPLICATE":
                first = told[event["first"]["seq"] - 1]
                assert all(first[n] == event[n] for n in event if n.endswith("_id")), event
                assert event["first"] == {n: first[n] for n in event["first"]}, event
            elif event["type"] in ("DEPOSITED", "WITHDRAWN"):
                account, deposited = event["account_id"], event["type"] == "DEPOSITED"
                assert (account, event["transfer_id"]) not in self.transfers, event
                self.transfers.add((account, event["transfer_id"]))
                self.cash[account] += event["amount"] if deposited else -event["amount"]
            if "market_seq" in event:
                self._follow(event)

    def _follow(self, event: Json) -> None:
        if event["type"] == "MARKET_OPENED":
            assert event["market_id"] not in self.markets, event
            self.markets[event["market_id"]] = Market(event["payout"])
        market = self.markets[event["market_id"]]
        market.seq += 1
        assert event["market_seq"] == market.seq, event
        assert not (market.outcome and "outcome" in event), event
        market.outcome = event.get("outcome", market.outcome)
        if (rule := getattr(self, f"_{event['type'].lower()}", None)) is not None:
            rule(event, market, (event.get("account_id"), event.get("order_id")))

    def _order_accepted(self, event: Json, market: Market, name: Name) -> None:
        assert (market.outcome, market.at_rest(), name in market.accepted) == ("", 1, 0), event
        side, price, quantity = event["side"], event["price"], event["quantity"]
        assert 0 < price < market.payout and quantity > 0, event  # noqa: PT018
        market.accepted.add(name)
        market.live[name] = Order(side, price, quantity, event)

    def _order_filled(self, event: Json, market: Market, _: object) -> None:
        price, quantity, side = (event[name] for name in ("price", "quantity", "taker_side"))
        parties = [event["buyer"], event["seller"]][:: 1 if side == "BUY" else -1]
        taker, maker = (market.live[p["account_id"], p["order_id"]] for p in parties)
        assert maker is market.best(maker.side), f"{event} passes over {market.best(maker.side)}"
        assert (taker.accepted["offset"], taker.side) == (event["offset"], side), event
        assert (market.outcome, maker.price) == ("", price), event
        assert taker.price >= price if side == "BUY" else taker.price <= price, event
        assert parties[0]["account_id"] != parties[1]["account_id"], event
        for party, order, role in zip(parties, (taker, maker), ("TAKER", "MAKER"), strict=True):
            order.leaves -= quantity
            assert (party["leaves_quantity"], party["liquidity"]) == (order.leaves, role), event
            assert order.leaves >= 0 < quantity, event
            if not order.leaves:
                del market.live[party["account_id"], party["order_id"]]
        owed = Counter[Name]()
        for party, sign in ((event["buyer"], 1), (event["seller"], -1)):
            account, before = party["account_id"], market.positions[party["account_id"]]
            after = market.positions[account] = before + sign * event["quantity"]
            locked = market.payout * (max(-after, 0) - max(-before, 0))
            owed[account, "PRICE"] -= sign * event["price"] * event["quantity"]
            owed[account, "COLLATERAL"] -= locked
            owed["$escrow", "COLLATERAL"] += locked
        stated = {(p["account_id"], p["kind"]): p["amount"] for p in event["postings"]}
        assert stated == {name: amount for name, amount in owed.items() if amount}, event
        market.locked += owed.pop(("$escrow", "COLLATERAL"))
        for (account, _), amount in owed.items():
            self.cash[account] += amount

    def _order_cancelled(self, event: Json, market: Market, name: Name) -> None:
        order, reason = market.live.pop(name), event["reason"]
        assert order.leaves == event["cancelled_quantity"], event
        assert (reason == "MARKET_RESOLVED") == bool(market.outcome), event
        assert (reason == "REQUESTED") == (event["index"] == 0), event

    def _cancel_rejected(self, event: Json, market: Market, name: Name) -> None:
        dead = {"ALREADY_TERMINAL": [True, False], "UNKNOWN_ORDER": [False, False]}
        known = [name in market.accepted, name in market.live]
        assert dead.get(event["reason"], known) == known, event

    def _payout(self, event: Json, market: Market, name: Name) -> None:
        won = market.positions[name[0]] * (1 if market.outcome == "YES" else -1)
        assert (event["quantity"], event["amount"]) == (won, won * market.payout), event
        assert won > 0 == market.paid[name[0]], event
        market.paid[name[0]] = event["amount"]
        self.cash[name[0]] += event["amount"]

    def _market_settled(self, event: Json, market: Market, _: object) -> None:
        assert (market.live, len(market.paid)) == ({}, event["holders"]), event
        assert market.paid.total() == event["paid"] == market.locked, event
        market.settled = True

    def close(self, halted: Collection[str] = ()) -> None:
        assert min(self.cash.values(), default=0) >= 0, self.cash
        for name, market in self.markets.items():
            longs = sum(max(quantity, 0) for quantity in market.positions.values())
            shorts = sum(max(-quantity, 0) for quantity in market.positions.values())
            assert market.payout * longs == market.payout * shorts == market.locked, name
            assert market.outcome or name in halted or market.at_rest(), name
