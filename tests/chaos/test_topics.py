"""Topics and databases that are not what they were: the lane stands still, says why, loses nothing.

What concerns one lane stops that lane alone. What can heal heals without a hand.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from tests.chaos.scene import copied, name_of, stop, trading
from tests.conftest import execute
from tests.support.books import buy, deposit
from tests.support.eventually import eventually
from tests.support.system import REPOSITORY, Log, Member, Sent, System
from tests.support.topics import create
from worker.adapters.kafka import broker as kafka_broker
from worker.lane import Lane, LaneStatus
from worker.ports import TopicPartition
from worker.wire.commands import encode

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def fresh_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker look at its topics every other second instead of twice a minute."""
    monkeypatch.setattr(kafka_broker, "METADATA_AGE_MAX_MS", 2_000)


# The database is older than the topic.


@pytest.mark.shows("W22", "F31")
async def test_a_database_restored_from_an_older_time_halts_the_lanes_that_published_since(
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
        lane = await _halted(system, member, 0)
        await system.publish(buy(markets[1], "a", 1, 10, "goes-on"))
        await eventually(lambda: system.events("ORDER_ACCEPTED", order_id="goes-on"))
        await stop(system)
    finally:
        await execute(database_url, f'DROP DATABASE "{name_of(older)}" WITH (FORCE)')

    assert "restored from an older time" in lane.reason
    assert member.metric("alarms_total", alarm="lane_halted") == 1


# The input is another one.


@pytest.mark.shows("W14", "F44")
@pytest.mark.parametrize("running", [True, False], ids=["under a worker", "while nobody works"])
async def test_a_topic_recreated_empty_halts_its_lanes_and_no_others(
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

    lanes = [await _halted(system, member, partition) for partition in range(system.partitions)]
    await system.publish(deposit("c", 5))
    await eventually(lambda: system.events("DEPOSITED", account_id="c"))

    assert all("recreated" in lane.reason for lane in lanes)


@pytest.mark.shows("W14", "F45")
async def test_a_topic_recreated_and_filled_again_under_a_worker_halts_its_lanes(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """It has seen that the topic was gone; if it does not, nothing in the records tells it."""
    member, markets = await trading(system)
    before = len(await system.events("ORDER_ACCEPTED"))
    await _delete(admin, system.settings.orders_topic)
    await eventually(lambda: _misses(member, system.settings.orders_topic))
    await create(admin, system.settings.orders_topic, message_timestamp_type="LogAppendTime")
    await system.publish(*(buy(market, "a", 1, 10) for market in markets for _ in range(40)))

    lanes = [await _halted(system, member, partition) for partition in range(system.partitions)]

    assert all("recreated" in lane.reason for lane in lanes)
    assert len(await system.events("ORDER_ACCEPTED")) == before


@pytest.mark.shows("W14", "F46")
async def test_retention_that_passes_the_cursor_of_a_working_lane_halts_it_and_no_other(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    member, markets = await trading(system)
    where = TopicPartition(system.settings.orders_topic, 0)
    consumer = member.worker.assignments._consumer
    assert consumer is not None
    consumer.pause(where)
    # Answered behind the fetch that is under way, which could still bring what comes next.
    await consumer.bounds(where)
    await system.publish(*(buy(markets[0], "a", 1, 10) for _ in range(20)))
    end = (await system.log.ends())[where]
    await admin.delete_records({KafkaPartition(*where): RecordsToDelete(end - 5)})

    consumer.resume(where)
    lane = await _halted(system, member, 0)
    await system.publish(buy(markets[1], "a", 1, 10, "goes-on"))
    await eventually(lambda: system.events("ORDER_ACCEPTED", order_id="goes-on"))

    assert "not in the topic" in lane.reason


@pytest.mark.shows("W15", "F47", "F48")
async def test_partitions_that_were_added_are_told_and_left_alone(
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


# What the group remembers is a hint.


@pytest.mark.shows("W12", "W13", "F41", "F43")
@pytest.mark.parametrize("remembered", [0, 3, 10**6, None])
async def test_the_cursor_is_the_databases_whatever_the_group_remembers(
    system: System, remembered: int | None
) -> None:
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
    """Commit an offset of every input partition for a group, as anyone may."""
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
        await consumer.stop()


# The brokers lose what was published.


@pytest.mark.shows("W10", "W11", "W17", "F62")
async def test_an_output_topic_that_was_deleted_is_waited_for_and_filled_again(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    member, markets = await trading(system, kafka_timeout_s=2.0)
    # One that had nothing to answer yet may be late.
    await eventually(lambda: member.lanes_ready == 4)
    await _delete(admin, system.settings.events_topic)
    await system.publish(*(buy(market, "a", 1, 10) for market in markets for _ in range(20)))
    await eventually(lambda: member.metric("publish_failures_total") >= 2)
    ready = member.lanes_ready

    await create(admin, system.settings.events_topic, message_timestamp_type="CreateTime")
    async with _read_anew(system):
        await system.check_invariants()

    assert ready == 4
    # A slow broker may let one of them try twice.
    for n in range(system.partitions):
        assert member.metric("alarms_total", alarm="published_again", partition=str(n)) >= 1


@pytest.mark.shows("W17")
async def test_events_that_the_brokers_lost_are_published_again_at_the_next_take_over(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    _, markets = await trading(system)
    for _ in range(3):
        # What is published is noted with the next batch.
        await system.publish(*(buy(market, "a", 1, 10) for market in markets))
        await system.answered()
    await stop(system)
    kept = await _lose(system, admin, keep=4)

    member = await system.member()
    await system.publish(buy(markets[0], "a", 1, 10))
    async with _read_anew(system):
        await system.check_invariants()

    assert kept == 4
    assert member.metric("alarms_total", alarm="published_again") == 2


@pytest.mark.shows("W17")
async def test_a_topic_whose_events_have_all_expired_is_not_filled_again(
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
async def test_republish_gives_what_the_topic_lacks_from_the_journal(
    system: System, admin: AIOKafkaAdminClient, from_seq: int
) -> None:
    await trading(system)
    await stop(system)
    await _lose(system, admin, keep=from_seq - 1)

    told = [await _republish(system, partition, from_seq) for partition in range(2)]
    async with _read_anew(system):
        await system.check_invariants()

    last = await system.database.fetch("SELECT last_seq FROM lanes WHERE kind = 'ORDERS'")
    assert [(t["first_seq"] <= from_seq, t["last_seq"]) for t in told] == [
        (True, row["last_seq"]) for row in last
    ]


async def test_republish_refuses_what_was_never_said(system: System) -> None:
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
    told: dict[str, Any] = json.loads(out)
    return told


async def _parity(system: System, partition: int, from_seq: int) -> tuple[int | None, str, str]:
    topic = system.settings.orders_topic
    chosen = ("--topic", topic, "--partition", str(partition), "--from-seq", str(from_seq))
    command = (sys.executable, "-m", "worker", "republish", *chosen, "--json")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, env=system.environment(), stdout=PIPE, stderr=PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


async def _lose(system: System, admin: AIOKafkaAdminClient, *, keep: int) -> int:
    """Leave the first events of each partition only; return how many that are."""
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
async def _read_anew(system: System) -> AsyncIterator[None]:
    """Look at the topics as somebody does who comes now."""
    before, system.log = system.log, Log(system.settings.bootstrap_servers, system.topics)
    await system.log.start(system.partitions)
    try:
        yield
    finally:
        await system.log.stop()
        system.log = before


# In few words.


def _misses(member: Member, topic: str) -> bool:
    """Whether a worker's group has noticed that a topic is gone."""
    return not any(where.topic == topic for where in member.lanes)


async def _halted(system: System, member: Member, partition: int) -> Lane:
    where = TopicPartition(system.settings.orders_topic, partition)

    def halted() -> Lane | None:
        lane = member.lanes.get(where)
        return lane if lane is not None and lane.status is LaneStatus.HALTED else None

    lane = await eventually(halted)
    system.raise_failures()
    assert lane is not None
    return lane


async def _delete(admin: AIOKafkaAdminClient, topic: str) -> None:
    await admin.delete_topics([topic])


async def _knows(producer: AIOKafkaProducer, topic: str, partitions: int) -> bool:
    await producer.client.force_metadata_update()
    return len(await producer.partitions_for(topic)) == partitions
