"""The database alone: the worker's own statements, byte for byte, one after another.

There are as many connections as lanes, with the same settings, and each runs the batches of its
lane in their order. A batch that draws from another lane's pocket may have to wait for that lane.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from worker.adapters.postgres import statements
from worker.adapters.postgres.connect import LANE_SETTINGS, connect

Batch = tuple[int, int, tuple[object, ...]]
"""Lane, batch number, parameters of ``commit_batch.sql``."""
TIMEOUT_S: Final = 60.0
TRIES_MAX: Final = 200
_EPOCH: Final = 1
"""Index of the epoch among the parameters."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Time and retries of the statements."""

    batches: int
    retries: int
    seconds: float


async def replay(url: str, batches: Sequence[Batch]) -> ReplayResult:
    """Run ``batches`` on a database in the state before the first batch."""
    lanes: dict[int, list[tuple[object, ...]]] = {}
    for lane, _, parameters in sorted(batches, key=lambda batch: batch[:2]):
        lanes.setdefault(lane, []).append(parameters)
    await _own(url, {lane: rows[0][_EPOCH] for lane, rows in lanes.items()})
    connections = [await connect(url, LANE_SETTINGS, timeout_s=TIMEOUT_S) for _ in lanes]
    for connection in connections:
        # Prepared first, because the worker's connections had also been in use for a while.
        await connection.prepare(statements.COMMIT_BATCH)
    began_s = time.monotonic()
    retries = await asyncio.gather(*map(_run, connections, lanes.values()))
    seconds = time.monotonic() - began_s
    for connection in connections:
        await connection.close()
    return ReplayResult(len(batches), sum(retries), seconds)


async def _own(url: str, epochs: Mapping[int, object]) -> None:
    """Give the lanes the epochs under which the statements were made."""
    connection = await asyncpg.connect(url)
    try:
        for lane, epoch in epochs.items():
            await connection.execute("UPDATE lanes SET epoch = $2 WHERE lane = $1", lane, epoch)
    finally:
        await connection.close()


async def _run(
    connection: "asyncpg.Connection[asyncpg.Record]", rows: Sequence[tuple[object, ...]]
) -> int:
    """Run a lane's statements, and return how often one had to wait for another lane."""
    retries = 0
    rng = random.Random(len(rows))
    for parameters in rows:
        for attempt in range(TRIES_MAX):
            try:
                await connection.execute(statements.COMMIT_BATCH, *parameters)
            except (
                asyncpg.SerializationError,
                asyncpg.DeadlockDetectedError,
                asyncpg.LockNotAvailableError,
                asyncpg.CheckViolationError,
            ):
                if attempt == TRIES_MAX - 1:
                    raise
                retries += 1
                await asyncio.sleep(rng.uniform(0, 0.01))
            else:
                break
    return retries
