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

from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.kafka.settings import Deadlines, Security, encrypted, msk_iam
from worker.adapters.postgres import target
from worker.adapters.postgres.store import PostgresStore
from worker.adapters.system import owner_name, sleep, system
from worker.assignment import Assignments
from worker.commit import Owner
from worker.config import Settings
from worker.errors import BrokerError, StoreError
from worker.front import Front
from worker.lane import Lane
from worker.ports import Broker, TopicPartition
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics, Metrics, log
from worker.topics import Streams, find_streams
from worker.watchdog import EXIT_CODE

INTERRUPTED = 130
GARBAGE_THRESHOLDS = (100_000, 50, 100)
"""Planning makes many small values, which reference counting frees. At Python's defaults an eighth
of the time went into looking for cycles among them."""


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
        self.owner = Owner(owner_name(), settings.batch_rows, self.system)
        self.assignments = Assignments(
            broker,
            (streams.orders.topic, streams.transfers.topic),
            self._make_lane,
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
            self.streams.route(settings, stream, partition.partition),
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


def check(settings: Settings) -> None:
    """Raise ConfigError when no worker may run with these, as can be seen before connecting."""
    target.check_for_workers(settings.database_url.get_secret_value())


async def run(settings: Settings) -> int:
    """Run a worker until SIGTERM (returns 0) or SIGINT (returns 130). Raises ConfigError."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    check(settings)
    broker, stopping = make_broker(settings), Stopping()
    front = Front(settings, broker, end=lambda: _exit(EXIT_CODE))
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
            await _drain(front.assignments, work, settings.drain_s)
            if not work.done():
                # Unwinding what hangs could hang too; unfinished, it is as safe as after a crash.
                _exit(stopping.exit_code)
        return stopping.exit_code
    finally:
        await broker.close()


async def _work(settings: Settings, broker: AiokafkaBroker, front: Front) -> None:
    streams = await _until_found(settings, broker)
    assignments = Worker(settings, broker, streams, front.metrics).assignments
    front.begin(assignments, streams)
    await assignments.run()


async def _drain(
    assignments: Assignments | None, work: "asyncio.Task[None]", drain_s: float
) -> None:
    """Let the lanes finish what is in hand; there are none while the start is waited for."""
    if assignments is None:
        work.cancel()
    else:
        assignments.stop()
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
