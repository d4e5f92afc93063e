"""Builds the objects of a worker process, runs it, and takes it down in order.

Order of a stop: readiness goes off, lanes finish their batch and publish its events, the worker
leaves the group, connections close. All of it within ``PARITY_DRAIN_S``, and a second signal ends
the process at once.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable

from worker.adapters.http import HttpServer
from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.kafka.settings import Deadlines, Security, encrypted, msk_iam
from worker.adapters.postgres import target
from worker.adapters.postgres.books import Books
from worker.adapters.postgres.store import PostgresStore
from worker.adapters.system import owner_name, system
from worker.assignment import Assignments
from worker.audit import Auditor
from worker.commit import Owner
from worker.config import Settings
from worker.domain.ids import partition_by_murmur2
from worker.domain.units import MarketId
from worker.errors import BrokerError, StoreError
from worker.exit_codes import INTERRUPTED, STALLED, UNDRAINED
from worker.health.serve import Health, WorkerAnswers
from worker.health.topic_watch import TopicWatch
from worker.health.watchdog import Lookout, Probe, Watchdog
from worker.lane import Lane
from worker.ports import Monotonic, TopicPartition
from worker.publisher import Publisher
from worker.refusals import RefusalMonitor
from worker.retry import retry
from worker.telemetry import LaneMetrics, Metrics, log
from worker.topics import Streams, find_streams

MIB = 1_048_576
START_BACKOFF_CAP_S = 10.0
WAIT_LOGGED_EVERY_S = 60.0
GARBAGE_THRESHOLDS = (25_000, 3, 1_000)
"""Planning makes many small values, which reference counting frees. With Python's defaults the
garbage collector took an eighth of the time, to look for cycles among them. The second number
bounds what one search goes through: 100,000 objects in 33 ms, and the event loop waits."""


class WaitLog:
    """Logs the cause of a wait: when it is new, and again after WAIT_LOGGED_EVERY_S."""

    def __init__(self, clock: Monotonic) -> None:
        self._clock = clock
        self._text, self._logged_at_s = "", 0.0

    def __call__(self, error: Exception) -> None:
        text, now_s = str(error), self._clock()
        if text != self._text or now_s - self._logged_at_s >= WAIT_LOGGED_EVERY_S:
            self._text, self._logged_at_s = text, now_s
            log.warning("waiting_to_start", error=text)


class Worker:
    """The lanes of a worker process."""

    def __init__(
        self,
        settings: Settings,
        broker: AiokafkaBroker,
        streams: Streams | None = None,
        *,
        loaded: Callable[[], None] = lambda: None,
    ) -> None:
        """``streams`` None: ``run`` finds them. ``loaded`` is called after each lane's loading."""
        self.settings, self.broker, self.streams = settings, broker, streams
        self.metrics = Metrics()
        self.system = system()
        self.owner = Owner(
            owner_name(),
            settings.batch_rows,
            self.system,
            open_orders=settings.lane_open_orders,
            loaded=loaded,
        )
        self.assignments = Assignments(
            broker,
            settings.inputs,
            self._make_lane,
            metrics=self.metrics,
            system=self.system,
            queue_bytes=settings.queue_mib * MIB,
        )

    async def run(self) -> None:
        """Find the topics and own lanes until ``stop``.

        Broker and database are waited for: at the start, too, an outage is no reason to exit.
        """
        if self.streams is None:
            self.streams = await retry(
                lambda: find_streams(self.settings, self.broker),
                (BrokerError, StoreError),
                cap_s=START_BACKOFF_CAP_S,
                tries=None,
                system=self.system,
                failed=WaitLog(self.system.clock),
            )
        await self.assignments.run()

    async def drain(self, work: "asyncio.Task[None]") -> None:
        """Let ``work``, which runs this, finish within its time."""
        if self.streams is None:
            # Nothing is in hand before the topics are found.
            work.cancel()
        self.assignments.stop()
        await asyncio.wait({work}, timeout=self.settings.drain_s)
        if work.done() and not work.cancelled():
            work.result()
        log.info("worker_stopped", drained=self.drained(work))

    def drained(self, work: "asyncio.Task[None]") -> bool:
        """Return whether ``work`` is done, and every lane ended its batch and published it."""
        return work.done() and not self.assignments.cut_off

    def home_of(self, market_id: MarketId) -> TopicPartition | None:
        """Return the input partition of a market. None: the topics are not found yet.

        Computed each time, so that no request from outside fills a cache.
        """
        if self.streams is None:
            return None
        orders = self.streams.orders
        return TopicPartition(orders.topic, partition_by_murmur2(market_id, orders.partitions))

    def events_of(self, partition: TopicPartition) -> TopicPartition:
        """Return where the events of an input partition go."""
        streams = self._found()
        stream = streams.of_topic(partition.topic)
        route = streams.route(stream, partition.partition)
        return TopicPartition(route.events_topic, route.partition)

    def _found(self) -> Streams:
        assert self.streams is not None, "lanes are assigned after the topics are found"
        return self.streams

    def _make_lane(self, partition: TopicPartition, refusals: RefusalMonitor) -> Lane | None:
        settings, streams = self.settings, self._found()
        stream = streams.of_topic(partition.topic)
        metrics = LaneMetrics(self.metrics, stream.stream, partition.partition)
        if partition.partition >= stream.partitions:
            metrics.alarm("partition_not_in_stream", partitions=stream.partitions)
            return None
        store = PostgresStore(
            settings.database_url.get_secret_value(),
            timeout_s=settings.database_timeout_s,
            in_steps=settings.commit_mode == "steps",
            system=self.system,
        )
        publisher = Publisher(
            self.broker,
            streams.route(stream, partition.partition),
            system=self.system,
            metrics=metrics,
        )
        return Lane(
            stream,
            partition.partition,
            owner=self.owner,
            store=store,
            publisher=publisher,
            metrics=metrics,
            refusals=refusals,
        )


