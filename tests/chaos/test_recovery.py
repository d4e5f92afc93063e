"""The steps of deploy/RUNBOOK.md for a halted lane, done one by one."""

import asyncio

import asyncpg
import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from pydantic import SecretStr

from producers import OrderPublisher
from tests.chaos.scene import copied, stop, trading
from tests.support.books import buy, deposit, open_market, resolve
from tests.support.databases import execute, name_of
from tests.support.eventually import eventually
from tests.support.programs import ran
from tests.support.system import Log, Sent, System
from tests.support.topics import create
from worker.errors import ConfigError

USAGE = 2


@pytest.mark.shows("W22", "F31")
async def test_restored_database_continues_with_new_event_topics(
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
async def test_recreated_topic_filled_to_the_cursors_continues(
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
    adopted = await _parity(system, "topics", "--adopt")
    await system.member()
    await system.publish(*(buy(market, "a", 1, 50) for market in markets), *map(resolve, markets))

    await eventually(lambda: _has(system, "MARKET_SETTLED", len(markets)))
    assert await _has(system, "ORDER_FILLED", len(markets))
    assert await _audited(system) == 0
    # The audit reports that it cannot follow a history without the beginning.
    assert await _audited(system, "--events") == USAGE
    assert adopted == 0


async def test_renamed_input_is_a_new_stream(system: System, admin: AIOKafkaAdminClient) -> None:
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


async def test_new_incarnation_needs_unanswered_transfers(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """The orders topic was recreated. The transfers topic still has what was answered."""
    await trading(system)
    await stop(system)
    topic, transfers = system.settings.orders_topic, system.settings.transfers_topic
    await admin.delete_topics([topic])
    await create(admin, topic, message_timestamp_type="LogAppendTime")
    with pytest.raises(ConfigError, match=r"stream .*transfers@2 would execute again"):
        await system.member(incarnation=2)
    lanes = await system.database.fetch("SELECT * FROM lanes WHERE stream = $1", transfers)
    await admin.delete_records(
        {
            KafkaPartition(transfers, row["partition"]): RecordsToDelete(row["next_offset"])
            for row in lanes
        }
    )

    await system.member(incarnation=2)
    await system.publish(deposit("a", 7))
    await eventually(lambda: _mentions(system, b'"amount":7', 1))

    assert not await _mentions(system, b"DUPLICATE", 1)


async def _mentions(system: System, text: bytes, wanted: int) -> bool:
    """Return whether ``wanted`` events of transfers contain a text, in any stream."""
    await system.log.read()
    topic = system.settings.transfer_events_topic
    found = [r for p, records in system.log.records.items() if p.topic == topic for r in records]
    return sum(text in (record.value or b"") for record in found) == wanted


async def _has(system: System, kind: str, wanted: int) -> bool:
    return len(await system.events(kind)) == wanted


async def _audited(system: System, *options: str) -> int:
    return await _parity(system, "audit", *options)


async def _parity(system: System, *words: str) -> int:
    """Return the exit code of a command."""
    done = await asyncio.to_thread(ran, "worker", *words, env=system.environment())
    return done.code


async def _renew(system: System, admin: AIOKafkaAdminClient, **names: str) -> None:
    """Create topics with other names, and use them from now on."""
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
    """Use another database from now on."""
    await system.database.close()
    system.database = await asyncpg.connect(database_url)
    system.settings = system.settings.model_copy(update={"database_url": SecretStr(database_url)})
