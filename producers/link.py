"""The connection of an ``OrderPublisher``, replaced when it fails and closed in bounded time.

No other module here depends on aiokafka's producer. The caller sets every deadline except those
for closing.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

CLOSE_DEADLINE_S: Final = 0.5
"""How long each step of closing a producer may take."""
REQUESTS_PER_ATTEMPT: Final = 3
"""Requests in a row that may time out before the attempt does."""
FAILURES: Final = (KafkaError, TimeoutError, OSError)
"""Errors of connecting, of reading the metadata and of sending."""
HOPELESS: Final = (
    ClusterAuthorizationFailedError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)
"""Failures that another attempt does not fix."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The place of a command, which has as many replicas as the topic requires.

    ``timestamp_ms`` is the broker's in a topic with LogAppendTime, else the producer's. ``offset``
    is -1 if the broker recognised a repeat but no longer knew its offset.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


@dataclass(slots=True, eq=False)
class Connection:
    """A started producer. ``lost`` is done as soon as nobody should wait for the producer."""

    producer: AIOKafkaProducer
    lost: asyncio.Future[None]

    async def send(
        self, topic: str, partition: int, records: Iterable[tuple[bytes, bytes]]
    ) -> Sequence[Ack]:
        """Send the first of the keys and values, as many as a batch takes, and return their places.

        ``records`` is read after the last await before they are copied, so none can be added in
        between. The caller sets the deadline, and discards the connection after any of FAILURES.
        """
        if partition not in await self.producer.partitions_for(topic):
            raise UnknownTopicOrPartitionError(f"topic {topic} has no partition {partition}")
        batch = self.producer.create_batch()
        stamps: list[int] = []
        for key, value in records:
            appended = batch.append(timestamp=None, key=key, value=value)
            if appended is None:
                break
            stamps.append(appended.timestamp)
        delivered = await self.producer.send_batch(batch, topic, partition=partition)
        delivered.add_done_callback(_seen)
        await asyncio.wait([delivered, self.lost], return_when=asyncio.FIRST_COMPLETED)
        if not delivered.done():
            raise KafkaConnectionError("the producer failed at another partition")
        written = delivered.result()
        return [
            Ack(
                topic,
                partition,
                written.offset + index if written.offset >= 0 else -1,
                written.timestamp if written.timestamp >= 0 else stamp,
            )
            for index, stamp in enumerate(stamps)
        ]


class Link:
    """The connection in use. A failed connection is replaced and never used again.

    After a failed batch an idempotent producer's sequence has a gap (aiokafka #1017).
    """

    def __init__(
        self,
        servers: str,
        attempt_timeout_s: float,
        batch_bytes_max: int,
        security: Mapping[str, object],
    ) -> None:
        _keep_secrets()
        self._attempt_timeout_s = attempt_timeout_s
        self._options = {
            "bootstrap_servers": servers,
            "acks": "all",
            "enable_idempotence": True,
            "max_batch_size": batch_bytes_max,
            "metadata_max_age_ms": 30_000,
            # A frozen broker accepts connections. An attempt must reach the next broker in time.
            "request_timeout_ms": int(attempt_timeout_s * 1_000 / REQUESTS_PER_ATTEMPT),
            **security,
        }
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def connection(self) -> Connection:
        """Return the connection, made now if there is none. The caller sets the deadline.

        All callers that wait share one attempt and its failure.
        """
        if self._connection is not None:
            return self._connection
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="publisher-connect")
            self._connecting.add_done_callback(_seen)
        return await asyncio.shield(self._connecting)

    async def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """Return the partition counts of those ``topics`` that exist. Creates none."""
        connection = await self.connection()
        try:
            # All topics, because a request for one by name may create it.
            cluster = await connection.producer.client.fetch_all_metadata()
        except FAILURES:
            self.discard(connection)
            raise
        found = {topic: cluster.partitions_for_topic(topic) for topic in topics}
        return {topic: len(numbers) for topic, numbers in found.items() if numbers}

    def discard(self, dead: Connection) -> None:
        """Stop using a connection. It closes in the background, so no deadline waits for it."""
        if self._connection is dead:
            self._connection = None
        if not dead.lost.done():
            dead.lost.set_result(None)
            ending = asyncio.create_task(_let_go(dead.producer), name="publisher-disconnect")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Close everything within a few seconds, in any state of the broker."""
        ending: set[asyncio.Task[Any]] = set()
        if self._connecting is not None:
            self._connecting.cancel()
            ending.add(self._connecting)
        if self._connection is not None:
            self.discard(self._connection)
        ending |= self._ending
        if ending:
            await asyncio.wait(ending)

    async def _connect(self) -> Connection:
        producer = AIOKafkaProducer(**self._options)
        try:
            async with asyncio.timeout(self._attempt_timeout_s):
                await producer.start()
        except BaseException:
            await _let_go(producer)
            raise
        finally:
            self._connecting = None
        self._connection = Connection(producer, asyncio.get_running_loop().create_future())
        return self._connection


def _keep_secrets() -> None:
    """Keep passwords and tokens out of the log. aiokafka prints what it sends at DEBUG."""
    logger = logging.getLogger("aiokafka.conn")
    if logger.isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.INFO)


async def _let_go(producer: AIOKafkaProducer) -> None:
    """Close a producer within a few seconds. Batches that it still has are dropped.

    Its own ``stop`` waits without end when the broker is dead, since idempotent batches never
    expire.
    """
    # Otherwise the garbage collector complains. None of this has a public way.
    producer._closed = True  # noqa: SLF001
    sender = producer._sender.sender_task  # noqa: SLF001
    if sender is not None:
        # Requests in flight fail now. The sender would wait for them.
        for connection in list(producer.client._conns.values()):  # noqa: SLF001
            connection.close()
        # The first cancellation ends the sender's loop, the second one a waiting request.
        for _ in range(2):
            await _cancelled(sender)
    close = asyncio.create_task(producer.client.close(), name="publisher-close")
    await asyncio.wait([close], timeout=CLOSE_DEADLINE_S)
    await _cancelled(close)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and give it CLOSE_DEADLINE_S to end. Its result does not matter."""
    task.add_done_callback(_seen)
    if task.cancel():
        await asyncio.wait([task], timeout=CLOSE_DEADLINE_S)


def _seen(future: asyncio.Future[Any]) -> None:
    """Retrieve the result, or the loop would log an error that nobody awaited."""
    if not future.cancelled():
        future.exception()
