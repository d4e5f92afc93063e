"""Eight workers of the seed's way in one or more processes, fed from memory.

``python -m tests.bench.seed_workers`` is one of the processes. It prepares, prints that it is
ready, and begins on a signal from its standard input. All times are the machine's monotonic time.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import asyncpg
import uvloop

from tests.bench.case import MARKETS, Case
from tests.bench.cpu import cpu_seconds
from tests.bench.seed_way import OUTBOX, Market, SeedWorker, Tally, load_markets
from worker.domain.commands import PlaceOrder
from worker.embedded import EmbeddedPostgres

WORKERS: Final = 8
TIME_S: Final = 120.0
"""Time limit of one process for each of its phases."""
SETTINGS: Final = {
    "application_name": "seed",
    "default_transaction_isolation": "repeatable read",
    "jit": "off",
}


@dataclass(frozen=True, slots=True)
class SeedResult:
    """The sum of all eight workers."""

    orders: int
    trades: int
    statements: int
    retries: int
    seconds: float
    processes: int
    cpu_s: Mapping[str, float]
    """Processor seconds of the workers and of PostgreSQL."""

    @property
    def per_s(self) -> float:
        return self.orders / self.seconds

    @property
    def statements_per_order(self) -> float:
        return self.statements / self.orders


async def run(
    postgres: EmbeddedPostgres, url: str, case: Case, *, seconds: float, processes: int
) -> SeedResult:
    """Answer the flow's orders from the first on, all or as many as ``seconds`` allow."""
    connection = await asyncpg.connect(url)
    await connection.execute(OUTBOX)
    await connection.close()
    spec = json.dumps(asdict(case))
    children = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.seed_workers", url, spec),
            *(str(process), str(processes), str(seconds)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for process in range(processes)
    ]
    try:
        async with asyncio.timeout(TIME_S + seconds):
            for child in children:
                assert child.stdout is not None, "stdout is a pipe"
                assert await child.stdout.readline() == b"ready\n", "a worker of the seed failed"
            before_s = cpu_seconds(postgres.pid)
            outputs = await asyncio.gather(*(child.communicate(b"go\n") for child in children))
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
    postgres_s = cpu_seconds(postgres.pid) - before_s
    return _sum([json.loads(output) for output, _ in outputs], postgres_s)


def _sum(parts: Sequence[dict[str, float]], postgres_s: float) -> SeedResult:
    began, ended = min(p["began_s"] for p in parts), max(p["ended_s"] for p in parts)
    whole = {n: int(sum(p[n] for p in parts)) for n in asdict(Tally())}
    return SeedResult(
        **whole,
        seconds=ended - began,
        processes=len(parts),
        cpu_s={"workers": sum(p["cpu_s"] for p in parts), "PostgreSQL": postgres_s},
    )


async def _work(options: argparse.Namespace) -> None:
    case = Case(**json.loads(options.case))
    markets = await load_markets(options.url, case.orders_topic)
    own = {
        number: _share(markets, number)
        for number in range(WORKERS)
        if number % options.processes == options.process
    }
    feeds: dict[int, list[PlaceOrder]] = {number: [] for number in own}
    owner = {m.market_id: number for number, share in own.items() for m in share}
    for order in case.place_orders(0, case.orders):
        if order.market_id in owner:
            feeds[owner[order.market_id]].append(order)
    workers = [await _connect(options.url, own[number], number) for number in own]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began_s, cpu_s = time.monotonic(), time.process_time()
    until_s = began_s + options.seconds
    await asyncio.gather(
        *(w.work(feed, until_s) for w, feed in zip(workers, feeds.values(), strict=True))
    )
    ended_s, cpu_s = time.monotonic(), time.process_time() - cpu_s
    tallies = [asdict(worker.tally) for worker in workers]
    total = {name: sum(tally[name] for tally in tallies) for name in tallies[0]}
    print(json.dumps({**total, "began_s": began_s, "ended_s": ended_s, "cpu_s": cpu_s}))
    for worker in workers:
        await worker.connection.close()


def _share(markets: Sequence[Market], number: int) -> Sequence[Market]:
    """Return three of the 24 markets for each worker, so that all are equally busy."""
    return markets[number::WORKERS]


async def _connect(url: str, markets: Sequence[Market], number: int) -> SeedWorker:
    connection = await asyncpg.connect(url, server_settings=SETTINGS)
    return SeedWorker(connection, {m.market_id: m for m in markets}, random.Random(number))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.seed_workers")
    parser.add_argument("url")
    parser.add_argument("case")
    for name in ("process", "processes"):
        parser.add_argument(name, type=int)
    parser.add_argument("seconds", type=float)
    return parser


if __name__ == "__main__":
    assert MARKETS % WORKERS == 0, "every worker has the same number of markets"
    uvloop.run(_work(_parser().parse_args()))
