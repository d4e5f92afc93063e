"""Topics and databases that are recreated, truncated or restored.

The lane halts, gives the reason and loses nothing. A fault of one lane halts only that lane, and a
fault that can heal needs no operator.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from producers.encode import encode
from tests.chaos.scene import copied, stop, trading
from tests.support import consumers
from tests.support.books import buy, deposit
from tests.support.databases import execute, name_of
from tests.support.eventually import eventually
from tests.support.programs import Result, ran
from tests.support.system import Log, Member, Sent, System
from tests.support.topics import create
from worker.adapters.kafka import broker as kafka_broker
from worker.ports import TopicPartition


@pytest.fixture(autouse=True)
def fresh_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker refresh its metadata every other second instead of twice a minute."""
    monkeypatch.setattr(kafka_broker, "METADATA_AGE_MAX_MS", 2_000)


# A restored database.


@pytest.mark.shows("W22", "F31")
async def test_restored_database_halts_lanes_that_published_since(
    system: System, database_url: str
) -> None:
    _, markets = await trading(system)
    await stop(system)
    older = await copied(system, database_url)
    try:
        await system.member()
        await system.publish(buy(markets[0], "a", 1, 10, "since"))
        await system.check_invariants()
        await stop(system)

        member = await system.member(database_url=older)
        lane = await system.halted(member, 0)
        await system.publish(buy(markets[1], "a", 1, 10, "goes-on"))
        await eventually(lambda: system.events("ORDER_ACCEPTED", order_id="goes-on"))
        await stop(system)
    finally:
        await execute(database_url, f'DROP DATABASE "{name_of(older)}" WITH (FORCE)')

    assert "restored from an older time" in lane.reason
    assert member.metric("alarms_total", alarm="lane_halted") == 1


# Another input topic of the same name.


@pytest.mark.shows("W14", "F44")
@pytest.mark.parametrize("running", [True, False], ids=["with a worker", "without a worker"])
async def test_topic_recreated_empty_halts_only_its_lanes(
    system: System, admin: AIOKafkaAdminClient, running: bool
) -> None:
    member, _ = await trading(system)
    if not running:
        await stop(system)
    await _delete(admin, system.settings.orders_topic)
    if running:
        await eventually(lambda: _misses(member, system.settings.orders_topic))
    await create(admin, system.settings.orders_topic, message_timestamp_type="LogAppendTime")
    member = member if running else await system.member()

    lanes = [await system.halted(member, partition) for partition in range(system.partitions)]
    await system.publish(deposit("c", 5))
    await eventually(lambda: system.events("DEPOSITED", account_id="c"))

    assert all("recreated" in lane.reason for lane in lanes)


