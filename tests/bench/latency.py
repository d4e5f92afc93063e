"""Latency of an order at half load, from its due time until a consumer can read its event."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from producers.client import OrderPublisher
from tests.bench.case import Case
from tests.bench.end_to_end import Servers
from tests.support.open_loop import Pace, Watcher

QUIET_S: Final = 30.0
"""Time without an event after which the missing events count as lost."""
CALM_S: Final = 0.3
"""Time without an event after which every answered order has its last event."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies in milliseconds, with the offered load."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    orders: int
    offered_per_s: float


async def measure(servers: Servers, case: Case, per_s: float) -> Latency:
    """Send the case's paced orders at ``per_s`` per second to running workers."""
    orders = list(case.place_orders(case.orders, case.paced_orders))
    bootstrap = servers.kafka.bootstrap
    async with (
        Watcher.open(bootstrap, case.events_topic, case.partitions) as watcher,
        OrderPublisher(
            bootstrap, orders_topic=case.orders_topic, transfers_topic=case.transfers_topic
        ) as publisher,
    ):
        watching = asyncio.create_task(_watch(watcher, len(orders)), name="watch")
        begun_s = time.monotonic() + 0.5
        due_s = [begun_s + number / per_s for number in range(len(orders))]
        await publisher.publish_all(Pace(orders, due_s), in_flight_max=100_000)
        await watching
    seen_s = watcher.seen_s()
    waits = sorted(1000 * (seen_s[n + case.orders] - due) for n, due in enumerate(due_s))
    return Latency(
        p50_ms=waits[len(waits) // 2],
        p99_ms=waits[len(waits) * 99 // 100],
        max_ms=waits[-1],
        orders=len(waits),
        offered_per_s=per_s,
    )


async def _watch(watcher: Watcher, wanted: int) -> None:
    """Consume until every order is answered and no event comes for a moment."""
    while True:
        answered = watcher.answered == wanted
        if not await watcher.look(CALM_S if answered else QUIET_S):
            if not answered:
                raise TimeoutError(f"{watcher.answered} of {wanted} orders answered")
            return
