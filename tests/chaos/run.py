"""One run: load and faults on three fronts, then calm, answers, and a replay of the history."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from tests.chaos.havoc import Havoc
from tests.chaos.mix import KINDS, Sort, mix, wanted
from tests.chaos.stage import Stage
from tests.chaos.watch import Watch
from tests.support.invariants import check, gather, seq_of
from worker.ports import TopicPartition

SHOW_EVERY_S: Final = 10.0
ANSWERED_S: Final = 240.0
SEGMENT_S: Final = 45.0
"""Duration of the load of one seed. The next seed has other markets and accounts."""
MARKETS: Final = 12
ACCOUNTS: Final = 150
SWEEP: Final = 150
LOADS_SEED: Final = 1_000


@dataclass(frozen=True)
class Options:
    """Parameters of a run. ``rate`` is orders per second."""

    length_s: float
    seed: int = field(default_factory=lambda: SystemRandom().randrange(1_000_000))
    rate: float = 100.0
    show: Callable[[str], None] = lambda _: None
    logs: Path | None = None
    """Directory for the logs of all processes if an invariant is violated."""


@dataclass
class Result:
    """The outcome of a run."""

    seed: int
    seconds: float
    faults: Mapping[str, int]
    sorts: Mapping[str, int]
    wanted: int
    records: int
    events: int
    batches: int
    trades: int
    repeats: int
    duplicates: int
    loads: int
    loads_again: int
    workers: int
    longest_stop_s: float
    violations: list[str]

    @property
    def kills_and_cuts(self) -> int:
        return self.sorts[Sort.KILL] + self.sorts[Sort.CUT]

    @property
    def enough(self) -> bool:
        """Return whether enough kills and cuts hit."""
        return self.kills_and_cuts >= self.wanted

    @property
    def failed(self) -> bool:
        return bool(self.violations) or not self.enough

    def as_json(self) -> Mapping[str, Any]:
        return {**asdict(self), "kills_and_cuts": self.kills_and_cuts, "enough": self.enough}


async def run(options: Options) -> Result:
    """Break everything for a while, then check all invariants."""
    clock = asyncio.get_running_loop().time
    began_s = clock()
    async with Stage.start() as stage:
        options.show(f"seed {options.seed}: servers and workers run, {clock() - began_s:.0f} s")
        watch, havoc = Watch(stage.system), Havoc(stage)
        seeds = await _break(stage, watch, havoc, options)
        options.show("calm: waiting for all answers, then resolving every market")
        await stage.look_at_database()
        violations = await _settle(stage, watch, seeds)
        options.show("comparing everything, replaying every batch")
        await stage.system.log.read()
        stage.check_workers()
        violations += [*stage.complaints, *await _violations(stage)]
        if violations and options.logs is not None:
            shutil.copytree(stage.crew.logs, options.logs, dirs_exist_ok=True)
        return await _result(stage, watch, havoc, options, clock() - began_s, violations)


async def _break(stage: Stage, watch: Watch, havoc: Havoc, options: Options) -> list[int]:
    """Publish and break things until the time is up, and return the published seeds."""
    seeds: list[int] = []
    playing = [havoc.play(moves) for moves in mix(options.seed, options.length_s).values()]
    side = [
        asyncio.create_task(work)
        for work in (
            watch.run(),
            _show(stage, watch, havoc, options),
            _publish(stage, options, seeds),
        )
    ]
    try:
        await asyncio.gather(*playing)
    finally:
        for task in side:
            task.cancel()
        ended = await asyncio.gather(*side, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    return seeds


async def _publish(stage: Stage, options: Options, seeds: list[int]) -> None:
    """Publish one flow after another with ``producers.load``, each with its own seed."""
    orders = int(options.rate * SEGMENT_S)
    for seed in count(LOADS_SEED * (options.seed + 1)):
        seeds.append(seed)
        flow = _flow(orders)
        await stage.load(seed, *flow, "--phase", "fund")
        await stage.load(seed, *flow, "--phase", "trade", "--rate", str(options.rate))


def _flow(orders: int) -> tuple[str, ...]:
    sizes = {"orders": orders, "markets": MARKETS, "accounts": ACCOUNTS, "sweep": SWEEP}
    return tuple(word for name, size in sizes.items() for word in (f"--{name}", str(size)))


async def _show(stage: Stage, watch: Watch, havoc: Havoc, options: Options) -> None:
    clock = asyncio.get_running_loop().time
    began_s = clock()
    while True:
        await asyncio.sleep(SHOW_EVERY_S)
        stage.check_workers()
        faults = "  ".join(f"{havoc.count(sort):>3} {sort}" for sort in Sort)
        options.show(
            f"{clock() - began_s:>5.0f} s  {watch.asked:>7,} records  {watch.answered:>7,} answered"
            f"  {faults}  {watch.stopped} lanes stalled  longest {watch.longest_stop_s:.1f} s"
        )


async def _settle(stage: Stage, watch: Watch, seeds: list[int]) -> list[str]:
    """Wait until all commands are answered, resolve every market, and wait again."""
    watching = asyncio.create_task(watch.run())
    try:
        await stage.system.answered(ANSWERED_S)
        for seed in seeds:
            await stage.load(seed, *_flow(0), "--sweep", "0", "--phase", "resolve")
        await stage.system.answered(ANSWERED_S)
    except AssertionError as error:
        lanes = await stage.system.database.fetch("SELECT * FROM lanes ORDER BY lane")
        return [f"commands without an answer: {error}; {[dict(row) for row in lanes]}"]
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return []


async def _violations(stage: Stage) -> list[str]:
    system = stage.system
    try:
        evidence = await gather(system.settings, system.database, system.log.records)
        # In a thread, because the check takes minutes and connections need the event loop.
        await asyncio.to_thread(check, evidence)
    except AssertionError as error:
        return [str(error)]
    return []


async def _result(
    stage: Stage,
    watch: Watch,
    havoc: Havoc,
    options: Options,
    seconds: float,
    violations: list[str],
) -> Result:
    system = stage.system
    outputs = [
        system.log.records[TopicPartition(topic, n)]
        for topic in (system.settings.events_topic, system.settings.transfer_events_topic)
        for n in range(system.partitions)
    ]
    events = sum(len(set(map(seq_of, records))) for records in outputs)
    value = system.database.fetchval
    return Result(
        seed=options.seed,
        seconds=round(seconds, 1),
        faults={name: havoc.done[name] for name in KINDS},
        sorts={sort: havoc.count(sort) for sort in Sort},
        wanted=wanted(options.length_s),
        records=int(await value("SELECT sum(next_offset) FROM lanes")),
        events=events,
        batches=int(await value("SELECT count(*) FROM batches")),
        trades=int(await value("SELECT count(*) FROM trades")),
        repeats=sum(map(len, outputs)) - events,
        duplicates=0 if violations else len(await system.events("DUPLICATE")),
        loads=stage.started["load"],
        loads_again=stage.started["load again"],
        workers=stage.started["worker"],
        longest_stop_s=round(watch.longest_stop_s, 1),
        violations=violations,
    )
