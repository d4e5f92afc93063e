"""``python -m tests.simulation --seeds 300 --first 0``, or ``--seed N --history``."""

import argparse
import sys
import time

from tests.simulation.report import Report
from tests.simulation.world import run


def main() -> int:
    """Run seeds and print what they showed; 1 if anything was not as promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--history", action="store_true", help="print what happened")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    report, began = Report(), time.process_time()
    for seed in seeds if given.seed is None else [given.seed]:
        result = run(seed)
        report.add(result)
        if result.violations:
            print(f"seed {seed}: {result.violations[0][:300]}", file=sys.stderr, flush=True)
        if given.history:
            for at_s, who, what, more in result.history:
                print(f"{at_s:10.4f}  {who:<6}{what} {more}".rstrip())
    for line in report.lines(time.process_time() - began):
        print(line)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
