"""The whole exchange for one test: topics, a migrated database, workers, and the invariants.

``System.start`` creates everything with its own prefix. Workers run as tasks of the test or as
separate processes. ``publish`` sends commands, and ``send`` sends any records. ``check_invariants``
reads all topics and the database and calls `tests.support.invariants`.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from pydantic import SecretStr

from producers.client import OrderPublisher
from producers.encode import Publishable
from tests.support import consumers, dialect, invariants
from tests.support.books import deposit, open_market
from tests.support.eventually import eventually
from worker import app, config
from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.kafka.batches import AnyNamesBuilder, Turn, UnreadableBatch
from worker.adapters.kafka.settings import Deadlines
from worker.adapters.postgres.migrate import migrate
from worker.domain.ids import partition_of
from worker.domain.units import AccountId, MarketId
from worker.lane import Lane, LaneStatus
from worker.ports import TopicPartition
from worker.topics import find_streams

REPOSITORY: Final = Path(__file__).parents[2]
SESSION_S: Final = 20.0
"""Session of a worker in the test's process, which is never killed but may stall for a while."""
ANSWERED_S: Final = 60.0
RICH: Final = 10**9
REFUSED_S: Final = 300.0
BROKERS_DEFAULT: Final = -1
RAW_BATCH_BYTES: Final = 10**6
_LANES: Final = (
    "SELECT s.topic, l.partition, l.next_offset, l.last_seq, l.resume"
    " FROM lanes l JOIN streams s USING (stream) ORDER BY l.lane"
)


class Sent(NamedTuple):
    """A record to publish unchanged."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = None


class Log:
    """All records of some topics, read up to their ends."""

    def __init__(self, bootstrap: str, topics: Iterable[str]) -> None:
        self._turn = Turn()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            key_deserializer=self._turn,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            fetch_max_wait_ms=20,
            request_timeout_ms=10_000,
        )
        self._topics = tuple(topics)
        self.records: dict[TopicPartition, list[ConsumerRecord]] = {}

    async def start(self, partitions: int) -> None:
        own = [KafkaPartition(t, p) for t in self._topics for p in range(partitions)]
        self.records = {TopicPartition(*partition): [] for partition in own}
        await self._consumer.start()
        self._consumer.assign(own)

    async def read(self) -> None:
        """Read up to the present end."""
        ends = await self._consumer.end_offsets(list(self._consumer.assignment()))
        while any([await self._consumer.position(p) < end for p, end in ends.items()]):
            timeout_ms = 0 if self._turn.unfinished else 50
            await asyncio.sleep(0)
            self._turn.begin()
            fetched = await self._consumer.getmany(timeout_ms=timeout_ms)
            for partition, records in fetched.items():
                readable = [each for each in records if not isinstance(each, UnreadableBatch)]
                self.records[TopicPartition(*partition)].extend(readable)

    async def ends(self) -> dict[TopicPartition, int]:
        found = await self._consumer.end_offsets(list(self._consumer.assignment()))
        return {TopicPartition(*partition): end for partition, end in found.items()}

    async def stop(self) -> None:
        await consumers.stop(self._consumer)


@dataclass
class Member:
    """A worker in this process."""

    worker: app.Worker
    broker: AiokafkaBroker
    task: "asyncio.Task[None]"

    @property
    def lanes(self) -> dict[TopicPartition, Lane]:
        return self.worker.assignments.lanes

    @property
    def lanes_ready(self) -> int:
        """Return the number of lanes that accept commands."""
        return sum(lane.status is LaneStatus.READY for lane in self.lanes.values())

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples over all lanes."""
        return sum(
            sample.value
            for family in self.worker.metrics.registry.collect()
            for sample in family.samples
            if sample.name == f"parity_{name}" and labels.items() <= sample.labels.items()
        )

    async def stop(self) -> None:
        """Stop the worker as SIGTERM does."""
        self.worker.assignments.stop()
        await asyncio.wait({self.task}, timeout=30)
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@dataclass
class Process:
    """A worker in a separate process."""

    process: asyncio.subprocess.Process
    log: Path

    def kill(self) -> None:
        """End the process as a power cut does."""
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    async def ended(self) -> None:
        await asyncio.wait_for(self.process.wait(), 60)

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.kill()
        await self.ended()


