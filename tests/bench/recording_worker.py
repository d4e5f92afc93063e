"""``python -m worker run`` with a record of the statements that it commits.

The real command runs in this process. Only the store's class is replaced by one that keeps a
reference to each committed statement, at the cost of a list append per batch. After SIGTERM the
statements are written for the replay, to the file of the first argument. A second file with the
suffix ``.first`` has the monotonic time of the first record.
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
    """The worker's store, which also keeps its statements."""

    @override
    async def commit(self, statement: Statement) -> None:
        await super().commit(statement)
        COMMITTED.append((statement.lane, statement.batch_no, statement.parameters))


def _note_first_record(path: Path) -> None:
    """Record when the first record reaches a lane that accepts it, and then remove the hook."""
    offer = Lane.offer

    def noting(lane: Lane, records: Sequence[Record]) -> None:
        if lane.status is LaneStatus.READY and records:
            path.write_text(repr(time.monotonic()), encoding="ascii")
            setattr(Lane, "offer", offer)  # noqa: B010
        offer(lane, records)

    setattr(Lane, "offer", noting)  # noqa: B010


def main() -> None:
    """Run the worker until SIGTERM."""
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
