"""Records that only brokers and other clients write.

Offsets with gaps, records that are too large for a topic, header names of any bytes, compressed
batches, and batches that cannot be parsed.
"""

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from producers.encode import encode
from tests.support.books import buy, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.packed import packed, record
from tests.support.system import Member, Sent, System
from worker import app
from worker.adapters.kafka import unpack
from worker.adapters.kafka.unpack import CODECS, UnpackError
from worker.adapters.postgres.books import Books
from worker.audit import AuditResult
from worker.audit.gather import audit_history
from worker.domain.units import MarketId
from worker.ports import TopicPartition
from worker.republish import republish
from worker.tail import EventPrinter
from worker.topics import OutputTopics

READS_DAMAGED = 4
"""Each fetch of a damaged batch unpacks it twice, so this is two fetches."""
TOO_LARGE_BYTES = 2 * 1024 * 1024
"""Twice the default limit of a topic."""
ODD = (("caf\udce9", b"1"), ("\udcff\udcfe", b""))
"""Headers whose names are not UTF-8: ``caf\\xe9`` and ``\\xff\\xfe``."""


async def _open(system: System) -> MarketId:
    """Start a worker, open a market in partition 0 and fund its traders."""
    member = await system.member()
    await eventually(lambda: member.lanes_ready == 4)
    (market,) = await system.open(0)
    return market


@pytest.mark.shows("F42")
async def test_transaction_markers_are_skipped(system: System) -> None:
    market = await _open(system)
    topic, bootstrap = system.settings.orders_topic, system.settings.bootstrap_servers
    key = market.encode()
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=f"{system.prefix}producer"
    ) as producer:
        offsets: list[int] = []
        for number in range(3):
            async with producer.transaction():
                order = encode(sell(market, "a", 1, 50, f"sell-{number}"))
                sent = await producer.send(topic, order, key=key, partition=0)
                offsets.append((await sent).offset)

    async def ended() -> bool:
        return (await system.log.ends())[TopicPartition(topic, 0)] == offsets[-1] + 2

    # The marker of the last transaction may come late.
    await eventually(ended)
    await system.publish(*(buy(market, "b", 1, 50) for _ in range(3)))
    await system.check_invariants()

    assert [later - earlier for earlier, later in pairwise(offsets)] == [2, 2]
    assert len(await system.events("ORDER_FILLED")) == 3
    assert (await _audited(system)).violations == ()


@pytest.mark.shows("F42")
@pytest.mark.parametrize("commits", [True, False], ids=["committed", "aborted"])
async def test_topic_ending_in_transaction_is_read_fully(system: System, commits: bool) -> None:
    market = await _open(system)
    topic, bootstrap = system.settings.orders_topic, system.settings.bootstrap_servers
    partition, order = TopicPartition(topic, 0), encode(buy(market, "a", 1, 10))
    await system.send(topic, [Sent(0, market.encode(), order)])
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=f"{system.prefix}producer"
    ) as producer:
        await producer.begin_transaction()
        sent = [await producer.send(topic, order, partition=0) for _ in range(30)]
        last = (await sent[-1]).offset
        await (producer.commit_transaction() if commits else producer.abort_transaction())

    (member,) = system.workers
    assert isinstance(member, Member)
    lane, end = member.lanes[partition], last + 2
    await eventually(lambda: lane.reached == end)
    lane.note_end(end)
    assert member.metric("lane_behind_records") == 0
    await eventually(lambda: _hint(system, partition, end))
    assert await _has_answered(system, partition, end - 1 if commits else last - 29)
    await system.log.read()
    assert (await _audited(system)).violations == ()
    await system.stop()
    printer = EventPrinter(topic, as_json=True)
    printed = [line async for line in printer.lines(app.make_broker(system.settings))]
    assert len(printed) == 32 if commits else 2


async def test_null_parts_of_dead_letters_stay_null(system: System) -> None:
    await _open(system)
    nulls = (("null", None), ("empty", b""))
    topic = system.settings.orders_topic
    await system.send(topic, [Sent(0, None, b"{torn", nulls), Sent(0, b"", None, nulls)])
    await system.check_invariants()
    letters = system.log.records[TopicPartition(system.settings.dead_letters_topic, 0)]
    assert [letter.headers[:2] for letter in letters] == [nulls, nulls]
    assert [(letter.key, letter.value) for letter in letters] == [(None, b"{torn"), (b"", None)]
    assert (await _audited(system)).violations == ()


