"""Batches that unpack to gigabytes, read by a worker that may use half a gigabyte of memory."""

import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from producers.encode import encode
from tests.support.books import buy, deposit, open_market
from tests.support.eventually import eventually
from tests.support.packed import PackedBatch, packed, record
from tests.support.system import Process, Sent, System
from worker.adapters.kafka.unpack import CODECS
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.ports import TopicPartition

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

MIB: Final = 1_048_576
MEMORY_MIB: Final = 512
ANSWERED_S: Final = 240.0
ORDERS: Final = 20
LIMITED: Final = f"""
import resource, runpy
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_MIB * MIB}, {MEMORY_MIB * MIB}))
runpy.run_module("worker", run_name="__main__")
"""
"""A program that runs a worker to which the system gives no more memory."""


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[System]:
    async with System.start(database_url, kafka_server.bootstrap, topic_prefix) as system:
        yield system


async def _worker(system: System) -> Process:
    return await system.python("-c", LIMITED, "run")


def _peak_mib(worker: Process) -> int:
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="ascii")
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(found) // 1024


async def _opened(system: System) -> tuple[MarketId, MarketId]:
    """Open a market in each partition of the orders, and fund their buyer."""
    markets = system.market(0), system.market(1)
    await system.publish(deposit("a", 10**6), *map(open_market, markets))
    await system.answered()
    return markets


async def _put(system: System, batch: PackedBatch, partition: int = 0) -> None:
    topic = system.settings.orders_topic
    await (await system.raw.send_batch(batch, topic, partition=partition))


async def _require(system: System, worker: Process, malformed: int) -> None:
    """Check that everything is answered, by a worker that never ended."""
    await system.answered(ANSWERED_S)
    assert worker.process.returncode is None, worker.log.read_text(encoding="utf-8")[-2_000:]
    assert "consumer_failed" not in worker.log.read_text(encoding="utf-8")
    found = await system.events("COMMAND_REJECTED", reason="MALFORMED")
    assert len(found) == malformed
    epochs = await system.database.fetch("SELECT DISTINCT epoch FROM lanes")
    assert [row["epoch"] for row in epochs] == [1], "a lane was loaded again"
    print(f"peak {_peak_mib(worker)} MiB")
    assert _peak_mib(worker) < MEMORY_MIB


def _orders(market: MarketId, name: str) -> list[Iterator[bytes]]:
    orders = [encode(buy(market, "a", 1, 10, f"{name}-{n}")) for n in range(ORDERS)]
    return [record(n, market.encode(), order) for n, order in enumerate(orders)]


@pytest.mark.shows("F75", "A39")
@pytest.mark.parametrize(
    ("codec", "zeros"),
    [
        ("gzip", [10 * MIB] * 88),
        ("zstd", [10 * MIB] * 88),
        ("zstd", [2_000 * MIB]),
        ("lz4", [10 * MIB] * 20),
        ("snappy", [MIB] * 16),
    ],
    ids=["gzip", "zstd", "one record", "lz4", "snappy"],
)
async def test_batch_of_gigabytes_is_answered_in_bounded_memory(
    system: System, codec: str, zeros: Sequence[int]
) -> None:
    worker = await _worker(system)
    first, second = await _opened(system)
    bomb = [record(n, b"k", b"", size) for n, size in enumerate(zeros)]
    await _put(system, packed(codec, bomb))
    await _put(system, packed(codec, _orders(first, "after")))
    await _put(system, packed(codec, _orders(second, "other")), 1)
    await _require(system, worker, len(zeros))
    assert len(await system.events("ORDER_ACCEPTED")) == 2 * ORDERS


@pytest.mark.slow
@pytest.mark.shows("F75", "A39")
async def test_two_gibibytes_of_garbage_fit_into_half(system: System) -> None:
    """All codecs, both partitions, honest orders in between."""
    worker = await _worker(system)
    markets = await _opened(system)
    malformed = accepted = total = 0
    for number in range(128):
        codec = list(CODECS)[number % 4]
        large = codec != "snappy"
        count, size = (2, 10 * MIB) if large else (12, MIB)
        garbage = [record(n, b"k", b"", size) for n in range(count)]
        await _put(system, packed(codec, garbage), number % 2)
        malformed, total = malformed + count, total + count * size
        if number % 16 == 0:
            for partition, market in enumerate(markets):
                await _put(system, packed(codec, _orders(market, f"o-{number}")), partition)
                accepted += ORDERS
    assert total > 2_000 * MIB
    await _require(system, worker, malformed)
    assert len(await system.events("ORDER_ACCEPTED")) == accepted


@pytest.mark.shows("F75")
async def test_many_small_records_are_answered_in_bounded_memory(system: System) -> None:
    """Twenty thousand records of seven bytes, and 200,000 headers in one record."""
    worker = await _worker(system)
    await _opened(system)
    await _put(system, packed("zstd", [record(n, None, b"") for n in range(20_000)]))
    names = tuple(("", None) for _ in range(200_000))
    await system.send(system.settings.orders_topic, [Sent(0, b"k", b"{", names)] * 2)
    await _require(system, worker, 20_002)


@pytest.mark.shows("F66")
async def test_queue_is_bounded_by_bytes(system: System) -> None:
    """The database is locked while 60 MB of records arrive."""
    member = await system.member(queue_mib=8, database_timeout_s=30)
    await eventually(lambda: member.lanes_ready == 4)
    await _opened(system)
    lane = member.lanes[TopicPartition(system.settings.orders_topic, 0)]
    largest = 0
    async with system.database.transaction():
        await system.database.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        for _ in range(10):
            await system.send(system.settings.orders_topic, [Sent(0, b"k", b"x" * 60_000)] * 100)
            largest = max(largest, lane.backlog_bytes)
        await eventually(lambda: _is_full(lane.backlog_bytes))
        largest = max(largest, lane.backlog_bytes)
    assert largest < 4 * MIB
    await system.answered(ANSWERED_S)
    found = await system.events("COMMAND_REJECTED", reason="MALFORMED")
    assert len(found) == 1_000


def _is_full(size: int) -> bool:
    return size > 2 * MIB