@pytest.mark.shows("W14", "F45")
async def test_topic_recreated_and_refilled_halts_its_lanes(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """The worker has seen that the topic was missing. The records alone do not show that."""
    member, markets = await trading(system)
    before = len(await system.events("ORDER_ACCEPTED"))
    await _delete(admin, system.settings.orders_topic)
    await eventually(lambda: _misses(member, system.settings.orders_topic))
    await create(admin, system.settings.orders_topic, message_timestamp_type="LogAppendTime")
    await system.publish(*(buy(market, "a", 1, 10) for market in markets for _ in range(40)))

    lanes = [await system.halted(member, partition) for partition in range(system.partitions)]

    assert all("recreated" in lane.reason for lane in lanes)
    assert len(await system.events("ORDER_ACCEPTED")) == before


@pytest.mark.shows("W14", "F46")
async def test_retention_past_the_cursor_halts_only_its_lane(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    member, markets = await trading(system)
    where = TopicPartition(system.settings.orders_topic, 0)
    consumer = member.worker.assignments._consumer
    assert consumer is not None
    consumer.pause(where)
    # The answer comes after the fetch in flight, which could still bring the next records.
    await consumer.bounds(where)
    await system.publish(*(buy(markets[0], "a", 1, 10) for _ in range(20)))
    end = (await system.log.ends())[where]
    await admin.delete_records({KafkaPartition(*where): RecordsToDelete(end - 5)})

    consumer.resume(where)
    lane = await system.halted(member, 0)
    await system.publish(buy(markets[1], "a", 1, 10, "goes-on"))
    await eventually(lambda: system.events("ORDER_ACCEPTED", order_id="goes-on"))

    assert "not in the topic" in lane.reason


@pytest.mark.shows("W15", "F47", "F48")
async def test_added_partitions_are_reported_and_ignored(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    member, markets = await trading(system)
    topic = system.settings.orders_topic
    await admin.create_partitions({topic: NewPartitions(system.partitions + 1)})
    order = buy(markets[1], "a", 1, 10, "misrouted")

    await eventually(lambda: _knows(system.raw, topic, system.partitions + 1))
    added = Sent(system.partitions, order.market_id.encode(), encode(order))
    await system.send(topic, [added, added._replace(partition=0)])
    await eventually(lambda: member.metric("alarms_total", alarm="partition_not_in_stream"))
    await system.publish(buy(markets[1], "a", 1, 10, "goes-on"))
    await system.check_invariants()

    (rejected,) = await system.events("ORDER_REJECTED")
    assert (rejected["order_id"], rejected["reason"]) == ("misrouted", "WRONG_PARTITION")
    assert rejected["partition"] == 0
    assert await system.events("ORDER_ACCEPTED", order_id="goes-on", partition=1)


# Committed offsets of the group are a hint.


@pytest.mark.shows("W12", "W13", "F41", "F43")
@pytest.mark.parametrize("remembered", [0, 3, 10**6, None])
async def test_cursor_comes_from_the_database(system: System, remembered: int | None) -> None:
    _, markets = await trading(system)
    await stop(system)
    group_id = f"{system.prefix}{remembered}"
    if remembered is not None:
        await _remember(system, group_id, remembered)

    member = await system.member(group_id=group_id)
    await system.publish(*(buy(market, "a", 1, 10) for market in markets))
    await system.check_invariants()

    assert member.metric("commands_total") == 2


async def _remember(system: System, group_id: str, offset: int) -> None:
    """Commit an offset of every input partition for a group, as any client may."""
    inputs = (system.settings.orders_topic, system.settings.transfers_topic)
    held = [KafkaPartition(topic, n) for topic in inputs for n in range(system.partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=system.settings.bootstrap_servers,
        group_id=group_id,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        consumer.assign(held)
        await consumer.commit(dict.fromkeys(held, offset))
    finally:
        await consumers.stop(consumer)


# The brokers lose published events.


@pytest.mark.shows("W10", "W11", "W17", "F62")
async def test_deleted_output_topic_is_refilled(system: System, admin: AIOKafkaAdminClient) -> None:
    member, markets = await trading(system, kafka_timeout_s=2.0)
    # A lane that has nothing to answer yet may be late.
    await eventually(lambda: member.lanes_ready == 4)
    await _delete(admin, system.settings.events_topic)
    await system.publish(*(buy(market, "a", 1, 10) for market in markets for _ in range(20)))
    await eventually(lambda: member.metric("publish_failures_total") >= 2)
    ready = member.lanes_ready

    await create(admin, system.settings.events_topic, message_timestamp_type="CreateTime")
    async with _read_again(system):
        await system.check_invariants()

    assert ready == 4
    # With a slow broker a lane may try twice.
    for n in range(system.partitions):
        assert member.metric("alarms_total", alarm="published_again", partition=str(n)) >= 1


@pytest.mark.shows("W17")
async def test_lost_events_are_republished_at_take_over(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    _, markets = await trading(system)
    for _ in range(3):
        # The next batch records what is published.
        await system.publish(*(buy(market, "a", 1, 10) for market in markets))
        await system.answered()
    await stop(system)
    kept = await _lose(system, admin, keep=4)

    member = await system.member()
    await system.publish(buy(markets[0], "a", 1, 10))
    async with _read_again(system):
        await system.check_invariants()

    assert kept == 4
    assert member.metric("alarms_total", alarm="published_again") == 2


@pytest.mark.shows("W17")
async def test_topic_with_expired_events_is_not_refilled(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    _, markets = await trading(system)
    await stop(system)
    where = TopicPartition(system.settings.events_topic, 0)
    end = (await system.log.ends())[where]
    await admin.delete_records({KafkaPartition(*where): RecordsToDelete(end)})

    member = await system.member()
    await system.publish(buy(markets[0], "a", 1, 10))
    await system.check_invariants()

    assert member.metric("alarms_total", alarm="published_again") == 0


@pytest.mark.shows("W17")
@pytest.mark.parametrize("from_seq", [1, 4])
async def test_republish_restores_missing_events(
    system: System, admin: AIOKafkaAdminClient, from_seq: int
) -> None:
    await trading(system)
    await stop(system)
    await _lose(system, admin, keep=from_seq - 1)

    reports = [await _republish(system, partition, from_seq) for partition in range(2)]
    async with _read_again(system):
        await system.check_invariants()

    last = await system.database.fetch("SELECT last_seq FROM lanes WHERE kind = 'ORDERS'")
    assert [(report["first_seq"] <= from_seq, report["last_seq"]) for report in reports] == [
        (True, row["last_seq"]) for row in last
    ]


async def test_republish_refuses_events_never_published(system: System) -> None:
    await trading(system)
    await stop(system)

    for partition, from_seq in ((0, 999), (2, 1)):
        code, _, err = await _parity(system, partition, from_seq)
        assert code == 2, err


@pytest.mark.shows("W17")
async def test_republish_leaves_no_gap(system: System, admin: AIOKafkaAdminClient) -> None:
    await trading(system)
    await stop(system)
    await _lose(system, admin, keep=2)

    code, _, err = await _parity(system, 0, 4)

    assert code == 2, err


async def _republish(system: System, partition: int, from_seq: int) -> dict[str, Any]:
    code, out, err = await _parity(system, partition, from_seq)
    assert code == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


async def _parity(system: System, partition: int, from_seq: int) -> Result:
    topic = system.settings.orders_topic
    chosen = ("--topic", topic, "--partition", str(partition), "--from-seq", str(from_seq))
    environment = system.environment()
    return await asyncio.to_thread(ran, "worker", "republish", *chosen, "--json", env=environment)


async def _lose(system: System, admin: AIOKafkaAdminClient, *, keep: int) -> int:
    """Keep only the first events of each partition, and return how many those are."""
    topic = system.settings.events_topic
    await system.log.read()
    kept = [
        Sent(partition.partition, r.key, r.value, tuple(r.headers), r.timestamp)
        for partition, records in system.log.records.items()
        if partition.topic == topic
        for r in records[:keep]
    ]
    await _delete(admin, topic)
    await create(admin, topic, message_timestamp_type="CreateTime")
    await eventually(lambda: _knows(system.raw, topic, system.partitions))
    await system.send(topic, kept)
    return len(kept) // system.partitions


@asynccontextmanager
async def _read_again(system: System) -> AsyncIterator[None]:
    """Read the topics from the beginning, as a new consumer does."""
    before, system.log = system.log, Log(system.settings.bootstrap_servers, system.topics)
    await system.log.start(system.partitions)
    try:
        yield
    finally:
        await system.log.stop()
        system.log = before


# Helpers.


def _misses(member: Member, topic: str) -> bool:
    """Return whether the worker has noticed that a topic is missing."""
    return not any(where.topic == topic for where in member.lanes)


async def _delete(admin: AIOKafkaAdminClient, topic: str) -> None:
    await admin.delete_topics([topic])


async def _knows(producer: AIOKafkaProducer, topic: str, partitions: int) -> bool:
    await producer.client.force_metadata_update()
    return len(await producer.partitions_for(topic)) == partitions
