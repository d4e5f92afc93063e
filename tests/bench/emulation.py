"""The cost of distance: lanes on a PostgreSQL that is as far away as a DSQL cluster.

``make emulate`` runs an emulation and not DSQL. A proxy in its own process adds 2 ms to every round
trip and 10 ms to every commit, while the rows stay locked. PostgreSQL lets the second writer of a
row wait and then refuses, whereas DSQL refuses the second commit.

The lanes run the worker's own code on a backlog from memory, in one process and without Kafka. In
the seed's way each lane is a worker with its own connection. Conflicts are statements that lost a
race, or transactions in the seed's way, whatever happened next.
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import uvloop

from producers.encode import encode
from tests.bench.lanes import MARKETS, ROWS_PER_BATCH, STREAM, TIMEOUT_S, Lanes
from tests.bench.seed_way import Market, SeedWorker, load_markets
from tests.bench.seed_workers import SETTINGS
from tests.support.eventually import eventually
from worker.adapters.postgres.store import PostgresStore
from worker.adapters.system import system
from worker.app import GARBAGE_THRESHOLDS
from worker.commit import Owner
from worker.domain.commands import PlaceOrder
from worker.domain.state import StreamKind
from worker.domain.units import MarketId
from worker.embedded import EmbeddedPostgres
from worker.lane import Lane, LaneStatus
from worker.ports import Assignment, Outgoing, Record, StreamRow, TopicEnd, TopicPartition
from worker.publisher import Publisher
from worker.refusals import RefusalMonitor
from worker.telemetry import LaneMetrics, Metrics, configure_logging
from worker.wire import journal

ROOT: Final = Path(__file__).parents[2]
ROUND_TRIP_MS: Final = 2.0
COMMIT_MS: Final = 10.0
LANES: Final = (1, 4, 16)
WARM_ORDERS: Final = 2_000
"""Orders that each lane answers before the clock starts. Then every trader has a pocket in the
lane, and the races for the first draws, which halve batches, are over. `make races` measures them.
"""
SEED_WARM_ORDERS: Final = 2
WARM_S: Final = 90.0
SECONDS: Final = 8.0
ORDERS: Final = {1: 120_000, 4: 300_000, 16: 960_000}
"""Orders by number of lanes, more than any way answers in time."""
OURS, IN_STEPS, SEED = "this worker", "this worker, in steps", "one order per transaction"
FLOWS: Final = {"market maker": False, "adversary": True}
PROBES: Final = 50


@dataclass(frozen=True, slots=True)
class Count:
    """The orders of each lane until some moment, and the conflicts of all lanes."""

    orders: Sequence[int]
    batches: Sequence[int]
    conflicts: int


@dataclass(frozen=True, slots=True)
class Row:
    """The measures of one run. A batch of the seed's way is one order."""

    way: str
    flow: str
    lanes: int
    orders_per_s: float
    orders_per_batch: float
    conflicts_per_1000_batches: float
    slowest_lane_share: float
    """Orders of the slowest lane, as a share of the average."""


