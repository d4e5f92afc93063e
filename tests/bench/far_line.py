"""A proxy that makes PostgreSQL as distant as a DSQL cluster, in its own process.

``python -m tests.bench.far_line URL ROUND_TRIP_MS COMMIT_MS`` prints the address on which it
listens, and ends when its standard input ends.
"""

import asyncio
import sys

import uvloop

from tests.support.dsql_line import DsqlLine, Habits


async def _run(url: str, round_trip_ms: float, commit_ms: float) -> None:
    habits = Habits(round_trip_s=round_trip_ms / 1_000, commit_s=commit_ms / 1_000)
    async with DsqlLine.before(url, habits) as line:
        print(line.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
