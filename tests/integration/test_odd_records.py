"""Offsets with gaps between them, and records that no topic takes: only brokers make both."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from tests.support.books import buy, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.system import System
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.ports import TopicPartition
from worker.wire.commands import encode

pytestmark = pytest.mark.integration

RICH = 10**6
TOO_LARGE_BYTES = 2 * 1024 * 1024
"""Twice what a topic takes by default."""


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[System]:
    async with System.start(database_url, kafka_server.bootstrap, topic_prefix) as system:
        yield system


async def _open(system: System) -> MarketId:
    """Start a worker, open a market in partition 0 and fund its traders."""
    await system.member()
    market = system.market(0)
    await system.publish(deposit("a", RICH), deposit("b", RICH), open_market(market))
    await system.answered()
    return market


@pytest.mark.shows("F42")
async def test_the_offsets_that_ends_of_transactions_take_are_passed_over(system: System) -> None:
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

    # The mark of the last end may come late, and a topic that ends with one is never answered up
    # to its end.
    await eventually(ended)
    await system.publish(*(buy(market, "b", 1, 50) for _ in range(3)))
    await system.check_invariants()

    assert [later - earlier for earlier, later in pairwise(offsets)] == [2, 2]
    assert len(await system.events("ORDER_FILLED")) == 3


@pytest.mark.shows("F57")
async def test_a_record_too_large_for_its_topic_is_refused_to_its_sender_and_the_next_goes(
    system: System,
) -> None:
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