@pytest.mark.shows("F57")
async def test_record_too_large_for_its_topic_is_refused(system: System) -> None:
    market = await _open(system)
    topic, bootstrap = system.settings.orders_topic, system.settings.bootstrap_servers
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, max_request_size=2 * TOO_LARGE_BYTES
    ) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic, b"x" * TOO_LARGE_BYTES, partition=0)

    await system.publish(sell(market, "a", 1, 50), buy(market, "b", 1, 50))
    await system.check_invariants()

    assert len(await system.events("ORDER_FILLED")) == 1
    assert await system.events("COMMAND_REJECTED") == []


@pytest.mark.shows("F71", "A38")
async def test_header_names_of_any_bytes_are_handled(system: System) -> None:
    market, other = await _open(system), system.market(1)
    first, second = system.workers[0], await system.member()
    assert isinstance(first, Member)
    await eventually(lambda: first.lanes_ready == second.lanes_ready == 2)
    epochs = await _epochs(system)
    orders, transfers = system.settings.orders_topic, system.settings.transfers_topic
    good, junk = encode(buy(market, "a", 1, 50, "odd")), b"{torn"
    await system.send(
        orders,
        [
            Sent(0, market.encode(), encode(sell(market, "b", 1, 50, "plain"))),
            Sent(0, market.encode(), good, ODD),
            Sent(0, b"k", junk, ODD),
            Sent(0, market.encode(), encode(sell(market, "b", 1, 60, "last"))),
        ],
    )
    await system.send(transfers, [Sent(n, b"a", encode(deposit("a", 5)), ODD) for n in (0, 1)])
    await system.publish(open_market(other), buy(other, "a", 1, 10, "other"))
    await system.check_invariants()

    accepted = [event["order_id"] for event in await system.events("ORDER_ACCEPTED")]
    assert sorted(accepted) == ["last", "odd", "other", "plain"]
    assert len(await system.events("DEPOSITED")) == 3
    letter, *_ = system.log.records[TopicPartition(system.settings.dead_letters_topic, 0)]
    assert (letter.key, letter.value) == (b"k", junk)
    assert [name for name, _ in letter.headers[:2]] == [name for name, _ in ODD]
    assert await _epochs(system) == epochs, "a lane was loaded again"


@pytest.mark.shows("F71")
async def test_commands_read_header_names_of_any_bytes(system: System) -> None:
    market = await _open(system)
    orders, settings = system.settings.orders_topic, system.settings
    await system.send(orders, [Sent(0, b"k", b"{torn", ODD), Sent(0, b"k", b"{", ODD[:1])])
    await system.answered()
    await system.stop()
    await system.send(settings.events_topic, [Sent(1, b"k", b"not an event", ODD)])
    broker = app.make_broker(settings)

    done = await republish(settings, broker, orders, 0, 1)
    printed = EventPrinter(settings.dead_letters_topic, as_json=True).lines(broker)
    letters = [json.loads(line) async for line in printed]
    lines = [line async for line in EventPrinter(settings.dead_letters_topic).lines(broker)]
    await system.member()
    await system.publish(buy(market, "a", 1, 10))
    await eventually(lambda: _has_answered(system, TopicPartition(orders, 0), 4))
    audit = await _audited(system)

    assert done.first_seq == 1
    assert len(letters) == 4, "each twice"
    assert letters[0]["headers"]["caf\\xe9"] == "1"
    assert all("MALFORMED" in line for line in lines)
    assert {violation.name for violation in audit.violations} == {"not_an_event"}


