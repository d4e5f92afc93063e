"""The publisher of a lane: its queue, failed sends, what a new owner adds, lost topics."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from typing_extensions import override

from tests.support.eventually import PATIENCE_S, eventually
from tests.support.fake_broker import FakeKafka, Fault
from tests.unit.lanes import EVENTS, HOME, ROUTE, AlarmLog, made_kafka, publisher_to
from worker import publisher as publisher_module
from worker.domain.commands import Unreadable
from worker.domain.events import CommandRejected, DeadLetter, Event, MarketSettled, Reason
from worker.domain.state import StreamKind
from worker.domain.units import MarketId, Money, Offset
from worker.errors import BrokerError, EventsLost
from worker.ports import JournalRow, Outgoing, TopicPartition
from worker.publisher import QUEUED_BATCHES_MAX, QUEUED_BYTES_MAX, TAIL_OFFSETS, Publisher
from worker.wire import journal

DEAD = TopicPartition("dead", 0)


@pytest.fixture
async def kafka() -> AsyncIterator[FakeKafka]:
    kafka = made_kafka()
    yield kafka
    await kafka.aclose()


@pytest.fixture
def publisher(kafka: FakeKafka) -> Publisher:
    return publisher_to(kafka)


@contextlib.asynccontextmanager
async def _running(publisher: Publisher) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(publisher.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _published(publisher: Publisher, *rows: JournalRow) -> None:
    """Publish these rows and everything queued."""
    async with _running(publisher):
        for each in rows:
            await publisher.put(each)
        await asyncio.wait_for(publisher.drained(), PATIENCE_S)


def settled(seq: int) -> Event:
    body = MarketSettled(1, Money(5))
    return Event(seq, Offset(seq), 0, 1, MarketId("m"), seq, body)


def refused(seq: int) -> list[Event | DeadLetter]:
    body = CommandRejected(Reason.MALFORMED, detail="value: must be JSON")
    original = Unreadable(detail="value: must be JSON", key=b"m", value=b"{", headers=())
    letter = DeadLetter(seq, Offset(seq), 1, Reason.MALFORMED, original)
    return [Event(seq, Offset(seq), 0, 1, None, None, body), letter]


def row(number: int, *entries: Event | DeadLetter) -> JournalRow:
    """Return a batch, by default with one event of the same number."""
    text = journal.encode(entries or [settled(number)], StreamKind.ORDERS)
    return JournalRow(number, text)


def events_of(*rows: JournalRow) -> list[Outgoing]:
    records = (record for row in rows for record in journal.decode(row.events, ROUTE))
    return [record for record in records if record.topic == "events"]


# The queue, and sends that fail.


@pytest.mark.shows("W11")
async def test_queue_is_full_by_bytes_too(publisher: Publisher) -> None:
    original = Unreadable(detail="", key=b"m", value=b"x" * 60_000, headers=())
    letter = DeadLetter(1, Offset(1), 1, Reason.MALFORMED, original)
    large = row(1, *[letter] * 8)
    taken = 0
    while not publisher.full:
        await publisher.put(large)
        taken += 1
    assert taken == -(-QUEUED_BYTES_MAX // len(large.events)) < QUEUED_BATCHES_MAX
    async with _running(publisher):
        await asyncio.wait_for(publisher.drained(), PATIENCE_S)
    assert publisher._waiting_bytes == 0


async def test_put_waits_while_queue_is_full(publisher: Publisher) -> None:
    for number in range(1, QUEUED_BATCHES_MAX + 1):
        await publisher.put(row(number))
    assert publisher.full
    further = publisher.put(row(QUEUED_BATCHES_MAX + 1))
    assert further.send(None) is not None, "put does not wait"
    further.close()
    await _published(publisher)
    assert publisher.published_batch_no == QUEUED_BATCHES_MAX


async def test_sends_are_bounded_in_bytes(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(number) for number in range(1, 6)]
    monkeypatch.setattr(publisher_module, "BYTES_PER_SEND", 2 * len(rows[0].events))
    sent: list[int] = []

    class Counted(AlarmLog):
        @override
        def published(self, records: int) -> None:
            sent.append(records)

    await _published(publisher := publisher_to(kafka, Counted()), *rows)

    assert max(sent) == 2 * len(events_of(rows[0]))
    assert sum(sent) == len(events_of(*rows))
    assert publisher.published_batch_no == 5


@pytest.mark.shows("W7", "W10", "F64")
@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER, Fault.HALF])
async def test_failed_sends_leave_topic_in_order(
    kafka: FakeKafka, publisher: Publisher, fault: Fault
) -> None:
    """The first occurrences are in order and without gaps, and the last ones are whole."""
    rows = [row(number) for number in range(1, 5)]
    kafka.fail_next("send", fault, fault)
    await _published(publisher, *rows)

    values = [record.value for record in kafka.records(EVENTS)]
    whole = [record.value for record in events_of(*rows)]
    assert values[-4:] == whole
    assert list(dict.fromkeys(values)) == whole
    assert publisher.published_batch_no == 4


async def test_unacknowledged_batch_is_not_published(
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


# The batches of the last owner.

ROWS = [
    row(1, settled(1), settled(2)),
    row(2, settled(3), *refused(4)),
    JournalRow(3, ""),
    row(4, settled(5), settled(6)),
]


async def taken_over(publisher: Publisher) -> int | None:
    """Publish all rows as the next owner does; return the seq that it found."""
    found = await publisher.published_seq()
    await _published(publisher, *ROWS)
    assert publisher.published_batch_no == ROWS[-1].batch_no
    return found


@pytest.mark.parametrize("there", range(7))
@pytest.mark.shows("W6", "W8")
async def test_events_in_topic_are_not_repeated(
    kafka: FakeKafka, publisher: Publisher, there: int
) -> None:
    kafka.append(events_of(*ROWS)[:there])

    assert await taken_over(publisher) == there

    published = [(r.key, r.value, r.headers, r.timestamp_ms) for r in kafka.records(EVENTS)]
    expected = [(r.key, r.value, r.headers, r.timestamp_ms) for r in events_of(*ROWS)]
    assert published == expected
    # An event may have been published without the dead letter after it.
    assert len(kafka.records(DEAD)) == 1


async def test_events_of_other_lanes_do_not_count(kafka: FakeKafka, publisher: Publisher) -> None:
    kafka.append([Outgoing("events", 0, b"m", b"{}", (("ce_id", b"old-orders/0/9"),), 0)])

    assert await taken_over(publisher) == 0

    assert len(kafka.records(EVENTS)) == 1 + 6
    assert len(kafka.records(DEAD)) == 1


@pytest.mark.parametrize(
    ("left", "expired", "reached"),
    [
        # Another topic of the same name, in which the lane went on without noticing.
        ([5, 6], 0, 0),
        ([1, 2, 5, 6], 0, 2),
        ([1, 2, 5, 6], 1, 2),
        # The gap was filled later, with repeats.
        ([1, 2, 5, 6, 3, 4, 5, 6], 0, 6),
        ([5, 6, 1, 2], 1, 6),
    ],
)
@pytest.mark.shows("W17")
async def test_events_after_gap_are_published_again(
    kafka: FakeKafka, publisher: Publisher, left: list[int], expired: int, reached: int
) -> None:
    events = events_of(*ROWS)
    before = Outgoing("events", 0, b"m", b"{}", (), 0)
    kafka.append([*[before] * expired, *(events[seq - 1] for seq in left)])
    kafka.forget_before(EVENTS, expired)

    assert await taken_over(publisher) == reached

    published = [record.value for record in kafka.records(EVENTS)]
    assert published == [
        *(events[seq - 1].value for seq in left),
        *(event.value for event in events[reached:]),
    ]


# The end of the topic.


async def test_expired_topic_has_no_end(kafka: FakeKafka, publisher: Publisher) -> None:
    assert await publisher.published_seq() == 0
    kafka.append(events_of(row(6), row(7), row(5)))
    kafka.forget_before(EVENTS, 1)
    assert await publisher.published_seq() == 7
    kafka.forget_before(EVENTS, 3)
    assert await publisher.published_seq() is None


async def test_only_foreign_records_have_no_end(kafka: FakeKafka, publisher: Publisher) -> None:
    kafka.append(events_of(row(7)))
    others = journal.decode(row(9).events, replace(ROUTE, stream="orders@2"))
    kafka.append(others * TAIL_OFFSETS)
    assert await publisher.published_seq() is None


def test_dead_letter_cannot_imitate_an_event(publisher: Publisher) -> None:
    headers = (("ce_id", f"{HOME.stream}/0/999".encode()),)
    forged = Unreadable(detail="", key=None, value=b"{", headers=headers)
    letter = DeadLetter(3, Offset(3), 1, Reason.MALFORMED, forged)
    assert publisher.last_seq(row(3, settled(3), letter)) == 3


# A topic that lost what it acknowledged.


def recreate(kafka: FakeKafka) -> None:
    """Recreate the topic, and let the next send fail as the first one after it would."""
    kafka._topics.pop("events")
    kafka.create_topic("events", 1, log_append_time=False)
    kafka.fail_next("send", Fault.BEFORE)


async def _fill(publisher: Publisher) -> None:
    """Queue more than there is room for."""
    for number in range(2, QUEUED_BATCHES_MAX + 4):
        await publisher.put(row(number))


async def test_acknowledgement_lost_once_is_harmless(
    kafka: FakeKafka, publisher: Publisher
) -> None:
    async with _running(publisher) as running:
        await publisher.put(row(1))
        await asyncio.wait_for(publisher.drained(), PATIENCE_S)
        kafka.fail_next("send", Fault.AFTER)
        await publisher.put(row(2))
        await asyncio.wait_for(publisher.drained(), PATIENCE_S)
        assert not running.done()
    # The second send arrived, and the topic's end showed it: nothing is repeated.
    published = [record.value for record in kafka.records(EVENTS)]
    assert published == [record.value for record in events_of(row(1), row(2))]


async def test_recreated_topic_ends_publisher_and_put(
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


async def test_unreadable_batch_ends_publisher_and_put(publisher: Publisher) -> None:
    async with _running(publisher) as running:
        await publisher.put(JournalRow(1, "no event"))
        with pytest.raises(ValueError, match="the journal ends within a line"):
            await asyncio.wait_for(_fill(publisher), PATIENCE_S)
        assert running.exception() is not None
