"""The objects of a worker, without servers."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from worker import app, config
from worker.adapters.postgres.store import PostgresStore
from worker.domain.state import StreamKind
from worker.ports import StreamRow, TopicPartition
from worker.refusals import RefusalMonitor
from worker.topics import OutputTopics, Streams

SETTINGS = config.load()


def test_cause_of_wait_is_logged_once() -> None:
    now = [100.0]
    waiting = app.WaitLog(lambda: now[0])
    with capture_logs() as lines:
        for text in ("no tables", "no tables", "no broker", "no tables", "no tables"):
            waiting(OSError(text))
        now[0] += app.WAIT_LOGGED_EVERY_S
        waiting(OSError("no tables"))
    logged = ["no tables", "no broker", "no tables", "no tables"]
    assert [line["error"] for line in lines] == logged


def _worker(**settings: object) -> app.Worker:
    made = config.load(**settings)
    orders, transfers = (
        StreamRow(topic, topic, kind, 2, 2 * number)
        for number, (topic, kind) in enumerate(zip(made.inputs, StreamKind, strict=True))
    )
    streams = Streams(orders, transfers, OutputTopics(*made.outputs, 1))
    return app.Worker(made, app.make_broker(made), streams)


@pytest.mark.parametrize(("mode", "in_steps"), [("statement", False), ("steps", True)])
async def test_commit_mode_reaches_the_store(mode: str, in_steps: bool) -> None:
    """A target that refuses a batch as one statement would cost each new lane a try."""
    worker = _worker(commit_mode=mode)
    lanes = [
        worker._make_lane(TopicPartition(topic, 1), RefusalMonitor()) for topic in SETTINGS.inputs
    ]
    stores: list[Any] = [lane._store for lane in lanes if lane is not None]
    assert [type(store) for store in stores] == [PostgresStore] * 2
    assert [store.in_steps for store in stores] == [in_steps] * 2


@pytest.mark.parametrize(("cut_off", "drained"), [(0, True), (1, False)])
async def test_cut_off_lane_is_not_drained(cut_off: int, drained: bool) -> None:
    """The member has left the group, but a lane did not end within its time."""
    worker = _worker()
    work = asyncio.create_task(asyncio.sleep(0))
    assert not worker.drained(work)
    await work
    worker.assignments.cut_off = cut_off
    assert worker.drained(work) is drained
