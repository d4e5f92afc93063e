"""One kind of attack against one exchange, measured before and during the attack."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.hostile.attack import Kind
from tests.hostile.gauges import lags, longest_lag_ms
from tests.hostile.honest import GRACE_S, Honest, Measured, Waits
from tests.hostile.kinds import KINDS
from tests.hostile.scene import Scene
from worker.embedded import EmbeddedKafka

WARM_S: Final = 2.0
HALTED_S: Final = 5.0
"""How long a run waits for answers that a halted lane never gives."""
RATIO_MAX: Final = 2.0
"""Aim for the p99 on innocent partitions, as a multiple of the undisturbed value."""
LONGEST_MS: Final = 2_000.0
"""Aim for the longest wait of an innocent order."""


@dataclass(frozen=True, slots=True)
class Options:
    """Parameters of a run.

    ``rate`` is honest orders per second in all four markets, and ``memory_mib`` limits the address
    space of each worker.
    """

    seconds: float = 20.0
    rate: float = 40.0
    memory_mib: int = 512
    logs: Path | None = None
    """Directory for the logs of the workers of a kind that failed."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Waits of innocent orders, and figures of the worker with the largest."""

    measured: Measured
    peak_mib: int
    lag_ms: float
    """Upper bound of the longest delay of an event loop."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one kind."""

    name: str
    does: str
    calm: Phase
    attacked: Phase
    attacks: int
    """Records or requests of the attack."""
    halted: bool
    """Whether the attacked lane has unanswered records, which the kind allows."""
    ended: int
    """Workers that ended by themselves."""
    consistent: bool

    @property
    def ratio(self) -> float:
        """Return the p99 on innocent partitions as a multiple of the undisturbed value."""
        calm, attacked = self.calm.measured.partitions, self.attacked.measured.partitions
        return round(attacked.p99_ms / calm.p99_ms, 1)

    @property
    def lane_ratio(self) -> float:
        """Return the same in the attacked lane."""
        calm, attacked = self.calm.measured.lane, self.attacked.measured.lane
        return round(attacked.p99_ms / calm.p99_ms, 1)

    @property
    def failures(self) -> list[str]:
        """Return what no slow machine excuses."""
        found = [f"{self.ended} workers ended by themselves"] if self.ended else []
        found += ["the books do not balance"] if not self.consistent else []
        lost = sum(waits.unanswered for waits in self._awaited())
        return [*found, f"{lost} innocent orders without an answer"] if lost else found

    @property
    def missed(self) -> list[str]:
        """Return the aims that were missed."""
        longest = max(waits.longest_ms for waits in self._awaited())
        found = [f"an order waited {longest / 1000:.1f} s"] if longest > LONGEST_MS else []
        return [*found, f"p99 is {self.ratio:.1f}-fold"] if self.ratio > RATIO_MAX else found

    def _awaited(self) -> list[Waits]:
        """Return the waits of the orders that must be answered."""
        measured = self.attacked.measured
        return [measured.partitions] if self.halted else [measured.partitions, measured.lane]

    def as_json(self) -> dict[str, Any]:
        computed = {"ratio": self.ratio, "lane_ratio": self.lane_ratio}
        return {**asdict(self), **computed, "failures": self.failures, "missed": self.missed}


async def strike(database_url: str, kafka: EmbeddedKafka, name: str, options: Options) -> Result:
    """Run one kind on a fresh exchange in an empty database."""
    kind = KINDS[name]
    async with Scene.start(database_url, kafka, options.memory_mib) as scene:
        honest = Honest(scene.system, options.rate)
        await honest.open()
        await kind.prepare(scene)
        await scene.prepared()
        if kind.is_cold:
            await scene.replace_workers()
        await honest.run(WARM_S)
        async with _watched(scene):
            calm = await _measured(scene, honest.run(options.seconds))
            attack = asyncio.create_task(_attack(scene, kind, options.seconds), name="attack")
            grace_s = HALTED_S if kind.halts else GRACE_S
            attacked = await _measured(scene, honest.run(options.seconds, grace_s))
            attacks = await attack
        result = Result(
            name=name,
            does=kind.does,
            calm=calm,
            attacked=attacked,
            attacks=attacks,
            halted=kind.halts and await scene.halted(),
            ended=scene.ended,
            consistent=await scene.is_consistent(),
        )
        if result.failures and options.logs is not None:
            shutil.copytree(scene.crew.logs, options.logs / name, dirs_exist_ok=True)
        return result


async def _measured(scene: Scene, load: Awaitable[Measured]) -> Phase:
    scene.forget_peak()
    before = await lags(scene.ports())
    measured = await load
    scene.look()
    lag_ms = longest_lag_ms(before, await lags(scene.ports()))
    return Phase(measured, scene.peak_kib // 1024, lag_ms)


@asynccontextmanager
async def _watched(scene: Scene) -> AsyncIterator[None]:
    watching = asyncio.create_task(scene.watch(), name="watch workers")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _attack(scene: Scene, kind: Kind, seconds: float) -> int:
    """Send bursts until the time is up, and return the number of attacks."""
    clock = asyncio.get_running_loop().time
    attacks, ends_s = 0, clock() + seconds
    for number in range(kind.bursts_max):
        next_s = clock() + kind.every_s
        attacks += await kind.burst(scene, number)
        if max(next_s, clock()) >= ends_s:
            break
        await asyncio.sleep(max(0.0, next_s - clock()))
    return attacks
