"""Heavy work leaves the event loop its turns: loading, planning, sweeping, views, audits.

Each step of the loop is measured in processor time, which other programs on the machine hardly
change. ``make heavy`` reports real times, with a million orders.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import pytest

from tests.support.books import buy, sell
from tests.support.eventually import eventually
from tests.support.many_orders import insert_open_orders
from tests.support.steps import Steps, watched
from tests.support.system import Member, Sent, System
from worker import app
from worker.embedded import EmbeddedKafka
from worker.lane import Lane
from worker.ports import TopicPartition

pytestmark = pytest.mark.integration

STEP_S: Final = 0.1
"""Processor time that one step of the event loop may take."""
ORDERS: Final = 60_000


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[System]:
    async with System.start(
        database_url, kafka_server.bootstrap, topic_prefix, http_port=0
    ) as started:
        yield started


async def _ready(system: System) -> Member:
    member = await system.member()
    await eventually(lambda: member.lanes_ready == 2 * system.partitions)
    return member


def _lane(member: Member, system: System) -> Lane:
    return member.lanes[TopicPartition(system.settings.orders_topic, 0)]


def _require_short(steps: Steps) -> None:
    assert steps.count > 0
    assert steps.longest_s < STEP_S, steps.longest


async def _closed_lane(system: System, orders: int) -> str:
    """Leave ``orders`` open orders in one market of a lane that nobody owns, at 49 prices."""
    member = await _ready(system)
    (market,) = await system.open(0)
    await member.stop()
    system.workers.clear()
    await insert_open_orders(system.database, orders, market)
    return market


async def test_loading_one_large_market_takes_turns(system: System) -> None:
    await _closed_lane(system, ORDERS)

    with watched() as steps:
        member = await _ready(system)

    state = _lane(member, system).state
    assert state is not None
    assert state.resting.orders == ORDERS
    _require_short(steps)


async def test_views_audit_and_proof_take_turns(system: System) -> None:
    """Clients ask for a large book while the worker audits itself and answers orders."""
    market = await _closed_lane(system, ORDERS)
    member = await _ready(system)
    health = app.make_health(member.worker, end=pytest.fail)
    async with health.open(), aiohttp.ClientSession() as client:

        async def get(path: str) -> int:
            async with client.get(f"http://127.0.0.1:{health.port}{path}") as answer:
                await answer.read()
                return answer.status

        book = f"/api/markets/{market}/book?levels=1000"
        with watched() as steps:
            await system.publish(*(buy(market, "a", 1, 1, f"calm-{n}") for n in range(200)))
            found = await asyncio.gather(
                health.auditor.audit(),
                *(get(path) for _ in range(20) for path in (book, "/api/proof", "/metrics")),
            )
            await system.answered()

    assert set(found[1:]) <= {200, 503}
    assert 200 in found[1:]
    _require_short(steps)
    names = {family.name for family in member.worker.metrics.registry.collect()}
    assert "parity_event_loop_lag_seconds" in names
    assert member.metric("event_loop_lag_seconds_count") > 0


async def test_full_batches_and_sweeps_take_turns(system: System) -> None:
    member = await _ready(system)
    (market,) = await system.open(0)
    with watched() as steps:
        await system.publish(*(sell(market, "a", 1, 50, f"rest-{n}") for n in range(900)))
        await system.publish(*(buy(market, "b", 1, 10, f"low-{n}") for n in range(900)))
        await system.publish(buy(market, "b", 900, 50, "sweep"))
        await system.answered()

    assert member.metric("fills_total") == 900
    _require_short(steps)


async def test_costly_records_take_turns(system: System) -> None:
    """Records of 60 kB that are slow to parse arrive in large numbers."""
    await _ready(system)
    slow = b"[" + b"1," * 30_000 + b"1]"
    with watched() as steps:
        await system.send(system.settings.orders_topic, [Sent(0, b"m", slow) for _ in range(400)])
        await system.answered()

    _require_short(steps)
