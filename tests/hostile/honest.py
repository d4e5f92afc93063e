"""The honest load: orders at a fixed rate in one innocent market per partition.

One of the markets is in the attacked lane. Sellers and buyers meet, so the books remain small.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from producers import NotDelivered, OrderPublisher, PlaceOrder
from tests.hostile.scene import ATTACKED, PARTITIONS
from tests.support.books import buy, deposit, open_market, sell
from tests.support.open_loop import Pace, Watcher
from tests.support.system import System

RICH: Final = 10**9
LOOK_S: Final = 0.2
GRACE_S: Final = 60.0
"""How long the last order may wait before it counts as unanswered."""
IN_FLIGHT_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits of orders in milliseconds. An unanswered order has waited until the end of the run."""

    orders: int
    unanswered: int
    p50_ms: float
    p99_ms: float
    longest_ms: float

    @classmethod
    def of(cls, waits_s: Iterable[float], unanswered: int) -> "Waits":
        """Summarize the waits of at least one order."""
        ordered = sorted(1000 * wait_s for wait_s in waits_s)
        rank = math.ceil(len(ordered) * 0.99) - 1
        middle, high, longest = ordered[len(ordered) // 2], ordered[rank], ordered[-1]
        return cls(len(ordered), unanswered, round(middle, 1), round(high, 1), round(longest, 1))


@dataclass(frozen=True, slots=True)
class Measured:
    """Waits on innocent partitions, and in the innocent market of the attacked lane."""

    partitions: Waits
    lane: Waits
    late_ms: float
    """Longest delay of an order in this program itself, which is a part of its wait."""


class Honest:
    """The innocent markets of an exchange, and their traders."""

    def __init__(self, system: System, per_s: float) -> None:
        self._system, self._per_s = system, per_s
        self._markets = [system.market(partition, "calm") for partition in range(PARTITIONS)]
        self._numbers = 0

    async def open(self) -> None:
        """Open the markets and fund the traders."""
        traders = [name for n in range(PARTITIONS) for name in (f"seller-{n}", f"buyer-{n}")]
        await self._system.publish(*(deposit(name, RICH) for name in traders))
        await self._system.publish(*map(open_market, self._markets))

    async def run(self, seconds: float, grace_s: float = GRACE_S) -> Measured:
        """Send orders for so many seconds, and return their waits."""
        first, number = self._numbers, round(seconds * self._per_s / PARTITIONS) * PARTITIONS
        self._numbers += number
        orders = [self._order(n) for n in range(first, self._numbers)]
        settings = self._system.settings
        async with (
            Watcher.open(settings.bootstrap_servers, settings.events_topic, PARTITIONS) as watcher,
            OrderPublisher(
                settings.bootstrap_servers,
                orders_topic=settings.orders_topic,
                transfers_topic=settings.transfers_topic,
            ) as publisher,
        ):
            begun_s = time.monotonic() + LOOK_S
            due_s = [begun_s + n / self._per_s for n in range(number)]
            pace = Pace(orders, due_s)
            deadline_s = due_s[-1] + grace_s
            watching = asyncio.create_task(_watch(watcher, number, deadline_s), name="watch")
            # A lost order has no answer, which is counted.
            with contextlib.suppress(NotDelivered):
                await publisher.publish_all(pace, in_flight_max=IN_FLIGHT_MAX)
            await watching
        seen_s = watcher.seen_s()
        ended_s = time.monotonic()
        waits = [(seen_s.get(first + n), due) for n, due in enumerate(due_s)]
        attacked = waits[ATTACKED::PARTITIONS]
        others = [wait for n, wait in enumerate(waits) if n % PARTITIONS != ATTACKED]
        late_ms = round(1000 * pace.late_s, 1)
        return Measured(_waits(others, ended_s), _waits(attacked, ended_s), late_ms)

    def _order(self, number: int) -> PlaceOrder:
        turn, partition = divmod(number, PARTITIONS)
        market, order_id = self._markets[partition], f"o{number}"
        if turn % 2:
            return buy(market, f"buyer-{partition}", 1, 50, order_id)
        return sell(market, f"seller-{partition}", 1, 50, order_id)


def _waits(seen_and_due_s: Sequence[tuple[float | None, float]], ended_s: float) -> Waits:
    waits_s = [(ended_s if seen is None else seen) - due for seen, due in seen_and_due_s]
    return Waits.of(waits_s, sum(seen is None for seen, _ in seen_and_due_s))


async def _watch(watcher: Watcher, wanted: int, deadline_s: float) -> None:
    """Consume until every order is answered or the time is up."""
    while watcher.answered < wanted and time.monotonic() < deadline_s:
        await watcher.look(LOOK_S)
    # The last event of the last order may follow.
    await watcher.look(LOOK_S)
