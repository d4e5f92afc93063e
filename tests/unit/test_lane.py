"""A lane's next step, and the records that it takes."""

import asyncio
import json
import re

import pytest

from producers.encode import encode
from tests.support.books import cancel, market_at
from tests.support.fake_store import FakeBooks
from tests.unit.lanes import HOME, MARKET, ROUTE, AlarmLog, Input, lane_over, made_kafka
from worker import intake
from worker.domain.book import OpenOrder
from worker.domain.commands import Side, TimeInForce
from worker.domain.plan import AnswerCommands, PayPage
from worker.domain.state import Settlement, Sweep
from worker.domain.units import AccountId, MarketId, Money, Offset, OrderId, Price, Quantity
from worker.errors import Fenced, LaneHalted
from worker.intake import BYTES_PER_BATCH, BYTES_PER_TAKE, DECODED_BYTES_MAX
from worker.lane import Lane, LaneStatus
from worker.ports import Outgoing, Record

OTHER = market_at(0, "other")


def record(offset: int, order_id: str = "never-was") -> Record:
    return Record(offset, 1_000, None, encode(cancel(MARKET, "ann", order_id)), ())


async def _answered(books: FakeBooks, *records: Record) -> Lane:
    """Answer the first records of the partition; return their lane."""
    lane = lane_over(books.store())
    committer = await lane._take_over(Input(0, len(records)))
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


# The next step.


async def test_pages_take_turns_with_answers() -> None:
    lane = await _settling(settlement(MARKET))
    lane.offer([record(1), record(2)])
    steps = [type(await lane._next_step()) for _ in range(4)]
    assert steps in ([AnswerCommands, PayPage] * 2, [PayPage, AnswerCommands] * 2)


async def test_costly_records_are_decoded_in_turns() -> None:
    """The next step takes some records, and later steps the rest. None is lost."""
    lane = await _answered(FakeBooks.opened(), record(0))
    slow = b"[" + b"1," * 30_000 + b"1]"
    lane.offer([Record(offset, 1_000, None, slow, ()) for offset in range(1, 41)])
    at_once = BYTES_PER_TAKE // len(slow) + 1

    assert [len(lane._intake.take()) for _ in range(3)] == [at_once, 2 * at_once, 3 * at_once]
    step = await lane._next_step()
    assert isinstance(step, AnswerCommands)
    assert [each.offset for each in step.commands] == [*range(1, len(step.commands) + 1)]
    assert lane.backlog == 40


async def test_parked_settlement_gets_no_page() -> None:
    lane = await _settling(settlement(MARKET, parked=True), settlement(OTHER))
    for _ in range(2):
        assert await lane._next_step() == PayPage(OTHER)
        assert lane.state is not None
        lane.state.batch_no += 1


async def test_stopped_lane_takes_no_step() -> None:
    lane = await _settling(settlement(MARKET))
    lane.stop()
    assert await lane._next_step() is None


# The records taken.


def _wait(books: FakeBooks, *runs: int) -> None:
    """Note in the lane's row which offsets wait."""
    row = books.database.get("lanes", HOME.lane)
    assert row is not None
    row["resume"] = json.dumps({"waiting": runs})


async def test_heir_reads_waiting_records_again() -> None:
    """Records in between were answered before, and stay so."""
    books, records = FakeBooks.opened(), [record(n) for n in range(4)]
    await _answered(books, *records[:3])
    _wait(books, 1, 1)
    heir, source = lane_over(books.store()), Input(0, 4)
    committer = await heir._take_over(source)
    assert source.sought == [1]
    assert heir.beyond_cursor == 0
    heir.offer(records[1:])
    assert (heir.backlog, heir.beyond_cursor) == (2, 1)
    step = await heir._next_step()
    assert isinstance(step, AnswerCommands)
    assert heir.backlog_bytes == records[3].size, "without those that wait"
    assert [each.offset for each in step.commands] == [1, 3]
    await heir._commit(committer, step)
    assert heir.state is not None
    assert (heir.backlog, heir.state.waiting, heir.state.next_offset) == (0, frozenset(), 4)


