"""``python -m worker run``, remembering the statements that it commits.

The real command runs in this process; nothing of it is replaced but the store's class, by one that
keeps a reference to each committed statement: a list append per batch. When the worker ends, after
SIGTERM, the file named by the first argument holds what the replay needs.
"""

import pickle
import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from tests.bench.replay import Recording
from worker import app
from worker.adapters.postgres.store import PostgresStore
from worker.lane import Lane, LaneStatus
from worker.ports import Record, Statement

RECORDING = Recording()


class RecordingStore(PostgresStore):
    """The worker's store."""

    @override
    async def commit(self, statement: Statement) -> None:
        await super().commit(statement)
        RECORDING.committed.append((statement.lane, statement.batch_no, statement.parameters))


def _note_first_record() -> None:
    """Note when the first record reaches a lane that takes records; then get out of the way."""
    offer = Lane.offer

    def noting(lane: Lane, records: Sequence[Record]) -> None:
        if lane.status is LaneStatus.READY and records:
            RECORDING.first_record_s = time.monotonic()
            Lane.offer = offer  # type: ignore[method-assign]
        offer(lane, records)

    Lane.offer = noting  # type: ignore[method-assign]


def _run() -> None:
    import importlib.util
    if importlib.util.find_spec("worker.__main__"):
        sys.argv = ["worker", "run"]
        runpy.run_module("worker", run_name="__main__", alter_sys=True)
    else:
        import uvloop
        from worker import config
        from worker.telemetry import configure_logging
        s = config.load()
        configure_logging(s.log_level, as_json=s.log_json)
        uvloop.run(app.run(s))


def main() -> None:
    """Run the worker until it is told to stop."""
    path = Path(sys.argv[1])
    app.PostgresStore = RecordingStore  # type: ignore[misc]
    _note_first_record()
    try:
        _run()
    finally:
        path.write_bytes(pickle.dumps(RECORDING))


if __name__ == "__main__":
    main()
