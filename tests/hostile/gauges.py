"""Figures of worker processes, read from outside: the largest memory, and delays of the loop."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

ANSWER_S: Final = 10.0
LAG: Final = "parity_event_loop_lag_seconds"
_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")

Lags: TypeAlias = Mapping[tuple[int, float], float]
"""How often each loop was at most so late, by port and seconds. They only grow."""


def forget_peak(pid: int) -> None:
    """Begin to measure the largest memory of a process."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def peak_kib(pid: int) -> int:
    """Return the largest memory of a process, or 0 if it has ended."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    except OSError:
        return 0
    return int(found[1]) if found else 0


async def lags(ports: Iterable[int]) -> Lags:
    """Read the delays of the event loops of some workers."""
    found: dict[tuple[int, float], float] = {}
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as client:
        for port in ports:
            async with client.get(f"http://127.0.0.1:{port}/metrics") as answer:
                families = text_string_to_metric_families(await answer.text())
            samples = [s for family in families if family.name == LAG for s in family.samples]
            for sample in samples:
                if sample.name == f"{LAG}_bucket":
                    found[port, float(sample.labels["le"])] = sample.value
    return found


def longest_lag_ms(before: Lags, after: Lags) -> float:
    """Return an upper bound of the longest delay in between, from the histogram's bounds."""
    grown = {at: value - before.get(at, 0.0) for at, value in after.items()}
    bounds = [
        min(le for (of, le), value in grown.items() if of == port and value == total)
        for (port, bound), total in grown.items()
        if math.isinf(bound)
    ]
    return round(1000 * max(bounds, default=0.0), 1)
