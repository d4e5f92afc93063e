"""The connection of an ``OrderPublisher``: replaced when it fails, ended in bounded time.

All that is known of aiokafka's producer stands here. Deadlines are the caller's, except of ending.
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
"""How long each step of ending a producer may take."""
FAILURES: Final = (KafkaError, TimeoutError, OSError)
"""What connecting, looking and sending may raise."""
HOPELESS: Final = (
    ClusterAuthorizationFailedError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)
"""Those of them that another attempt does not mend."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Where a command lies, on as many brokers as the topic asks for.

    ``timestamp_ms`` is the broker's, if it stamps (LogAppendTime), else the producer's. ``offset``
    is -1 when the broker knew the record for a repeat but no longer its place.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


@dataclass(slots=True, eq=False)
class Connection:
    """A started producer; ``lost`` is done as soon as nobody should wait for it any more."""

    producer: AIOKafkaProducer
    lost: asyncio.Future[None]

    async def send(
        self, topic: str, partition: int, records: Iterable[tuple[bytes, bytes]]
    ) -> Sequence[Ack]:
        """Send the first of the keys and values, as many as a batch takes; return where they lie.

        ``records`` is begun only when nothing is awaited any more before they are copied. The
        caller sets the deadline, and discards the connection after any of FAILURES.
        """
        if partition not in await self.producer.partitions_for(topic):
            raise UnknownTopicOrPartitionError(f"{topic}[{partition}] is gone")
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
    """The connection in use. One that failed is replaced, never used again.

    After a failed batch an idempotent producer's sequence has a hole (aiokafka #1017).
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
            "request_timeout_ms": int(attempt_timeout_s * 1_000),
            **security,
        }
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def connection(self) -> Connection:
        """Return the connection, making one if there is none. The caller sets the deadline.

        All who wait share one attempt and its failure.
        """
        if self._connection is not None:
            return self._connection
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="publisher-connect")
            self._connecting.add_done_callback(_seen)
        return await asyncio.shield(self._connecting)

    async def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """Return the partition counts of those topics that exist. Creates none."""
        connection = await self.connection()
        try:
            # All topics, because asking for one by name may create it.
            cluster = await connection.producer.client.fetch_all_metadata()
        except FAILURES:
            self.discard(connection)
            raise
        found = {topic: cluster.partitions_for_topic(topic) for topic in topics}
        return {topic: len(numbers) for topic, numbers in found.items() if numbers}

    def discard(self, dead: Connection) -> None:
        """Use a connection no more. It ends in the background: nobody's deadline waits for that."""
        if self._connection is dead:
            self._connection = None
        if not dead.lost.done():
            dead.lost.set_result(None)
            ending = asyncio.create_task(_let_go(dead.producer), name="publisher-disconnect")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Let go of everything, within a few seconds, whatever state the broker is in."""
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
    """Keep what aiokafka sends out of the log: at DEBUG it prints passwords and tokens."""
    logger = logging.getLogger("aiokafka.conn")
    if logger.isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.INFO)


async def _let_go(producer: AIOKafkaProducer) -> None:
    """End a producer within a few seconds. Batches that it still has are forgotten.

    Its own ``stop`` waits for ever when the broker is dead: idempotent batches never expire.
    """
    # Else the garbage collector complains. For none of this is there a public way.
    producer._closed = True  # noqa: SLF001
    sender = producer._sender.sender_task  # noqa: SLF001
    if sender is not None:
        # Requests on their way fail now; the sender would wait for them.
        for connection in list(producer.client._conns.values()):  # noqa: SLF001
            connection.close()
        # The first cancellation ends the sender's loop, the second a request that still waits.
        for _ in range(2):
            await _cancelled(sender)
    close = asyncio.create_task(producer.client.close(), name="publisher-close")
    await asyncio.wait([close], timeout=CLOSE_DEADLINE_S)
    await _cancelled(close)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and give it CLOSE_DEADLINE_S to end. How it ends is of no interest."""
    task.add_done_callback(_seen)
    if task.cancel():
        await asyncio.wait([task], timeout=CLOSE_DEADLINE_S)


def _seen(future: asyncio.Future[Any]) -> None:
    """Look at how it ended, or the loop would log an error that nobody awaits."""
    if not future.cancelled():
        future.exception()
