"""The results of a run, as a table for people and as ``bench.json`` for programs."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.case import Case
from tests.bench.latency import Latency
from tests.bench.replay import ReplayResult
from tests.bench.seed_workers import SeedResult


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """The worker's result for the measured orders."""

    seconds: float
    batches: int
    paced_batches: int
    processes: int
    cpu_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """The measurements of one flow."""

    case: Case
    seed: SeedResult
    worker: WorkerResult
    replay: ReplayResult
    latency: Latency

    @property
    def worker_per_s(self) -> float:
        return self.case.orders / self.worker.seconds

    @property
    def replay_per_s(self) -> float:
        return self.case.orders / self.replay.seconds

    def numbers(self) -> dict[str, float]:
        """Return the content of ``bench.json``."""
        return {
            "seed_way_per_s": round(self.seed.per_s, 1),
            "worker_per_s": round(self.worker_per_s, 1),
            "replay_per_s": round(self.replay_per_s, 1),
            "p50_ms": round(self.latency.p50_ms, 2),
            "p99_ms": round(self.latency.p99_ms, 2),
        }


def write(path: Path, results: Sequence[Result]) -> None:
    """Write ``bench.json``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = {result.case.name: result.numbers() for result in results}
    path.write_text(f"{json.dumps(numbers, indent=2)}\n", encoding="utf-8")


def table(results: Sequence[Result], history: int) -> str:
    """Return the table, with a row per measure and a column per flow."""
    columns = [_column(result) for result in results]
    lines = [f"{'':34}" + "".join(f"{result.case.name:>22}" for result in results)]
    lines += [
        f"{name:34}" + "".join(f"{column[name]:>22}" for column in columns) for name in columns[0]
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"earlier orders in the tables: {history:,}",
            f"machine: {machine()}",
            f"command: {' '.join([Path(sys.executable).name, '-m tests.bench', *sys.argv[1:]])}",
        ]
    )


def machine() -> str:
    """Describe the machine and its load."""
    memory_gb = psutil.virtual_memory().total / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{_cpu_model()}, {os.cpu_count()} cores, {memory_gb:.0f} GiB, {platform.platform()},"
        f" Python {platform.python_version()}; load average at the end {load}"
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")


def _column(result: Result) -> dict[str, str]:
    seed, worker, case = result.seed, result.worker, result.case
    ours = {name: 1e6 * spent / case.orders for name, spent in worker.cpu_s.items()}
    theirs = {name: 1e6 * spent / seed.orders for name, spent in seed.cpu_s.items()}
    return {
        "(a) the seed's way, orders/s": f"{seed.per_s:,.0f}",
        "(b) this worker, orders/s": f"{result.worker_per_s:,.0f}",
        "(c) replay of (b), orders/s": f"{result.replay_per_s:,.0f}",
        "b/a": f"{result.worker_per_s / seed.per_s:.1f}",
        "b/c": f"{result.worker_per_s / result.replay_per_s:.2f}",
        "c/a, the most that b/a can be": f"{result.replay_per_s / seed.per_s:.1f}",
        "(b) p50 at half load, ms": f"{result.latency.p50_ms:.1f}",
        "(b) p99 at half load, ms": f"{result.latency.p99_ms:.1f}",
        "    offered, orders/s": f"{result.latency.offered_per_s:,.0f}",
        "    largest, ms": f"{result.latency.max_ms:.1f}",
        "(a) statements per order": f"{seed.statements_per_order:.1f}",
        "(a) retries": f"{seed.retries:,}",
        "(a) retries per order": f"{seed.retries / seed.orders:.3f}",
        "(a) orders in seconds": f"{seed.orders:,} in {seed.seconds:.1f}",
        "(a) processes for 8 workers": f"{seed.processes}",
        "(b) orders in seconds": f"{case.orders:,} in {worker.seconds:.1f}",
        "(b) worker processes": f"{worker.processes}",
        "(b) batches": f"{worker.batches:,}",
        "(b) orders per batch": f"{case.orders / worker.batches:.0f}",
        "(b) orders per batch, half load": f"{case.paced_orders / worker.paced_batches:.1f}",
        **{f"(a) CPU µs/order, {name}": f"{spent:.0f}" for name, spent in theirs.items()},
        **{f"(b) CPU µs/order, {name}": f"{spent:.0f}" for name, spent in ours.items()},
        "CPU of (a) / CPU of (b)": f"{sum(theirs.values()) / sum(ours.values()):.1f}",
        "(c) waits for another lane": f"{result.replay.retries:,}",
    }
