"""A lane of the worker over a fake database and a fake broker, with its input given by hand."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final

from typing_extensions import override

from tests.support import history
from tests.support.books import market_at, orders_home
from tests.support.fake_broker import FakeKafka
from tests.support.fake_store import FakeStore
from worker.adapters.system import system
from worker.commit import Owner
from worker.domain.state import StreamKind
from worker.lane import Lane
from worker.ports import StreamRow, TopicPartition
from worker.publisher import Publisher
from worker.refusals import RefusalMonitor
from worker.telemetry import LaneMetrics, Metrics

HOME: Final = orders_home(0)
MARKET: Final = market_at(0, "market")
STREAM: Final = StreamRow(HOME.stream, "orders", StreamKind.ORDERS, HOME.partitions, 0)
EVENTS: Final = TopicPartition("events", 0)
ROUTE: Final = replace(history.ROUTE, stream=HOME.stream)


class AlarmLog(LaneMetrics):
    """Metrics of the lane that remember its alarms."""

    def __init__(self) -> None:
        super().__init__(Metrics(), HOME.stream, 0)
        self.alarms: list[str] = []
        self.lag = -1

    @override
    def alarm(self, name: str, **fields: object) -> None:
        self.alarms.append(name)

    @override
    def behind(self, records: int) -> None:
        self.lag = records


@dataclass
class Input:
    """The lane's input partition, which has the offsets from ``first`` to before ``end``."""

    first: int
    end: int
    sought: list[int] = field(default_factory=list)
    id: str = ""

    async def topic_id(self) -> str:
        return self.id

    async def bounds(self) -> tuple[int, int]:
        return self.first, self.end

    def seek(self, offset: int) -> None:
        self.sought.append(offset)


def made_kafka() -> FakeKafka:
    """Return a cluster with the lane's output topics."""
    kafka = FakeKafka(lambda: 1, asyncio.sleep)
    for topic in ("events", "dead"):
        kafka.create_topic(topic, 1, log_append_time=False)
    return kafka


def publisher_to(kafka: FakeKafka, metrics: LaneMetrics | None = None) -> Publisher:
    """Return a publisher of the lane's events."""
    broker = kafka.broker("group")
    return Publisher(broker, ROUTE, system=system(), metrics=metrics or AlarmLog())


def lane_over(
    store: FakeStore,
    kafka: FakeKafka | None = None,
    metrics: LaneMetrics | None = None,
    *,
    topic_id: str = "",
) -> Lane:
    """Return a lane that has not taken over yet. Its stream reads the topic of ``topic_id``."""
    metrics = metrics or AlarmLog()
    return Lane(
        replace(STREAM, topic_id=topic_id),
        0,
        owner=Owner("me", 2_500, system()),
        store=store,
        publisher=publisher_to(kafka or made_kafka(), metrics),
        metrics=metrics,
        refusals=RefusalMonitor(),
    )
