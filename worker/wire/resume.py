"""The rest of the work for answered commands, as text in the row of a lane.

Empty text means that the lane has no sweep, no settlement and no waiting command left.
"""

import json
from collections.abc import Iterable
from typing import Any

from worker.domain.book import OpenOrder
from worker.domain.commands import Side, TimeInForce
from worker.domain.state import Settlement, Sweep
from worker.domain.units import AccountId, MarketId, Money, Offset, OrderId, Price, Quantity
from worker.wire import runs

BYTES_MAX = 64 * 1024


def encode(
    sweeps: Iterable[Sweep], settlements: Iterable[Settlement], waiting: Iterable[Offset]
) -> str:
    """Return the text of the work that is left."""
    value: dict[str, object] = {
        "sweeps": [_sweep(sweep) for sweep in sweeps],
        "settlements": [_settlement(settlement) for settlement in settlements],
        "waiting": runs.encode(sorted(waiting)),
    }
    left = {name: items for name, items in value.items() if items}
    return json.dumps(left, separators=(",", ":")) if left else ""


def decode(
    text: str,
) -> tuple[tuple[Sweep, ...], tuple[Settlement, ...], frozenset[Offset]]:
    """Return the sweeps, settlements and offsets that are left."""
    value = json.loads(text or "{}")
    # Before version 4 of the rules a lane had at most one sweep.
    only = [value["sweep"]] if "sweep" in value else ()
    return (
        tuple(map(_read_sweep, value.get("sweeps", only))),
        tuple(
            Settlement(
                market_id=MarketId(s["market_id"]),
                offset=Offset(s["offset"]),
                index=s["index"],
                cursor=s["cursor"],
                holders=s["holders"],
                paid=Money(s["paid"]),
                parked=s["parked"],
            )
            for s in value.get("settlements", ())
        ),
        frozenset(runs.decode(value.get("waiting", ()))),
    )


def _sweep(sweep: Sweep) -> dict[str, object]:
    order = sweep.order
    return {
        "market_id": sweep.market_id,
        "order": [
            order.key,
            order.account_id,
            order.order_id,
            order.side,
            order.price,
            order.leaves,
            order.seq,
        ],
        "time_in_force": sweep.time_in_force,
        "offset": sweep.offset,
        "index": sweep.index,
    }


def _settlement(settlement: Settlement) -> dict[str, object]:
    return {
        "market_id": settlement.market_id,
        "offset": settlement.offset,
        "index": settlement.index,
        "cursor": settlement.cursor,
        "holders": settlement.holders,
        "paid": settlement.paid,
        "parked": settlement.parked,
    }


def _read_sweep(value: dict[str, Any]) -> Sweep:
    key, account_id, order_id, side, price, leaves, seq = value["order"]
    return Sweep(
        market_id=MarketId(value["market_id"]),
        order=OpenOrder(
            key,
            AccountId(account_id),
            OrderId(order_id),
            Side(side),
            Price(price),
            Quantity(leaves),
            seq,
        ),
        time_in_force=TimeInForce(value["time_in_force"]),
        offset=Offset(value["offset"]),
        index=value["index"],
    )
