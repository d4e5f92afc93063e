"""How long one order takes at half load: from the moment it was due until its event is consumable.

Open loop: orders fall due at fixed moments whatever the exchange does, and the wait is counted from
there, so a stall is paid by everyone who would have come during it. Producer and consumer are one
process with one clock.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from producers.client import OrderPublisher
from tests.bench.case import Case
from tests.bench.end_to_end import Servers
from worker.domain.commands import PlaceOrder

QUIET_S: Final = 30.0
"""So long without an event, and it is taken for lost."""
TICK_S: Final = 0.002
"""Orders that are due leave at least this often."""
_EVENT: Final = re.compile(rb'"offset":(\d+),"index":(\d+)')
_ORDER: Final = re.compile(rb'"order_id":"o(\d+)"')


@dataclass(frozen=True, slots=True)
class Latency:
    """Waits in milliseconds, and what was offered."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    orders: int
    offered_per_s: float


class Watcher:
    """Consumes events and notes when the last one of each order was there."""

    def __init__(self, kafka: AIOKafkaConsumer, wanted: int) -> None:
        self._kafka, self._wanted = kafka, wanted
        self._orders: dict[tuple[int, int], int] = {}
        self._seen_s: dict[tuple[int, int], float] = {}

    async def watch(self) -> None:
        """Consume until every order is answered and nothing more comes for a moment."""
        while True:
            answered = len(self._orders) == self._wanted
            quiet_ms = 300 if answered else int(QUIET_S * 1000)
            fetched = await self._kafka.getmany(timeout_ms=quiet_ms)
            if not fetched:
                if not answered:
                    raise TimeoutError(f"{len(self._orders)} of {self._wanted} orders answered")
                return
            now_s = time.monotonic()
            for partition, records in fetched.items():
                for record in records:
                    self._note(partition.partition, record.value or b"", now_s)

    def _note(self, partition: int, value: bytes, now_s: float) -> None:
        found = _EVENT.search(value)
        assert found is not None, "every event has offset and index"
        command = (partition, int(found[1]))
        self._seen_s[command] = now_s
        if found[2] == b"0":
            order = _ORDER.search(value)
            assert order is not None, "all commands are orders"
            self._orders[command] = int(order[1])

    def waits_ms(self, first: int, due_s: Sequence[float]) -> list[float]:
        """Return every order's wait, in ascending order."""
        return sorted(
            1000 * (self._seen_s[command] - due_s[number - first])
            for command, number in self._orders.items()
        )


async def measure(servers: Servers, case: Case, per_s: float) -> Latency:
    """Send the case's further orders, ``per_s`` a second; the workers are running."""
    orders = list(case.place_orders(case.orders, case.paced_orders))
    kafka = AIOKafkaConsumer(
        bootstrap_servers=servers.kafka.bootstrap, enable_auto_commit=False, fetch_max_wait_ms=20
    )
    await kafka.start()
    try:
        kafka.assign([TopicPartition(case.events_topic, n) for n in range(case.partitions)])
        await kafka.seek_to_end()
        watcher = Watcher(kafka, len(orders))
        watching = asyncio.create_task(watcher.watch(), name="watch")
        begun_s = time.monotonic() + 0.5
        due_s = [begun_s + number / per_s for number in range(len(orders))]
        async with OrderPublisher(
            servers.kafka.bootstrap,
            orders_topic=case.orders_topic,
            transfers_topic=case.transfers_topic,
        ) as publisher:
            await publisher.publish_all(_paced(orders, due_s), in_flight_max=100_000)
        await watching
    finally:
        await kafka.stop()
    waits = watcher.waits_ms(case.orders, due_s)
    return Latency(
        p50_ms=waits[len(waits) // 2],
        p99_ms=waits[len(waits) * 99 // 100],
        max_ms=waits[-1],
        orders=len(waits),
        offered_per_s=per_s,
    )


async def _paced(orders: Sequence[PlaceOrder], due_s: Sequence[float]) -> AsyncIterator[PlaceOrder]:
    """Yield each order when it is due."""
    for order, moment_s in zip(orders, due_s, strict=True):
        early_s = moment_s - time.monotonic()
        if early_s > 0:
            await asyncio.sleep(max(early_s, TICK_S))
        yield order
