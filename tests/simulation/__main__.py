"""Run seeds of the simulation: ``python -m tests.simulation --seeds 300``, or ``--seed N``."""

import argparse
import contextlib
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.report import Report
from tests.simulation.world import Result, run

SEEDS_PER_TASK = 20


def main() -> int:
    """Run seeds and print a report. Return 1 if an invariant was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="number of seeds")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--processes", type=int, default=1, help="seeds in parallel")
    parser.add_argument("--seed", type=int, help="run only this seed, and print its history")
    given = parser.parse_args()
    if given.seed is not None:
        return _replay(given.seed)
    report, began_s = Report(), time.monotonic()
    # An interrupt still prints the report of the seeds so far.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        for part in _parts(range(given.first, given.first + given.seeds), given.processes):
            report.merge(part)
            for seed, violations in part.failed.items():
                print(f"seed {seed}: {violations[0][:300]}", file=sys.stderr, flush=True)
    for line in report.lines(time.monotonic() - began_s, given.processes):
        print(line)
    return 1 if report.failed or report.misjudged() else 0


def _parts(seeds: range, processes: int) -> Iterator[Report]:
    tasks = [seeds[at : at + SEEDS_PER_TASK] for at in range(0, len(seeds), SEEDS_PER_TASK)]
    if processes == 1:
        yield from map(_run_all, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(_run_all, tasks)


def _run_all(seeds: Sequence[int]) -> Report:
    report, began_s = Report(), time.process_time()
    for seed in seeds:
        report.add(run(seed))
    report.cpu_s = time.process_time() - began_s
    return report


def _replay(seed: int) -> int:
    result = run(seed)
    for line in _history(result):
        print(line)
    for text in result.violations:
        print(f"violation: {text}")
    return 1 if result.violations else 0


def _history(result: Result) -> Iterator[str]:
    for at_s, who, what, more in result.history:
        yield f"{at_s:10.4f}  {who:<6}{what} {more}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
