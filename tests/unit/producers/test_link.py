"""A connection sends the records that wait after the metadata lookup, not before it."""

import asyncio
from types import SimpleNamespace
from typing import Any, Self

from producers.link import Connection

Records = list[tuple[bytes, bytes]]


class SlowProducer:
    """A stub of aiokafka's producer whose lookup of a topic lasts while more is published."""

    def __init__(self, waiting: Records) -> None:
        self._waiting = waiting
        self.written: Records = []

    async def partitions_for(self, _: str) -> set[int]:
        self._waiting.insert(0, (b"market", b"first"))
        return {0}

    def create_batch(self) -> Self:
        return self

    def append(self, *, timestamp: None, key: bytes, value: bytes) -> SimpleNamespace:
        assert timestamp is None
        self.written.append((key, value))
        return SimpleNamespace(timestamp=1)

    async def send_batch(self, *_: object, partition: int) -> "asyncio.Future[Any]":
        written: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        written.set_result(SimpleNamespace(offset=7, timestamp=5, partition=partition))
        return written


async def test_records_are_taken_after_metadata() -> None:
    waiting: Records = [(b"market", b"second")]
    producer: Any = SlowProducer(waiting)
    connection = Connection(producer, asyncio.get_running_loop().create_future())

    acks = await connection.send("orders", 0, waiting)

    assert producer.written == [(b"market", b"first"), (b"market", b"second")]
    assert [(ack.topic, ack.partition, ack.offset, ack.timestamp_ms) for ack in acks] == [
        ("orders", 0, 7, 5),
        ("orders", 0, 8, 5),
    ]