async def test_lane_halts_if_waiting_record_is_gone() -> None:
    books = FakeBooks.opened()
    await _answered(books, *[record(n) for n in range(3)])
    _wait(books, 1, 1)
    heir = lane_over(books.store())
    await heir._take_over(Input(0, 4))
    heir.offer([record(2), record(3)])
    assert heir.status is LaneStatus.HALTED
    assert "record 1 of orders[0] waits" in heir.reason


async def test_lane_halts_if_topic_begins_after_waiting_record() -> None:
    books = FakeBooks.opened()
    await _answered(books, *[record(n) for n in range(3)])
    _wait(books, 1, 1)
    with pytest.raises(LaneHalted):
        await lane_over(books.store())._take_over(Input(2, 4))


async def test_records_before_ready_are_dropped() -> None:
    lane = lane_over(FakeBooks.opened().store())
    lane.offer([record(0)])
    await lane._take_over(Input(0, 1))
    assert lane.backlog == 0


async def test_answered_records_are_not_taken_again() -> None:
    lane = await _answered(FakeBooks.opened(), record(0), record(1))
    lane.offer([record(0), record(1), record(2), record(2)])
    assert lane.backlog == 1


@pytest.mark.shows("F42")
async def test_offset_gaps_are_skipped() -> None:
    """Offsets are missing where a transaction ended or a topic was compacted.

    A record older than the newest one taken was answered before.
    """
    books = FakeBooks.opened()
    lane = await _answered(books, *map(record, (0, 1, 5, 3, 5, 2, 9, 9, 6)))
    heir = lane_over(books.store())
    committer = await heir._take_over(source := Input(0, 12))
    heir.offer([*map(record, (9, 5, 11))])
    step = await heir._next_step()
    assert isinstance(step, AnswerCommands)
    await heir._commit(committer, step)

    assert lane.state is not None
    assert (lane.state.next_offset, source.sought) == (10, [9])
    events = "".join(row.events for row in await books.store().journal(HOME.lane, 1, 64))
    assert re.findall(r'"offset":(\d+)', events) == ["0", "1", "5", "9", "11"]


@pytest.mark.shows("W14", "F45")
@pytest.mark.parametrize(
    ("order_id", "status", "backlog"),
    [("never-was", LaneStatus.READY, 1), ("another", LaneStatus.HALTED, 0)],
)
async def test_other_record_before_cursor_halts_lane(
    order_id: str, status: LaneStatus, backlog: int
) -> None:
    books = FakeBooks.opened()
    await _answered(books, record(0), record(1))
    heir, source = lane_over(books.store()), Input(0, 3)
    await heir._take_over(source)
    assert source.sought == [1]
    heir.offer([record(1, order_id), record(2)])
    assert (heir.status, heir.backlog) == (status, backlog)


@pytest.mark.shows("W14", "F45")
@pytest.mark.parametrize("found", ["one", "", "two"])
async def test_other_topic_id_halts_at_take_over(found: str) -> None:
    """Brokers that have no ids of topics leave it to the record before the cursor."""
    lane, source = lane_over(FakeBooks.opened().store(), topic_id="one"), Input(0, 0, id=found)
    if found == "two":
        with pytest.raises(LaneHalted, match="foreign history: topic orders has the id two"):
            await lane._take_over(source)
        assert source.sought == []
    else:
        await lane._take_over(source)
        assert lane.status is LaneStatus.READY


@pytest.mark.parametrize(("first", "end"), [(0, 5), (3, 5), (5, 5)])
async def test_first_start_begins_at_first_record(first: int, end: int) -> None:
    """Retention may have removed the beginning before anything was ever answered."""
    metrics = AlarmLog()
    lane = lane_over(FakeBooks.opened().store(), metrics=metrics)
    committer = await lane._take_over(source := Input(first, end))
    lane.note_end(end)
    behind = metrics.lag
    lane.offer([record(end)])
    step = await lane._next_step()
    assert isinstance(step, AnswerCommands)
    await lane._commit(committer, step)

    assert lane.state is not None
    assert (source.sought, behind, lane.state.next_offset) == ([first], end - first, end + 1)


