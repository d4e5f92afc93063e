"""The whole exchange for one test: topics, a migrated database, workers, and what must hold.

``System.start`` makes everything under a prefix of its own. Workers run as tasks of the test or as
processes of their own; commands go in through ``publish``, records of any kind through ``send``.
``check_invariants`` reads all topics and the database and calls `tests.support.invariants`.
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
from producers.commands import Publishable
from tests.support import dialect, invariants
from tests.support.eventually import eventually
from worker import app, config
from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.kafka.deadline import stop_within
from worker.adapters.kafka.settings import Deadlines
from worker.adapters.postgres.migrate import migrate
from worker.domain.ids import partition_of
from worker.domain.units import AccountId, MarketId
from worker.lane import Lane, LaneStatus
from worker.ports import TopicPartition
from worker.topics import find_streams

REPOSITORY: Final = Path(__file__).parents[2]
SESSION_S: Final = 20.0
"""A worker of the test's own process is never killed, but may stand still with it for a while."""
ANSWERED_S: Final = 60.0
BROKERS_DEFAULT: Final = -1
STOP_S: Final = 10.0
_LANES: Final = (
    "SELECT s.topic, l.partition, l.next_offset, l.last_seq, l.resume"
    " FROM lanes l JOIN streams s USING (stream) ORDER BY l.lane"
)


class Sent(NamedTuple):
    """A record to be published as it is."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_ms: int | None = None


class Log:
    """All records of some topics, read as far as they go."""

    def __init__(self, bootstrap: str, topics: Iterable[str]) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
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
            for partition, records in (await self._consumer.getmany(timeout_ms=50)).items():
                self.records[TopicPartition(*partition)].extend(records)

    async def ends(self) -> dict[TopicPartition, int]:
        found = await self._consumer.end_offsets(list(self._consumer.assignment()))
        return {TopicPartition(*partition): end for partition, end in found.items()}

    async def stop(self) -> None:
        # As a task of its own: after an outage aiokafka raises a CancelledError nobody asked for.
        await stop_within(STOP_S, self._consumer.stop())


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
        """Return how many lanes take commands."""
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
        """Take it down as SIGTERM does."""
        self.worker.assignments.stop()
        await asyncio.wait({self.task}, timeout=30)
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await self.broker.close()


@dataclass
class Process:
    """A worker in a process of its own."""

    process: asyncio.subprocess.Process
    log: Path

    def kill(self) -> None:
        """End it as a power cut does."""
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
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
        """Make topics and tables, and take everything down in the end. No worker runs yet."""
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
            raw = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=10**6)
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
        """Start a worker in this process; ``settings`` differ from the system's."""
        made = self.settings.model_copy(update=_secret(settings))
        broker = AiokafkaBroker(
            made.bootstrap_servers,
            made.group_id,
            f"member-{len(self.workers)}",
            deadlines=Deadlines(session_s=SESSION_S),
        )
        worker = app.Worker(made, broker, await find_streams(made, broker))
        task = asyncio.create_task(worker.assignments.run(), name="member")
        self.workers.append(member := Member(worker, broker, task))
        return member

    def environment(self, **settings: object) -> dict[str, str]:
        """Return that of a process; ``settings`` differ from the system's."""
        made = {**self.settings.model_dump(), "http_port": 0, **settings}
        made["database_url"] = settings.get(
            "database_url", self.settings.database_url.get_secret_value()
        )
        return {**os.environ, **{f"PARITY_{name.upper()}": str(v) for name, v in made.items()}}

    @property
    def topics(self) -> Sequence[str]:
        """Return the names of all topics."""
        return _topics(self.settings)

    async def process(self, module: str = "worker", **settings: object) -> Process:
        """Start a worker in a process of its own."""
        log = self.directory / f"worker-{len(self.workers)}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                "run",
                cwd=REPOSITORY,
                env=self.environment(**settings),
                stderr=file,
            )
        self.workers.append(started := Process(process, log))
        return started

    async def stop(self) -> None:
        """Take every worker down."""
        await asyncio.gather(*(worker.stop() for worker in self.workers))

    async def close(self) -> None:
        """Let go of what it has in the end: a test may have given it another log, or database."""
        await self.stop()
        await self.database.close()
        await self.log.stop()

    # What goes in.

    async def publish(self, *commands: Publishable) -> None:
        """Publish commands to where they belong, in order per key."""
        await self.publisher.publish_all(commands)

    async def send(self, topic: str, records: Sequence[Sent]) -> list[int]:
        """Publish records as they are, in order per partition; return their offsets."""
        offsets = [0] * len(records)
        for partition in {record.partition for record in records}:
            own = [(n, r) for n, r in enumerate(records) if r.partition == partition]
            while own:
                batch = self.raw.create_batch()
                taken = list(itertools.takewhile(lambda entry: _fits(batch, entry[1]), own))  # noqa: B023
                ack = await self.raw.send_batch(batch, topic, partition=partition)
                base = (await ack).offset
                for place, (n, _) in enumerate(taken):
                    offsets[n] = base + place
                own = own[len(taken) :]
        return offsets

    # What comes out.

    async def answered(self, within_s: float = ANSWERED_S) -> None:
        """Wait until every record is answered, nothing is left to do, and all is published."""
        await eventually(self._is_answered, within_s)

    async def _is_answered(self) -> bool:
        self.raise_failures()
        try:
            return await self._all_is_answered()
        except KafkaError:
            # A broker is away, and with it the answer; the next look may find another.
            return False

    async def _all_is_answered(self) -> bool:
        ends = await self.log.ends()
        lanes = await self.database.fetch(_LANES)
        if not lanes or any(
            row["next_offset"] < ends[TopicPartition(row["topic"], row["partition"])]
            or _has_work(row["resume"])
            for row in lanes
        ):
            return False
        await self.log.read()
        return all(
            self._last_seq(row["topic"], row["partition"]) >= row["last_seq"] for row in lanes
        )

    def _last_seq(self, topic: str, partition: int) -> int:
        records = self.log.records[TopicPartition(self.output_of(topic), partition)]
        return max((invariants.seq_of(record) for record in records), default=0)

    def output_of(self, topic: str) -> str:
        """Return the topic of the events of an input topic."""
        orders = topic == self.settings.orders_topic
        return self.settings.events_topic if orders else self.settings.transfer_events_topic

    def raise_failures(self) -> None:
        """Raise what ended a worker of this process, if one did."""
        for worker in self.workers:
            if isinstance(worker, Member) and worker.task.done() and not worker.task.cancelled():
                worker.task.result()

    async def events(self, kind: str = "", **fields: object) -> list[dict[str, Any]]:
        """Return the events of a type with these fields, first occurrences, lane by lane."""
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
        """Check everything that must hold, whatever happened before."""
        if answered:
            await self.answered()
        await self.log.read()
        await self.check_books()

    async def check_books(self) -> None:
        """Check the database as it is now against the topics as they were read last."""
        evidence = await invariants.gather(self.settings, self.database, self.log.records)
        invariants.check(evidence)

    # Names.

    def market(self, partition: int, name: str = "m") -> MarketId:
        """Return a market's name that lives in ``partition``."""
        return MarketId(self.key(partition, name))

    def account(self, partition: int, name: str = "a") -> AccountId:
        """Return an account's name of which the transfers live in ``partition``."""
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
    return "sweep" in left or not all(s["parked"] for s in left.get("settlements", ()))


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
    await broker.close()
