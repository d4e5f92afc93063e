"""Break the shipped code in every known way. A test or a seed must notice each mutant.

Prints each mutant with its killer and the time taken. Exits 1 when a mutant survives, when its text
is no longer in the code, or when it does not even run.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.mutants.catalogue import MUTANTS
from tests.mutants.laboratory import Laboratory, Verdict
from tests.mutants.mutant import Mutant
from tests.support.databases import execute
from worker.embedded import EmbeddedPostgres

SIDE_BY_SIDE: Final = 2
WORDS_MAX: Final = 200
"""Printed length of the failure that killed a mutant."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "-k", default="", metavar="WORDS", help="only mutants whose name contains WORDS"
    )
    parser.add_argument("--list", action="store_true", help="print the names only")
    given = parser.parse_args()
    chosen = [m for m in MUTANTS if given.k.lower() in m.name.lower()]
    if given.list:
        print(*(mutant.name for mutant in chosen), sep="\n")
        return 0
    if not chosen:
        parser.error(f"no mutant has {given.k!r} in its name")
    with _server() as database_url, tempfile.TemporaryDirectory(prefix="parity-mutants-") as folder:
        laboratory = Laboratory(Path(folder), database_url)
        laboratory.prepare()
        return asyncio.run(_examine_all(laboratory, chosen))


@contextmanager
def _server() -> Iterator[str]:
    """Start one PostgreSQL for all tests. Each test has a database of its own."""
    if given := os.environ.get("PARITY_TEST_DATABASE_URL"):
        yield given
        return
    with EmbeddedPostgres.start() as server:
        # Thousands of tables are created and dropped, and none of them has to survive a crash.
        for sql in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
            asyncio.run(execute(server.url, sql))
        yield server.url


async def _examine_all(laboratory: Laboratory, mutants: Sequence[Mutant]) -> int:
    print(f"{len(mutants)} mutants. First, all killers run on the code as it is", flush=True)
    if failing := await laboratory.check_sound([mutant.killer for mutant in mutants]):
        print(f"{failing}\nthese killers fail without a mutant and prove nothing: fix them first")
        return 1
    began = asyncio.get_running_loop().time()
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def examine(number: int, mutant: Mutant) -> tuple[Mutant, Verdict]:
        async with places:
            return mutant, await laboratory.examine(number, mutant)

    work = [asyncio.create_task(examine(*each)) for each in enumerate(mutants)]
    left: list[str] = []
    for done, next_one in enumerate(asyncio.as_completed(work), 1):
        mutant, verdict = await next_one
        if not verdict.killed:
            left.append(f"{verdict.word}: {mutant.name}  {verdict.by}".rstrip())
        print(
            f"{done:4}/{len(mutants)}  {verdict.word:<8} {verdict.seconds:5.1f} s"
            f"  {mutant.name:<60}  {verdict.by[:WORDS_MAX]}".rstrip(),
            flush=True,
        )
    lasted_s = asyncio.get_running_loop().time() - began
    print(*left, sep="\n")
    print(f"killed {len(mutants) - len(left)}/{len(mutants)} in {lasted_s:.0f} s")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
