"""Run seeds (``python -m tests.mutants.seeds FIRST COUNT``) until one shows a violation."""

import sys

from tests.simulation.world import run


def main(first: int, count: int) -> int:
    for seed in range(first, first + count):
        if violations := run(seed).violations:
            print(f"seed {seed}: {violations[0]}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
