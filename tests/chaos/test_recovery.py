"""What deploy/RUNBOOK.md tells an operator to do about a halted lane, done step by step."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL

import asyncpg
import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from pydantic import SecretStr

from producers import OrderPublisher
from tests.chaos.scene import copied, name_of, stop, trading
from tests.conftest import execute
from tests.support.books import buy, deposit, open_market, resolve
from tests.support.eventually import eventually
from tests.support.system import REPOSITORY, Log, Sent, System
from tests.support.topics import create
from worker.ports import TopicPartition

pytestmark = pytest.mark.integration

USAGE = 2


@pytest.mark.shows("W22", "F31")
async def test_a_restored_database_goes_on_with_new_topics_of_events(
    system: System, admin: AIOKafkaAdminClient, database_url: str
) -> None:
    _, markets = await trading(system)
    await stop(system)
    older = await copied(system, database_url)
    await system.member()
    await system.publish(*(buy(market, "a", 1, 50, "since") for market in markets))
    await system.check_invariants()
    await stop(system)
    try:
        await _look_at(system, older)
        await _renew(system, admin, events_topic="e2", transfer_events_topic="t2")

        await system.member()
        await system.publish(buy(markets[1], "a", 1, 10, "goes-on"))
        await system.check_invariants()
        audited = await _audited(system, "--events")
        await stop(system)
    finally:
        await _look_at(system, database_url)
        await execute(database_url, f'DROP DATABASE "{name_of(older)}" WITH (FORCE)')

    assert await system.events("ORDER_ACCEPTED", order_id="since")
    assert await system.events("ORDER_ACCEPTED", order_id="goes-on")
    assert audited == 0


@pytest.mark.shows("W14", "F44")
async def test_a_recreated_topic_that_is_filled_up_to_the_cursors_goes_on(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    _, markets = await trading(system)
    await stop(system)
    topic = system.settings.orders_topic
    await admin.delete_topics([topic])
    await create(admin, topic, message_timestamp_type="LogAppendTime")
    lanes = await system.database.fetch(
        "SELECT partition, next_offset FROM lanes WHERE stream = $1", topic
    )
    cursors: dict[int, int] = {row["partition"]: row["next_offset"] for row in lanes}

    await eventually(lambda: _knows(system, topic))
    await system.send(topic, [Sent(p, None, b"") for p, end in cursors.items() for _ in range(end)])
    await admin.delete_records(
        {KafkaPartition(topic, p): RecordsToDelete(end) for p, end in cursors.items()}
    )
    await system.member()
    await system.publish(*(buy(market, "a", 1, 50) for market in markets), *map(resolve, markets))

    await eventually(lambda: _has(system, "MARKET_SETTLED", len(markets)))
    assert await _has(system, "ORDER_FILLED", len(markets))
    assert await _audited(system) == 0
    # A history without its beginning cannot be followed, and that is said.
    assert await _audited(system, "--events") == USAGE


async def test_an_input_of_another_name_is_a_new_stream_beside_the_old_one(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    _, (market, _) = await trading(system)
    await stop(system)
    await _renew(system, admin, orders_topic="o2", events_topic="e2")
    await system.member()

    async with OrderPublisher(
        system.settings.bootstrap_servers,
        orders_topic=system.settings.orders_topic,
        transfers_topic=system.settings.transfers_topic,
    ) as publisher:
        for command in (buy(market, "a", 1, 50, "early"), open_market(market)):
            await publisher.publish(command)
        await publisher.publish(buy(market, "a", 1, 50, "in-time"))
        await publisher.publish(deposit("a", 7))
    await eventually(lambda: _has(system, "ORDER_ACCEPTED", 1))
    await eventually(lambda: _has(system, "DEPOSITED", 3))

    (rejected,) = await system.events("ORDER_REJECTED")
    assert (rejected["order_id"], rejected["reason"]) == ("early", "UNKNOWN_MARKET")


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "with an expired beginning"])
async def test_an_incarnation_is_of_both_inputs_and_reads_the_transfers_from_their_first(
    system: System, admin: AIOKafkaAdminClient, whole: bool
) -> None:
    await trading(system)
    await stop(system)
    topic = system.settings.orders_topic
    await admin.delete_topics([topic])
    await create(admin, topic, message_timestamp_type="LogAppendTime")
    if not whole:
        where = TopicPartition(system.settings.transfers_topic, 0)
        end = (await system.log.ends())[where]
        await admin.delete_records({KafkaPartition(*where): RecordsToDelete(end)})

    member = await system.member(incarnation=2)
    if whole:
        await eventually(lambda: _mentions(system, b"DUPLICATE", 2))
    else:
        await eventually(lambda: member.metric("alarms_total", alarm="lane_halted") == 1)


async def _mentions(system: System, text: bytes, wanted: int) -> bool:
    """Whether so many events of transfers have a text, whatever their stream."""
    await system.log.read()
    topic = system.settings.transfer_events_topic
    found = [r for p, records in system.log.records.items() if p.topic == topic for r in records]
    return sum(text in (record.value or b"") for record in found) == wanted


async def _has(system: System, kind: str, wanted: int) -> bool:
    return len(await system.events(kind)) == wanted


async def _audited(system: System, *options: str) -> int | None:
    """Return the exit code of ``parity audit``."""
    command = (sys.executable, "-m", "worker", "audit", *options)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, env=system.environment(), stdout=DEVNULL, stderr=DEVNULL
    )
    return await asyncio.wait_for(process.wait(), 60)


async def _renew(system: System, admin: AIOKafkaAdminClient, **names: str) -> None:
    """Create topics of other names, and go on with them."""
    for setting, name in names.items():
        stamps = "LogAppendTime" if setting == "orders_topic" else "CreateTime"
        await create(admin, f"{system.prefix}{name}", message_timestamp_type=stamps)
    system.settings = system.settings.model_copy(
        update={setting: f"{system.prefix}{name}" for setting, name in names.items()}
    )
    await system.log.stop()
    system.log = Log(system.settings.bootstrap_servers, system.topics)
    await system.log.start(system.partitions)


async def _knows(system: System, topic: str) -> bool:
    await system.raw.client.force_metadata_update()
    return len(await system.raw.partitions_for(topic)) == system.partitions


async def _look_at(system: System, database_url: str) -> None:
    """Go on with another database."""
    await system.database.close()
    system.database = await asyncpg.connect(database_url)
    system.settings = system.settings.model_copy(update={"database_url": SecretStr(database_url)})
