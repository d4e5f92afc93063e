"""The queue between lane and topic, and sends that fail."""

import asyncio
from random import Random

import pytest

from tests.support.fake_broker import FakeKafka, Fault
from worker.errors import BrokerError
from worker.ports import JournalRow, System, TopicPartition
from worker.publisher import QUEUED_BATCHES_MAX, Publisher
from worker.telemetry import LaneMetrics, Metrics
from worker.wire import journal

EVENTS = TopicPartition("events", 0)
ROUTE = journal.Route(
    stream="orders-1",
    topic="orders",
    partition=0,
    events_topic="events",
    dead_letters_topic="dead",
    dead_letter_partitions=1,
)


async def _instantly(_seconds: float) -> None:
    pass


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = FakeKafka(lambda: 0, asyncio.sleep, deadline_s=0.01)
    kafka.create_topic("events", 1)
    return kafka


@pytest.fixture
def publisher(kafka: FakeKafka) -> Publisher:
    system = System(clock=lambda: 0.0, sleep=_instantly, random=Random(0))
    metrics = LaneMetrics(Metrics(), "orders-1", 0)
    return Publisher(kafka.broker("group"), ROUTE, system=system, metrics=metrics)


def row(batch_no: int) -> JournalRow:
    return JournalRow(
        batch_no,
        f'm-1\t{{"type":"DUPLICATE","seq":{batch_no},"offset":1,"index":0,"time_ms":1,"first":{{}}}}\n',
    )


async def _published(publisher: Publisher) -> None:
    """Let it publish until nothing waits."""
    publishing = asyncio.create_task(publisher.run())
    await publisher.drained()
    publishing.cancel()


@pytest.mark.shows("W11")
async def test_put_waits_while_the_queue_is_full(publisher: Publisher) -> None:
    for number in range(1, QUEUED_BATCHES_MAX + 1):
        await publisher.put(row(number))
    assert publisher.full
    further = publisher.put(row(QUEUED_BATCHES_MAX + 1))
    assert further.send(None) is not None, "it waits for something"
    further.close()
    await _published(publisher)
    assert publisher.published_batch_no == QUEUED_BATCHES_MAX


@pytest.mark.shows("W7", "W10", "F64")
@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER, Fault.HALF])
async def test_after_a_send_that_failed_the_topic_is_whole_and_in_order(
    kafka: FakeKafka, publisher: Publisher, fault: Fault
) -> None:
    kafka.fail_next("send", fault, fault)
    for number in range(1, 5):
        await publisher.put(row(number))
    await _published(publisher)
    values = [record.value for record in kafka.records(EVENTS)]
    whole = [line.split("\t")[1].encode() for line in (row(n).events.strip() for n in range(1, 5))]
    assert values[-4:] == whole
    assert list(dict.fromkeys(values)) == whole
    assert publisher.published_batch_no == 4


async def test_what_was_not_acknowledged_does_not_count_as_published(
    kafka: FakeKafka, publisher: Publisher
) -> None:
    producer = await kafka.broker("group").producer()
    await publisher.put(row(1))
    await publisher._publish_next(producer)
    kafka.fail_next("send", Fault.AFTER)
    await publisher.put(row(2))
    with pytest.raises(BrokerError):
        await publisher._publish_next(producer)
    assert publisher.published_batch_no == 1
