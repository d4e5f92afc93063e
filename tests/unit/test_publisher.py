"""What a new owner publishes of its predecessor's batches: what the topics lack, and no more."""

import asyncio

import pytest

from tests.support.eventually import PATIENCE_S
from tests.support.fake_broker import FakeKafka
from worker.adapters.system import system
from worker.domain.commands import Unreadable
from worker.domain.events import CommandRejected, DeadLetter, Event, MarketSettled, Reason
from worker.domain.state import StreamKind
from worker.domain.units import MarketId, Money, Offset
from worker.ports import JournalRow, Outgoing, TopicPartition
from worker.publisher import Publisher
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
DEAD = TopicPartition("dead", 0)


def settled(seq: int) -> Event:
    body = MarketSettled(1, Money(5))
    return Event(seq, Offset(seq), 0, 1_700_000_000_000, MarketId("m"), seq, body)


def refused(seq: int) -> list[Event | DeadLetter]:
    body = CommandRejected(Reason.MALFORMED, detail="value: must be JSON")
    original = Unreadable(detail="value: must be JSON", key=b"m", value=b"{", headers=())
    letter = DeadLetter(seq, Offset(seq), 1_700_000_000_000, Reason.MALFORMED, original)
    return [Event(seq, Offset(seq), 0, 1_700_000_000_000, None, None, body), letter]


ROWS = [
    JournalRow(1, journal.encode([settled(1), settled(2)], StreamKind.ORDERS)),
    JournalRow(2, journal.encode([settled(3), *refused(4)], StreamKind.ORDERS)),
    JournalRow(3, ""),
    JournalRow(4, journal.encode([settled(5), settled(6)], StreamKind.ORDERS)),
]


def events_of(*rows: JournalRow) -> list[Outgoing]:
    records = (record for row in rows for record in journal.decode(row.events, ROUTE))
    return [record for record in records if record.topic == "events"]


async def taken_over(kafka: FakeKafka) -> int | None:
    """Publish all rows as the next owner does; return the seq that it found."""
    publisher = Publisher(
        kafka.broker("group"),
        ROUTE,
        system=system(),
        metrics=LaneMetrics(Metrics(), "orders", 0),
    )
    found = await publisher.published_seq()
    for row in ROWS:
        await publisher.put(row)
    publishing = asyncio.create_task(publisher.run())
    await asyncio.wait_for(publisher.drained(), PATIENCE_S)
    publishing.cancel()
    await asyncio.wait({publishing})
    assert publisher.published_batch_no == ROWS[-1].batch_no
    return found


@pytest.mark.parametrize("there", range(7))
@pytest.mark.shows("W6", "W8")
async def test_what_is_in_the_topic_is_not_published_again(there: int) -> None:
    kafka = FakeKafka(lambda: 0, asyncio.sleep)
    kafka.create_topic("events", 1, log_append_time=False)
    kafka.create_topic("dead", 1, log_append_time=False)
    kafka.append(events_of(*ROWS)[:there])

    assert await taken_over(kafka) == there

    published = [(r.key, r.value, r.headers, r.timestamp_ms) for r in kafka.records(EVENTS)]
    expected = [(r.key, r.value, r.headers, r.timestamp_ms) for r in events_of(*ROWS)]
    assert published == expected
    # An event may have gone out and the dead letter behind it not.
    assert len(kafka.records(DEAD)) == 1


async def test_events_of_another_lane_say_nothing_of_this_one() -> None:
    kafka = FakeKafka(lambda: 0, asyncio.sleep)
    kafka.create_topic("events", 1, log_append_time=False)
    kafka.create_topic("dead", 1, log_append_time=False)
    stranger = Outgoing("events", 0, b"m", b"{}", (("ce_id", b"old-orders/0/9"),), 0)
    kafka.append([stranger])

    assert await taken_over(kafka) == 0

    assert len(kafka.records(EVENTS)) == 1 + 6
    assert len(kafka.records(DEAD)) == 1


@pytest.mark.parametrize(
    ("left", "expired", "reached"),
    [
        # Another topic of the same name, in which the lane went on without noticing.
        ([5, 6], 0, 0),
        ([1, 2, 5, 6], 0, 2),
        ([1, 2, 5, 6], 1, 2),
        # What filled the gap came later, and so did repeats.
        ([1, 2, 5, 6, 3, 4, 5, 6], 0, 6),
        ([5, 6, 1, 2], 1, 6),
    ],
)
@pytest.mark.shows("W17")
async def test_what_stands_behind_a_gap_is_published_again_with_what_was_in_it(
    left: list[int], expired: int, reached: int
) -> None:
    kafka = FakeKafka(lambda: 0, asyncio.sleep)
    kafka.create_topic("events", 1, log_append_time=False)
    kafka.create_topic("dead", 1, log_append_time=False)
    events = events_of(*ROWS)
    before = Outgoing("events", 0, b"m", b"{}", (), 0)
    kafka.append([*[before] * expired, *(events[seq - 1] for seq in left)])
    kafka.forget_before(EVENTS, expired)

    assert await taken_over(kafka) == reached

    published = [record.value for record in kafka.records(EVENTS)]
    assert published == [
        *(events[seq - 1].value for seq in left),
        *(event.value for event in events[reached:]),
    ]
