"""The pauses before a lost lane is taken over again."""

import asyncio
from random import Random

import pytest
from typing_extensions import override

from tests.support.fake_store import FakeBooks
from tests.unit.lanes import AlarmLog, lane_over, made_kafka
from worker.assignment import GOOD_S, Assignments
from worker.errors import Fenced
from worker.intake import Source
from worker.lane import Lane
from worker.ports import System, TopicPartition
from worker.refusals import RefusalMonitor
from worker.telemetry import Metrics

HERE = TopicPartition("orders", 0)
LOSSES = 12
FIRST_PAUSE_MAX_S = 0.08


class Lasting(Random):
    """Draws the longest pause."""

    @override
    def uniform(self, a: float, b: float) -> float:
        return b


async def _pauses_s(monkeypatch: pytest.MonkeyPatch, lasts_s: float) -> list[float]:
    """Return the pauses after each of LOSSES lanes that are lost after ``lasts_s``."""
    now_s, pauses_s = [0.0], list[float]()

    async def sleep(seconds: float) -> None:
        pauses_s.append(seconds)

    async def lose(_lane: Lane, _source: Source) -> None:
        now_s[0] += lasts_s
        if len(pauses_s) < LOSSES:
            raise Fenced("another owner")

    def make(_partition: TopicPartition, _refusals: RefusalMonitor) -> Lane:
        return lane_over(FakeBooks.opened().store(), metrics=AlarmLog())

    monkeypatch.setattr(Lane, "run", lose)
    kafka = made_kafka()
    kafka.create_topic(HERE.topic, 1, log_append_time=True)
    broker = kafka.broker("group")
    system = System(lambda: now_s[0], sleep, Lasting())
    members = Assignments(broker, [HERE.topic], make, metrics=Metrics(), system=system)
    members._consumer = await broker.consumer([HERE.topic], members)
    await members.assigned([HERE])
    await asyncio.wait(members._tasks.values())
    return pauses_s


async def test_lane_lost_at_once_pauses_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses_s = await _pauses_s(monkeypatch, 0.0)
    assert (pauses_s[0], pauses_s[-1]) == (FIRST_PAUSE_MAX_S, 5.0)


async def test_lane_lost_rarely_pauses_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(await _pauses_s(monkeypatch, GOOD_S + 1)) == {FIRST_PAUSE_MAX_S}