def make_health(worker: Worker, *, end: Callable[[], None]) -> Health:
    """Return what runs next to the worker's lanes. ``end`` ends the process."""
    settings, metrics = worker.settings, worker.metrics
    books = make_books(settings)
    auditor = Auditor(books, worker.system.clock)
    probe = Probe(books.probe, worker.system, metrics)
    lookout = Lookout(worker.assignments, worker.events_of, worker.broker.reader)
    watchdog = Watchdog(
        lookout.look,
        waits=lookout.waits,
        probe=probe,
        stall_s=settings.stall_s,
        system=worker.system,
        metrics=metrics,
        end=end,
    )
    topic_watch = make_topic_watch(worker)
    answers = WorkerAnswers(
        assignments=worker.assignments,
        home_of=worker.home_of,
        probe=probe,
        watchdog=watchdog,
        topic_watch=topic_watch,
        auditor=auditor,
        metrics=metrics,
    )
    return Health(
        settings=settings,
        http=HttpServer(answers, worker.system.clock),
        probe=probe,
        watchdog=watchdog,
        topic_watch=topic_watch,
        auditor=auditor,
        books=books,
        metrics=metrics,
        system=worker.system,
    )


def make_topic_watch(worker: Worker) -> TopicWatch:
    """Return the watch over the worker's topics."""
    return TopicWatch(
        inputs=worker.settings.inputs,
        outputs=worker.settings.outputs,
        broker=worker.broker,
        assignments=worker.assignments,
        streams=lambda: worker.streams,
        system=worker.system,
        metrics=worker.metrics,
    )


def make_books(settings: Settings) -> Books:
    """Return the reader of the whole database that the settings name."""
    url = settings.database_url.get_secret_value()
    return Books(url, timeout_s=settings.database_timeout_s)


def make_security(settings: Settings) -> Security:
    """Return how to connect to the brokers. Raises ConfigError if the settings cannot work."""
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
    """Return the Kafka that the settings name. Raises ConfigError if the settings cannot work."""
    deadlines = Deadlines(call_s=settings.kafka_timeout_s, send_s=settings.kafka_timeout_s)
    return AiokafkaBroker(
        settings.bootstrap_servers,
        settings.group_id,
        owner_name(),
        security=make_security(settings),
        deadlines=deadlines,
    )


def keep_loaded() -> None:
    """Take everything that lives now out of the garbage collector's searches.

    A million open orders took it 350 ms. They are freed by reference counting as before.
    """
    gc.collect(0)
    gc.freeze()


def _exit(code: int) -> None:
    """End the process at once: no cleanup, which could hang."""
    sys.stderr.flush()
    os._exit(code)


class Stopping:
    """Waits for the first SIGTERM or SIGINT. The second ends the process at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.exit_code = 0

    def listen(self) -> None:
        """Handle the signals in place of Python."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, self._stop, number)

    async def wait(self) -> None:
        """Return after a signal."""
        await self._event.wait()

    def _stop(self, number: signal.Signals) -> None:
        if self._event.is_set():
            log.warning("worker_stopped_at_once")
            _exit(INTERRUPTED)
        log.info("worker_stopping", signal=number.name)
        self.exit_code = INTERRUPTED if number is signal.SIGINT else 0
        self._event.set()


def check(settings: Settings) -> None:
    """Raise ConfigError for settings that no worker can run with, without connecting."""
    target.check_for_workers(settings.database_url.get_secret_value())


async def run(settings: Settings) -> int:
    """Run a worker until SIGTERM (returns 0) or SIGINT (returns 130). Raises ConfigError.

    Returns 75 after either of them if the worker was not drained in time.
    """
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    check(settings)
    broker, stopping = make_broker(settings), Stopping()
    worker = Worker(settings, broker, loaded=keep_loaded)
    health = make_health(worker, end=lambda: _exit(STALLED))
    stopping.listen()
    async with health.open() as watching:
        work = asyncio.create_task(worker.run(), name="member")
        stopper = asyncio.create_task(stopping.wait(), name="signals")
        done, _ = await asyncio.wait(
            {work, stopper, *watching}, return_when=asyncio.FIRST_COMPLETED
        )
        stopper.cancel()
        for task in done - {stopper}:
            task.result()
        await worker.drain(work)
        code = stopping.exit_code if worker.drained(work) else UNDRAINED
        if not work.done():
            # Unwinding a hanging task could hang too. Ending here is as safe as a crash.
            _exit(code)
    return code
