"""Who asks too much, of HTTP or of one market, and who trades meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from producers import PlaceOrder
from tests.support.books import buy, cancel, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.system import Member, System
from worker.adapters.http import CONNECTIONS_MAX
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.front import Front
from worker.ports import TopicPartition

pytestmark = pytest.mark.integration

RICH = 10**9
SLOW_CLIENTS = CONNECTIONS_MAX // 2
FLOODERS = CONNECTIONS_MAX // 4
HOT, COLD = 0, 1


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[System]:
    bootstrap = kafka_server.bootstrap
    async with System.start(database_url, bootstrap, topic_prefix, http_port=0) as system:
        yield system


async def _open(system: System) -> tuple[Member, list[MarketId]]:
    """Start a worker, open a market in both partitions and fund two traders."""
    member = await system.member()
    markets = [system.market(partition) for partition in (HOT, COLD)]
    await system.publish(deposit("a", RICH), deposit("b", RICH), *map(open_market, markets))
    await system.answered()
    return member, markets


# Of HTTP.


async def _ask(port: int, path: str) -> bytes:
    """Return the first line of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return (await reader.read()).partition(b"\r\n")[0]
    finally:
        writer.close()


class Flood:
    """Clients that ask without end, and what they heard."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heard: set[bytes] = set()
        self.answers = 0

    async def ask(self, path: str) -> None:
        while True:
            with contextlib.suppress(OSError):
                self.heard.add(await _ask(self._port, path))
                self.answers += 1


@pytest.mark.shows("F68")
async def test_a_flood_of_requests_and_slow_clients_keeps_nobody_from_trading(
    system: System,
) -> None:
    member, markets = await _open(system)
    front = Front(system.settings, member.broker, member.worker.metrics, end=pytest.fail)
    front.begin(member.worker.assignments, member.worker.streams)
    async with front.open(), contextlib.AsyncExitStack() as stack:
        for _ in range(SLOW_CLIENTS):
            _, writer = await asyncio.open_connection("127.0.0.1", front.port)
            stack.callback(writer.close)
            writer.write(b"GET /metrics HTTP/1.1\r\nHos")
        flood = Flood(front.port)
        paths = ("/metrics", "/readyz?verbose", f"/api/markets/{markets[HOT]}/book", "/nowhere")
        asking = [asyncio.create_task(flood.ask(paths[n % 4])) for n in range(FLOODERS)]
        try:
            await eventually(lambda: flood.answers > FLOODERS)
            before = flood.answers
            await system.publish(*_crossing(markets[HOT], 200), *_crossing(markets[COLD], 200))
            await system.answered()
            await eventually(lambda: flood.answers > before)
            assert (await _ask(front.port, "/livez")).startswith(b"HTTP/1.1 200 ")
            assert not any(task.done() for task in asking)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)

    await system.check_invariants()
    assert len(await system.events("ORDER_FILLED")) == 400
    assert {line.split()[1] for line in flood.heard if line} <= {b"200", b"404", b"503"}


# Of one market.


@pytest.mark.shows("F67")
async def test_a_hot_market_and_an_account_that_cancels_keep_no_other_lane_waiting(
    system: System,
) -> None:
    """All of it waits when the worker comes; the other lane is done while the hot one is not."""
    opener, (hot, cold) = await _open(system)
    await opener.stop()
    system.workers.remove(opener)
    await system.publish(
        *_crossing(hot, 4_000), *(cancel(hot, "a", f"no-{n}") for n in range(8_000))
    )
    await system.publish(*_crossing(cold, 50))

    member = await system.member()
    await eventually(lambda: _answered(system, member, COLD) == 101)
    answered_meanwhile = _answered(system, member, HOT)
    await system.check_invariants()

    assert answered_meanwhile < _answered(system, member, HOT) == 16_001
    for market, fills in ((hot, 4_000), (cold, 50)):
        assert len(await system.events("ORDER_FILLED", market_id=market)) == fills


def _answered(system: System, member: Member, partition: int) -> int:
    """Return how many records of a partition of orders are answered."""
    lane = member.lanes.get(TopicPartition(system.settings.orders_topic, partition))
    return lane.state.next_offset if lane and lane.state else 0


def _crossing(market: MarketId, trades: int) -> list[PlaceOrder]:
    both = ((sell(market, "a", 1, 50), buy(market, "b", 1, 50)) for _ in range(trades))
    return [order for pair in both for order in pair]
