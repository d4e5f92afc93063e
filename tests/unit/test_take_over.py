"""The take-over of a lane while its last owner still commits and publishes."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest
from typing_extensions import override

from tests.support.books import Desk, buy, deposit, market_at, open_market
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.fake_broker import FakeKafka
from tests.support.fake_store import FakeBooks, FakeStore
from tests.unit.lanes import (
    EVENTS,
    HOME,
    ROUTE,
    STREAM,
    AlarmLog,
    Input,
    lane_over,
    made_kafka,
    publisher_to,
)
from worker import takeover
from worker.app import keep_loaded
from worker.domain.book import Book, OpenOrder
from worker.domain.commands import Side
from worker.errors import EventsLost
from worker.health.watchdog import sight
from worker.lane import Lane, LaneStatus
from worker.ports import JournalRow, LaneRow, Outgoing, System, TopicPartition
from worker.publisher import Publisher
from worker.wire import journal


class SlowStore(FakeStore):
    """A store whose take-over lets something happen first."""

    meanwhile: Callable[[], Awaitable[None]]

    @override
    async def take_over(self, stream: str, partition: int, owner: str) -> LaneRow:
        await self.meanwhile()
        return await super().take_over(stream, partition, owner)


@pytest.fixture
async def kafka() -> AsyncIterator[FakeKafka]:
    kafka = made_kafka()
    yield kafka
    await kafka.aclose()


async def _commit(desk: Desk, number: int) -> list[Outgoing]:
    """Commit one more batch of the last owner; return its events."""
    await desk.run(open_market(market_at(0, f"m{number}")))
    (row,) = await desk.store.journal(HOME.lane, number, number)
    return journal.decode(row.events, ROUTE)


async def _run_until_ready(lane: Lane) -> None:
    """Take over, publish what the topic lacks, stop."""
    running = asyncio.create_task(lane.run(Input(0, 99)))
    await eventually(lambda: lane.status is LaneStatus.READY)
    lane.stop()
    await asyncio.wait_for(running, PATIENCE_S)


async def test_events_published_meanwhile_are_not_lost(kafka: FakeKafka) -> None:
    """The last owner publishes between the new owner's look at the topic and its epoch."""
    books = FakeBooks.opened()
    last_owner = await books.orders(0)

    async def commit_and_publish() -> None:
        for number in (1, 2):
            kafka.append(await _commit(last_owner, number))
            last_owner.published_batch_no = number

    store, metrics = SlowStore(books.database), AlarmLog()
    store.meanwhile = commit_and_publish
    await _run_until_ready(lane_over(store, kafka, metrics))

    assert books.database.rows("lanes")[0]["published_batch_no"] == 1
    assert metrics.alarms == []


async def test_orders_of_many_pages_load_in_priority(kafka: FakeKafka) -> None:
    """A page has three orders here, in the order of their keys."""
    books = FakeBooks.opened()
    await (await books.transfers()).run(deposit("ann", 10_000))
    desk = await books.orders(0)
    names = [market_at(0, name) for name in ("a", "b")]
    await desk.run(*(open_market(name) for name in names))
    await desk.run(*(buy(name, "ann", 1, 40, f"o{n}") for n in range(10) for name in names))
    lane = lane_over(FakeStore(books.database), kafka)
    await _run_until_ready(lane)

    loaded, state = lane.state, desk.state
    assert loaded is not None
    for name in names:
        assert list(loaded.book(name).priority(Side.BUY)) == list(
            state.book(name).priority(Side.BUY)
        )
    assert (loaded.resting.orders, state.resting.orders) == (20, 20)


async def test_loading_lets_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """One market of 30 orders is loaded in turns of at most four orders."""
    books = FakeBooks.opened()
    await (await books.transfers()).run(deposit("ann", 10_000))
    desk = await books.orders(0)
    name = market_at(0, "a")
    await desk.run(open_market(name), *(buy(name, "ann", 1, 40, f"o{n}") for n in range(30)))
    added = [0]

    async def turn(_seconds: float) -> None:
        added.append(0)

    def add(self: Book, order: OpenOrder) -> None:
        added[-1] += 1
        enter(self, order)

    enter = Book.add
    monkeypatch.setattr(Book, "add", add)
    monkeypatch.setattr(takeover, "ORDERS_PER_TURN", 4)
    row = await desk.store.take_over(HOME.stream, 0, "next")
    await takeover.load(desk.store, STREAM, 0, row, System(lambda: 0.0, turn, Random(0)))

    assert sum(added) == 30
    assert max(added) == 4


