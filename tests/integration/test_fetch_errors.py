"""Errors of a fetch on real Kafka: each reaches the lane of its partition, and no other lane."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest

from producers.encode import encode
from tests.support.books import buy, deposit, open_market
from tests.support.eventually import eventually
from tests.support.packed import damaged, packed, record
from tests.support.system import Member, System
from worker.adapters.kafka import faults
from worker.adapters.kafka.consumer import AiokafkaConsumer
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.lane import Lane, LaneStatus
from worker.ports import TopicPartition

pytestmark = pytest.mark.integration

RICH = 10**6
REFUSED_S = 3.0
TOPIC, READ, WRITE, ALLOW, LITERAL = 2, 3, 4, 3, 3
"""Numbers of Kafka's protocol of access control."""


@dataclass
class Site:
    """An exchange with two workers, of which partition 0 of the orders is going to suffer."""

    system: System
    kafka: EmbeddedKafka
    members: list[Member]
    sick: MarketId
    well: MarketId
    epochs: list[int]

    @property
    def partition(self) -> TopicPartition:
        return TopicPartition(self.system.settings.orders_topic, 0)

    @property
    def owner(self) -> Member:
        (found,) = (m for m in self.members if self.partition in m.lanes)
        return found

    @property
    def lane(self) -> Lane:
        return self.owner.lanes[self.partition]

    async def send(self, *orders: str) -> int:
        """Send a batch of orders to partition 0, and return its offset."""
        key = self.sick.encode()
        values = [encode(buy(self.sick, "a", 1, 10, order)) for order in orders]
        batch = packed("zstd", [record(n, key, value) for n, value in enumerate(values)])
        topic = self.partition.topic
        sent = await (await self.system.raw.send_batch(batch, topic, partition=0))
        return int(sent.offset)

    async def require_others(self, name: str) -> None:
        """Check that the other lanes answer, and that none has been loaded again."""
        await self.system.publish(deposit("a", 1), buy(self.well, "a", 1, 10, name))
        await eventually(lambda: self._accepted(name))
        found = await self.system.database.fetch("SELECT epoch FROM lanes ORDER BY lane")
        assert [row["epoch"] for row in found] == self.epochs

    async def _accepted(self, name: str) -> bool:
        self.system.raise_failures()
        number = await self.system.database.fetchval(
            "SELECT count(*) FROM orders WHERE order_id = $1", name
        )
        return bool(number)


async def _opened(system: System, kafka: EmbeddedKafka) -> Site:
    members = [await system.member(refused_s=REFUSED_S) for _ in range(2)]
    await eventually(lambda: [member.lanes_ready for member in members] == [2, 2])
    sick, well = system.market(0), system.market(1)
    await system.publish(deposit("a", RICH), open_market(sick), open_market(well))
    await system.answered()
    found = await system.database.fetch("SELECT epoch FROM lanes ORDER BY lane")
    return Site(system, kafka, members, sick, well, [row["epoch"] for row in found])


