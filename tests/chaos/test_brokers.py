"""Three brokers, two of which must have each record, are killed, frozen, silent or unreachable."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.chaos.detour import Gates
from tests.support.books import crossing
from tests.support.eventually import eventually
from tests.support.system import Member, System
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.errors import BrokerError

pytestmark = pytest.mark.slow

BROKERS = 3
RECOVERED_S = 90.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka.start(brokers=BROKERS, detours=True) as cluster:
        yield cluster


@pytest.fixture
async def gates(cluster: EmbeddedKafka) -> AsyncIterator[Gates]:
    async with Gates.before(cluster) as gates:
        yield gates


@pytest.fixture
async def system(
    database_url: str, cluster: EmbeddedKafka, gates: Gates, topic_prefix: str
) -> AsyncIterator[System]:
    """An exchange whose workers end before the gates close."""
    assert len(gates) == BROKERS
    async with System.start(database_url, cluster.bootstrap, topic_prefix) as system:
        yield system


@pytest.mark.timeout(300)
@pytest.mark.shows("W16", "F35")
async def test_each_broker_may_die_in_turn(
    system: System, cluster: EmbeddedKafka, gates: Gates
) -> None:
    member, markets = await _at_work(system, gates)

    for broker in range(BROKERS):
        loading = asyncio.create_task(system.publish(*crossing(markets, 600)))
        await asyncio.to_thread(cluster.kill, broker)
        await loading
        await system.answered(RECOVERED_S)
        await asyncio.to_thread(cluster.restart, broker)
    await system.check_invariants()

    assert not member.task.done()


@pytest.mark.timeout(300)
@pytest.mark.shows("W11", "F64")
async def test_too_few_brokers_lose_nothing(
    system: System, cluster: EmbeddedKafka, gates: Gates
) -> None:
    member, markets = await _at_work(system, gates, kafka_timeout_s=2.0)
    await system.publish(*crossing(markets, 600))

    for broker in (0, 1):
        await asyncio.to_thread(cluster.kill, broker)
    loading = asyncio.create_task(system.publish(*crossing(markets, 600)))
    await eventually(lambda: member.metric("publish_failures_total") >= 1, RECOVERED_S)
    for broker in (0, 1):
        await asyncio.to_thread(cluster.restart, broker)
    await loading
    await system.answered(RECOVERED_S)
    await system.check_invariants()

    assert not member.task.done()


@pytest.mark.timeout(300)
@pytest.mark.shows("W10", "F33")
async def test_workers_wait_for_unreachable_brokers(system: System, gates: Gates) -> None:
    member, markets = await _at_work(system, gates, kafka_timeout_s=2.0)

    for gate in gates:
        await gate.down()
    await system.publish(*crossing(markets, 600))
    await eventually(lambda: _bounds_fail(member, system), RECOVERED_S)
    for gate in gates:
        await gate.up()
    await system.answered(RECOVERED_S)
    await system.check_invariants()

    assert not member.task.done()


@pytest.mark.timeout(300)
@pytest.mark.shows("W7", "W10", "F34")
async def test_workers_wait_for_silent_brokers(system: System, gates: Gates) -> None:
    member, markets = await _at_work(system, gates, kafka_timeout_s=2.0)
    await system.publish(*crossing(markets, 100))

    for gate in gates:
        gate.silence()
    await system.publish(*crossing(markets, 600))
    await eventually(lambda: _bounds_fail(member, system), RECOVERED_S)
    for gate in gates:
        await gate.up()
    await system.answered(RECOVERED_S)
    await system.check_invariants()

    assert not member.task.done()


@pytest.mark.timeout(300)
@pytest.mark.shows("W16", "F34")
async def test_frozen_broker_is_replaced(
    system: System, cluster: EmbeddedKafka, gates: Gates
) -> None:
    member, markets = await _at_work(system, gates)

    cluster.pause(1)
    try:
        await system.publish(*crossing(markets, 600))
        await system.answered(RECOVERED_S)
    finally:
        cluster.resume(1)
    await system.check_invariants()

    assert not member.task.done()


# Helpers.


async def _at_work(
    system: System, gates: Gates, **settings: object
) -> tuple[Member, list[MarketId]]:
    """Start a worker that connects through the gates and owns all lanes, and open markets."""
    member = await system.member(bootstrap_servers=gates.bootstrap, **settings)
    markets = await system.open()
    return member, markets


async def _bounds_fail(member: Member, system: System) -> bool:
    """Return whether the worker has noticed the outage."""
    try:
        await member.worker.assignments.bounds(next(iter(system.log.records)))
    except BrokerError:
        return True
    return False