async def test_loaded_objects_leave_the_garbage_collector(kafka: FakeKafka) -> None:
    """A search through a million orders would be one step of the event loop."""
    books = FakeBooks.opened()
    await (await books.orders(0)).run(open_market(market_at(0, "a")))
    lane = lane_over(books.store(), kafka)
    seen: list[int] = []

    def loaded() -> None:
        keep_loaded()
        assert lane.state is not None
        seen.append(len(lane.state.markets))

    lane._owner = replace(lane._owner, loaded=loaded)
    before = gc.get_freeze_count()
    try:
        await _run_until_ready(lane)
        assert seen == [1]
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


async def test_search_of_the_journal_takes_turns(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic lacks nine of ten batches. One is decoded in each turn of the event loop."""
    books = FakeBooks.opened()
    last_owner = await books.orders(0)
    for number in range(1, 11):
        await _commit(last_owner, number)
        last_owner.published_batch_no = number
    decoded = [0]

    async def turn(_seconds: float) -> None:
        decoded.append(0)

    def last_seq(self: Publisher, row: JournalRow) -> int:
        decoded[-1] += 1
        return found(self, row)

    found = Publisher.last_seq
    monkeypatch.setattr(Publisher, "last_seq", last_seq)
    own = System(lambda: 0.0, turn, Random(0))
    taking = takeover.TakeOver(
        STREAM, 0, "next", books.store(), publisher_to(kafka), AlarmLog(), own
    )
    row = await books.store().take_over(HOME.stream, 0, "next")
    assert await taking._first_lacking(replace(row, published_batch_no=10), 1) == 2
    assert sum(decoded) == 10
    assert max(decoded) == 1


@pytest.mark.shows("W17")
async def test_gap_in_topic_is_filled(kafka: FakeKafka) -> None:
    """Events after the gap are published again too, although the topic has them."""
    books = FakeBooks.opened()
    last_owner, events = await books.orders(0), []
    for number in (1, 2, 3, 4):
        events += await _commit(last_owner, number)
        last_owner.published_batch_no = number
    kafka.append([events[0], *events[2:]])

    metrics = AlarmLog()
    lane = lane_over(FakeStore(books.database), kafka, metrics)
    await _run_until_ready(lane)

    async def bounds(_: TopicPartition) -> tuple[int, int]:
        return 0, 0

    expected = [events[0], *events[2:], *events[1:]]
    assert [r.value for r in kafka.records(EVENTS)] == [event.value for event in expected]
    assert metrics.alarms == ["published_again"]
    # The watchdog sees by this that a lane makes progress while it fills its topic.
    assert (await sight(EVENTS, lane, EVENTS, bounds)).acknowledged_seq == 4


async def _run_without_publisher(store: SlowStore, kafka: FakeKafka) -> None:
    """Run a lane whose publisher ends during the take-over."""
    lane = lane_over(store, kafka)
    publisher = lane._publisher

    async def lose() -> None:
        raise EventsLost("the topic is another")

    async def until_it_ended() -> None:
        await eventually(lambda: publisher._ended_by is not None)

    publisher._publish = lose  # type: ignore[method-assign]
    store.meanwhile = until_it_ended
    with pytest.raises(EventsLost):
        await lane.run(Input(0, 99))


async def test_publisher_error_is_raised_once(kafka: FakeKafka) -> None:
    """The lane raises it, and asyncio logs no exception that was never retrieved."""
    books, logged = FakeBooks.opened(), list[str]()
    await _commit(await books.orders(0), 1)
    asyncio.get_running_loop().set_exception_handler(lambda _, c: logged.append(c["message"]))

    await _run_without_publisher(SlowStore(books.database), kafka)
    # asyncio logs the exception of a task when the task is collected.
    gc.collect()

    assert logged == []
