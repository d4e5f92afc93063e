"""The watch over the topics, with lanes and a cluster in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.fake_broker import FakeKafka, Fault
from worker import config
from worker.adapters.system import system
from worker.domain.state import StreamKind
from worker.health.topic_watch import TopicWatch
from worker.lane import LaneStatus
from worker.ports import StreamRow, TopicPartition
from worker.telemetry import Metrics
from worker.topic_rules import CLEANUP, STAMPS
from worker.topics import OutputTopics, Streams

SETTINGS = config.load()
ORDERS, TRANSFERS = SETTINGS.inputs


class Lane:
    """A lane that can be halted."""

    def __init__(self, status: LaneStatus = LaneStatus.READY) -> None:
        self.status, self.reason = status, ""

    def halt(self, reason: str) -> None:
        self.status, self.reason = LaneStatus.HALTED, reason


@dataclass
class Stage:
    """One worker, and the cluster that it watches."""

    kafka: FakeKafka
    watch: TopicWatch
    lanes: dict[TopicPartition, Any]
    metrics: Metrics

    @property
    def halted(self) -> list[str]:
        return [p.topic for p, lane in self.lanes.items() if lane.status is LaneStatus.HALTED]

    @property
    def alarms(self) -> float:
        return sum(
            sample.value
            for family in self.metrics.alarms.collect()
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels["alarm"] == "topic_misconfigured"
        )


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    kafka = FakeKafka(lambda: 1, asyncio.sleep)
    for topic in (*SETTINGS.inputs, *SETTINGS.outputs):
        kafka.create_topic(topic, 1, log_append_time=topic in SETTINGS.inputs)
    found = kafka.describe(SETTINGS.inputs)
    orders, transfers = (
        StreamRow(topic, topic, kind, 1, 0, found[topic].topic_id)
        for kind, topic in zip(StreamKind, SETTINGS.inputs, strict=True)
    )
    lanes: dict[TopicPartition, Any] = {TopicPartition(topic, 0): Lane() for topic in found}
    assignments: Any = SimpleNamespace(lanes=lanes)
    metrics = Metrics()
    watch = TopicWatch(
        inputs=SETTINGS.inputs,
        outputs=SETTINGS.outputs,
        broker=kafka.broker("g"),
        assignments=assignments,
        streams=lambda: Streams(orders, transfers, OutputTopics(*SETTINGS.outputs, 1)),
        system=system(),
        metrics=metrics,
    )
    yield Stage(kafka, watch, lanes, metrics)
    await kafka.aclose()


async def test_unchanged_topics_halt_nothing(stage: Stage) -> None:
    await stage.watch.look()
    assert (stage.halted, stage.watch.problems, stage.alarms) == ([], {}, 0)


@pytest.mark.shows("F45")
async def test_recreated_topic_halts_only_its_lanes(stage: Stage) -> None:
    stage.kafka.delete_topic(ORDERS)
    await stage.watch.look()
    assert stage.halted == []
    stage.kafka.create_topic(ORDERS, 1)
    await stage.watch.look()
    assert stage.halted == [ORDERS]
    assert stage.lanes[TopicPartition(ORDERS, 0)].reason.startswith("foreign history")


async def test_loading_lane_is_left_to_its_take_over(stage: Stage) -> None:
    """A lane is READY at the end of its take-over, and would forget the halt."""
    lane = stage.lanes[TopicPartition(ORDERS, 0)]
    lane.status = LaneStatus.LOADING
    stage.kafka.delete_topic(ORDERS)
    stage.kafka.create_topic(ORDERS, 1)
    await stage.watch.look()
    assert lane.status is LaneStatus.LOADING


async def test_wrong_setting_is_an_alarm_until_right(stage: Stage) -> None:
    stage.kafka.configure(TRANSFERS, STAMPS, "CreateTime")
    for _ in range(3):
        await stage.watch.look()
    assert stage.watch.problems.keys() == {TRANSFERS}
    stage.kafka.configure(SETTINGS.events_topic, CLEANUP, "compact")
    await stage.watch.look()
    assert set(stage.watch.problems) == {TRANSFERS, SETTINGS.events_topic}
    assert stage.alarms == 2

    stage.kafka.configure(TRANSFERS, STAMPS, "LogAppendTime")
    stage.kafka.configure(SETTINGS.events_topic, CLEANUP, "delete")
    await stage.watch.look()
    assert (stage.watch.problems, stage.alarms, stage.halted) == ({}, 2, [])


async def test_silent_broker_changes_nothing(stage: Stage) -> None:
    stage.kafka.configure(TRANSFERS, STAMPS, "CreateTime")
    await stage.watch.look()
    before = stage.watch.problems
    stage.kafka.fail_next("describe", Fault.BEFORE)
    await stage.watch.look()
    assert (stage.watch.problems, stage.halted) == (before, [])


async def test_unknown_ids_are_not_compared(stage: Stage) -> None:
    """Brokers before Kafka 2.8 have none."""
    described = stage.kafka.describe

    def without_ids(topics: Any) -> Any:  # noqa: ANN401
        return {name: replace(topic, topic_id="") for name, topic in described(topics).items()}

    stage.kafka.describe = without_ids  # type: ignore[method-assign]
    await stage.watch.look()
    assert stage.halted == []