@pytest.mark.shows("F72")
@pytest.mark.parametrize("name", CODECS)
async def test_topics_in_any_codec_are_read(system: System, name: str) -> None:
    for topic in system.topics:
        await _set(system, topic, compression_type=name)
    market = await _open(system)
    junk = [Sent(n, b"k", b"{torn" * 100) for n in (0, 1)]
    await system.publish(*(sell(market, "a", 1, 50) for _ in range(50)))
    await system.send(system.settings.orders_topic, junk)
    await system.send(system.settings.transfers_topic, junk)
    await system.answered()
    await system.stop()

    await system.member()
    await system.publish(*(buy(market, "b", 1, 50) for _ in range(50)))
    await system.check_invariants()

    assert len(await system.events("ORDER_FILLED")) == 50
    assert (await _audited(system)).violations == ()


@pytest.mark.shows("F72")
@pytest.mark.parametrize("name", CODECS)
async def test_compressed_orders_are_answered(system: System, name: str) -> None:
    market = await _open(system)
    topic, bootstrap = system.settings.orders_topic, system.settings.bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=name) as producer:
        batch = producer.create_batch()
        for _ in range(50):
            order = encode(buy(market, "a", 1, 10))
            batch.append(timestamp=None, key=market.encode(), value=order)
        await (await producer.send_batch(batch, topic, partition=0))
    await system.check_invariants()

    assert len(await system.events("ORDER_ACCEPTED")) == 50


@pytest.mark.shows("F73")
async def test_batch_damaged_in_transit_is_refetched(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = await _open(system)
    epochs = await _epochs(system)
    refused: list[bytes] = []
    unpack_zstd = unpack._UNPACK[CODECS["zstd"]]

    def unlucky(content: bytes) -> Iterator[bytes]:
        if len(refused) < READS_DAMAGED:
            refused.append(content)
            raise UnpackError("damaged")
        return unpack_zstd(content)

    monkeypatch.setitem(unpack._UNPACK, CODECS["zstd"], unlucky)
    orders = [encode(buy(market, "a", 1, 10)) for _ in range(20)]
    batch = packed("zstd", [record(n, market.encode(), order) for n, order in enumerate(orders)])
    await (await system.raw.send_batch(batch, system.settings.orders_topic, partition=0))
    await system.check_invariants()

    assert len(refused) == READS_DAMAGED
    assert len(await system.events("ORDER_ACCEPTED")) == 20
    assert await _epochs(system) == epochs


async def _set(system: System, topic: str, **configs: str) -> None:
    """Replace the configuration of a topic."""
    named = {name.replace("_", "."): value for name, value in configs.items()}
    stamps = "LogAppendTime" if topic in system.settings.inputs else "CreateTime"
    named["message.timestamp.type"] = stamps
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.bootstrap_servers)
    await admin.start()
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=named)
    await admin.alter_configs([resource])

    async def has_taken() -> bool:
        asked = ConfigResource(ConfigResourceType.TOPIC, topic)
        answer: Any
        (answer,) = await admin.describe_configs([asked])
        found = {entry[0]: entry[1] for entry in answer.resources[0][4]}
        return named.items() <= found.items()

    await eventually(has_taken)
    await admin.close()


async def _audited(system: System) -> AuditResult:
    settings = system.settings
    outputs = OutputTopics(*settings.outputs, system.partitions)
    books = Books(settings.database_url.get_secret_value(), timeout_s=10)
    broker = app.make_broker(settings)
    try:
        return (await audit_history(books, broker, outputs, time.monotonic)).result
    finally:
        await books.close()


async def _has_answered(system: System, partition: TopicPartition, offset: int) -> bool:
    """Return whether every record before ``offset`` is answered, according to the database."""
    system.raise_failures()
    found = await system.database.fetchval(
        "SELECT next_offset FROM lanes l JOIN streams s USING (stream)"
        " WHERE s.topic = $1 AND l.partition = $2",
        *partition,
    )
    return bool(found == offset)


async def _hint(system: System, partition: TopicPartition, offset: int) -> bool:
    """Return whether the group's committed offset is ``offset``."""
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.bootstrap_servers)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(system.settings.group_id)
    finally:
        await admin.close()
    at = found.get(KafkaPartition(*partition))
    return at is not None and at.offset == offset


async def _epochs(system: System) -> list[int]:
    return [row["epoch"] for row in await system.database.fetch("SELECT epoch FROM lanes")]
