"""How a worker process behaves while the database or the broker is away, or both are slow.

It waits: no busy loop, no flood of log lines, no growing memory, no restart, no lost partition.
/readyz tells, and when both are back all is answered exactly once without anybody's help. The
outages last longer than a lane may stand still, so that the watchdog is shown to know them.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import aiohttp
import psutil
import pytest

from tests.support.books import buy, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.pgproxy import PgProxy
from tests.support.ports import listening_port
from tests.support.system import REPOSITORY, Process, System
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.lane import QUEUED_RECORDS_MAX

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

RICH = 10**9
OUTAGE_S = 15.0
"""At least, and in any case until it is told."""
STALL_S = 10
"""A lane may stand still for so long, unless there is an outage."""
TOLD_WITHIN_S = 45.0
BACK_WITHIN_S = 60.0
EXIT_SLACK_S = 30.0
"""By so much a busy machine may be late to end a process."""
SETTINGS = {"database_timeout_s": 2, "kafka_timeout_s": 3, "stall_s": STALL_S}
"""Calls are given up so soon that many are in one outage."""
PATIENT_S = 30
"""So long may a call take of what is not away, only on a busy machine."""

CPU_SHARE_MAX = 0.2
LOG_LINES_A_SECOND_MAX = 5.0
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
    """It takes connections and statements, and never answers one."""
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
    """Half a second more for every statement; the broker runs a fifth of the time."""

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


# A worker, and what can be seen of it from outside.


@dataclass(frozen=True)
class Usage:
    """What a process has used, and said, until now."""

    at_s: float
    cpu_s: float
    resident_bytes: int
    log_lines: int

    def assert_modest_since(self, before: "Usage") -> None:
        """It neither turned in circles nor piled anything up."""
        seconds = self.at_s - before.at_s
        assert self.cpu_s - before.cpu_s < CPU_SHARE_MAX * seconds
        assert self.log_lines - before.log_lines < LOG_LINES_A_SECOND_MAX * seconds
        assert self.resident_bytes - before.resident_bytes < GROWTH_BYTES_MAX


@dataclass
class Watched:
    """A worker process, and somebody who looks at it from outside."""

    worker: Process
    client: aiohttp.ClientSession

    @property
    def is_running(self) -> bool:
        return self.worker.process.returncode is None

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.client.get(f"http://127.0.0.1:{self._port()}{path}") as answer:
            return answer.status, await answer.json()

    async def is_ready(self) -> bool:
        assert self.is_running
        return self._port() != 0 and (await self.get("/readyz"))[0] == 200

    async def complaints(self) -> dict[str, str]:
        """Return what /readyz complains about, with its reasons."""
        status, body = await self.get("/readyz")
        failing = {name: c["says"] for name, c in body["checks"].items() if not c["ok"]}
        assert (status == 503) == bool(failing)
        return failing

    async def complains_of(self, name: str) -> dict[str, str]:
        """Return its complaints when they are of this, and of nothing else."""
        failing = await self.complaints()
        return failing if failing.keys() == {name} else {}

    async def says(self, name: str, text: str) -> bool:
        """Return whether it complains of this and of nothing else, and with that in its reason."""
        return text in (await self.complains_of(name)).get(name, "")

    async def holds_more_than(self, records: int) -> bool:
        """Return whether more records than so many wait in the fullest lane."""
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

    def send(self, number: signal.Signals) -> None:
        self.worker.process.send_signal(number)

    async def exit_code(self, within_s: float) -> int:
        """Return how it ended, which must be in time."""
        async with asyncio.timeout(within_s):
            return await self.worker.process.wait()

    def _port(self) -> int:
        return listening_port(self.worker.process.pid)


@dataclass
class Site:
    """An exchange whose database is behind a proxy."""

    system: System
    proxy: PgProxy
    kafka: EmbeddedKafka
    client: aiohttp.ClientSession

    async def worker(
        self, program: Sequence[str] = ("-m", "worker", "run"), **settings: object
    ) -> Watched:
        """Start a worker process and wait until it is ready."""
        made = {**self.system.settings.model_dump(), "database_url": self.proxy.url, "http_port": 0}
        environment = {f"PARITY_{name.upper()}": str(v) for name, v in {**made, **settings}.items()}
        log = self.system.directory / f"worker-{len(self.system.workers)}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *program,
                cwd=REPOSITORY,
                env={**os.environ, **environment},
                stderr=file,
            )
        self.system.workers.append(started := Process(process, log))
        watched = Watched(started, self.client)
        await eventually(watched.is_ready, BACK_WITHIN_S)
        return watched

    async def market(self) -> MarketId:
        """Open a market in which two rich accounts may trade."""
        market = self.system.market(0)
        await self.system.publish(deposit("a", RICH), deposit("b", RICH), open_market(market))
        await self.system.answered()
        return market

    async def publish_orders(self, market: MarketId, count: int) -> None:
        """Publish orders that cross each other."""
        sides = zip(range(count), cycle([(sell, "a"), (buy, "b")]), strict=False)
        await self.system.publish(*(side(market, who, 1, 50) for _, (side, who) in sides))

    async def epoch(self) -> int:
        """Return how often the lane most often taken over was."""
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


# While it lasts, and afterwards.


@pytest.mark.shows("F24", "F26")
@pytest.mark.parametrize("outage", DATABASE_OUTAGES)
async def test_a_database_that_is_away_is_waited_for(site: Site, outage: Outage) -> None:
    worker = await site.worker(kafka_timeout_s=PATIENT_S)
    market, epoch = await site.market(), await site.epoch()
    async with outage(site.proxy, site.kafka):
        before = worker.usage()
        await site.publish_orders(market, QUEUED_RECORDS_MAX + 4_000)
        complaints = await eventually(lambda: worker.complains_of("database"), TOLD_WITHIN_S)
        await asyncio.sleep(before.at_s + OUTAGE_S - asyncio.get_running_loop().time())
        await eventually(lambda: worker.holds_more_than(QUEUED_RECORDS_MAX), TOLD_WITHIN_S)
        used, queued = worker.usage(), await worker.queued_records()
        alive, _ = await worker.get("/livez")

    await eventually(worker.is_ready, BACK_WITHIN_S)
    await site.system.check_invariants()

    used.assert_modest_since(before)
    # What was under way when the lane had enough still comes in.
    assert QUEUED_RECORDS_MAX < queued < QUEUED_RECORDS_MAX + 4_000
    assert all(complaints.values())
    assert alive == 200
    assert await site.epoch() == epoch, "a lane was lost meanwhile"
    assert worker.is_running


@pytest.mark.shows("F32", "F33", "F34", "W11")
@pytest.mark.parametrize("outage", BROKER_OUTAGES)
async def test_a_broker_that_is_away_is_waited_for(site: Site, outage: Outage) -> None:
    worker = await site.worker()
    await site.publish_orders(await site.market(), 4_000)
    async with outage(site.proxy, site.kafka):
        before = worker.usage()
        complaints = await eventually(lambda: worker.complains_of("broker"), TOLD_WITHIN_S)
        await asyncio.sleep(before.at_s + OUTAGE_S - asyncio.get_running_loop().time())
        used = worker.usage()
        still = await eventually(lambda: worker.complains_of("broker"), TOLD_WITHIN_S)
        alive, _ = await worker.get("/livez")

    await eventually(worker.is_ready, BACK_WITHIN_S)
    await site.system.check_invariants()

    used.assert_modest_since(before)
    assert all(complaints.values())
    assert all(still.values())
    assert alive == 200
    assert worker.is_running


@pytest.mark.shows("F25")
async def test_a_slow_database_and_a_slow_broker_cost_nothing_but_time(site: Site) -> None:
    worker = await site.worker(kafka_timeout_s=PATIENT_S, database_timeout_s=STALL_S / 2)
    market, epoch = await site.market(), await site.epoch()
    async with both_are_slow(site.proxy, site.kafka):
        before = worker.usage()
        for _ in range(4):
            await site.publish_orders(market, 500)
            await asyncio.sleep(OUTAGE_S / 4)
        used = worker.usage()
        alive, _ = await worker.get("/livez")

    await eventually(worker.is_ready, BACK_WITHIN_S)
    await site.system.check_invariants()

    used.assert_modest_since(before)
    assert alive == 200
    assert await site.epoch() == epoch, "a lane was lost meanwhile"
    assert worker.is_running


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
    ("says_no", "told"), [(a_table_is_missing, "42P01"), (a_table_is_locked, "")]
)
async def test_a_database_that_says_no_is_waited_for(
    site: Site, says_no: Callable[[System], AbstractAsyncContextManager[None]], told: str
) -> None:
    """It answers the probe, and no restart would help: the watchdog must leave that alone."""
    worker = await site.worker(kafka_timeout_s=PATIENT_S)
    market, epoch = await site.market(), await site.epoch()
    async with says_no(site.system):
        before = worker.usage()
        await site.publish_orders(market, QUEUED_RECORDS_MAX + 4_000)
        if told:
            await eventually(lambda: worker.says("lanes", told), TOLD_WITHIN_S)
        await asyncio.sleep(before.at_s + 2 * OUTAGE_S - asyncio.get_running_loop().time())
        used = worker.usage()
        alive, _ = await worker.get("/livez")
        if told:
            await eventually(lambda: worker.says("lanes", told), TOLD_WITHIN_S)

    await eventually(worker.is_ready, BACK_WITHIN_S)
    await site.system.check_invariants()

    used.assert_modest_since(before)
    assert alive == 200
    assert await site.epoch() == epoch, "a lane was lost meanwhile"
    assert worker.is_running


# How it ends.


@pytest.mark.shows("F9")
async def test_sigterm_publishes_what_is_committed(site: Site) -> None:
    worker = await site.worker()
    await site.publish_orders(await site.market(), 3_000)

    worker.send(signal.SIGTERM)

    assert await worker.exit_code(25 + EXIT_SLACK_S) == 0
    committed = await site.system.database.fetchval("SELECT sum(last_seq) FROM lanes")
    assert len(await site.system.events()) == committed
    await site.worker()
    await site.system.check_invariants()


@pytest.mark.shows("F9")
@pytest.mark.parametrize("outage", [database_refuses, broker_is_frozen])
async def test_sigterm_ends_it_by_its_deadline_whatever_is_away(site: Site, outage: Outage) -> None:
    worker = await site.worker(drain_s=2)
    await site.publish_orders(await site.market(), 3_000)
    async with outage(site.proxy, site.kafka):
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(2 + EXIT_SLACK_S) == 0

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
async def test_sigterm_ends_it_by_its_deadline_whatever_hangs(site: Site) -> None:
    worker = await site.worker(program=("-c", HANGING), drain_s=2)

    worker.send(signal.SIGTERM)

    assert await worker.exit_code(2 + EXIT_SLACK_S) == 0


@pytest.mark.shows("F9")
async def test_a_second_sigterm_ends_it_at_once(site: Site) -> None:
    worker = await site.worker(drain_s=600)
    market = await site.market()
    async with database_is_silent(site.proxy, site.kafka):
        # Under way only now: what is answered already would not keep it from ending.
        await site.publish_orders(market, 3_000)
        await eventually(lambda: worker.holds_more_than(0), TOLD_WITHIN_S)
        worker.send(signal.SIGTERM)
        await eventually(lambda: is_draining(worker))
        worker.send(signal.SIGTERM)
        assert await worker.exit_code(EXIT_SLACK_S) == 130

    await site.worker(group_id=f"{site.system.prefix}heir")
    await site.system.check_invariants()


async def is_draining(worker: Watched) -> bool:
    return "draining" in await worker.complaints()
