"""The conduct of a worker process while database or broker are down, or both are slow.

The worker waits, without a busy loop, a flood of log lines, growing memory, a restart or a lost
partition. /readyz reports the outage. After it, every command is answered exactly once without
anybody's help. Outages here last longer than the stall timeout, to show that the watchdog
recognises them.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import aiohttp
import psutil
import pytest

from tests.support.books import buy, sell
from tests.support.eventually import eventually
from tests.support.pgproxy import PgProxy
from tests.support.ports import listening_port
from tests.support.system import Process, System
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.exit_codes import UNDRAINED
from worker.intake import QUEUED_RECORDS_MAX

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OUTAGE_S = 15.0
"""The least length of an outage, which also lasts until /readyz reports it."""
STALL_S = 10
"""The stall timeout."""
REPORTED_WITHIN_S = 45.0
BACK_WITHIN_S = 60.0
EXIT_SLACK_S = 30.0
"""How late a busy machine may be to end a process."""
SETTINGS = {"database_timeout_s": 2, "kafka_timeout_s": 3, "stall_s": STALL_S}
"""Timeouts so short that one outage has many of them."""
PATIENT_S = 30
"""Timeout of calls to servers that are up, for a busy machine."""

CPU_SHARE_MAX = 0.2
LOG_LINES_PER_SECOND_MAX = 5.0
GROWTH_BYTES_MAX = 64 * 2**20


# Outages.

Outage = Callable[[PgProxy, EmbeddedKafka], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def database_refuses(proxy: PgProxy, _: EmbeddedKafka) -> AsyncIterator[None]:
    await proxy.down()
    try:
        yield
    finally:
        await proxy.up()


@asynccontextmanager
async def database_is_silent(proxy: PgProxy, _: EmbeddedKafka) -> AsyncIterator[None]:
    """Let the database accept connections and statements without an answer."""
    proxy.latency_s = 3_600.0
    try:
        yield
    finally:
        proxy.latency_s = 0.0


@asynccontextmanager
async def broker_is_frozen(_: PgProxy, kafka: EmbeddedKafka) -> AsyncIterator[None]:
    kafka.pause()
    try:
        yield
    finally:
        kafka.resume()


@asynccontextmanager
async def broker_is_dead(_: PgProxy, kafka: EmbeddedKafka) -> AsyncIterator[None]:
    await asyncio.to_thread(kafka.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(kafka.restart)


@asynccontextmanager
async def both_are_slow(proxy: PgProxy, kafka: EmbeddedKafka) -> AsyncIterator[None]:
    """Add half a second to every statement, and let the broker run a fifth of the time."""

    async def stutter() -> None:
        while True:
            kafka.pause()
            await asyncio.sleep(0.4)
            kafka.resume()
            await asyncio.sleep(0.1)

    proxy.latency_s = 0.5
    stuttering = asyncio.create_task(stutter())
    try:
        yield
    finally:
        stuttering.cancel()
        kafka.resume()
        proxy.latency_s = 0.0


DATABASE_OUTAGES = [database_refuses, database_is_silent]
BROKER_OUTAGES = [broker_is_frozen, broker_is_dead]


# A worker, seen from outside.


@dataclass(frozen=True)
class Usage:
    """CPU time, memory and log lines of a process until now."""

    at_s: float
    cpu_s: float
    resident_bytes: int
    log_lines: int


@dataclass
class Watched:
    """A worker process and a client of its HTTP endpoints."""

    worker: Process
    client: aiohttp.ClientSession
    lanes: int

    @property
    def is_running(self) -> bool:
        return self.worker.process.returncode is None

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.client.get(f"http://127.0.0.1:{self._port()}{path}") as answer:
            return answer.status, await answer.json()

    async def is_ready(self) -> bool:
        """Return whether all lanes of the exchange are READY here.

        The group has assigned none yet when /readyz is first 200, since a worker without lanes is
        ready. A test that went on then would meet lanes that load during its outage.
        """
        assert self.is_running
        if not self._port():
            return False
        status, body = await self.get("/readyz?verbose")
        return status == 200 and len(body["lanes"]) == self.lanes

    async def failed_checks(self) -> dict[str, str]:
        """Return the failed checks of /readyz, with their reasons."""
        status, body = await self.get("/readyz")
        failing = {name: c["says"] for name, c in body["checks"].items() if not c["ok"]}
        assert (status == 503) == bool(failing)
        return failing

    async def fails_only(self, name: str) -> dict[str, str]:
        """Return the failed checks if this is the only one."""
        failing = await self.failed_checks()
        return failing if failing.keys() == {name} else {}

    async def says(self, name: str, text: str) -> bool:
        """Return whether this check alone fails, with ``text`` in its reason."""
        return text in (await self.fails_only(name)).get(name, "")

    async def holds_more_than(self, records: int) -> bool:
        """Return whether more than ``records`` wait in the fullest lane."""
        return await self.queued_records() > records

    async def queued_records(self) -> int:
        """Return how many records wait in the fullest lane."""
        _, body = await self.get("/readyz?verbose")
        return max(int(lane["queuedRecords"]) for lane in body["lanes"])

    def usage(self) -> Usage:
        process = psutil.Process(self.worker.process.pid)
        cpu, now_s = process.cpu_times(), asyncio.get_running_loop().time()
        lines = self.worker.log.read_bytes().count(b"\n")
        return Usage(now_s, cpu.user + cpu.system, process.memory_info().rss, lines)

    async def assert_modest_since(self, before: Usage) -> None:
        """Fail if the process is not live, looped, flooded its log or piled something up."""
        used = self.usage()
        seconds = used.at_s - before.at_s
        assert used.cpu_s - before.cpu_s < CPU_SHARE_MAX * seconds
        assert used.log_lines - before.log_lines < LOG_LINES_PER_SECOND_MAX * seconds
        assert used.resident_bytes - before.resident_bytes < GROWTH_BYTES_MAX
        assert (await self.get("/livez"))[0] == 200

    def send(self, number: signal.Signals) -> None:
        self.worker.process.send_signal(number)

    async def exit_code(self, within_s: float) -> int:
        """Return the exit code of a process that must end in time."""
        async with asyncio.timeout(within_s):
            return await self.worker.process.wait()

    def _port(self) -> int:
        return listening_port(self.worker.process.pid)


@dataclass
class Site:
    """An exchange that reaches its database through a proxy."""

    system: System
    proxy: PgProxy
    kafka: EmbeddedKafka
    client: aiohttp.ClientSession

    async def worker(self, *program: str, **settings: object) -> Watched:
        """Start a worker process and wait until it is ready."""
        arguments, url = program or ("-m", "worker", "run"), self.proxy.url
        started = await self.system.python(*arguments, database_url=url, **settings)
        watched = Watched(started, self.client, lanes=2 * self.system.partitions)
        await eventually(watched.is_ready, BACK_WITHIN_S)
        return watched

    async def market(self) -> MarketId:
        """Open a market in which two rich accounts may trade."""
        (market,) = await self.system.open(0)
        return market

    async def publish_orders(self, market: MarketId, count: int) -> None:
        """Publish orders that trade with each other."""
        sides = zip(range(count), cycle([(sell, "a"), (buy, "b")]), strict=False)
        await self.system.publish(*(side(market, who, 1, 50) for _, (side, who) in sides))

    async def assert_recovered(self, worker: Watched) -> None:
        """Fail unless the same process is ready again and everything is answered once."""
        await eventually(worker.is_ready, BACK_WITHIN_S)
        await self.system.check_invariants()
        assert worker.is_running

    async def epoch(self) -> int:
        """Return the highest epoch of all lanes."""
        found: int = await self.system.database.fetchval("SELECT max(epoch) FROM lanes")
        return found


@pytest.fixture
async def site(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[Site]:
    timeout = aiohttp.ClientTimeout(total=BACK_WITHIN_S)
    async with (
        PgProxy.before(database_url) as proxy,
        System.start(database_url, kafka_server.bootstrap, topic_prefix, **SETTINGS) as system,
        aiohttp.ClientSession(timeout=timeout) as client,
    ):
        yield Site(system, proxy, kafka_server, client)


# During an outage, and afterwards.


@pytest.mark.shows("F24", "F26")
@pytest.mark.parametrize("outage", DATABASE_OUTAGES)
async def test_database_outage_is_waited_for(site: Site, outage: Outage) -> None:
    worker = await site.worker(kafka_timeout_s=PATIENT_S)
    market, epoch = await site.market(), await site.epoch()
    async with outage(site.proxy, site.kafka):
        before = worker.usage()
        await site.publish_orders(market, QUEUED_RECORDS_MAX + 4_000)
        failed = await eventually(lambda: worker.fails_only("database"), REPORTED_WITHIN_S)
        await asyncio.sleep(before.at_s + OUTAGE_S - asyncio.get_running_loop().time())
        await eventually(lambda: worker.holds_more_than(QUEUED_RECORDS_MAX), REPORTED_WITHIN_S)
        queued = await worker.queued_records()
        await worker.assert_modest_since(before)

    await site.assert_recovered(worker)
    # Records that were fetched before the lane paused its partition still come in.
    assert QUEUED_RECORDS_MAX < queued < QUEUED_RECORDS_MAX + 4_000
    assert all(failed.values())
    assert await site.epoch() == epoch, "a lane was lost meanwhile"


@pytest.mark.shows("F32", "F33", "F34", "W11")
@pytest.mark.parametrize("outage", BROKER_OUTAGES)
async def test_broker_outage_is_waited_for(site: Site, outage: Outage) -> None:
    worker = await site.worker()
    await site.publish_orders(await site.market(), 4_000)
    async with outage(site.proxy, site.kafka):
        before = worker.usage()
        failed = await eventually(lambda: worker.fails_only("broker"), REPORTED_WITHIN_S)
        await asyncio.sleep(before.at_s + OUTAGE_S - asyncio.get_running_loop().time())
        await worker.assert_modest_since(before)
        still = await eventually(lambda: worker.fails_only("broker"), REPORTED_WITHIN_S)

    await site.assert_recovered(worker)
    assert all(failed.values())
    assert all(still.values())


@pytest.mark.shows("F25")
async def test_slow_servers_cost_only_time(site: Site) -> None:
    worker = await site.worker(kafka_timeout_s=PATIENT_S, database_timeout_s=STALL_S / 2)
    market, epoch = await site.market(), await site.epoch()
    async with both_are_slow(site.proxy, site.kafka):
        before = worker.usage()
        for _ in range(4):
            await site.publish_orders(market, 500)
            await asyncio.sleep(OUTAGE_S / 4)
        await worker.assert_modest_since(before)

    await site.assert_recovered(worker)
    assert await site.epoch() == epoch, "a lane was lost meanwhile"


@asynccontextmanager
async def a_table_is_missing(system: System) -> AsyncIterator[None]:
    await system.database.execute("ALTER TABLE trades RENAME TO mislaid")
    try:
        yield
    finally:
        await system.database.execute("ALTER TABLE mislaid RENAME TO trades")


@asynccontextmanager
async def a_table_is_locked(system: System) -> AsyncIterator[None]:
    async with system.database.transaction():
        await system.database.execute("LOCK TABLE trades")
        yield


@pytest.mark.parametrize(
    ("refuses", "reason"), [(a_table_is_missing, "42P01"), (a_table_is_locked, "")]
)
async def test_refusing_database_is_waited_for(
    site: Site, refuses: Callable[[System], AbstractAsyncContextManager[None]], reason: str
) -> None:
    """The database answers the probe, so no restart would help and the watchdog must not act."""
    worker = await site.worker(kafka_timeout_s=PATIENT_S)
    market, epoch = await site.market(), await site.epoch()
    async with refuses(site.system):
        before = worker.usage()
        await site.publish_orders(market, QUEUED_RECORDS_MAX + 4_000)
        if reason:
            await eventually(lambda: worker.says("lanes", reason), REPORTED_WITHIN_S)
        await asyncio.sleep(before.at_s + 2 * OUTAGE_S - asyncio.get_running_loop().time())
        await worker.assert_modest_since(before)
        if reason:
            await eventually(lambda: worker.says("lanes", reason), REPORTED_WITHIN_S)

    await site.assert_recovered(worker)
    assert await site.epoch() == epoch, "a lane was lost meanwhile"


# The end of a process.


@pytest.mark.shows("F9")
async def test_sigterm_publishes_committed_events(site: Site) -> None:
    worker = await site.worker()
    await site.publish_orders(await site.market(), 3_000)

    worker.send(signal.SIGTERM)

    assert await worker.exit_code(25 + EXIT_SLACK_S) == 0
    committed = await site.system.database.fetchval("SELECT sum(last_seq) FROM lanes")
    assert len(await site.system.events()) == committed
    await site.worker()
    await site.system.check_invariants()


@pytest.mark.shows("F9")
async def test_sigterm_in_outage_ends_by_deadline(site: Site) -> None:
    """Records wait for their answer, so the drain is not complete."""
    worker = await site.worker(drain_s=2)
    market = await site.market()
    async with database_refuses(site.proxy, site.kafka):
        await site.publish_orders(market, 3_000)
        await eventually(lambda: worker.holds_more_than(0), REPORTED_WITHIN_S)
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(2 + EXIT_SLACK_S) == UNDRAINED

    await site.worker(group_id=f"{site.system.prefix}heir")
    await site.system.check_invariants()


@pytest.mark.shows("F9")
async def test_sigterm_without_broker_ends_by_deadline(site: Site) -> None:
    """Whether something is left to publish depends on the moment."""
    worker = await site.worker(drain_s=2)
    await site.publish_orders(await site.market(), 3_000)
    async with broker_is_frozen(site.proxy, site.kafka):
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(2 + EXIT_SLACK_S) in {0, UNDRAINED}

    await site.worker(group_id=f"{site.system.prefix}heir")
    await site.system.check_invariants()


HANGING = """
import asyncio
import sys
from worker.adapters.postgres.store import PostgresStore
from worker.cli import main
from worker.lane import Lane

