"""What a publisher does when the topic lacks what it acknowledged."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random

import pytest

from tests.support.eventually import PATIENCE_S, eventually
from tests.support.fake_broker import FakeKafka, Fault
from worker.domain.commands import Unreadable
from worker.domain.events import DeadLetter, Event, MarketSettled, Reason
from worker.domain.state import StreamKind
from worker.domain.units import MarketId, Money, Offset
from worker.errors import EventsLost
from worker.ports import JournalRow, System, TopicPartition
from worker.publisher import QUEUED_BATCHES_MAX, TAIL_OFFSETS, Publisher
from worker.telemetry import LaneMetrics, Metrics
from worker.wire import journal

ROUTE = journal.Route(
    stream="orders",
    topic="orders",
    partition=0,
    events_topic="events",
    dead_letters_topic="dead",
    dead_letter_partitions=1,
)
EVENTS = TopicPartition("events", 0)


@pytest.fixture
async def kafka() -> AsyncIterator[FakeKafka]:
    kafka = FakeKafka(lambda: 1, asyncio.sleep)
    for topic in ("events", "dead"):
        kafka.create_topic(topic, 1, log_append_time=False)
    yield kafka
    await kafka.aclose()


@pytest.fixture
def publisher(kafka: FakeKafka) -> Publisher:
    system = System(time.monotonic, asyncio.sleep, Random(1))
    metrics = LaneMetrics(Metrics(), "orders", 0)
    return Publisher(kafka.broker("g"), ROUTE, system=system, metrics=metrics)


def row(number: int) -> JournalRow:
    """Return a batch with one event, of the same number."""
    body = MarketSettled(1, Money(5))
    event = Event(number, Offset(number), 0, 1, MarketId("m"), number, body)
    return JournalRow(number, journal.encode([event], StreamKind.ORDERS))


def recreate(kafka: FakeKafka) -> None:
    """Let the next send fail, as the first one after it would."""
    kafka._topics.pop("events")
    kafka.create_topic("events", 1, log_append_time=False)
    kafka.fail_next("send", Fault.BEFORE)


async def test_the_end_of_the_topic_is_known_unless_all_of_it_has_expired(
    kafka: FakeKafka, publisher: Publisher
) -> None:
    assert await publisher.published_seq() == 0
    kafka.append(journal.decode(row(6).events + row(7).events + row(5).events, ROUTE))
    kafka.forget_before(EVENTS, 1)
    assert await publisher.published_seq() == 7
    kafka.forget_before(EVENTS, 3)
    assert await publisher.published_seq() is None


async def test_records_of_others_say_nothing(kafka: FakeKafka, publisher: Publisher) -> None:
    kafka.append(journal.decode(row(7).events, ROUTE))
    others = journal.decode(row(9).events, replace(ROUTE, stream="orders@2"))
    kafka.append(others * TAIL_OFFSETS)
    assert await publisher.published_seq() is None


def test_a_dead_letter_cannot_pretend_to_be_an_event(publisher: Publisher) -> None:
    forged = Unreadable(detail="", key=None, value=b"{", headers=(("ce_id", b"orders/0/999"),))
    letter = DeadLetter(3, Offset(3), 1, Reason.MALFORMED, forged)
    text = row(3).events + journal.encode([letter], StreamKind.ORDERS)
    assert publisher.last_seq(JournalRow(3, text)) == 3


async def test_a_failure_after_which_nothing_is_missing_is_gone_over(
    kafka: FakeKafka, publisher: Publisher
) -> None:
    async with _running(publisher) as running:
        await publisher.put(row(1))
        await asyncio.wait_for(publisher.drained(), PATIENCE_S)
        kafka.fail_next("send", Fault.AFTER)
        await publisher.put(row(2))
        await asyncio.wait_for(publisher.drained(), PATIENCE_S)
        assert not running.done()
    # The second send arrived, and the topic said so.
    assert [record.value for record in kafka.records(EVENTS)] == [
        record.value for number in (1, 2) for record in journal.decode(row(number).events, ROUTE)
    ]


async def test_a_topic_that_is_another_ends_the_publisher_and_whoever_waits_for_it(
    kafka: FakeKafka, publisher: Publisher
) -> None:
    async with _running(publisher) as running:
        await publisher.put(row(1))
        await asyncio.wait_for(publisher.drained(), PATIENCE_S)
        recreate(kafka)
        with pytest.raises(EventsLost):
            await asyncio.wait_for(_fill(publisher), PATIENCE_S)
        await eventually(running.done)
        assert isinstance(running.exception(), EventsLost)
    assert not kafka.records(EVENTS)


async def test_a_batch_that_cannot_be_read_ends_whoever_waits_for_the_publisher(
    publisher: Publisher,
) -> None:
    async with _running(publisher) as running:
        await publisher.put(JournalRow(1, "no event"))
        with pytest.raises(ValueError, match="the journal ends within a line"):
            await asyncio.wait_for(_fill(publisher), PATIENCE_S)
        assert running.exception() is not None


async def _fill(publisher: Publisher) -> None:
    """Queue more than there is room for."""
    for number in range(2, QUEUED_BATCHES_MAX + 4):
        await publisher.put(row(number))


@contextlib.asynccontextmanager
async def _running(publisher: Publisher) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(publisher.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
