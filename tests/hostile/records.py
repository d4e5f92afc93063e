"""Attacks by records and batches that no honest client sends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from producers.encode import encode
from tests.hostile.attack import Burst, Kind, Victim, send, send_batch, target
from tests.hostile.scene import PARTITIONS, Scene
from tests.support import hostile
from tests.support.books import cancel
from tests.support.packed import PackedBatch, damaged, packed, record
from tests.support.system import Sent
from worker.adapters.kafka.unpack import CODECS

WIDE_BYTES: Final = 60_000
WIDE_RECORDS: Final = 200
MIB: Final = 1_048_576
BATCH_BYTES: Final = 900_000
TRANSACTION: Final = 20
"""Records of a transaction."""
OPEN_MS: Final = 5_000
ODD_NAMES: Final = (("caf\udce9", b"1"), ("\udcff\udcfe", b""))
"""Headers whose names are not UTF-8."""


# Records.


async def send_odd_names(victim: Victim, number: int) -> int:
    """Send records whose header names are not UTF-8."""
    market = target(victim)
    orders = [cancel(market, "nobody", f"odd-{number}-{n}") for n in range(20)]
    key = market.encode()
    return await send(
        victim, [Sent(victim.lane.partition, key, encode(o), ODD_NAMES) for o in orders]
    )


async def send_every_codec(victim: Victim, number: int) -> int:
    """Send a batch of each codec."""
    key = target(victim).encode()
    for codec in CODECS.values():
        batch = BatchBuilder(BATCH_BYTES, codec)
        for n in range(20):
            order = cancel(target(victim), "nobody", f"codec-{number}-{n}")
            batch.append(timestamp=None, key=key, value=encode(order))
        await send_batch(victim, batch)
    return 20 * len(CODECS)


async def send_wide_values(victim: Victim, _number: int) -> int:
    """Send large values that are no commands."""
    return await send(
        victim, [Sent(victim.lane.partition, b"wide", b"x" * WIDE_BYTES)] * WIDE_RECORDS
    )


async def _prepare_corpus(scene: Scene) -> None:
    for kind in ("transfers", "orders"):
        fixture = [s for s in hostile.build(PARTITIONS).fixture if s.topic_kind == kind]
        await scene.system.send(_topic(scene, kind), [Sent(*sent[1:]) for sent in fixture])
        await scene.prepared()


async def send_corpus(victim: Victim, _number: int) -> int:
    """Send what goes to the attacked partition of either topic."""
    corpus = [h for h in hostile.build(PARTITIONS).hostile if h.partition == victim.lane.partition]
    for kind in ("orders", "transfers"):
        own = [h for h in corpus if h.topic_kind == kind]
        records = [Sent(h.partition, h.key, h.value, h.headers) for h in own]
        await victim.system.send(_topic(victim, kind), records)
    return len(corpus)


# Batches of other clients.


@cache
def _zeros(codec: str, sizes: tuple[int, ...]) -> PackedBatch:
    """Return a batch of records of zeros. The compression takes seconds."""
    return packed(codec, (record(n, b"k", b"", size) for n, size in enumerate(sizes)))


def _unpacking(does: str, codec: str, sizes: tuple[int, ...], batches: int, every_s: float) -> Kind:
    """Return a kind that sends so many equal batches of zeros at a time."""

    async def prepare(_scene: Scene) -> None:
        await asyncio.to_thread(_zeros, codec, sizes)

    async def burst(victim: Victim, _number: int) -> int:
        for _ in range(batches):
            await send_batch(victim, _zeros(codec, sizes))
        return batches * len(sizes)

    return Kind(does=does, burst=burst, prepare=prepare, every_s=every_s)


async def send_bomb(victim: Victim, _number: int) -> int:
    """Send 30 kB that unpack to 880 MiB."""
    await send_batch(victim, await asyncio.to_thread(_zeros, "zstd", (10 * MIB,) * 88))
    return 88


def _damage(at: int, content: bytes) -> Burst:
    """Return a burst that overwrites bytes of a stored batch before any reader gets it."""

    async def burst(scene: Scene, _number: int) -> int:
        async with _transactional(scene, 60_000) as producer, producer.transaction():
            offset = await _fill_transaction(scene, producer, "damaged")
            scene.until_end.enter_context(damaged(scene.kafka, scene.lane, offset, at, content))
        return TRANSACTION

    return burst


# Transactions.


async def abort_transactions(victim: Victim, number: int) -> int:
    """Leave records that no reader gets, each batch with a mark after it."""
    async with _transactional(victim, 60_000) as producer:
        for n in range(5):
            await producer.begin_transaction()
            await _fill_transaction(victim, producer, f"{number}-{n}")
            await producer.abort_transaction()
    return 5 * TRANSACTION


async def leave_transaction_open(victim: Victim, number: int) -> int:
    """Let the broker end a transaction, after its timeout. Readers get nothing in between."""
    async with _transactional(victim, OPEN_MS) as producer:
        await producer.begin_transaction()
        await _fill_transaction(victim, producer, f"{number}")
        await asyncio.sleep(2 * OPEN_MS / 1000)
    return TRANSACTION


@asynccontextmanager
async def _transactional(victim: Victim, timeout_ms: int) -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer whose transactions the broker aborts after ``timeout_ms``."""
    producer = AIOKafkaProducer(
        bootstrap_servers=victim.kafka.bootstrap,
        transactional_id=f"{victim.system.prefix}stranger",
        transaction_timeout_ms=timeout_ms,
    )
    await producer.start()
    try:
        yield producer
    finally:
        # A transaction that the broker has aborted cannot be ended properly.
        with contextlib.suppress(KafkaError):
            await producer.stop()


