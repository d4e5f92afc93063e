"""Builds every object of a worker, runs it, and takes it down in order.

Stop order: readiness off, lanes finish their batch and drain their events, the group is left, then
connections close; all within ``PARITY_DRAIN_S``. A second signal ends the process at once.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import generate_latest

from worker.adapters.http import Answers, Check, HttpServer, Refusal
from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.kafka.settings import Deadlines, Security, encrypted, msk_iam
from worker.adapters.postgres.books import Books
from worker.adapters.postgres.catalog import register
from worker.adapters.postgres.store import PostgresStore
from worker.adapters.system import owner_name, sleep, system
from worker.assignment import Assignments
from worker.audit import Auditor
from worker.commit import Committer
from worker.config import Settings
from worker.domain.commands import Side
from worker.domain.ids import partition_of
from worker.domain.state import LaneState, StreamKind
from worker.domain.units import MarketId
from worker.errors import BrokerError, ConfigError, StoreError
from worker.lane import Lane, LaneStatus
from worker.ports import Broker, Store, StreamRow, TopicDescription, TopicPartition
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics, Metrics, log
from worker.watchdog import EXIT_CODE, Probe, Sighting, Watchdog, live, ready, sight
from worker.wire import journal

TOPIC_LOOKS_MAX = 16
BOOK_S = 5.0
"""For so long a question for a book waits for the batch in hand."""
WAITING_RECORD_S = 2.0
INTERRUPTED = 130
GARBAGE_THRESHOLDS = (100_000, 50, 100)
"""Planning makes many small values, which reference counting frees. At Python's defaults an eighth
of the time went into looking for cycles among them."""


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

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        streams: Streams,
        metrics: Metrics | None = None,
    ) -> None:
        self.settings, self.broker, self.streams = settings, broker, streams
        self.metrics = metrics or Metrics()
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
            settings.database_url.get_secret_value(),
            timeout_s=settings.database_timeout_s,
            in_steps=settings.commit_mode == "steps",
            system=self.system,
        )
        publisher = Publisher(
            self.broker,
            route_of(settings, self.streams, stream, partition.partition),
            system=self.system,
            metrics=metrics,
        )
        return Lane(
            stream,
            partition.partition,
            store=store,
            publisher=publisher,
            committer=lambda state, epoch: self._make_committer(
                store, publisher, metrics, state, epoch
            ),
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
            in_steps=self.settings.commit_mode == "steps",
        )


def route_of(
    settings: Settings, streams: Streams, stream: StreamRow, partition: int
) -> journal.Route:
    """Return where the events of a lane go."""
    orders = stream.kind is StreamKind.ORDERS
    return journal.Route(
        stream=stream.stream,
        topic=stream.topic,
        partition=partition,
        events_topic=settings.events_topic if orders else settings.transfer_events_topic,
        dead_letters_topic=settings.dead_letters_topic,
        dead_letter_partitions=streams.dead_letter_partitions,
    )


def make_security(settings: Settings) -> Security:
    """Return how to reach the brokers. Raises ConfigError on what cannot work."""
    ca_file = settings.kafka_ca_file
    match settings.kafka_security:
        case "SSL":
            return encrypted(ca_file)
        case "SASL_SSL_MSK_IAM":
            return msk_iam(
                settings.bootstrap_servers,
                region=settings.kafka_region,
                ca_file=ca_file,
                clock=system().clock,
            )
        case _:
            return Security()


def make_broker(settings: Settings) -> AiokafkaBroker:
    """Return the Kafka that the settings name. Raises ConfigError on what cannot work."""
    deadlines = Deadlines(call_s=settings.kafka_timeout_s, send_s=settings.kafka_timeout_s)
    return AiokafkaBroker(
        settings.bootstrap_servers,
        settings.group_id,
        owner_name(),
        security=make_security(settings),
        deadlines=deadlines,
    )


async def make_topics(settings: Settings, broker: AiokafkaBroker, partitions: int) -> None:
    """Create the topics that are missing, one replica each, and wait until all are known."""
    inputs = (settings.orders_topic, settings.transfers_topic)
    outputs = (settings.events_topic, settings.transfer_events_topic, settings.dead_letters_topic)
    await broker.create_topics(dict.fromkeys(inputs, partitions), replication_factor=1)
    # Events carry lane time, so that publishing them again gives the same bytes.
    lane_time = {"message.timestamp.type": "CreateTime"}
    await broker.create_topics(
        dict.fromkeys(outputs, partitions), replication_factor=1, configs=lane_time
    )
    for tries in range(TOPIC_LOOKS_MAX):
        if len(await broker.describe((*inputs, *outputs))) == len((*inputs, *outputs)):
            return
        await sleep(min(0.05 * 2.0**tries, 2.0))
    raise BrokerError("the brokers do not know the new topics yet")


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
            f" {stream.stream} was registered with {stream.partitions}: it was recreated. RUNBOOK,"
            " 'The input topic is not what it was', brings it back; PARITY_INCARNATION abandons it"
        )
    if topics[output].partitions < stream.partitions:
        raise ConfigError(
            f"topic {output} needs the {stream.partitions} partitions of {stream.topic}:"
            f" it has {topics[output].partitions}"
        )


class Front:
    """What a worker process is beside its lanes: what it serves by HTTP, and its watchdog.

    It stands before there is a worker, because broker and database may be long in coming.
    """

    def __init__(
        self, settings: Settings, broker: AiokafkaBroker, metrics: Metrics | None = None
    ) -> None:
        self._settings, self._broker, self._system = settings, broker, system()
        self.metrics = metrics or Metrics()
        self.worker: Worker | None = None
        self.port = 0
        self._books = Books(
            settings.database_url.get_secret_value(), timeout_s=settings.database_timeout_s
        )
        self.auditor = Auditor(self._books, self._system.clock)
        self.probe = Probe(self._books.probe, self._system, self.metrics)
        self.watchdog = Watchdog(
            self._sightings,
            waits=self._waits,
            probe=self.probe,
            stall_s=settings.stall_s,
            system=self._system,
            metrics=self.metrics,
            end=_end_process,
        )
        self._http = HttpServer(
            Answers(
                live=lambda: live(self.watchdog),
                ready=self._ready,
                lanes=self._lanes,
                metrics=lambda: generate_latest(self.metrics.registry),
                proof=self._proof,
                book=self._book,
                bug=lambda path, error: log.error("http_bug", path=path, exc_info=error),
            )
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Sequence["asyncio.Task[None]"]]:
        """Serve, and yield the tasks that watch; none ends by itself. Raises ConfigError."""
        settings, tasks = self._settings, []
        self.port = await self._http.start(settings.http_host, settings.http_port)
        log.info("http_listening", host=settings.http_host, port=self.port)
        try:
            tasks = [
                asyncio.create_task(self.probe.run(), name="probe"),
                asyncio.create_task(self.watchdog.run(), name="watchdog"),
                asyncio.create_task(self.watchdog.pulse(), name="pulse"),
            ]
            if settings.audit_every_s:
                auditing = self.auditor.run(settings.audit_every_s, sleep, self.metrics)
                tasks.append(asyncio.create_task(auditing, name="audit"))
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._http.close()
            await self._books.close()

    def _ready(self) -> Mapping[str, Check]:
        if self.worker is None:
            return ready(joined=False, draining=False, lanes={}, unheard=(), probe=self.probe)
        assignments = self.worker.assignments
        return ready(
            joined=assignments.joined,
            draining=assignments.draining,
            lanes={p: (lane.status, lane.reason) for p, lane in assignments.lanes.items()},
            unheard=self.watchdog.unheard,
            probe=self.probe,
        )

    def _lanes(self) -> Sequence[Mapping[str, object]]:
        lanes = self.worker.assignments.lanes if self.worker else {}
        return [
            {
                "topic": partition.topic,
                "partition": partition.partition,
                "status": lane.status,
                "reason": lane.reason,
                "queuedRecords": lane.backlog,
                "nextOffset": lane.state and lane.state.next_offset,
                "batchNo": lane.state and lane.state.batch_no,
            }
            for partition, lane in sorted(lanes.items())
        ]

    async def _proof(self) -> Mapping[str, object]:
        return (await self.auditor.prove()).as_json()

    async def _book(self, name: str, levels: int) -> Mapping[str, object]:
        worker, market_id = self.worker, MarketId(name)
        if worker is None:
            raise Refusal(503, "STARTING", "the worker waits for broker and database")
        orders = worker.streams.orders
        home = TopicPartition(orders.topic, partition_of(market_id, orders.partitions))
        place = {"marketId": name, "topic": home.topic, "partition": home.partition}
        where = f"partition {home.partition} of {home.topic}"
        lane = worker.assignments.lanes.get(home)
        if lane is None:
            text = f"the market lives in {where}, which this worker does not hold"
            raise Refusal(404, "NOT_HELD_HERE", text, **place)
        if lane.status is not LaneStatus.READY:
            text = f"the market lives in {where}, which is {lane.status} {lane.reason}".rstrip()
            raise Refusal(503, "LANE_NOT_READY", text, **place)
        async with asyncio.timeout(BOOK_S):
            found = await lane.look(lambda state: _book_of(state, market_id, levels))
        if found is None:
            text = f"there is no such market in {where}, or it is settled"
            raise Refusal(404, "UNKNOWN_MARKET", text, **place)
        return found

    async def _sightings(self) -> Sequence[Sighting]:
        if self.worker is None:
            return ()
        worker = self.worker
        lanes, bounds = tuple(worker.assignments.lanes.items()), worker.assignments.bounds
        events = {
            worker.streams.orders.topic: self._settings.events_topic,
            worker.streams.transfers.topic: self._settings.transfer_events_topic,
        }
        return await asyncio.gather(
            *(
                sight(p, lane, TopicPartition(events[p.topic], p.partition), bounds)
                for p, lane in lanes
            )
        )

    async def _waits(self, partition: TopicPartition, offset: int) -> bool:
        """Whether somebody who comes new gets a record at ``offset`` or behind it."""
        try:
            async with self._broker.reader([partition]) as reader:
                reader.seek(partition, offset)
                return bool((await reader.poll(WAITING_RECORD_S)).get(partition))
        except BrokerError:
            return False


def _book_of(state: LaneState, market_id: MarketId, levels: int) -> Mapping[str, object] | None:
    """Return a market's best prices; None: the lane does not have it, or not any more."""
    market, book = state.markets.get(market_id), state.books.get(market_id)
    if market is None:
        return None

    def side(side: Side) -> Sequence[Mapping[str, int]]:
        depth = book.depth(side, levels) if book is not None else ()
        return [{"price": p, "quantity": q, "orders": n} for p, q, n in depth]

    return {
        "marketId": market_id,
        "title": market.title,
        "status": market.status.name,
        "outcome": market.outcome,
        "payout": market.payout,
        "marketSeq": market.market_seq,
        "seq": state.last_seq,
        "bids": side(Side.BUY),
        "asks": side(Side.SELL),
    }


