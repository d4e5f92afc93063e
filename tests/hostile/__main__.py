"""Attacks of every kind against two workers: ``python -m tests.hostile --seconds 20``.

For each kind, the program prints how long innocent orders wait, next to the undisturbed values of
the same exchange just before. One line is of innocent partitions, and one is of an innocent market
in the attacked lane. The exit code is 1 if an innocent order has no answer, if a worker ended by
itself, or if the books do not balance. Missed aims of time are only printed.
"""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.hostile.honest import Waits
from tests.hostile.kinds import KINDS
from tests.hostile.run import Options, Result, strike
from worker.embedded import EmbeddedKafka, EmbeddedPostgres

REPORT: Final = Path("build/hostile.json")
LOGS: Final = Path("build/hostile-logs")
LATE_MS: Final = 100.0
"""Delay in this program itself from which the waits say little about the exchange."""
_WAITS: Final = ("p50", "p99", "longest")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=20.0, help="length of either part (%(default)s)")
    add("--rate", type=float, default=40.0, help="honest orders per second (%(default)s)")
    add("--memory", type=int, default=512, help="MiB that a worker gets (%(default)s; 0: all)")
    add("--only", nargs="+", metavar="KIND", choices=KINDS, help=f"some of {', '.join(KINDS)}")
    add("--list", action="store_true", help="list the kinds, and run nothing")
    given = parser.parse_args()
    if given.list:
        print(*(f"{name:<18}{kind.does}" for name, kind in KINDS.items()), sep="\n")
        return 0
    if sys.platform != "linux":
        parser.error("memory is limited and measured by means of Linux only")
    # aiokafka logs what the attacks break on purpose.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    options = Options(given.seconds, given.rate, given.memory, LOGS)
    results, broken = asyncio.run(_run(given.only or list(KINDS), options))
    REPORT.parent.mkdir(exist_ok=True)
    report = {"kinds": [result.as_json() for result in results], "broken": broken}
    REPORT.write_text(f"{json.dumps(report, indent=2)}\n", encoding="utf-8")
    return 1 if broken or any(result.failures for result in results) else 0


async def _run(names: Sequence[str], options: Options) -> tuple[list[Result], dict[str, str]]:
    """Run the kinds one by one, and return the results and the errors by kind."""
    results: list[Result] = []
    broken: dict[str, str] = {}
    # No attack stops PostgreSQL, so it need not wait for its disk.
    postgres, kafka = await asyncio.gather(
        asyncio.to_thread(EmbeddedPostgres.start, settings={"fsync": "off"}),
        asyncio.to_thread(EmbeddedKafka.start),
    )
    with postgres, kafka:
        _show(*_head())
        for number, name in enumerate(names):
            database = f"hostile_{number}"
            url = await asyncio.to_thread(postgres.create_database, database)
            try:
                results.append(await strike(url, kafka, name, options))
            except Exception as error:  # noqa: BLE001 - the other kinds must still run
                broken[name] = f"{type(error).__name__}: {error}"
                _show(f"{name:<18}{broken[name]}")
            else:
                _show(*_lines(results[-1]))
            await asyncio.to_thread(postgres.drop_database, database)
    return results, broken


def _head() -> list[str]:
    waits = "".join(f"{name:>9}" for name in _WAITS)
    above = (
        f"{'undisturbed, ms':>27}{'attacked, ms':>27}{'p99':>8}{'peak MiB':>16}{'loop late':>11}"
    )
    below = f"{waits}{waits}{'ratio':>8}{'before':>8}{'then':>8}{'ms':>11}"
    return [f"{'':<18}{'innocent':<12}{above}", f"{'kind':<18}{'orders in':<12}{below}"]


def _lines(result: Result) -> list[str]:
    calm, attacked = result.calm, result.attacked
    notes = [*result.failures, *result.missed]
    late_ms = max(calm.measured.late_ms, attacked.measured.late_ms)
    notes += [f"this program sent {late_ms:,.0f} ms late"] if late_ms > LATE_MS else []
    partitions = _numbers(calm.measured.partitions) + _numbers(attacked.measured.partitions)
    answered = f"{_numbers(attacked.measured.lane)}{result.lane_ratio:>8.1f}"
    lane = _numbers(calm.measured.lane) + (f"{'halted':>27}" if result.halted else answered)
    figures = f"{calm.peak_mib:>8}{attacked.peak_mib:>8}{attacked.lag_ms:>11,.0f}"
    return [
        f"{result.name:<18}{'partitions':<12}{partitions}{result.ratio:>8.1f}{figures}",
        f"{'':<18}{'lane':<12}{lane}",
        *(f"{'':<18}{note}" for note in notes),
    ]


def _numbers(waits: Waits) -> str:
    values = (waits.p50_ms, waits.p99_ms, waits.longest_ms)
    return "".join(f"{value:>9,.0f}" for value in values)


def _show(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
