"""The cost of lost races for each lane: sixteen committers on one database, in virtual time.

``make races`` runs the worker's own committers on the in-memory database, where the second commit
loses, as on DSQL. Only the distance is simulated. A round trip takes 2.4 ms, and a batch commits
10 ms after its snapshot as one statement, 45 ms after it in steps. Planning takes no time, so a
seed gives the same figures on every machine.

    cold start   all money is in the wallets of 200 traders that all lanes share
    adversary    as in ``make emulate``: 20 coins among 200 accounts are drawn through all lanes
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from random import Random
from typing import Final

from typing_extensions import override

from producers.flow import FlowSettings, hot
from tests.bench.lanes import ADVERSARIES, COIN, COINS, Lanes, adversary
from tests.simulation.loop import SimulatedLoop
from tests.support.books import Desk, deposit, open_market, received
from tests.support.fake_database import FakeDatabase
from tests.support.fake_store import CalmLine, FakeStore, StoreCall
from worker.commit import Committer, Owner
from worker.domain.commands import PlaceOrder
from worker.domain.events import CancelReason, Event, OrderCancelled
from worker.domain.facts import Limits
from worker.domain.plan import AnswerCommands, Batch
from worker.domain.state import Home, StreamKind
from worker.domain.units import CASH_MAX, LaneId, Offset
from worker.errors import Conflict, Refused
from worker.intake import COMMANDS_PER_BATCH
from worker.ports import Statement, System
from worker.refusals import RefusalMonitor
from worker.telemetry import LaneMetrics, Metrics, configure_logging

LANES: Final = 16
ROUND_TRIP_S: Final = 0.0024
WINDOWS_S: Final = {"one statement": 0.010, "in steps": 0.045}
"""Time from the snapshot to the commit."""
ROWS_PER_BATCH: Final = 300
"""Fewer than on DSQL, to keep the simulation fast."""
WARM_BATCHES: Final = 2
SECONDS: Final = {"one statement": 1.0, "in steps": 4.0}
"""Measured time, which gives about the same number of batches and does not use up the orders."""
ORDERS: Final = 100_000
RICH: Final = 10**9
COMMON: Final = FlowSettings(seed=3, accounts=200, payouts=(COIN,), markets=LANES, orders=ORDERS)
FLOWS: Final = ("cold start", "adversary")


class FarLine(CalmLine):
    """A connection whose commits take time. The store adds the time of round trips."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s

    @override
    def latency_s(self, call: StoreCall) -> float:
        return self.window_s if call == "commit" else 0.0


class FarStore(FakeStore):
    """A store with half a round trip each way, which counts lost races."""

    def __init__(self, database: FakeDatabase, line: FarLine, random: Random) -> None:
        super().__init__(database, line)
        self.lost = 0
        self._random = random

    @override
    async def commit(self, statement: Statement) -> None:
        try:
            await super().commit(statement)
        except (Conflict, Refused):
            self.lost += 1
            raise

    @override
    async def _travel(self, call: StoreCall) -> None:
        await asyncio.sleep(ROUND_TRIP_S / 2 * self._random.uniform(0.8, 1.2))


@dataclass(slots=True)
class Runner:
    """One lane that works on its backlog, with its measures."""

    committer: Committer
    store: FarStore
    orders: Sequence[PlaceOrder]
    commits_s: list[float] = field(default_factory=list)
    answered: int = 0
    in_use: int = 0
    """Orders of honest accounts that ended with FUNDS_IN_USE."""

    async def work(self) -> None:
        state, clock = self.committer.state, asyncio.get_running_loop().time
        first, began_s = state.next_offset, clock()
        while True:
            at = state.next_offset - first
            waiting = self.orders[at : at + COMMANDS_PER_BATCH]
            assert waiting, "a lane ran out of orders"
            taken = [received(Offset(first + at + n), order) for n, order in enumerate(waiting)]
            batch, _ = await self.committer.carry_out(AnswerCommands(taken))
            self.commits_s.append(clock() - began_s)
            self.answered += batch.answered
            self.in_use += sum(_was_in_use(batch))

    def longest_pause_s(self, until_s: float) -> float:
        moments = [0.0, *self.commits_s, until_s]
        return max(later - sooner for sooner, later in pairwise(moments))


def _was_in_use(batch: Batch) -> Iterator[bool]:
    for entry in batch.draft.entries:
        body = entry.body if isinstance(entry, Event) else None
        if isinstance(body, OrderCancelled) and not body.account_id.startswith("coin-"):
            yield body.reason is CancelReason.FUNDS_IN_USE


