"""An open loop of orders: each is due at a fixed time, whatever the exchange does.

An order waits from its due time until a consumer can read its last event. A stall therefore delays
every order that is due during it. Producer and consumer share one process and one clock. The order
ids of the loop are ``o0``, ``o1`` and so on, and nobody else uses such ids.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.support import consumers

TICK_S: Final = 0.002
"""Shortest pause between two sends of due orders."""
_EVENT: Final = re.compile(rb'"offset":(\d+),"index":(\d+)')
_ORDER: Final = re.compile(rb'"order_id":"o(\d+)"')

T = TypeVar("T")


class Watcher:
    """Consumes events and records the time of each order's last event."""

    def __init__(self, kafka: AIOKafkaConsumer) -> None:
        self._kafka = kafka
        self._orders: dict[tuple[int, int], int] = {}
        """The orders by partition and offset."""
        self._seen: dict[tuple[int, int], tuple[int, float]] = {}
        """The last event of each order so far, as its index and the time in seconds."""

    @classmethod
    @asynccontextmanager
    async def open(cls, bootstrap: str, topic: str, partitions: int) -> AsyncIterator["Watcher"]:
        """Watch a topic from its present end on."""
        kafka = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=20
        )
        await kafka.start()
        try:
            kafka.assign([TopicPartition(topic, n) for n in range(partitions)])
            await kafka.seek_to_end()
            yield cls(kafka)
        finally:
            await consumers.stop(kafka)

    @property
    def answered(self) -> int:
        """Return the number of records that were orders of the loop and have an event."""
        return len(self._orders)

    async def look(self, within_s: float) -> bool:
        """Consume the next events. Return whether there were any in time."""
        fetched = await self._kafka.getmany(timeout_ms=int(within_s * 1000))
        now_s = time.monotonic()
        for partition, records in fetched.items():
            for record in records:
                self._note(partition.partition, record.value or b"", now_s)
        return bool(fetched)

    def _note(self, partition: int, value: bytes, now_s: float) -> None:
        found = _EVENT.search(value)
        assert found is not None, "every event has offset and index"
        command, index = (partition, int(found[1])), int(found[2])
        if index == 0 and (order := _ORDER.search(value)):
            self._orders.setdefault(command, int(order[1]))
        # A new owner may publish events again, which were readable before.
        if command in self._orders and index > self._seen.get(command, (-1, 0.0))[0]:
            self._seen[command] = index, now_s

    def seen_s(self) -> Mapping[int, float]:
        """Return the times by the orders' numbers. Repeats of an order do not count."""
        found: dict[int, float] = {}
        for command, number in self._orders.items():
            found.setdefault(number, self._seen[command][1])
        return found


class Pace(Generic[T]):
    """Yields each item when it is due."""

    def __init__(self, items: Sequence[T], due_s: Sequence[float]) -> None:
        self._items, self._due_s = items, due_s
        self.late_s = 0.0
        """Longest time by which an item was late, so how long this process itself was busy."""

    async def __aiter__(self) -> AsyncIterator[T]:
        for item, moment_s in zip(self._items, self._due_s, strict=True):
            early_s = moment_s - time.monotonic()
            if early_s > 0:
                await asyncio.sleep(max(early_s, TICK_S))
            self.late_s = max(self.late_s, time.monotonic() - moment_s)
            yield item
