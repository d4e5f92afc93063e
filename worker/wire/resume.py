"""What a lane still has to do for commands it has answered, as text in its row.

Empty text means nothing: no sweep, no settlement.
"""

import json
from typing import Any

from worker.domain.book import OpenOrder
from worker.domain.commands import Side, TimeInForce
from worker.domain.state import Settlement, Sweep
from worker.domain.units import AccountId, MarketId, Money, Offset, OrderId, Price, Quantity

BYTES_MAX = 64 * 1024


def encode(sweep: Sweep | None, settlements: tuple[Settlement, ...]) -> str:
    """Return the text of what is left to do."""
    if sweep is None and not settlements:
        return ""
    value: dict[str, object] = {"settlements": [_settlement(s) for s in settlements]}
    if sweep is not None:
        order = sweep.order
        value["sweep"] = {
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
    return json.dumps(value, separators=(",", ":"))


def decode(text: str) -> tuple[Sweep | None, tuple[Settlement, ...]]:
    """Return what is left to do."""
    if not text:
        return None, ()
    value = json.loads(text)
    found = value.get("sweep")
    return (
        None if found is None else _sweep(found),
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
            for s in value["settlements"]
        ),
    )


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


def _sweep(value: dict[str, Any]) -> Sweep:
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
