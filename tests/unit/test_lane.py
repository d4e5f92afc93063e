"""What a lane does next, and which records it takes for its own."""

import re
from dataclasses import dataclass, field
from random import Random

import pytest

from tests.support.books import cancel, market_at, orders_home
from tests.support.fake_broker import FakeKafka
from tests.support.fake_store import FakeBooks
from worker.commit import Owner
from worker.domain.plan import Answer, PayPage
from worker.domain.state import Settlement, StreamKind
from worker.domain.units import MarketId, Money, Offset
from worker.errors import LaneHalted
from worker.lane import Lane, LaneStatus
from worker.ports import Outgoing, Record, StreamRow, System
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics, Metrics
from worker.wire import journal
from worker.wire.commands import encode

HOME = orders_home(0)
STREAM = StreamRow(HOME.stream, "orders", StreamKind.ORDERS, HOME.partitions, 0)
MARKET, OTHER = market_at(0, "market"), market_at(0, "other")


async def _instantly(_seconds: float) -> None:
    pass


SYSTEM = System(clock=lambda: 0.0, sleep=_instantly, random=Random(0))


def record(offset: int, order_id: str = "never-was") -> Record:
    return Record(offset, 1_000, None, encode(cancel(MARKET, "ann", order_id)), ())


@dataclass
class Partition:
    """The lane's input, from ``first`` up to ``end``."""

    first: int
    end: int
    sought: list[int] = field(default_factory=list)

    async def bounds(self) -> tuple[int, int]:
        return self.first, self.end

    def seek(self, offset: int) -> None:
        self.sought.append(offset)


def publisher_of(metrics: LaneMetrics, published_seq: int) -> Publisher:
    kafka = FakeKafka(lambda: 0, _instantly)
    kafka.create_topic("events", 1, log_append_time=False)
    if published_seq:
        ce_id = f"{HOME.stream}/0/{published_seq}".encode()
        kafka.append([Outgoing("events", 0, b"m", b"{}", (("ce_id", ce_id),), 0)])
    route = journal.Route(
        stream=HOME.stream,
        topic="orders",
        partition=0,
        events_topic="events",
        dead_letters_topic="dead",
        dead_letter_partitions=1,
    )
    return Publisher(kafka.broker("group"), route, system=SYSTEM, metrics=metrics)


def lane_over(books: FakeBooks, published_seq: int = 0) -> Lane:
    metrics, store = LaneMetrics(Metrics(), HOME.stream, 0), books.store()
    publisher = publisher_of(metrics, published_seq)

    return Lane(
        STREAM,
        0,
        owner=Owner("me", 2_500, SYSTEM),
        store=store,
        publisher=publisher,
        metrics=metrics,
    )


async def _answered(books: FakeBooks, *records: Record) -> Lane:
    """Answer records that are the first of the partition; return the lane, which stands there."""
    lane = lane_over(books)
    committer = await lane._take_over(Partition(0, len(records)))
    lane.offer(records)
    while lane.backlog:
        step = await lane._next_step()
        assert step is not None
        await lane._commit(committer, step)
    return lane


def settlement(market_id: MarketId, *, parked: bool = False) -> Settlement:
    return Settlement(
        market_id=market_id,
        offset=Offset(0),
        index=1,
        cursor="",
        holders=0,
        paid=Money(0),
        parked=parked,
    )


async def _settling(*settlements: Settlement) -> Lane:
    lane = await _answered(FakeBooks.opened(), record(0))
    assert lane.state is not None
    lane.state.settlements = settlements
    return lane


# What is next.


async def test_pages_take_turns_with_answers() -> None:
    lane = await _settling(settlement(MARKET))
    lane.offer([record(1), record(2)])
    steps = [type(await lane._next_step()) for _ in range(4)]
    assert steps in ([Answer, PayPage] * 2, [PayPage, Answer] * 2)


async def test_a_parked_settlement_gets_no_page() -> None:
    lane = await _settling(settlement(MARKET, parked=True), settlement(OTHER))
    for _ in range(2):
        assert await lane._next_step() == PayPage(OTHER)
        assert lane.state is not None
        lane.state.batch_no += 1


async def test_a_lane_that_is_stopped_takes_no_further_step() -> None:
    lane = await _settling(settlement(MARKET))
    lane.stop()
    assert await lane._next_step() is None


# What is taken.


async def test_nothing_counts_before_the_lane_is_ready() -> None:
    lane = lane_over(FakeBooks.opened())
    lane.offer([record(0)])
    await lane._take_over(Partition(0, 1))
    assert lane.backlog == 0


async def test_what_was_answered_is_not_taken_again() -> None:
    lane = await _answered(FakeBooks.opened(), record(0), record(1))
    lane.offer([record(0), record(1), record(2), record(2)])
    assert lane.backlog == 1


@pytest.mark.shows("F42")
async def test_gaps_are_the_logs_and_what_is_older_than_the_newest_was_answered() -> None:
    """Offsets are missing where a transaction ended or a topic was compacted."""
    books = FakeBooks.opened()
    lane = await _answered(books, *map(record, (0, 1, 5, 3, 5, 2, 9, 9, 6)))
    heir = lane_over(books)
    committer = await heir._take_over(partition := Partition(0, 12))
    heir.offer([*map(record, (9, 5, 11))])
    step = await heir._next_step()
    assert isinstance(step, Answer)
    await heir._commit(committer, step)

    assert lane.state is not None
    assert (lane.state.next_offset, partition.sought) == (10, [9])
    told = "".join(row.events for row in await books.store().journal(HOME.lane, 1, 64))
    assert re.findall(r'"offset":(\d+)', told) == ["0", "1", "5", "9", "11"]


@pytest.mark.shows("W14", "F45")
@pytest.mark.parametrize(
    ("order_id", "status"), [("never-was", LaneStatus.READY), ("another", LaneStatus.HALTED)]
)
async def test_the_record_before_the_cursor_must_be_the_one_that_was_answered(
    order_id: str, status: LaneStatus
) -> None:
    books = FakeBooks.opened()
    await _answered(books, record(0), record(1))
    heir, partition = lane_over(books), Partition(0, 3)
    await heir._take_over(partition)
    assert partition.sought == [1]
    heir.offer([record(1, order_id), record(2)])
    assert (heir.status, heir.backlog) == (status, 1)


@pytest.mark.shows("W14", "F44", "F46")
@pytest.mark.parametrize(("first", "end"), [(3, 9), (0, 1)], ids=["retention", "recreated"])
async def test_a_cursor_outside_of_the_topic_halts_the_lane(first: int, end: int) -> None:
    books = FakeBooks.opened()
    await _answered(books, record(0), record(1))
    with pytest.raises(LaneHalted):
        await lane_over(books)._take_over(Partition(first, end))


@pytest.mark.shows("W22", "F31")
async def test_a_database_older_than_its_topic_halts_the_lane() -> None:
    books = FakeBooks.opened()
    await _answered(books, record(0), record(1))
    await lane_over(books, published_seq=2)._take_over(Partition(0, 2))
    with pytest.raises(LaneHalted):
        await lane_over(books, published_seq=3)._take_over(Partition(0, 2))