@dataclass
class System:
    """One exchange. ``settings`` are those of its workers."""

    settings: config.Settings
    prefix: str
    partitions: int
    publisher: OrderPublisher
    raw: AIOKafkaProducer
    log: Log
    database: "asyncpg.Connection[asyncpg.Record]"
    directory: Path
    workers: list[Member | Process] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        database_url: str,
        bootstrap: str,
        prefix: str,
        *,
        partitions: int = 2,
        **settings: object,
    ) -> AsyncIterator[Self]:
        """Create topics and tables without a worker, and stop everything at the end."""
        made = _settings(database_url, bootstrap, prefix, settings)
        await migrate(database_url, timeout_s=60)
        await _create_topics(made, partitions)
        async with contextlib.AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            publisher = await stack.enter_async_context(
                OrderPublisher(
                    bootstrap, orders_topic=made.orders_topic, transfers_topic=made.transfers_topic
                )
            )
            raw = AIOKafkaProducer(
                bootstrap_servers=bootstrap, acks="all", max_batch_size=RAW_BATCH_BYTES
            )
            await raw.start()
            stack.push_async_callback(raw.stop)
            log = Log(bootstrap, _topics(made))
            await log.start(partitions)
            database = await asyncpg.connect(dialect.direct(database_url))
            system = cls(made, prefix, partitions, publisher, raw, log, database, directory)
            stack.push_async_callback(system.close)
            yield system

    # Workers.

    async def member(self, **settings: object) -> Member:
        """Start a worker in this process. ``settings`` override the system's, and ``refused_s``."""
        refused_s = float(str(settings.pop("refused_s", REFUSED_S)))
        made = self.settings.model_copy(update=_secret(settings))
        broker = AiokafkaBroker(
            made.bootstrap_servers,
            made.group_id,
            f"member-{len(self.workers)}",
            deadlines=Deadlines(session_s=SESSION_S, refused_s=refused_s),
        )
        worker = app.Worker(made, broker, await find_streams(made, broker))
        task = asyncio.create_task(worker.assignments.run(), name="member")
        self.workers.append(member := Member(worker, broker, task))
        return member

    def environment(self, **settings: object) -> dict[str, str]:
        """Return the environment of a process. ``settings`` override the system's."""
        made = self.settings.model_copy(update={"http_port": 0, **_secret(settings)})
        return {**os.environ, **config.environment(made)}

    @property
    def topics(self) -> Sequence[str]:
        """Return the names of all topics."""
        return _topics(self.settings)

    async def process(self, module: str = "worker", /, **settings: object) -> Process:
        """Start a worker in a separate process."""
        return await self.python("-m", module, "run", **settings)

    async def python(self, *arguments: str, **settings: object) -> Process:
        """Start Python with a program that runs a worker."""
        log = self.directory / f"worker-{len(self.workers)}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                cwd=REPOSITORY,
                env=self.environment(**settings),
                stderr=file,
            )
        self.workers.append(started := Process(process, log))
        return started

    async def stop(self) -> None:
        """Stop all workers."""
        await asyncio.gather(*(worker.stop() for worker in self.workers))

    async def close(self) -> None:
        """Close the present log and database, which a test may have replaced."""
        await self.stop()
        await self.database.close()
        await self.log.stop()

    # Input.

    async def publish(self, *commands: Publishable) -> None:
        """Publish commands to their topics and partitions, in order per key."""
        await self.publisher.publish_all(commands)

    async def open(
        self, *partitions: int, accounts: Iterable[str] = "ab", amount: int = RICH
    ) -> list[MarketId]:
        """Open a market in these partitions, or in all, and fund accounts.

        Orders that follow find the money, since there is no order between the two topics.
        """
        markets = [self.market(partition) for partition in partitions or range(self.partitions)]
        funds = [deposit(account, amount) for account in accounts]
        await self.publish(*funds, *map(open_market, markets))
        await self.answered()
        return markets

    async def send(self, topic: str, records: Sequence[Sent]) -> list[int]:
        """Publish records unchanged, in order per partition, and return their offsets."""
        offsets = [0] * len(records)
        for partition in {record.partition for record in records}:
            own = [(n, r) for n, r in enumerate(records) if r.partition == partition]
            while own:
                batch = AnyNamesBuilder(RAW_BATCH_BYTES, 0)
                taken = list(itertools.takewhile(lambda entry: _fits(batch, entry[1]), own))  # noqa: B023
                ack = await self.raw.send_batch(batch, topic, partition=partition)
                base = (await ack).offset
                for place, (n, _) in enumerate(taken):
                    offsets[n] = base + place
                own = own[len(taken) :]
        return offsets

    # Output.

    async def halted(self, member: Member, partition: int) -> Lane:
        """Return the lane of a partition of orders once it is halted."""
        where = TopicPartition(self.settings.orders_topic, partition)

        def halted() -> Lane | None:
            # Looked up each time, because a lane is replaced when its take-over is refused.
            lane = member.lanes.get(where)
            return lane if lane is not None and lane.status is LaneStatus.HALTED else None

        lane = await eventually(halted)
        self.raise_failures()
        assert lane is not None
        return lane

    async def answered(self, within_s: float = ANSWERED_S) -> None:
        """Wait until every record is answered, no work is left, and all events are published."""
        await eventually(self._is_answered, within_s)

    async def _is_answered(self) -> bool:
        self.raise_failures()
        try:
            return await self._all_is_answered()
        except KafkaError:
            # A broker is down. The next look may find another.
            return False

    async def _all_is_answered(self) -> bool:
        if await self.unanswered():
            return False
        lanes = await self.database.fetch(_LANES)
        await self.log.read()
        return bool(lanes) and all(
            self._last_seq(row["topic"], row["partition"]) >= row["last_seq"] for row in lanes
        )

    async def unanswered(self) -> list[TopicPartition]:
        """Return the partitions whose lane has an unanswered record or a sweep or settlement."""
        ends = await self.log.ends()
        return [
            at
            for row in await self.database.fetch(_LANES)
            for at in [TopicPartition(row["topic"], row["partition"])]
            if row["next_offset"] < ends[at] or _has_work(row["resume"])
        ]

    def _last_seq(self, topic: str, partition: int) -> int:
        records = self.log.records[TopicPartition(self.output_of(topic), partition)]
        return max((invariants.seq_of(record) for record in records), default=0)

    def output_of(self, topic: str) -> str:
        """Return the topic of the events of an input topic."""
        orders = topic == self.settings.orders_topic
        return self.settings.events_topic if orders else self.settings.transfer_events_topic

    def raise_failures(self) -> None:
        """Raise the error that ended a worker of this process, if one ended."""
        for worker in self.workers:
            if isinstance(worker, Member) and worker.task.done() and not worker.task.cancelled():
                worker.task.result()

    async def events(self, kind: str = "", **fields: object) -> list[dict[str, Any]]:
        """Return the first occurrences of events of a type with these fields, lane by lane."""
        await self.log.read()
        found = []
        for topic in (self.settings.events_topic, self.settings.transfer_events_topic):
            for partition in range(self.partitions):
                records = self.log.records[TopicPartition(topic, partition)]
                first = invariants.first_occurrences(records)
                events = [json.loads(invariants.value_of(record)) for record in first]
                found += [{"topic": topic, "partition": partition, **event} for event in events]
        return [
            event
            for event in found
            if event["type"] == (kind or event["type"]) and fields.items() <= event.items()
        ]

    async def check_invariants(self, *, answered: bool = True) -> None:
        """Check all invariants of database and topics."""
        if answered:
            await self.answered()
        await self.log.read()
        await self.check_books()

    async def check_books(self) -> None:
        """Compare the present database with the topics as they were last read."""
        evidence = await invariants.gather(self.settings, self.database, self.log.records)
        invariants.check(evidence)

    # Names.

    def market(self, partition: int, name: str = "m") -> MarketId:
        """Return the name of a market in ``partition``."""
        return MarketId(self.key(partition, name))

    def account(self, partition: int, name: str = "a") -> AccountId:
        """Return the name of an account whose transfers are in ``partition``."""
        return AccountId(self.key(partition, name))

    def key(self, partition: int, name: str) -> str:
        return next(
            key
            for key in (f"{name}-{n}" for n in itertools.count())
            if partition_of(key, self.partitions) == partition
        )


