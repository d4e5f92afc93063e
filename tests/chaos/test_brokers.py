"""Three brokers, of which two must have a record: killed, stopped, silent, out of reach."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import cycle

import pytest

from producers import PlaceOrder
from tests.support.books import buy, deposit, open_market, sell
from tests.support.detour import Gates
from tests.support.eventually import eventually
from tests.support.system import Member, System
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka
from worker.errors import BrokerError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BROKERS = 3
RICH = 10**9
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
    """Its workers are gone before the gates are."""
    assert len(gates) == BROKERS
    async with System.start(database_url, cluster.bootstrap, topic_prefix) as system:
        yield system


@pytest.mark.timeout(300)
@pytest.mark.shows("W16", "F35")
async def test_every_broker_in_turn_may_die(
    system: System, cluster: EmbeddedKafka, gates: Gates
) -> None:
    member, markets = await _at_work(system, gates)

    for broker in range(BROKERS):
        loading = asyncio.create_task(system.publish(*_crossing(markets, 600)))
        await asyncio.to_thread(cluster.kill, broker)
        await loading
        await system.answered(RECOVERED_S)
        await asyncio.to_thread(cluster.restart, broker)
    await system.check_invariants()

    assert not member.task.done()


@pytest.mark.timeout(300)
@pytest.mark.shows("W11", "F64")
async def test_with_too_few_brokers_nothing_is_lost_and_all_goes_on_later(
    system: System, cluster: EmbeddedKafka, gates: Gates
) -> None:
    member, markets = await _at_work(system, gates, kafka_timeout_s=2.0)
    await system.publish(*_crossing(markets, 600))

    for broker in (0, 1):
        await asyncio.to_thread(cluster.kill, broker)
    loading = asyncio.create_task(system.publish(*_crossing(markets, 600)))
    await eventually(lambda: member.metric("publish_failures_total") >= 1, RECOVERED_S)
    for broker in (0, 1):
        await asyncio.to_thread(cluster.restart, broker)
    await loading
    await system.answered(RECOVERED_S)
    await system.check_invariants()

    assert not member.task.done()


@pytest.mark.timeout(300)
@pytest.mark.shows("W10", "F33")
async def test_brokers_that_nobody_reaches_are_waited_for(system: System, gates: Gates) -> None:
    member, markets = await _at_work(system, gates, kafka_timeout_s=2.0)

    for gate in gates:
        await gate.down()
    await system.publish(*_crossing(markets, 600))
    await eventually(lambda: _bounds_fail(member, system), RECOVERED_S)
    for gate in gates:
        await gate.up()
    await system.answered(RECOVERED_S)
    await system.check_invariants()

    assert not member.task.done()


@pytest.mark.timeout(300)
@pytest.mark.shows("W7", "W10", "F34")
async def test_brokers_that_take_lines_and_never_answer_are_waited_for(
    system: System, gates: Gates
) -> None:
    member, markets = await _at_work(system, gates, kafka_timeout_s=2.0)
    await system.publish(*_crossing(markets, 100))

    for gate in gates:
        gate.silence()
    await system.publish(*_crossing(markets, 600))
    await eventually(lambda: _bounds_fail(member, system), RECOVERED_S)
    for gate in gates:
        await gate.up()
    await system.answered(RECOVERED_S)
    await system.check_invariants()

    assert not member.task.done()


@pytest.mark.timeout(300)
@pytest.mark.shows("W16", "F34")
async def test_a_broker_that_stands_still_is_replaced_by_the_others(
    system: System, cluster: EmbeddedKafka, gates: Gates
) -> None:
    member, markets = await _at_work(system, gates)

    cluster.pause(1)
    try:
        await system.publish(*_crossing(markets, 600))
        await system.answered(RECOVERED_S)
    finally:
        cluster.resume(1)
    await system.check_invariants()

    assert not member.task.done()


# In few words.


async def _at_work(
    system: System, gates: Gates, **settings: object
) -> tuple[Member, list[MarketId]]:
    """Let a worker, who sees the brokers through the gates, own every lane and hold markets."""
    member = await system.member(bootstrap_servers=gates.bootstrap, **settings)
    markets = [system.market(partition) for partition in range(system.partitions)]
    await system.publish(*(deposit(name, RICH) for name in "ab"), *map(open_market, markets))
    await system.answered()
    return member, markets


async def _bounds_fail(member: Member, system: System) -> bool:
    """Whether the worker has noticed."""
    try:
        await member.worker.assignments.bounds(next(iter(system.log.records)))
    except BrokerError:
        return True
    return False


def _crossing(markets: Sequence[MarketId], orders: int) -> list[PlaceOrder]:
    """Let rich accounts trade with each other, in one market after the other."""
    half = zip(range(orders // 2), cycle(markets), strict=False)
    return [order for _, m in half for order in (sell(m, "a", 1, 50), buy(m, "b", 1, 50))]
