"""Builds every object of a worker, runs it, and takes it down in order.

Stop order: readiness off, lanes finish their batch and drain their events, the group is left, then
connections close; all within ``PARITY_DRAIN_S``. A second signal ends the process at once.
"""

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.kafka.settings import Deadlines
from worker.adapters.postgres.catalog import register
from worker.adapters.postgres.store import PostgresStore
from worker.adapters.system import owner_name, sleep, system
from worker.assignment import Assignments
from worker.commit import Committer
from worker.config import Settings
from worker.domain.state import LaneState, StreamKind
from worker.errors import BrokerError, ConfigError, StoreError
from worker.lane import Lane
from worker.ports import Broker, Store, StreamRow, TopicDescription, TopicPartition
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics, Metrics, log
from worker.wire import journal


@dataclass(frozen=True, slots=True)
class Streams:
    """The two input streams and where their events go."""

    orders: StreamRow
    transfers: StreamRow
    dead_letter_partitions: int

    def of_topic(self, topic: str) -> StreamRow:
        """Return the stream that comes in by ``topic``."""
        return self.orders if topic == self.orders.topic else self.transfers


class Worker:
    """A worker process, without its HTTP side."""

    def __init__(self, settings: Settings, broker: Broker, streams: Streams) -> None:
        self.settings, self.broker, self.streams = settings, broker, streams
        self.metrics = Metrics()
        self.system = system()
        self.owner = owner_name()
        self.assignments = Assignments(
            broker,
            (streams.orders.topic, streams.transfers.topic),
            self._make_lane,
            owner=self.owner,
            metrics=self.metrics,
            system=self.system,
        )

    def _make_lane(self, partition: TopicPartition) -> Lane | None:
        stream = self.streams.of_topic(partition.topic)
        metrics = LaneMetrics(self.metrics, stream.stream, partition.partition)
        if partition.partition >= stream.partitions:
            metrics.alarm("partition_not_in_stream", partitions=stream.partitions)
            return None
        settings = self.settings
        store = PostgresStore(
            settings.database_url.get_secret_value(), timeout_s=settings.database_timeout_s
        )
        publisher = self._make_publisher(stream, partition, metrics)
        return Lane(
            stream,
            partition.partition,
            store=store,
            publisher=publisher,
            committer=lambda state, epoch: self._make_committer(
                store, publisher, metrics, state, epoch
            ),
            metrics=metrics,
            clock=self.system.clock,
        )

    def _make_publisher(
        self, stream: StreamRow, partition: TopicPartition, metrics: LaneMetrics
    ) -> Publisher:
        settings, orders = self.settings, stream.kind is StreamKind.ORDERS
        route = journal.Route(
            stream=stream.stream,
            topic=stream.topic,
            partition=partition.partition,
            events_topic=settings.events_topic if orders else settings.transfer_events_topic,
            dead_letters_topic=settings.dead_letters_topic,
            dead_letter_partitions=self.streams.dead_letter_partitions,
        )
        return Publisher(
            self.broker,
            route,
            system=self.system,
            metrics=metrics,
        )

    def _make_committer(
        self,
        store: Store,
        publisher: Publisher,
        metrics: LaneMetrics,
        state: LaneState,
        epoch: int,
    ) -> Committer:
        return Committer(
            store=store,
            state=state,
            epoch=epoch,
            owner=self.owner,
            rows=self.settings.batch_rows,
            system=self.system,
            metrics=metrics,
            published_batch_no=lambda: publisher.published_batch_no,
        )


def make_broker(settings: Settings) -> AiokafkaBroker:
    """Return the Kafka that the settings name."""
    deadlines = Deadlines()
    return AiokafkaBroker(
        settings.bootstrap_servers, settings.group_id, owner_name(), deadlines=deadlines
    )


async def find_streams(settings: Settings, broker: Broker) -> Streams:
    """Check the topics and register their streams. Raises ConfigError on what cannot work."""
    inputs = (settings.orders_topic, settings.transfers_topic)
    outputs = (settings.events_topic, settings.transfer_events_topic, settings.dead_letters_topic)
    topics = await broker.describe((*inputs, *outputs))
    missing = [name for name in (*inputs, *outputs) if name not in topics]
    if missing:
        raise ConfigError(f"topics {', '.join(missing)} do not exist: run `parity topics`")
    rows = []
    for topic, kind, output in zip(inputs, StreamKind, outputs, strict=False):
        _check_input(topic, topics[topic])
        rows.append(
            await register(
                settings.database_url.get_secret_value(),
                settings.stream(topic),
                topic,
                kind,
                topics[topic].partitions,
                timeout_s=settings.database_timeout_s,
            )
        )
        _check_partitions(rows[-1], topics, output)
    orders, transfers = rows
    return Streams(orders, transfers, topics[settings.dead_letters_topic].partitions)


def _check_input(topic: str, found: TopicDescription) -> None:
    if not found.log_append_time:
        raise ConfigError(
            f"topic {topic} stamps records with the producer's clock: set"
            " message.timestamp.type=LogAppendTime, which time in this exchange relies on"
        )


def _check_partitions(
    stream: StreamRow, topics: Mapping[str, TopicDescription], output: str
) -> None:
    if topics[stream.topic].partitions < stream.partitions:
        raise ConfigError(
            f"topic {stream.topic} has {topics[stream.topic].partitions} partitions, its stream"
            f" {stream.stream} was registered with {stream.partitions}: it was recreated; raise"
            " PARITY_INCARNATION to begin a new stream"
        )
    if topics[output].partitions < stream.partitions:
        raise ConfigError(
            f"topic {output} needs the {stream.partitions} partitions of {stream.topic}:"
            f" it has {topics[output].partitions}"
        )


async def run(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    broker = make_broker(settings)
    try:
        worker = Worker(settings, broker, await _until_found(settings, broker))
        stopping = asyncio.Event()
        _on_signals(stopping)
        member = asyncio.create_task(worker.assignments.run(), name="member")
        stopper = asyncio.create_task(stopping.wait(), name="signals")
        await asyncio.wait({member, stopper}, return_when=asyncio.FIRST_COMPLETED)
        worker.assignments.stop()
        await asyncio.wait({member}, timeout=settings.drain_s)
        stopper.cancel()
        if member.done():
            member.result()
        log.info("worker_stopped", drained=member.done())
    finally:
        await broker.close()


async def _until_found(settings: Settings, broker: Broker) -> Streams:
    """Wait for broker and database at the start, as later on: an outage is not an exit."""
    failures = 0
    while True:
        try:
            return await find_streams(settings, broker)
        except (BrokerError, StoreError) as error:
            failures += 1
            log.warning("waiting_to_start", error=str(error))
            await sleep(min(0.25 * 2.0 ** min(failures, 6), 10.0))


def _on_signals(stopping: asyncio.Event) -> None:
    def stop() -> None:
        if stopping.is_set():
            raise SystemExit(130)
        log.info("worker_stopping")
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop)