@pytest.fixture
async def site(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[Site]:
    async with System.start(database_url, kafka_server.bootstrap, topic_prefix) as system:
        yield await _opened(system, kafka_server)


def _consumer(site: Site) -> AiokafkaConsumer:
    consumer = site.owner.worker.assignments._consumer
    assert isinstance(consumer, AiokafkaConsumer)
    return consumer


async def _send_behind_a_pause(site: Site, *orders: str) -> int:
    """Send orders while nothing is fetched, so that they can be damaged first."""
    consumer = _consumer(site)
    for partition in consumer.assignment():
        consumer.pause(partition)
    fetcher: Any = consumer._kafka and consumer._kafka._fetcher
    await eventually(lambda: not fetcher._in_flight)
    return await site.send(*orders)


def _let_go(site: Site) -> None:
    for partition in _consumer(site).assignment():
        _consumer(site).resume(partition)


@pytest.mark.shows("F73")
async def test_damaged_batch_halts_its_lane_only(site: Site) -> None:
    """The checksum in the batch is wrong on disk. Brokers do not look at it."""
    offset = await _send_behind_a_pause(site, "one", "two")
    with damaged(site.kafka, site.partition, offset, 17, b"\xde\xad\xbe\xef"):
        _let_go(site)
        await eventually(lambda: site.lane.status is LaneStatus.HALTED)
        await site.require_others("other")
    assert f"the batch at offset {offset}" in site.lane.reason
    assert site.owner.metric("alarms_total", alarm="lane_halted") == 1

    await site.system.stop()
    await site.system.member()
    await site.system.check_invariants()
    assert len(await site.system.events("ORDER_ACCEPTED")) == 3


@pytest.mark.shows("F74")
async def test_broken_batch_of_broker_halts_its_lane_only(site: Site) -> None:
    """The length of the batch is wrong on disk, so the broker answers with an error."""
    offset = await _send_behind_a_pause(site, "one")
    with damaged(site.kafka, site.partition, offset, 8, b"\0\0\0\x03"):
        _let_go(site)
        await eventually(lambda: "return no records" in site.lane.trouble)
        assert site.owner.metric("lane_unfetched") == 1
        assert not site.lane.reason, "it is not halted yet"
        await site.require_others("other")
        await eventually(lambda: site.lane.status is LaneStatus.HALTED)
    assert "code" in site.lane.reason
    assert site.owner.metric("alarms_total", alarm="fetch_failing") == 1
    await site.require_others("another")


@pytest.mark.shows("F74")
async def test_repaired_batch_is_read_without_restart(site: Site) -> None:
    offset = await _send_behind_a_pause(site, "one")
    with damaged(site.kafka, site.partition, offset, 8, b"\0\0\0\x03"):
        _let_go(site)
        await eventually(lambda: bool(site.lane.unfetched))
    await site.system.check_invariants()
    assert site.lane.trouble == ""
    assert site.owner.metric("lane_unfetched") == 0
    await site.require_others("other")


@pytest.mark.shows("F74")
async def test_partition_that_waits_is_not_resumed(site: Site) -> None:
    """The lane's queue empties while the broker refuses to return more."""
    offset = await _send_behind_a_pause(site, "one")
    consumer = _consumer(site)
    with damaged(site.kafka, site.partition, offset, 8, b"\0\0\0\x03"):
        _let_go(site)
        await eventually(lambda: consumer._faults.waits(site.partition))
        consumer.resume(site.partition)
        assert consumer._kafka is not None
        assert KafkaPartition(*site.partition) in consumer._kafka.paused()
    await site.system.check_invariants()


@pytest.mark.shows("F42")
async def test_open_transaction_is_reported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that dies within a transaction holds its partition up until a timeout."""
    monkeypatch.setattr(faults, "OPEN_TRANSACTION_S", 1.0)
    bootstrap, topic = site.kafka.bootstrap, site.partition.topic
    stranger = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic)
    await stranger.start()
    await stranger.begin_transaction()
    sent = await stranger.send_and_wait(topic, b"{}", partition=0)
    await site.system.publish(buy(site.sick, "a", 1, 10, "held"))
    await eventually(lambda: "open transaction" in site.lane.trouble)
    await site.require_others("other")
    await stranger.commit_transaction()
    await stranger.stop()
    # After the record and the order comes the marker, which the brokers write later.
    await eventually(lambda: site.lane.reached >= sent.offset + 3)
    await site.system.publish(buy(site.sick, "a", 1, 10, "last"))
    await site.system.check_invariants()
    assert len(await site.system.events("ORDER_ACCEPTED")) == 3
    assert site.lane.trouble == ""


@pytest.mark.shows("F46", "F74")
async def test_truncated_topic_halts_its_lane_only(site: Site) -> None:
    """Records are deleted before they are answered, while the lane works."""
    await _send_behind_a_pause(site, "one", "two")
    await site.system.publish(buy(site.sick, "a", 1, 10, "three"))
    end = (await site.system.log.ends())[site.partition]
    await _forget_before(site, end)
    _let_go(site)
    await eventually(lambda: site.lane.status is LaneStatus.HALTED)
    assert "the cursor is not in the topic" in site.lane.reason
    await site.require_others("other")


async def _forget_before(site: Site, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=site.kafka.bootstrap)
    await admin.start()
    wanted = {KafkaPartition(*site.partition): RecordsToDelete(before_offset=offset)}
    await admin.delete_records(wanted, 5_000)
    await admin.close()


# Access control.


@pytest.mark.shows("F74")
@pytest.mark.slow
async def test_topic_without_read_right_stops_its_lanes_only(database_url: str) -> None:
    config = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with await asyncio.to_thread(EmbeddedKafka.start, config=config) as kafka:
        async with System.start(database_url, kafka.bootstrap, "acl-") as system:
            site = await _opened(system, kafka)
            # Long enough to give the right back.
            for member in site.members:
                consumer = member.worker.assignments._consumer
                consumer._faults._refused_s = 300.0  # type: ignore[union-attr]
            # A right to write includes that to describe, and takes away what it does not include.
            await _acl(kafka, site.partition.topic, WRITE)
            orders = [
                lane
                for member in site.members
                for at, lane in member.lanes.items()
                if at.topic == site.partition.topic
            ]
            await eventually(lambda: all("Authorization" in lane.trouble for lane in orders))
            await system.publish(deposit("a", 7))
            await eventually(lambda: _deposited(system))
            assert [member.lanes_ready for member in site.members] == [2, 2]

            await _acl(kafka, site.partition.topic, READ)
            await site.require_others("after")
            await eventually(lambda: not any(lane.trouble for lane in orders))


async def _deposited(system: System) -> bool:
    system.raise_failures()
    return bool(await system.database.fetchval("SELECT 1 FROM transfers WHERE amount = 7"))


async def _acl(kafka: EmbeddedKafka, topic: str, operation: int) -> None:
    client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap)
    await client.bootstrap()
    try:
        us = "User:ANONYMOUS"
        request = CreateAclsRequest(TOPIC, topic, LITERAL, us, "*", operation, ALLOW)
        controller = client.cluster.controller
        answer = await client.send(controller.nodeId if controller else 1, request)
        assert [code for code, _ in answer.creation_responses] == [0]
    finally:
        await client.close()
