"""Floods of HTTP requests and of commands in one market, which must not stop other trading."""

import asyncio
import contextlib
from collections.abc import Mapping

import pytest

from tests.support.books import cancel, crossing
from tests.support.eventually import eventually
from tests.support.system import Member, System
from worker import app
from worker.adapters.http import CONNECTIONS_MAX
from worker.domain.units import MarketId
from worker.ports import TopicPartition

SLOW_CLIENTS = CONNECTIONS_MAX // 2
FLOODERS = CONNECTIONS_MAX // 4
HOT, COLD = 0, 1


@pytest.fixture
def system_options() -> Mapping[str, object]:
    return {"http_port": 0}


async def _open(system: System) -> tuple[Member, list[MarketId]]:
    """Start a worker, open a market in both partitions and fund two traders."""
    member = await system.member()
    return member, await system.open(HOT, COLD)


# HTTP.


async def _ask(port: int, path: str) -> bytes:
    """Return the first line of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return (await reader.read()).partition(b"\r\n")[0]
    finally:
        writer.close()


class Flood:
    """Clients that send requests until they are cancelled, and the first lines of the answers."""

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
async def test_request_flood_does_not_stop_trading(system: System) -> None:
    member, markets = await _open(system)
    health = app.make_health(member.worker, end=pytest.fail)
    async with health.open(), contextlib.AsyncExitStack() as stack:
        for _ in range(SLOW_CLIENTS):
            _, writer = await asyncio.open_connection("127.0.0.1", health.port)
            stack.callback(writer.close)
            writer.write(b"GET /metrics HTTP/1.1\r\nHos")
        flood = Flood(health.port)
        paths = ("/metrics", "/readyz?verbose", f"/api/markets/{markets[HOT]}/book", "/nowhere")
        asking = [asyncio.create_task(flood.ask(paths[n % 4])) for n in range(FLOODERS)]
        try:
            await eventually(lambda: flood.answers > FLOODERS)
            before = flood.answers
            await system.publish(*crossing(markets, 800))
            await system.answered()
            await eventually(lambda: flood.answers > before)
            assert (await _ask(health.port, "/livez")).startswith(b"HTTP/1.1 200 ")
            assert not any(task.done() for task in asking)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)

    await system.check_invariants()
    assert len(await system.events("ORDER_FILLED")) == 400
    assert {line.split()[1] for line in flood.heard if line} <= {b"200", b"404", b"503"}


# One market.


@pytest.mark.shows("F67")
async def test_hot_market_does_not_delay_other_lanes(system: System) -> None:
    """The whole backlog exists before the worker starts. The other lane finishes first."""
    opener, (hot, cold) = await _open(system)
    await opener.stop()
    system.workers.remove(opener)
    await system.publish(
        *crossing([hot], 8_000), *(cancel(hot, "a", f"no-{n}") for n in range(8_000))
    )
    await system.publish(*crossing([cold], 100))

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
