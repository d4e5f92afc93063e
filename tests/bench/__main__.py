"""Measure Parity against the seed article's way, on this machine: ``make bench``.

The same flow runs three times, each on a copy of the same database with a million earlier orders,
on one embedded PostgreSQL with fsync on. Then the latency of (b) is measured at half its load.

* (a) the seed's way, eight workers fed from memory
* (b) this worker, from Kafka topic to Kafka topic
* (c) the statements of (b) alone
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench import end_to_end, latency, million, report, seed_workers
from tests.bench.agreement import (
    Books,
    BooksDiffer,
    read_books,
    require_conserved,
    require_equal,
)
from tests.bench.case import Case, cases
from tests.bench.end_to_end import Run, Servers
from tests.bench.latency import Latency
from tests.bench.replay import Batch, ReplayResult, replay
from tests.bench.report import Result, WorkerResult
from tests.bench.seed_workers import SeedResult
from tests.support.databases import named
from worker.embedded import EmbeddedKafka, EmbeddedPostgres

POSTGRES: Final = {
    # The same for all three, sized for the million orders. By default fsync and synchronous_commit
    # are on.
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
}
ROOT: Final = Path(__file__).parents[2]
WORKERS: Final = 2
"""Two answered a tenth more than one on two cores."""
FULL: Final[Mapping[str, Any]] = {
    "history": 1_000_000,
    "orders": 100_000,
    "paced": 12_000,
    "seconds": 8.0,
}
QUICK: Final[Mapping[str, Any]] = {
    "history": 50_000,
    "orders": 3_000,
    "paced": 1_000,
    "seconds": 300.0,
}


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes of a run."""

    history: int
    orders: int
    paced: int
    seconds: float
    workers: int
    load: float
    cold: bool
    json: Path


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of (b) that the other measurements need."""

    worker: WorkerResult
    latency: Latency
    batches: Sequence[Batch]
    books: Books


class Bench:
    """The measurements of one flow on running servers."""

    def __init__(self, servers: Servers, options: Options, case: Case, before: Books) -> None:
        self._servers, self._options, self._case, self._before = servers, options, case, before
        self._url = servers.postgres.url

    async def run(self) -> Result:
        """Measure (a), (b), the latency of (b), and (c)."""
        case = self._case
        seed, seed_books = await self._seed_way()
        say(f"{case.name}: (a) {seed.per_s:,.0f} orders/s")
        measured = await self._end_to_end()
        say(f"{case.name}: (b) {case.orders / measured.worker.seconds:,.0f} orders/s")
        require_conserved("the worker", self._before, measured.books)
        again = await self._replay(measured)
        say(f"{case.name}: (c) {case.orders / again.seconds:,.0f} orders/s")
        if seed.orders == case.orders and not self._options.cold:
            require_equal(f"{case.name}, (a) and (b)", seed_books, measured.books)
            trades = measured.books.trades.total()
            say(f"{case.name}: (a), (b) and (c) agree on {trades:,} trades, all cash, all escrow")
        return Result(case, seed, measured.worker, again, measured.latency)

    async def _seed_way(self) -> tuple[SeedResult, Books]:
        """Run the seed's way in one process and in two, and return the faster result."""
        runs = []
        for processes in (1, 2):
            url = await million.copy(self._url, "seed_way")
            done = await seed_workers.run(
                self._servers.postgres,
                url,
                self._case,
                seconds=self._options.seconds,
                processes=processes,
            )
            books = await read_books(url, self._case)
            require_conserved("the seed's way", self._before, books)
            await million.drop(self._url, "seed_way")
            runs.append((done, books))
        return max(runs, key=lambda run: run[0].per_s)

    async def _end_to_end(self) -> Measured:
        servers, case, options = self._servers, self._case, self._options
        await end_to_end.make_topics(servers, case)
        await end_to_end.publish(servers, case)
        run = Run(case, await million.copy(self._url, "worker"), options.workers)
        async with end_to_end.workers(servers, run) as crew:
            done = await end_to_end.until_done(servers, run, crew)
            books = await read_books(run.database_url, case)
            seconds = done.ended_s - crew.first_record_s()
            waits = await latency.measure(servers, case, options.load * case.orders / seconds)
        await million.drop(self._url, "worker")
        batches = crew.batches(done)
        paced = len(crew.committed) - len(batches)
        worker = WorkerResult(seconds, len(batches), paced, run.processes, done.cpu_s)
        return Measured(worker, waits, batches, books)

    async def _replay(self, measured: Measured) -> ReplayResult:
        url = await million.copy(self._url, "replay")
        again = await replay(url, measured.batches)
        books = await read_books(url, self._case)
        require_equal(f"{self._case.name}, (b) and (c)", measured.books, books)
        await million.drop(self._url, "replay")
        return again


async def measure(options: Options) -> Sequence[Result]:
    """Start the servers, load the earlier orders, and measure every flow."""
    flows = cases(orders=options.orders, paced_orders=options.paced)
    kafka_config = end_to_end.KAFKA
    with (
        EmbeddedPostgres.start(settings=POSTGRES) as postgres,
        EmbeddedKafka.start(config=kafka_config) as kafka,
    ):
        began_s = time.monotonic()
        await million.load(postgres.url, flows, options.history, cold=options.cold)
        say(f"{options.history:,} earlier orders loaded in {time.monotonic() - began_s:.0f} s")
        template = named(postgres.url, million.TEMPLATE)
        results = []
        for case in flows:
            before = await read_books(template, case)
            results.append(await Bench(Servers(postgres, kafka), options, case, before).run())
        return results


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and write the JSON."""
    options = _options(arguments)
    try:
        results = asyncio.run(measure(options))
    except BooksDiffer as difference:
        print(f"FAIL: {difference}", file=sys.stderr)
        return 1
    report.write(options.json, results)
    print(report.table(results, options.history))
    return 0


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="small sizes, to see that it works and books agree")
    add("--history", type=int, help="earlier orders in the tables (1000000; quick: 50000)")
    add("--orders", type=int, help="orders measured through the worker (100000; quick: 3000)")
    add("--paced", type=int, help="orders sent for the latency (12000; quick: 1000)")
    add("--seconds", type=float, help="time for each run of the seed's way (8; quick: no limit)")
    add("--rate", type=float, default=0.5, help="load of the latency run, as a share of (b)'s")
    add("--workers", type=int, default=WORKERS, help="worker processes (%(default)s)")
    add(
        "--cold", action="store_true", help="begin with all cash in the wallets, so that lanes draw"
    )
    add("--json", type=Path, default=ROOT / "build" / "bench.json", help="%(default)s")
    given = parser.parse_args(arguments)
    sizes = QUICK if given.quick else FULL
    chosen = {name: getattr(given, name) for name in sizes}
    return Options(
        **{name: sizes[name] if value is None else value for name, value in chosen.items()},
        workers=given.workers,
        load=given.rate,
        cold=given.cold,
        json=given.json,
    )


if __name__ == "__main__":
    sys.exit(main())