close, stop, stopped = PostgresStore.close, Lane.stop, set()

async def hang(self):
    while stopped:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

    await close(self)

def hang_from_now_on(self):
    stopped.add(self)
    stop(self)

PostgresStore.close, Lane.stop = hang, hang_from_now_on
sys.argv = ["parity", "run"]
main()
"""


@pytest.mark.shows("F9")
async def test_sigterm_of_hanging_worker_ends_by_deadline(site: Site) -> None:
    worker = await site.worker("-c", HANGING, drain_s=2)

    worker.send(signal.SIGTERM)

    assert await worker.exit_code(2 + EXIT_SLACK_S) == UNDRAINED


@pytest.mark.shows("F9")
async def test_second_sigterm_ends_at_once(site: Site) -> None:
    worker = await site.worker(drain_s=600)
    market = await site.market()
    async with database_is_silent(site.proxy, site.kafka):
        # Only now: a worker that has answered everything would end at the first signal.
        await site.publish_orders(market, 3_000)
        await eventually(lambda: worker.holds_more_than(0), REPORTED_WITHIN_S)
        worker.send(signal.SIGTERM)
        await eventually(lambda: is_draining(worker))
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(EXIT_SLACK_S) == 130

    await site.worker(group_id=f"{site.system.prefix}heir")
    await site.system.check_invariants()


async def is_draining(worker: Watched) -> bool:
    return "draining" in await worker.failed_checks()