def _settings(
    database_url: str, bootstrap: str, prefix: str, others: Mapping[str, object]
) -> config.Settings:
    return config.load(
        **{
            "database_url": database_url,
            "bootstrap_servers": bootstrap,
            "group_id": f"{prefix}group",
            "orders_topic": f"{prefix}orders",
            "transfers_topic": f"{prefix}transfers",
            "events_topic": f"{prefix}events",
            "transfer_events_topic": f"{prefix}transfer-events",
            "dead_letters_topic": f"{prefix}dead-letters",
            "commit_mode": dialect.COMMIT_MODE,
            **others,
        }
    )


def _fits(batch: BatchBuilder, record: Sent) -> bool:
    headers = list(record.headers)
    added = batch.append(
        timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=headers
    )
    return added is not None


def _has_work(resume: str) -> bool:
    left = json.loads(resume or "{}")
    parked = all(settlement["parked"] for settlement in left.get("settlements", ()))
    return not parked or bool(left.get("sweeps") or left.get("waiting"))


def _secret(settings: dict[str, object]) -> dict[str, object]:
    if "database_url" in settings:
        return {**settings, "database_url": SecretStr(str(settings["database_url"]))}
    return settings


def _topics(settings: config.Settings) -> Sequence[str]:
    return (
        settings.orders_topic,
        settings.transfers_topic,
        settings.events_topic,
        settings.transfer_events_topic,
        settings.dead_letters_topic,
    )


async def _create_topics(settings: config.Settings, partitions: int) -> None:
    broker = app.make_broker(settings)
    inputs, outputs = _topics(settings)[:2], _topics(settings)[2:]
    stamped = {"message.timestamp.type": "CreateTime"}
    for topics, configs in ((inputs, {}), (outputs, stamped)):
        await broker.create_topics(
            dict.fromkeys(topics, partitions), replication_factor=BROKERS_DEFAULT, configs=configs
        )

    async def described() -> bool:
        found = await broker.describe(_topics(settings))
        return len(found) == len(_topics(settings))

    await eventually(described)