class Nowhere:
    """A broker that acknowledges at once."""

    async def producer(self) -> "Nowhere":
        return self

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Acknowledge all records."""

    async def tail(self, partition: TopicPartition, offsets: int) -> TopicEnd:
        """Return an empty topic."""
        assert partition.topic == "nowhere"
        return TopicEnd(offsets, ())

    async def close(self) -> None:
        """Do nothing."""

    async def consumer(self, topics: Sequence[str], assignment: Assignment) -> None:
        raise NotImplementedError

    async def describe(self, topics: Sequence[str]) -> None:
        raise NotImplementedError

    async def starts(self, partitions: Sequence[TopicPartition]) -> None:
        raise NotImplementedError


class Backlog:
    """An input partition that has all its records from the beginning."""

    async def topic_id(self) -> str:
        return ""

    async def bounds(self) -> tuple[int, int]:
        return 0, 2**31

    def seek(self, offset: int) -> None:
        """Do nothing, because the lane gets all records at once."""


class Ours:
    """The worker's lanes."""

    warm_orders = WARM_ORDERS

    def __init__(self, lanes: Lanes, url: str, *, in_steps: bool) -> None:
        self._url, self._in_steps = url, in_steps
        self._metrics, self._system = Metrics(), system()
        self._row = StreamRow(STREAM, STREAM, StreamKind.ORDERS, lanes.number, 0)
        self._stores: list[PostgresStore] = []
        self._lanes = [self._lane(partition) for partition in range(lanes.number)]

    @asynccontextmanager
    async def at_work(self, orders: Sequence[Sequence[PlaceOrder]]) -> AsyncIterator[None]:
        records = [_records(own, len(MARKETS)) for own in orders]
        running = [asyncio.create_task(lane.run(Backlog())) for lane in self._lanes]
        try:
            await eventually(self._are_ready, WARM_S)
            for lane, own in zip(self._lanes, records, strict=True):
                lane.offer(own)
            yield
            for lane in self._lanes:
                lane.stop()
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await asyncio.gather(*(store.close() for store in self._stores))

    def _are_ready(self) -> bool:
        return all(lane.status is LaneStatus.READY for lane in self._lanes)

    def count(self) -> Count:
        states = [lane.state for lane in self._lanes if lane.state is not None]
        conflicts = sum(
            sample.value
            for family in self._metrics.outcomes.collect()
            for sample in family.samples
            if sample.labels.get("outcome") in ("Conflict", "Refused")
            and sample.name.endswith("_total")
        )
        batches = [state.batch_no for state in states]
        return Count([state.next_offset for state in states], batches, int(conflicts))

    def _lane(self, partition: int) -> Lane:
        store = PostgresStore(self._url, timeout_s=TIMEOUT_S, in_steps=self._in_steps)
        self._stores.append(store)
        metrics = LaneMetrics(self._metrics, STREAM, partition)
        route = journal.Route(
            stream=STREAM,
            topic=STREAM,
            partition=partition,
            events_topic="nowhere",
            dead_letters_topic="nowhere",
            dead_letter_partitions=1,
        )
        broker = Nowhere()
        publisher = Publisher(broker, route, system=self._system, metrics=metrics)  # type: ignore[arg-type]
        return Lane(
            self._row,
            partition,
            owner=Owner("emulation", ROWS_PER_BATCH, self._system),
            store=store,
            publisher=publisher,
            metrics=metrics,
            refusals=RefusalMonitor(),
        )


class SeedWay:
    """A worker of the seed's way for each lane."""

    warm_orders = SEED_WARM_ORDERS

    def __init__(self, lanes: Lanes, url: str) -> None:
        self._lanes, self._url = lanes, url
        self._workers: list[SeedWorker] = []

    @asynccontextmanager
    async def at_work(self, orders: Sequence[Sequence[PlaceOrder]]) -> AsyncIterator[None]:
        markets = {market.market_id: market for market in await load_markets(self._url, STREAM)}
        self._workers = [
            await self._worker(partition, markets) for partition in range(self._lanes.number)
        ]
        running = [
            asyncio.create_task(worker.work(own, float("inf")))
            for worker, own in zip(self._workers, orders, strict=True)
        ]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for worker in self._workers:
                worker.connection.terminate()

    def count(self) -> Count:
        tallies = [worker.tally for worker in self._workers]
        orders = [tally.orders for tally in tallies]
        return Count(orders, orders, sum(tally.retries for tally in tallies))

    async def _worker(self, partition: int, markets: Mapping[MarketId, Market]) -> SeedWorker:
        connection = await asyncpg.connect(self._url, server_settings=SETTINGS)
        names = [self._lanes.market(partition, name) for name in MARKETS]
        own = {name: markets[name] for name in names}
        return SeedWorker(connection, own, random.Random(partition))


def _records(orders: Sequence[PlaceOrder], first: int) -> list[Record]:
    return [
        Record(first + n, first + n, order.market_id.encode(), encode(order), ())
        for n, order in enumerate(orders)
    ]


async def measure(
    way: Ours | SeedWay, orders: Sequence[Sequence[PlaceOrder]], seconds: float
) -> tuple[Count, Count, float]:
    """Return the counts at the beginning and at the end of the measured time, and its length."""
    async with way.at_work(orders):
        await eventually(lambda: min(way.count().orders) >= way.warm_orders, WARM_S)
        before, began_s = way.count(), time.monotonic()
        await asyncio.sleep(seconds)
        after, took_s = way.count(), time.monotonic() - began_s
    if any(done >= len(own) for done, own in zip(after.orders, orders, strict=True)):
        raise RuntimeError("a lane ran out of orders")
    return before, after, took_s


