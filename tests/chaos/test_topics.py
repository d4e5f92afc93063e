"""Topics and databases that are not what they were: the lane stands still, says why, loses nothing.

What concerns one lane stops that lane alone. What can heal heals without a hand.
"""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete

from tests.conftest import execute
from tests.support.books import buy, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.system import Member, System
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.lane import Lane, LaneStatus
from worker.ports import TopicPartition

pytestmark = pytest.mark.integration

RICH = 10**9


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[System]:
    async with System.start(database_url, kafka_server.bootstrap, topic_prefix) as system:
        yield system


@pytest.fixture
async def admin(kafka_server: EmbeddedKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await client.start()
    yield client
    await client.close()


# The database is older than the topic.


@pytest.mark.shows("W22", "F31")
async def test_a_database_restored_from_an_older_time_halts_the_lanes_that_published_since(
    system: System, database_url: str
) -> None:
    markets = await _trading(system)
    await _stop(system)
    older = await _copied(system, database_url)
    try:
        await system.member()
        await system.publish(buy(markets[0], "a", 1, 10, "since"))
        await system.check_invariants()
        await _stop(system)

        member = await system.member(database_url=older)
        lane = await _halted(system, member, 0)
        await system.publish(buy(markets[1], "a", 1, 10, "goes-on"))
        await eventually(lambda: system.events("ORDER_ACCEPTED", order_id="goes-on"), 20)
        await _stop(system)
    finally:
        await execute(database_url, f'DROP DATABASE "{_name(older)}" WITH (FORCE)')

    assert "restored from an older time" in lane.reason
    assert member.metric("alarms_total", alarm="lane_halted") == 1


async def _copied(system: System, database_url: str) -> str:
    """Return the address of the database as it is now."""
    older = f"{_name(database_url)}_older"
    await system.database.close()
    server = urlunsplit(urlsplit(database_url)._replace(path="/postgres"))
    await execute(server, f'CREATE DATABASE "{older}" TEMPLATE "{_name(database_url)}"')
    system.database = await asyncpg.connect(database_url)
    return urlunsplit(urlsplit(database_url)._replace(path=f"/{older}"))


def _name(database_url: str) -> str:
    return urlsplit(database_url).path.removeprefix("/")


# In few words.


async def _trading(system: System) -> list[MarketId]:
    """Let a worker answer some orders in both order lanes."""
    await system.member()
    markets = [system.market(partition) for partition in range(system.partitions)]
    await system.publish(*(deposit(name, RICH) for name in "ab"), *map(open_market, markets))
    await system.answered()
    await system.publish(*(sell(market, "b", 1, 50) for market in markets for _ in range(5)))
    await system.check_invariants()
    return markets


async def _stop(system: System) -> None:
    await system.stop()
    system.workers.clear()


async def _halted(system: System, member: Member, partition: int) -> Lane:
    where = TopicPartition(system.settings.orders_topic, partition)
    await eventually(lambda: where in member.lanes, 30)
    lane = member.lanes[where]
    await eventually(lambda: lane.status is LaneStatus.HALTED, 30)
    system.raise_failures()
    return lane


# To be moved up.


@pytest.mark.shows("W14", "F44")
@pytest.mark.parametrize("running", [True, False], ids=["under a worker", "while nobody works"])
async def test_a_topic_recreated_empty_halts_its_lanes(
    system: System, admin: AIOKafkaAdminClient, running: bool
) -> None:
    await _trading(system)
    (member,) = system.workers
    if not running:
        await _stop(system)
    topic = system.settings.orders_topic
    await _recreated(admin, topic, stamps="LogAppendTime")

    if not running:
        member = await system.member()
    assert isinstance(member, Member)
    for partition in range(system.partitions):
        lane = await _halted(system, member, partition)
        print(lane.reason)
    # Transfers go on.
    await system.publish(deposit("c", 5))
    await eventually(lambda: system.events("DEPOSITED", account_id="c"), 20)


@pytest.mark.shows("W14", "F46")
async def test_retention_that_passes_a_running_lanes_cursor_halts_it(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    markets = await _trading(system)
    (member,) = system.workers
    assert isinstance(member, Member)
    where = TopicPartition(system.settings.orders_topic, 0)
    member.worker.assignments._consumer.pause(where)
    await system.publish(*(buy(markets[0], "a", 1, 10) for _ in range(20)))
    ends = await system.log.ends()
    await admin.delete_records({KafkaPartition(*where): RecordsToDelete(ends[where] - 5)})
    member.worker.assignments._consumer.resume(where)
    lane = await _halted(system, member, 0)
    print(lane.reason)
    await system.publish(buy(markets[1], "a", 1, 10, "goes-on"))
    await eventually(lambda: system.events("ORDER_ACCEPTED", order_id="goes-on"), 20)


async def _recreated(
    admin: AIOKafkaAdminClient, topic: str, *, stamps: str, partitions: int = 2
) -> None:
    await admin.delete_topics([topic])

    async def created() -> bool:
        new = NewTopic(topic, partitions, 1, topic_configs={"message.timestamp.type": stamps})
        (error,) = (await admin.create_topics([new])).to_object()["topic_errors"]
        return bool(error["error_code"] == 0)

    await eventually(created, 10)


@pytest.mark.shows("W15", "F47", "F48")
async def test_added(system: System, admin: AIOKafkaAdminClient) -> None:
    markets = await _trading(system)
    (member,) = system.workers
    topic = system.settings.orders_topic
    await admin.create_partitions({topic: NewPartitions(3)})
    from tests.support.system import Sent
    from worker.wire.commands import encode

    # metadata of raw
    system.raw.client.set_topics([topic]) if False else None

    async def three():
        await system.raw.client.force_metadata_update()
        return len(await system.raw.partitions_for(topic)) == 3

    await eventually(three, 30)
    await system.send(topic, [Sent(2, b"x", encode(buy("x", "a", 1, 10, "in-new")))])
    o = buy(markets[1], "a", 1, 10, "misrouted")
    await system.send(topic, [Sent(0, o.market_id.encode(), encode(o))])
    await eventually(lambda: system.events("ORDER_REJECTED", order_id="misrouted"), 20)
    print(await system.events("ORDER_REJECTED", order_id="misrouted"))
    await eventually(lambda: member.metric("alarms_total", alarm="partition_not_in_stream"), 60)
    await system.publish(buy(markets[1], "a", 1, 10, "goes-on"))
    await eventually(lambda: system.events("ORDER_ACCEPTED", order_id="goes-on"), 20)
    await system.check_invariants()


@pytest.mark.shows("W11", "F62")
async def test_output_deleted(system: System, admin: AIOKafkaAdminClient) -> None:
    markets = await _trading(system)
    (member,) = system.workers
    topic = system.settings.events_topic
    await admin.delete_topics([topic])
    for n in range(60):
        await system.publish(buy(markets[0], "a", 1, 10))
        await asyncio.sleep(0.05)
    await asyncio.sleep(15)
    print(
        member.lanes[TopicPartition(system.settings.orders_topic, 0)].status,
        member.metric("batches_total"),
        member.metric("publish_failures_total"),
    )

    async def created() -> bool:
        new = NewTopic(topic, 2, 1, topic_configs={"message.timestamp.type": "CreateTime"})
        (error,) = (await admin.create_topics([new])).to_object()["topic_errors"]
        return bool(error["error_code"] == 0)

    await eventually(created, 10)
    await asyncio.sleep(10)
    await system.log.read()
    from tests.support import invariants

    print([invariants.seq_of(r) for r in system.log.records[TopicPartition(topic, 0)]])
