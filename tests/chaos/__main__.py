"""Faults in workers, database and brokers under live load: ``python -m tests.chaos --minutes 10``.

The run ends with a replay of the whole history. The exit code is 1 if an invariant was violated or
too few faults hit.
"""

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Final

from tests.chaos.mix import KINDS, Front
from tests.chaos.run import Options, Result, run

REPORT: Final = Path("build/chaos.json")
LOGS: Final = Path("build/chaos-logs")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="length (%(default)s)")
    parser.add_argument("--seed", type=int, help="seed of the faults and their times")
    parser.add_argument("--rate", type=float, default=100.0, help="orders per second (%(default)s)")
    given = parser.parse_args()
    drawn = {} if given.seed is None else {"seed": given.seed}
    # aiokafka logs every unreachable broker, and a run makes many unreachable.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    options = Options(
        length_s=given.minutes * 60.0, rate=given.rate, show=_show, logs=LOGS, **drawn
    )
    result = asyncio.run(run(options))
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(f"{json.dumps(result.as_json(), indent=2)}\n", encoding="utf-8")
    for line in lines(result):
        _show(line)
    return 1 if result.failed else 0


def lines(result: Result) -> list[str]:
    """Return the table of results."""
    table: list[tuple[str, object]] = []
    for front in Front:
        kinds = [name for name, kind in KINDS.items() if kind.front is front]
        table += [(f"{front}: {name}", result.faults[name]) for name in kinds]
    table += [(sort, number) for sort, number in result.sorts.items()]
    table += [
        ("kills and cuts, at least", result.wanted),
        ("records answered", result.records),
        ("events checked by replay", result.events),
        ("batches replayed", result.batches),
        ("trades", result.trades),
        ("repeated events, dropped by their seq", result.repeats),
        ("commands sent again, answered DUPLICATE", result.duplicates),
        ("load runs / repeated load runs", f"{result.loads} / {result.loads_again}"),
        ("workers started", result.workers),
        ("longest stall of a lane, s", result.longest_stop_s),
        ("total time, s", result.seconds),
        ("violations", len(result.violations)),
    ]
    shown = [f"{name:<52}{_number(value)}" for name, value in table]
    return [*shown, *result.violations, f"seed {result.seed}: {_verdict(result)}"]


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _verdict(result: Result) -> str:
    if result.violations:
        return "VIOLATED"
    return "all invariants held" if result.enough else "too few faults"


def _show(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
