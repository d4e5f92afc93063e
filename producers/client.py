"""Publishing of typed commands, in order per key and at least once. Every call has a deadline.

Records of one partition leave in the order of the ``publish`` calls, one batch at a time. After a
batch has failed, its producer is not used again. A new producer sends the same bytes again, from
the first record that is not acknowledged. Anything that the old producer still writes is therefore
a repeat. First occurrences stay in order, and the order's id makes repeats harmless.

There are two things that nobody can promise. A record may be written twice, and a record that
raised NotDelivered may have been written.
"""

import asyncio
import contextlib
import itertools
import math
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from producers.encode import Publishable, check, encode
from producers.language import Deposit, Withdraw, partition_of
from producers.link import FAILURES, HOPELESS, Ack, Connection, Link

TOPIC_GRACE_S: Final = 2.0
"""How long a topic may be unknown to a broker after its creation."""


class PublisherError(Exception):
    """The root of all errors between this client and the broker."""


class BrokerUnreachable(PublisherError):
    """No connection by the deadline. Nothing was sent."""


class TopicUnfit(PublisherError):
    """A topic is missing or has too few partitions. Nothing was sent."""


class NotDelivered(PublisherError):
    """``commands`` may be missing from the topic. Publish them again in this order.

    Keep their ids, since the first ones may have arrived.
    """

    def __init__(self, message: str, commands: Sequence[Publishable]) -> None:
        super().__init__(message)
        self.commands = tuple(commands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Bounds of the attempts to send a record. ``timeout_s`` bounds ``publish`` as a whole.

    ``batch_bytes_max`` must not exceed ``max.message.bytes`` of the topics.
    """

    timeout_s: float = 60.0
    attempt_timeout_s: float = 10.0
    attempts_max: int = 30
    backoff_base_s: float = 0.05
    backoff_cap_s: float = 3.0
    batch_bytes_max: int = 131_072
    unacknowledged_max: int = 100_000

    def __post_init__(self) -> None:
        if self.attempts_max < 1:
            raise ValueError(f"attempts_max is {self.attempts_max}: use 1 or more")

    def backoff_s(self, attempt: int, rng: random.Random) -> float:
        """Return the pause after failed ``attempt``, from 1 on, with full jitter up to the cap."""
        return rng.uniform(0, min(self.backoff_cap_s, self.backoff_base_s * 2.0**attempt))


@dataclass(slots=True)
class _Record:
    command: Publishable
    key: bytes
    value: bytes
    deadline: float
    ack: asyncio.Future[Ack]


@dataclass(slots=True)
class _Outbox:
    """The records of one partition that are not acknowledged, oldest first."""

    topic: str
    partition: int
    waiting: deque[_Record]
    task: asyncio.Task[None] | None = None

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the present keys and values. More may come while a sender waits."""
        return ((record.key, record.value) for record in self.waiting)

    def acknowledge(self, acks: Iterable[Ack]) -> None:
        for ack in acks:
            record = self.waiting.popleft()
            if not record.ack.done():
                record.ack.set_result(ack)

    def give_up(self, reason: str) -> None:
        """Fail every waiting record, since none may overtake a lost one."""
        for record in self.waiting:
            if not record.ack.done():
                text = f"may be missing from {self.topic}[{self.partition}]: {reason}"
                error = NotDelivered(f"{text}; send it again with the same id", [record.command])
                record.ack.set_exception(error)
        self.waiting.clear()


class OrderPublisher:
    """Publishes commands. Use with ``async with``. One for a whole process is enough.

    ``orders_partitions`` and ``transfers_partitions`` are the counts of the streams, which never
    change. None means the count of the topic at the start. ``security`` holds aiokafka's own
    keywords (``security_protocol``, ``ssl_context``, ``sasl_…``).
    """

    def __init__(  # noqa: PLR0913 -- all by keyword, most with a default
        self,
        bootstrap_servers: str,
        *,
        orders_topic: str = "parity.orders.v1",
        transfers_topic: str = "parity.transfers.v1",
        orders_partitions: int | None = None,
        transfers_partitions: int | None = None,
        delivery: Delivery | None = None,
        security: Mapping[str, object] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._topics = {orders_topic: orders_partitions, transfers_topic: transfers_partitions}
        self._orders_topic, self._transfers_topic = orders_topic, transfers_topic
        self._servers = bootstrap_servers
        self._delivery = delivery or Delivery()
        self._link = Link(
            bootstrap_servers,
            self._delivery.attempt_timeout_s,
            self._delivery.batch_bytes_max,
            security or {},
        )
        self._rng = rng or random.Random()  # noqa: S311 -- jitter
        self._partitions: dict[str, int] = {}
        self._outboxes: dict[tuple[str, int], _Outbox] = {}
        self._aborted = asyncio.Event()
        self._open = False
        self._waiting = 0
        self._losses = 0
        self.acknowledged = 0
        """Records acknowledged so far."""

    async def __aenter__(self) -> Self:
        """Connect and check the topics. Raises BrokerUnreachable by the deadline, or TopicUnfit."""
        try:
            async with asyncio.timeout(self._delivery.timeout_s):
                counts = await self._first_look()
            self._partitions = _fitting(self._topics, counts)
        except TimeoutError as error:
            await self._link.close()
            seconds = f"{self._delivery.timeout_s:g} s"
            raise BrokerUnreachable(
                f"no answer from {self._servers} (PARITY_BOOTSTRAP_SERVERS) within {seconds}: start"
                " the broker or correct the address"
            ) from error
        except BaseException:
            await self._link.close()
            raise
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        """Wait for the outcome of every command. After an exception, give up at once."""
        self._open = False
        tasks = [box.task for box in self._outboxes.values() if box.task and not box.task.done()]
        try:
            if tasks and kind is None:
                await asyncio.wait(tasks)
        finally:
            self._aborted.set()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            # A task that was cancelled before its first step has failed no record.
            for box in self._outboxes.values():
                self._give_up(box, "the publisher was closed")
            await self._link.close()

    async def publish(self, command: Publishable) -> Ack:
        """Send one command and return when it is durable.

        Commands with the same key arrive in the order of the calls. Raises InvalidCommand before
        anything is sent, or NotDelivered by the deadline. A cancelled call may still have sent its
        command.
        """
        return await self._enqueue(command).ack

    async def publish_all(
        self,
        commands: Iterable[Publishable] | AsyncIterable[Publishable],
        *,
        in_flight_max: int = 4_000,
    ) -> int:
        """Send commands in order per key and return their number. All are acknowledged then.

        At most ``in_flight_max`` are unacknowledged at a time. After the first failure no more are
        taken from ``commands``, and those in flight are awaited. NotDelivered then has every
        command that must be sent again. An iterator continues after the last command taken.
        """
        if in_flight_max < 1:
            raise ValueError(f"in_flight_max is {in_flight_max}: use 1 or more")
        window, losses = _Window(in_flight_max), self._losses
        try:
            async with contextlib.aclosing(_each(commands)) as each:
                async for command in each:
                    if self._losses != losses:
                        # The lost commands go first when they are sent again.
                        window.refuse(command)
                        break
                    window.add(self._enqueue(command))
                    if not await window.has_room():
                        break
        except asyncio.CancelledError:
            window.forget()
            raise
        finally:
            await window.settle()
        return window.delivered

    def _enqueue(self, command: Publishable) -> _Record:
        """Queue a command for its partition. Never awaits, to keep the order of the calls."""
        if not self._open:
            raise RuntimeError("the OrderPublisher is not open: use it in `async with`")
        check(command)
        if self._waiting >= self._delivery.unacknowledged_max:
            text = (
                f"not sent: {self._waiting} commands are unacknowledged; await some of them first"
            )
            raise NotDelivered(text, [command])
        loop = asyncio.get_running_loop()
        topic, key = self._address(command)
        box = self._outbox(topic, partition_of(key, self._partitions[topic]))
        deadline = loop.time() + self._delivery.timeout_s
        record = _Record(command, key.encode(), encode(command), deadline, loop.create_future())
        box.waiting.append(record)
        self._waiting += 1
        if box.task is None:
            name = f"publish-{topic}-{box.partition}"
            box.task = asyncio.create_task(self._empty(box), name=name)
        return record

    def _address(self, command: Publishable) -> tuple[str, str]:
        match command:
            case Deposit() | Withdraw():
                return self._transfers_topic, command.account_id
            case _:
                return self._orders_topic, command.market_id

    def _outbox(self, topic: str, partition: int) -> _Outbox:
        box = self._outboxes.get((topic, partition))
        if box is None:
            box = self._outboxes[topic, partition] = _Outbox(topic, partition, deque())
        return box

    async def _empty(self, box: _Outbox) -> None:
        """Send until no record waits. In any case, no caller is left waiting at the end."""
        try:
            while box.waiting:
                await self._advance(box)
        except BaseException as error:
            self._give_up(box, repr(error))
            raise
        finally:
            # No await since the last look at `waiting`, so a later record starts a new task.
            box.task = None

    async def _advance(self, box: _Outbox) -> None:
        """Get the oldest waiting records acknowledged, or give up all of them."""
        for attempt in range(1, self._delivery.attempts_max + 1):
            try:
                acks = await self._send(box)
            except FAILURES as error:
                late = asyncio.get_running_loop().time() >= box.waiting[0].deadline
                if late or attempt == self._delivery.attempts_max or isinstance(error, HOPELESS):
                    self._give_up(box, f"attempt {attempt} failed: {error!r}")
                    return
                await self._pause(attempt, box.waiting[0].deadline)
            else:
                self._waiting -= len(acks)
                self.acknowledged += len(acks)
                box.acknowledge(acks)
                return

    def _give_up(self, box: _Outbox, reason: str) -> None:
        if box.waiting:
            self._losses += 1
            self._waiting -= len(box.waiting)
            box.give_up(reason)

    async def _send(self, box: _Outbox) -> Sequence[Ack]:
        """Send one batch, from the oldest record on, and return its acknowledgements.

        Raises one of FAILURES by the attempt's deadline, after it discarded the producer.
        """
        attempt_deadline = asyncio.get_running_loop().time() + self._delivery.attempt_timeout_s
        connection: Connection | None = None
        try:
            async with asyncio.timeout_at(min(attempt_deadline, box.waiting[0].deadline)):
                connection = await self._link.connection()
                return await connection.send(box.topic, box.partition, box)
        except FAILURES:
            if connection is not None:
                self._link.discard(connection)
            raise

    async def _pause(self, attempt: int, deadline: float) -> None:
        until = asyncio.get_running_loop().time() + self._delivery.backoff_s(attempt, self._rng)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(min(until, deadline)):
                await self._aborted.wait()

    async def _first_look(self) -> Mapping[str, int]:
        """Return the partition counts of the topics. The caller sets the deadline."""
        loop = asyncio.get_running_loop()
        grace_until = loop.time() + TOPIC_GRACE_S
        for attempt in itertools.count(1):
            try:
                async with asyncio.timeout(self._delivery.attempt_timeout_s):
                    found = await self._link.partitions(list(self._topics))
            except FAILURES as error:
                if attempt >= self._delivery.attempts_max or isinstance(error, HOPELESS):
                    raise BrokerUnreachable(f"attempt {attempt} failed: {error!r}") from error
            else:
                if len(found) == len(self._topics) or loop.time() > grace_until:
                    return found
            await self._pause(attempt, math.inf)
        raise AssertionError("attempts are counted without end")


class _Window:
    """The commands of one ``publish_all`` without an outcome, oldest first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._records: deque[_Record] = deque()
        self._refused: list[Publishable] = []
        self.delivered = 0

    def add(self, record: _Record) -> None:
        self._records.append(record)

    def refuse(self, command: Publishable) -> None:
        """Note a command that was taken but will not be sent."""
        self._refused.append(command)

    async def has_room(self) -> bool:
        """Wait until another may be sent. Return False if the oldest was not delivered."""
        while len(self._records) >= self._size:
            oldest = self._records[0].ack
            if not oldest.done():
                await asyncio.wait([oldest])
            if oldest.exception() is not None:
                return False
            self._records.popleft()
            self.delivered += 1
        return True

    async def settle(self) -> None:
        """Wait for every outcome. Raises one NotDelivered for all commands that were lost."""
        if self._records:
            await asyncio.wait([record.ack for record in self._records])
        lost = [record for record in self._records if record.ack.exception() is not None]
        self.delivered += len(self._records) - len(lost)
        commands = [*(record.command for record in lost), *self._refused]
        if commands:
            first = lost[0].ack.exception() if lost else None
            why = first or "not sent, since another command was lost"
            raise NotDelivered(f"{len(commands)} commands: the first {why}", commands) from first

    def forget(self) -> None:
        """Stop waiting. Commands in flight may still arrive."""
        for record in self._records:
            record.ack.cancel()
        self._records.clear()


async def _each(
    commands: Iterable[Publishable] | AsyncIterable[Publishable],
) -> AsyncGenerator[Publishable, None]:
    if isinstance(commands, AsyncIterable):
        async for command in commands:
            yield command
    else:
        for command in commands:
            yield command


def _fitting(wanted: Mapping[str, int | None], found: Mapping[str, int]) -> dict[str, int]:
    """Return the partition count to use for each topic, orders first. Raises TopicUnfit."""
    for (topic, count), kind in zip(wanted.items(), ("orders", "transfers"), strict=False):
        if topic not in found:
            others = f", but {' and '.join(sorted(found))} does" if found else ""
            raise TopicUnfit(
                f"topic {topic!r} does not exist{others}: create it (`parity topics`), or name"
                f" another by PARITY_{kind.upper()}_TOPIC ({kind}_topic of OrderPublisher)"
            )
        if count is not None and not 1 <= count <= found[topic]:
            text = f"topic {topic!r} has {found[topic]} partitions, its stream {count}"
            raise TopicUnfit(f"{text}: set the stream's own count, or name another topic")
    return {topic: count or found[topic] for topic, count in wanted.items()}
