"""Measure how long heavy work holds a worker's event loop: ``make heavy``.

A worker process takes over a lane with a million open orders in a thousand markets, shows a book to
clients that never wait, and audits itself. Orders arrive meanwhile. Printed are the delays of the
event loop from the worker's own histogram, its memory, and whether the lane was lost.
"""

import argparse
import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.cpu import cpu_seconds
from tests.support.books import buy
from tests.support.eventually import eventually
from tests.support.many_orders import insert_open_orders
from tests.support.system import System
from worker.embedded import EmbeddedKafka, EmbeddedPostgres

ORDERS, MARKETS, CLIENTS, CALM = 1_000_000, 1_000, 20, 200
READY_S: Final = 600.0
LAG: Final = "parity_event_loop_lag_seconds_bucket"


@dataclass(slots=True)
class Site:
    """A worker process, seen through its HTTP endpoints."""

    client: aiohttp.ClientSession
    base: str
    pid: int

    async def get(self, path: str) -> tuple[int, str]:
        try:
            async with self.client.get(f"{self.base}{path}") as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, OSError):
            return 0, ""

    async def samples(self, name: str) -> dict[str, float]:
        """Return the samples of one name, by their labels."""
        _, text = await self.get("/metrics")
        return {
            "/".join(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        }


@asynccontextmanager
async def measured(site: Site, name: str) -> AsyncIterator[None]:
    """Print what the work within costs the worker."""
    before, began_s, spent_s = await site.samples(LAG), time.monotonic(), cpu_seconds(site.pid)
    yield
    took_s, spent_s = time.monotonic() - began_s, cpu_seconds(site.pid) - spent_s
    after = await site.samples(LAG)
    counts = {bound: int(count - before.get(bound, 0)) for bound, count in after.items()}
    beats, short = counts["+Inf"], counts["0.1"]
    worst = next(bound for bound, count in counts.items() if count == beats)
    memory = psutil.Process(site.pid).memory_info().rss / 2**20
    print(
        f"{name:44} {took_s:7.2f} s, processor {spent_s:6.2f} s, {memory:5.0f} MiB,"
        f" loop late by more than 0.1 s: {beats - short} of {beats}, at most {worst} s"
    )


async def _answered(system: System, market: str, name: str) -> None:
    began_s = time.monotonic()
    await system.publish(*(buy(market, "a", 1, 1, f"{name}-{n}") for n in range(CALM)))
    await system.answered(READY_S)
    print(f"{f'{CALM} orders, {name}':44} {time.monotonic() - began_s:7.2f} s")


async def _pestered(site: Site, path: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do some work while clients ask for ``path`` again and again."""
    answers: list[int] = []

    async def ask() -> None:
        while True:
            answers.append((await site.get(path))[0])

    clients = [asyncio.create_task(ask()) for _ in range(CLIENTS)]
    try:
        await work()
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    print(f"  {len(answers)} requests, {answers.count(503)} of them answered 503")


async def run(orders: int, markets: int) -> None:
    """Measure on servers of this machine."""
    with EmbeddedPostgres.start() as postgres, EmbeddedKafka.start() as kafka:
        async with System.start(postgres.url, kafka.bootstrap, "heavy-") as system:
            first = await system.member()
            await eventually(lambda: first.lanes_ready == 2 * system.partitions)
            (market,) = await system.open(0)
            await first.stop()
            system.workers.clear()
            await insert_open_orders(system.database, orders, market, markets)
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            process = await system.process(http_port=port, audit_every_s=5)
            timeout = aiohttp.ClientTimeout(total=60)
            async with aiohttp.ClientSession(timeout=timeout) as client:
                site = Site(client, f"http://127.0.0.1:{port}", process.process.pid)
                await _measure(system, site, market)
            await process.stop()
            system.workers.clear()


async def _measure(system: System, site: Site, market: str) -> None:
    async def is_up() -> bool:
        return (await site.get("/livez"))[0] == 200

    async def has_lanes() -> bool:
        ready = await site.samples("parity_lane_ready")
        return sum(ready.values()) == 2 * system.partitions

    await eventually(is_up, READY_S)
    async with measured(site, "take-over"):
        await eventually(has_lanes, READY_S)
    epochs = await system.database.fetch("SELECT lane, epoch FROM lanes ORDER BY lane")
    print(f"  epochs {[row['epoch'] for row in epochs]}: 2 means taken over once")
    await _answered(system, market, "calm")
    book = f"/api/markets/{market}/book?levels=1000"
    async with measured(site, f"{CLIENTS} clients that ask for a book"):
        await _pestered(site, book, lambda: _answered(system, market, "book-views"))
    async with measured(site, f"{CLIENTS} clients that ask for the proof"):
        await _pestered(site, "/api/proof", lambda: _answered(system, market, "proofs"))

    async def audited() -> bool:
        shown = await site.samples("parity_audit_violations")
        return all(value == value for value in shown.values())  # noqa: PLR0124 - NaN before it

    async with measured(site, "full audit of all orders"):
        await eventually(audited, READY_S)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--markets", type=int, default=MARKETS)
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(given.orders, given.markets))


if __name__ == "__main__":
    main()