async def _fill_transaction(victim: Victim, producer: AIOKafkaProducer, name: str) -> int:
    """Send some orders, and return the first offset."""
    orders = [cancel(target(victim), "nobody", f"{name}-{n}") for n in range(TRANSACTION)]
    topic, key = victim.lane.topic, target(victim).encode()
    sent = [
        await producer.send(topic, encode(o), key=key, partition=victim.lane.partition)
        for o in orders
    ]
    return int((await asyncio.gather(*sent))[0].offset)


def _topic(victim: Victim, kind: str) -> str:
    orders, transfers = victim.system.settings.inputs
    return orders if kind == "orders" else transfers


RECORDS: Final[dict[str, Kind]] = {
    "header-names": Kind(
        does="header names that are not UTF-8", burst=send_odd_names, every_s=0.25
    ),
    "codecs": Kind(does="batches compressed by every codec", burst=send_every_codec, every_s=0.25),
    "wide-values": Kind(
        does="60 kB values that are no commands", burst=send_wide_values, every_s=2.0
    ),
    "corpus": Kind(
        does="every mistake of a client, again and again",
        burst=send_corpus,
        prepare=_prepare_corpus,
    ),
    "bomb-gzip": _unpacking(
        "0.9 MB of gzip that unpack to 880 MiB", "gzip", (10 * MIB,) * 88, 1, 10.0
    ),
    "bomb-zstd": _unpacking(
        "30 kB of zstd that unpack to 880 MiB", "zstd", (10 * MIB,) * 88, 1, 10.0
    ),
    "bomb-record": _unpacking(
        "one record that unpacks to 2,000 MiB", "zstd", (2_000 * MIB,), 1, 10.0
    ),
    "garbage": _unpacking(
        "small batches that unpack to 10 MB a second", "gzip", (10_000,) * 100, 5, 0.5
    ),
    "damaged-batch": Kind(
        does="a batch whose checksum is wrong on the broker's disk",
        burst=_damage(17, b"\xde\xad\xbe\xef"),
        bursts_max=1,
        halts=True,
    ),
    "damaged-length": Kind(
        does="a batch that the broker itself cannot read",
        burst=_damage(8, b"\0\0\0\x03"),
        bursts_max=1,
        halts=True,
    ),
    "transactions": Kind(
        does="transactions that are aborted", burst=abort_transactions, every_s=0.5
    ),
    "open-transaction": Kind(
        does=f"a transaction that stays open for {OPEN_MS / 1000:g} s",
        burst=leave_transaction_open,
        bursts_max=1,
    ),
}