def _end_process() -> None:
    _exit(EXIT_CODE)


def _exit(code: int) -> None:
    sys.stderr.flush()
    os._exit(code)


class Stopping:
    """Waits for the first SIGTERM or SIGINT; the second ends the process at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.exit_code = 0

    def listen(self) -> None:
        """Take the signals over from Python."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, self._stop, number)

    async def wait(self) -> None:
        """Return when a signal came."""
        await self._event.wait()

    def _stop(self, number: signal.Signals) -> None:
        if self._event.is_set():
            log.warning("worker_stopped_at_once")
            _exit(INTERRUPTED)
        log.info("worker_stopping", signal=number.name)
        self.exit_code = INTERRUPTED if number is signal.SIGINT else 0
        self._event.set()


async def run(settings: Settings) -> int:
    """Run a worker until SIGTERM (returns 0) or SIGINT (returns 130). Raises ConfigError."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    broker, stopping = make_broker(settings), Stopping()
    front = Front(settings, broker)
    stopping.listen()
    try:
        async with front.open() as watching:
            work = asyncio.create_task(_work(settings, broker, front), name="member")
            stopper = asyncio.create_task(stopping.wait(), name="signals")
            done, _ = await asyncio.wait(
                {work, stopper, *watching}, return_when=asyncio.FIRST_COMPLETED
            )
            stopper.cancel()
            for task in done - {stopper}:
                task.result()
            await _drain(front.worker, work, settings.drain_s)
            if not work.done():
                # Unwinding what hangs could hang too; unfinished, it is as safe as after a crash.
                _exit(stopping.exit_code)
        return stopping.exit_code
    finally:
        await broker.close()


async def _work(settings: Settings, broker: AiokafkaBroker, front: Front) -> None:
    streams = await _until_found(settings, broker)
    front.worker = Worker(settings, broker, streams, front.metrics)
    await front.worker.assignments.run()


async def _drain(worker: Worker | None, work: "asyncio.Task[None]", drain_s: float) -> None:
    """Let the lanes finish what is in hand; there are none while the start is waited for."""
    if worker is None:
        work.cancel()
    else:
        worker.assignments.stop()
    await asyncio.wait({work}, timeout=drain_s)
    if work.done() and not work.cancelled():
        work.result()
    log.info("worker_stopped", drained=work.done())


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
