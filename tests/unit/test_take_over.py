"""What a new owner makes of what the last one does while it takes over."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from typing_extensions import override

from tests.support.books import ORDER_LANES, ORDERS, market_at, open_market
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.fake_broker import FakeKafka
from tests.support.fake_store import FakeBooks, FakeStore
from worker.adapters.system import system
from worker.commit import Owner, Refusals
from worker.domain.state import StreamKind
from worker.domain.units import Lane as LaneNumber
from worker.errors import EventsLost
from worker.lane import Lane, LaneStatus
from worker.ports import LaneRow, StreamRow, TopicPartition
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics, Metrics
from worker.watchdog import sight
from worker.wire import journal

ROUTE = journal.Route(
    stream=ORDERS,
    topic="in",
    partition=0,
    events_topic="events",
    dead_letters_topic="dead",
    dead_letter_partitions=1,
)
STREAM = StreamRow(ORDERS, "in", StreamKind.ORDERS, ORDER_LANES, 0)


class SlowStore(FakeStore):
    """Something happens on the way to a take-over."""

    meanwhile: Callable[[], Awaitable[None]]

    @override
    async def take_over(self, stream: str, partition: int, owner: str) -> LaneRow:
        await self.meanwhile()
        return await super().take_over(stream, partition, owner)


class Alarms(LaneMetrics):
    """Metrics that remember the alarms."""

    def __init__(self) -> None:
        super().__init__(Metrics(), ORDERS, 0)
        self.heard: list[str] = []

    @override
    def alarm(self, name: str, **fields: object) -> None:
        self.heard.append(name)


class Input:
    """The input partition, as far as the lane's cursor."""

    def __init__(self, books: FakeBooks) -> None:
        self._books = books

    async def bounds(self) -> tuple[int, int]:
        return 0, self._books.database.rows("lanes")[0]["next_offset"]

    def seek(self, offset: int) -> None:
        pass


def heir(store: FakeStore, kafka: FakeKafka, metrics: LaneMetrics) -> Lane:
    """Return the lane of the next owner."""
    publisher = Publisher(kafka.broker("g"), ROUTE, system=system(), metrics=metrics)

    return Lane(
        STREAM,
        0,
        owner=Owner("heir", 2_500, system()),
        store=store,
        publisher=publisher,
        metrics=metrics,
    )


async def until_ready(lane: Lane, books: FakeBooks) -> None:
    """Let it take over, publish what it found to be missing, and stop."""
    running = asyncio.create_task(lane.run(Input(books), Refusals()))
    await eventually(lambda: lane.status is LaneStatus.READY)
    lane.stop()
    await asyncio.wait_for(running, PATIENCE_S)


async def test_what_the_last_owner_publishes_meanwhile_is_not_taken_for_lost() -> None:
    books, kafka = FakeBooks.opened(), FakeKafka(lambda: 1, asyncio.sleep)
    for topic in ("events", "dead"):
        kafka.create_topic(topic, 1, log_append_time=False)
    last_owner = await books.orders(0)

    async def commit_and_publish() -> None:
        for number in (1, 2):
            await last_owner.run(open_market(market_at(0, f"m{number}")))
            row = (await last_owner.store.journal(LaneNumber(0), number, number))[0]
            kafka.append(journal.decode(row.events, ROUTE))
            last_owner.published_batch_no = number

    store, metrics = SlowStore(books.database), Alarms()
    store.meanwhile = commit_and_publish
    await until_ready(heir(store, kafka, metrics), books)
    assert books.database.rows("lanes")[0]["published_batch_no"] == 1
    assert metrics.heard == []
    await kafka.aclose()


@pytest.mark.shows("W17")
async def test_a_gap_in_the_topic_is_filled_though_later_events_are_there() -> None:
    books, kafka = FakeBooks.opened(), FakeKafka(lambda: 1, asyncio.sleep)
    for topic in ("events", "dead"):
        kafka.create_topic(topic, 1, log_append_time=False)
    last_owner, events = await books.orders(0), []
    for number in (1, 2, 3, 4):
        await last_owner.run(open_market(market_at(0, f"m{number}")))
        (row,) = await last_owner.store.journal(LaneNumber(0), number, number)
        events += journal.decode(row.events, ROUTE)
        last_owner.published_batch_no = number
    kafka.append([events[0], *events[2:]])

    metrics, where = Alarms(), TopicPartition("events", 0)
    lane = heir(FakeStore(books.database), kafka, metrics)
    await until_ready(lane, books)

    async def bounds(_: TopicPartition) -> tuple[int, int]:
        return 0, 0

    found = [record.value for record in kafka.records(where)]
    expected = [events[0], *events[2:], *events[1:]]
    assert found == [event.value for event in expected]
    assert metrics.heard == ["published_again"]
    # By which the watchdog sees that the lane gets on while it fills its topic.
    assert (await sight(where, lane, where, bounds)).acknowledged_seq == 4
    await kafka.aclose()


async def take_over_with_a_publisher_that_ends(books: FakeBooks, kafka: FakeKafka) -> None:
    async def lose() -> None:
        raise EventsLost("the topic is another")

    async def until_it_ended() -> None:
        await eventually(lambda: publisher._ended_by is not None, 5)

    store = SlowStore(books.database)
    store.meanwhile = until_it_ended
    lane = heir(store, kafka, Alarms())
    publisher = lane._publisher
    publisher._publish = lose  # type: ignore[method-assign]
    with pytest.raises(EventsLost):
        await lane.run(Input(books), Refusals())


async def test_what_ended_the_publisher_is_told_once_and_not_complained_about_by_asyncio() -> None:
    books, kafka = FakeBooks.opened(), FakeKafka(lambda: 1, asyncio.sleep)
    for topic in ("events", "dead"):
        kafka.create_topic(topic, 1, log_append_time=False)
    await (await books.orders(0)).run(open_market(market_at(0, "m")))
    heard: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: heard.append(context["message"]))

    await take_over_with_a_publisher_that_ends(books, kafka)
    # It complains about a task when that is thrown away.
    gc.collect()

    assert heard == []
    await kafka.aclose()