async def test_waiting_records_count_as_lag() -> None:
    """The cursor has passed them, and they are not answered."""
    lane = await _answered(FakeBooks.opened(), *map(record, range(4)))
    assert lane.state is not None
    assert isinstance(lane._metrics, AlarmLog)
    lane.state.waiting = frozenset({Offset(1), Offset(2)})
    lane.note_end(lane.state.next_offset + 5)
    assert lane._metrics.lag == 7


async def test_senders_stamp_does_not_move_time() -> None:
    """Its topic had CreateTime for a while."""
    books = FakeBooks.opened()
    odd = record(1)._replace(timestamp_ms=2**62, by_broker=False)
    lane = await _answered(books, record(0), odd, record(2)._replace(timestamp_ms=1_001))
    assert lane.state is not None
    assert (lane.state.next_offset, lane.state.lane_time_ms) == (3, 1_001)
    events = "".join(row.events for row in await books.store().journal(HOME.lane, 1, 64))
    assert re.findall(r'"time_ms":(\d+)', events) == ["1000", "1000", "1001"]


@pytest.mark.shows("W14", "F44", "F46")
@pytest.mark.parametrize(("first", "end"), [(3, 9), (0, 1)], ids=["retention", "recreated"])
async def test_cursor_outside_topic_halts_lane(first: int, end: int) -> None:
    books = FakeBooks.opened()
    await _answered(books, record(0), record(1))
    with pytest.raises(LaneHalted):
        await lane_over(books.store())._take_over(Input(first, end))


@pytest.mark.shows("W22", "F31")
async def test_database_older_than_topic_halts_lane() -> None:
    books, kafka = FakeBooks.opened(), made_kafka()
    await _answered(books, record(0), record(1))

    def publish(seq: int) -> None:
        headers = (("ce_id", f"{ROUTE.stream}/0/{seq}".encode()),)
        kafka.append([Outgoing("events", 0, b"m", b"{}", headers, 0)])

    publish(2)
    await lane_over(books.store(), kafka)._take_over(Input(0, 2))
    publish(3)
    with pytest.raises(LaneHalted):
        await lane_over(books.store(), kafka)._take_over(Input(0, 2))


# Looks from outside.


async def test_look_sees_state_between_batches() -> None:
    lane = await _answered(FakeBooks.opened(), record(0))
    looking = asyncio.create_task(lane.look(lambda state: state.next_offset))
    await asyncio.sleep(0)
    assert not looking.done()

    lane.stop()
    await lane._next_step()

    assert await looking == 1


async def test_look_at_unready_lane_is_fenced() -> None:
    with pytest.raises(Fenced, match="LOADING"):
        await lane_over(FakeBooks.opened().store()).look(lambda state: state.next_offset)


async def test_look_fails_when_lane_ends() -> None:
    lane = await _answered(FakeBooks.opened(), record(0))
    looking = asyncio.create_task(lane.look(lambda state: state.next_offset))
    await asyncio.sleep(0)

    lane._views.end("the lane has ended: STOPPED")

    with pytest.raises(Fenced, match="has ended"):
        await looking


async def test_cancelled_look_is_skipped() -> None:
    lane = await _answered(FakeBooks.opened(), record(0))
    looking = asyncio.create_task(lane.look(lambda state: state.next_offset))
    await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait({looking})

    lane.stop()

    assert await lane._next_step() is None


# Bounds in bytes, errors of a fetch, and the end of the topic.


async def _ready() -> Lane:
    return await _answered(FakeBooks.opened(), record(0))


def junk(offset: int, size: int) -> Record:
    return Record(offset, 1_000, b"k", b"x" * size, (("h", b"y" * 1_000), ("null", None)))


