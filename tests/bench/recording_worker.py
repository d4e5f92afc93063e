"""``python -m worker run``, remembering the statements that it commits.

The real command runs in this process; nothing of it is replaced but the store's class, by one that
keeps a reference to each committed statement: a list append per batch. When the worker ends, after
SIGTERM, the file named by the first argument holds what the replay needs; beside it, ``.first``, is
the moment of the first record on the machine's monotonic clock.
"""

import pickle
import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from typing_extensions import override

from tests.bench.replay import Batch
from worker import app
from worker.adapters.postgres.store import PostgresStore
from worker.lane import Lane, LaneStatus
from worker.ports import Record, Statement

COMMITTED: Final[list[Batch]] = []


class RecordingStore(PostgresStore):
    """The worker's store."""

    @override
    async def commit(self, statement: Statement) -> None:
        await super().commit(statement)
        COMMITTED.append((statement.lane, statement.batch_no, statement.parameters))


def _note_first_record(path: Path) -> None:
    """Write down when the first record reaches a lane that takes some; then get out of the way."""
    offer = Lane.offer

    def noting(lane: Lane, records: Sequence[Record]) -> None:
        if lane.status is LaneStatus.READY and records:
            path.write_text(repr(time.monotonic()), encoding="ascii")
            setattr(Lane, "offer", offer)  # noqa: B010
        offer(lane, records)

    setattr(Lane, "offer", noting)  # noqa: B010


def main() -> None:
    """Run the worker until it is told to stop."""
    path = Path(sys.argv[1])
    setattr(app, "PostgresStore", RecordingStore)  # noqa: B010
    _note_first_record(path.with_suffix(".first"))
    sys.argv = ["worker", "run"]
    try:
        runpy.run_module("worker", run_name="__main__", alter_sys=True)
    finally:
        path.write_bytes(pickle.dumps(COMMITTED))


if __name__ == "__main__":
    main()