async def _built(lanes: Lanes, flow: str) -> FakeDatabase:
    """Return a database with all money in the wallets, and open markets."""
    database = FakeDatabase()
    database.register("far.orders", "orders", StreamKind.ORDERS, lanes.number)
    database.register("far.transfers", "transfers", StreamKind.TRANSFERS, 1)
    home = Home(LaneId(lanes.number), "far.transfers", 0, 1, StreamKind.TRANSFERS, CASH_MAX)
    cash = await Desk.open(FakeStore(database), home)
    cash.limits = Limits(ROWS_PER_BATCH)
    named = {order.account_id for own in _orders(lanes, flow) for order in own}
    coins = {adversary(n): COIN if n < COINS else 1 for n in range(ADVERSARIES)}
    await cash.run(*(deposit(name, coins.get(name, RICH)) for name in sorted(named)))
    for partition in range(lanes.number):
        desk = await Desk.open(FakeStore(database), lanes.home(partition))
        await desk.run(*(open_market(lanes.market(partition, m)) for m in ("market", "coins")))
    return database


@cache
def _orders(lanes: Lanes, flow: str) -> Sequence[Sequence[PlaceOrder]]:
    if flow == "adversary":
        return lanes.orders(ORDERS, with_adversary=True)
    names = {COMMON.market(n): n for n in range(lanes.number)}
    markets = [lanes.market(partition) for partition in range(lanes.number)]
    dealt: list[list[PlaceOrder]] = [[] for _ in range(lanes.number)]
    for command in hot(COMMON):
        if isinstance(command, PlaceOrder):
            partition = names[command.market_id]
            dealt[partition].append(replace(command, market_id=markets[partition]))
    return dealt


@asynccontextmanager
async def _at_work(flow: str, window_s: float, seed: int) -> AsyncIterator[list[Runner]]:
    lanes, loop = Lanes(LANES), asyncio.get_running_loop()
    database, line = await _built(lanes, flow), FarLine(window_s)
    runners = []
    for partition, own in enumerate(_orders(lanes, flow)):
        desk = await Desk.open(FakeStore(database), lanes.home(partition))
        random = Random(f"{seed}/{partition}")
        store = FarStore(database, line, random)
        committer = Committer(
            Owner("races", ROWS_PER_BATCH, System(loop.time, asyncio.sleep, random)),
            store,
            desk.state,
            desk.epoch,
            LaneMetrics(Metrics(), "far.orders", partition),
            RefusalMonitor(),
            published_batch_no=lambda: 0,
        )
        runners.append(Runner(committer, store, own))
    tasks = [asyncio.create_task(runner.work()) for runner in runners]
    try:
        yield runners
    finally:
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for error in found:
            if isinstance(error, Exception):
                raise error


async def run(flow: str, way: str, seed: int) -> str:
    """Return a line of the table."""
    async with _at_work(flow, WINDOWS_S[way], seed) as runners:
        await asyncio.sleep(SECONDS[way])
        pause_s = max(runner.longest_pause_s(SECONDS[way]) for runner in runners)
    warm_s = [r.commits_s[WARM_BATCHES - 1] for r in runners if len(r.commits_s) >= WARM_BATCHES]
    done = [runner.answered for runner in runners]
    batches = sum(len(runner.commits_s) for runner in runners)
    lost = sum(runner.store.lost for runner in runners)
    in_use = 1_000 * sum(runner.in_use for runner in runners) / sum(done)
    return (
        f"| {flow} | {way} | {seed} | {len(warm_s)} | {max(warm_s, default=0):.2f} |"
        f" {sum(done) / SECONDS[way]:,.0f} | {min(done) * len(done) / sum(done):.2f} |"
        f" {pause_s:.2f} | {lost / batches:.2f} | {in_use:.2f} |"
    )


_HEAD: Final = (
    "| flow | way | seed | lanes warm | after, s | orders/s | slowest lane | longest pause, s |"
    " lost per batch | honest FUNDS_IN_USE per 1,000 |\n|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.races")
    parser.add_argument("--flows", nargs="+", default=FLOWS, choices=FLOWS)
    parser.add_argument("--ways", nargs="+", default=tuple(WINDOWS_S), choices=tuple(WINDOWS_S))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    configure_logging("ERROR", as_json=False)
    print(_HEAD)
    for flow in options.flows:
        for way in options.ways:
            for seed in range(options.seeds):
                loop = SimulatedLoop(Random(seed), shuffled=True)
                print(loop.run_until_complete(run(flow, way, seed)), flush=True)
                loop.close()


if __name__ == "__main__":
    main()
