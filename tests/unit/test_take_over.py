"""What a new owner makes of what the last one does while it takes over."""

import asyncio
from collections.abc import Awaitable, Callable

from typing_extensions import override

from tests.support.books import ORDER_LANES, ORDERS, market_at, open_market
from tests.support.eventually import eventually
from tests.support.fake_broker import FakeKafka
from tests.support.fake_store import FakeBooks, FakeStore
from worker.adapters.system import system
from worker.commit import Committer
from worker.domain.state import LaneState, StreamKind
from worker.domain.units import Lane as LaneNumber
from worker.lane import Lane, LaneStatus
from worker.ports import LaneRow, StreamRow
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics, Metrics
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
    publisher = Publisher(kafka.broker("g"), ROUTE, system=system(), metrics=metrics)

    def committer(state: LaneState, epoch: int) -> Committer:
        return Committer(
            store=store,
            state=state,
            epoch=epoch,
            owner="heir",
            rows=2_500,
            system=system(),
            metrics=metrics,
            published_batch_no=lambda: publisher.published_batch_no,
        )

    lane = Lane(
        STREAM,
        0,
        store=store,
        publisher=publisher,
        committer=committer,
        metrics=metrics,
        clock=system().clock,
    )
    running = asyncio.create_task(lane.run("heir", Input(books)))
    await eventually(lambda: lane.status is LaneStatus.READY, 30)
    lane.stop()
    await asyncio.wait_for(running, 5)
    assert books.database.rows("lanes")[0]["published_batch_no"] == 1
    assert metrics.heard == []
    await kafka.aclose()