def row(way: str, flow: str, before: Count, after: Count, took_s: float) -> Row:
    """Return the measures of a run."""
    by_lane = [b - a for a, b in zip(before.orders, after.orders, strict=True)]
    orders, batches = sum(by_lane), sum(after.batches) - sum(before.batches)
    conflicts = after.conflicts - before.conflicts
    if not batches:
        raise RuntimeError(f"{way}: no batch in {took_s:.1f} s")
    return Row(
        way,
        flow,
        len(by_lane),
        round(orders / took_s, 1),
        round(orders / batches, 1),
        round(1_000 * conflicts / batches, 1),
        round(min(by_lane) * len(by_lane) / orders, 2),
    )


@asynccontextmanager
async def far(url: str) -> AsyncIterator[str]:
    """Return the address of a proxy that makes the server distant."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.far_line", url),
        *(str(ROUND_TRIP_MS), str(COMMIT_MS)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None, "stdout is a pipe"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            address = await process.stdout.readline()
        yield address.decode().strip()
    finally:
        process.kill()
        await process.wait()


async def probe(url: str) -> tuple[float, float]:
    """Return the median times of a round trip and of a commit, in ms."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE probe (n bigint PRIMARY KEY)")
    found = []
    for sql in ("SELECT $1::bigint", "INSERT INTO probe VALUES ($1)"):
        prepared = await connection.prepare(sql)
        times_s = []
        for number in range(PROBES):
            began_s = time.perf_counter()
            await prepared.fetch(number)
            times_s.append(time.perf_counter() - began_s)
        found.append(round(1_000 * median(times_s), 2))
    await connection.execute("DROP TABLE probe")
    await connection.close()
    return found[0], found[1]


async def emulate(options: argparse.Namespace) -> tuple[Sequence[float], Sequence[Row]]:
    """Run every way on every flow with every number of lanes."""
    rows = []
    with EmbeddedPostgres.start() as postgres:
        async with far(postgres.url) as address:
            probed = await probe(address)
            url = urlunsplit(urlsplit(address)._replace(path="/run"))
            for lanes in map(Lanes, options.lanes):
                await lanes.build(postgres.create_database("base"))
                for flow, with_adversary in FLOWS.items():
                    orders = lanes.orders(ORDERS[lanes.number], with_adversary=with_adversary)
                    for name, way in _ways(lanes, url).items():
                        async with _copy(postgres.url):
                            counts = await measure(way, orders, options.seconds)
                        rows.append(row(name, flow, *counts))
                        print(_line(rows[-1]), file=sys.stderr, flush=True)
                postgres.drop_database("base")
    return probed, rows


def _ways(lanes: Lanes, url: str) -> Mapping[str, Ours | SeedWay]:
    return {
        OURS: Ours(lanes, url, in_steps=False),
        IN_STEPS: Ours(lanes, url, in_steps=True),
        SEED: SeedWay(lanes, url),
    }


@asynccontextmanager
async def _copy(url: str) -> AsyncIterator[None]:
    """Provide the database ``run``, a copy of ``base``, within the block."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE DATABASE run TEMPLATE base")
        yield
    finally:
        await connection.execute("DROP DATABASE IF EXISTS run WITH (FORCE)")
        await connection.close()


_HEAD: Final = (
    "| flow | lanes | way | orders/s | orders per batch | conflicts per 1,000 batches |"
    " slowest lane |\n|---|---|---|---|---|---|---|"
)


def _line(row: Row) -> str:
    return (
        f"| {row.flow} | {row.lanes} | {row.way} | {row.orders_per_s:,.0f} |"
        f" {row.orders_per_batch:,.1f} | {row.conflicts_per_1000_batches:,.0f} |"
        f" {row.slowest_lane_share:.2f} |"
    )


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.emulation")
    parser.add_argument("--lanes", type=int, nargs="+", default=LANES, choices=LANES)
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "emulation.json")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    configure_logging("ERROR", as_json=False)
    (round_trip_ms, commit_ms), rows = uvloop.run(emulate(options))
    print(f"emulation: a round trip takes {round_trip_ms} ms, with a commit {commit_ms} ms,")
    print(f"{ROWS_PER_BATCH:,} rows per batch, {options.seconds:g} s per run\n\n{_HEAD}")
    print("\n".join(map(_line, rows)))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "round_trip_ms": round_trip_ms,
        "commit_ms": commit_ms,
        "runs": [asdict(row) for row in rows],
    }
    options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
