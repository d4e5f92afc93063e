"""Topics and databases that are not what they were: the lane stands still, says why, loses nothing.

What concerns one lane stops that lane alone. What can heal heals without a hand.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete

from tests.conftest import execute
from tests.support.books import buy, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.system import REPOSITORY, Member, System
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