async def test_batch_is_bounded_by_bytes() -> None:
    lane = await _ready()
    lane.offer([junk(n, BYTES_PER_BATCH // 4) for n in range(1, 11)])
    step = await lane._next_step()
    assert isinstance(step, AnswerCommands)
    assert len(step.commands) == 4
    lane._intake.answered(Offset(5), frozenset())
    assert [received.offset for received in lane._intake.take()] == [5, 6, 7, 8], "and the next one"


async def test_record_larger_than_batch_is_taken_alone() -> None:
    lane = await _ready()
    lane.offer([junk(n, 2 * BYTES_PER_BATCH) for n in (1, 2)])
    step = await lane._next_step()
    assert isinstance(step, AnswerCommands)
    assert [received.offset for received in step.commands] == [1]


async def test_waiting_bytes_are_counted_until_answered() -> None:
    lane = await _ready()
    assert lane.backlog_bytes == 0
    records = [junk(n, 10_000) for n in (1, 2, 3)]
    lane.offer(records)
    assert lane.backlog_bytes == sum(r.size for r in records) > 30_000
    await lane._next_step()
    lane._intake.answered(Offset(3), frozenset())
    assert lane.backlog_bytes == records[2].size
    lane._intake.answered(Offset(4), frozenset())
    assert lane.backlog_bytes == 0


async def test_commands_that_wait_leave_the_queue_its_room() -> None:
    """Otherwise 2,000 of them would pause the partition until the sweep ends."""
    lane = await _ready()
    padded = [
        each._replace(value=(each.value or b"") + b" " * 9_000) for each in map(record, (1, 2, 3))
    ]
    lane.offer(padded)
    assert (lane.beyond_cursor, lane.backlog_bytes) == (3, sum(each.size for each in padded))
    await lane._next_step()
    assert lane.backlog_bytes == 3 * DECODED_BYTES_MAX
    lane._intake.answered(Offset(4), frozenset({Offset(1), Offset(3)}))
    assert (lane.backlog, lane.beyond_cursor, lane.backlog_bytes) == (2, 0, 0)
    lane._intake.answered(Offset(4), frozenset())
    assert (lane.backlog, lane.beyond_cursor, lane.backlog_bytes) == (0, 0, 0)


async def test_lane_sees_past_a_batch_of_held_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of a swept market may be more than a batch."""
    monkeypatch.setattr(intake, "COMMANDS_PER_BATCH", 2)
    lane = await _ready()
    assert lane.state is not None
    order = OpenOrder("key", AccountId("ann"), OrderId("o"), Side.BUY, Price(5), Quantity(5), seq=1)
    lane.state.sweeps = (
        Sweep(
            market_id=MARKET,
            order=order,
            time_in_force=TimeInForce.GTC,
            offset=Offset(0),
            index=1,
        ),
    )
    elsewhere = record(4)._replace(value=encode(cancel(OTHER, "bob", "never-was")))
    lane.offer([record(1), record(2), record(3), elsewhere])
    assert getattr(await lane._next_step(), "sweep", None) == MARKET, "the sweep has the first turn"
    step = await lane._next_step()
    assert isinstance(step, AnswerCommands)
    assert [received.offset for received in step.commands] == [4]


async def test_fetch_error_is_trouble_until_it_ends() -> None:
    lane = await _ready()
    lane.note_fetch("the brokers refuse")
    lane.note_fetch("the brokers still refuse")
    assert lane.trouble == "the brokers still refuse"
    assert lane.status is LaneStatus.READY
    lane.note_fetch("")
    assert lane.trouble == ""


async def test_lane_reaches_position_when_nothing_waits() -> None:
    lane = await _ready()
    assert lane.reached == 1
    lane.note_position(5)
    assert lane.reached == 5
    lane.offer([record(7)])
    lane.note_position(9)
    assert lane.reached == 1, "a record waits"


async def test_loading_lane_ignores_position() -> None:
    lane = lane_over(FakeBooks.opened().store())
    lane.note_position(5)
    assert lane.reached == 0
