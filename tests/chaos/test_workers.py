"""Workers that die, stand still or come back too late, as real processes on real parts."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from itertools import cycle

import pytest

from producers import PlaceOrder
from tests.chaos.worker import BLOCKED_S
from tests.support.books import buy, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.pgproxy import TAKE_OVER, Fault, PgProxy
from tests.support.system import Process, System
from worker.adapters.postgres import statements
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka

pytestmark = pytest.mark.integration

RICH = 10**9
BLOCKABLE = "tests.chaos.worker"
TAKEN_AGAIN_S = 60.0


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[PgProxy]:
    async with PgProxy.before(database_url) as proxy:
        yield proxy


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str, proxy: PgProxy
) -> AsyncIterator[System]:
    """Its workers are gone before the proxy is."""
    assert not proxy.traps
    async with System.start(database_url, kafka_server.bootstrap, topic_prefix) as system:
        yield system


# They stand still, and others take their lanes.


@pytest.mark.slow
@pytest.mark.shows("W4", "W9", "F10")
async def test_a_worker_stopped_past_its_session_is_fenced_when_it_goes_on(system: System) -> None:
    markets, zombie = await _open(system), await _at_work(system)
    batches = await _batches(system)
    loading = asyncio.create_task(system.publish(*_crossing(markets, 4_000)))
    await eventually(lambda: _busy(system, batches))

    zombie.send(signal.SIGSTOP)
    epochs = await _epochs(system)
    heir = await system.process(BLOCKABLE)
    await eventually(lambda: _taken_over(system, epochs), TAKEN_AGAIN_S)
    zombie.send(signal.SIGCONT)
    await loading
    await system.publish(*_crossing(markets, 400))
    await system.check_invariants()

    assert [worker.process.returncode for worker in (zombie, heir)] == [None, None]


@pytest.mark.slow
@pytest.mark.shows("W4", "F12")
async def test_a_worker_whose_event_loop_was_blocked_past_its_session_is_fenced(
    system: System,
) -> None:
    markets, blocked = await _open(system), await _at_work(system)
    batches = await _batches(system)
    loading = asyncio.create_task(system.publish(*_crossing(markets, 4_000)))
    await eventually(lambda: _busy(system, batches))
    epochs = await _epochs(system)

    blocked.send(signal.SIGUSR1)
    heir = await system.process(BLOCKABLE)
    await eventually(lambda: _taken_over(system, epochs), TAKEN_AGAIN_S + BLOCKED_S)
    await loading
    await system.publish(*_crossing(markets, 400))
    await system.check_invariants()

    assert [worker.process.returncode for worker in (blocked, heir)] == [None, None]


@pytest.mark.shows("W20", "F9")
async def test_a_worker_asked_to_stop_amid_its_batches_leaves_nothing_half_done(
    system: System, proxy: PgProxy
) -> None:
    markets, worker = await _open(system), await _at_work(system, database_url=proxy.url)
    held = proxy.trap(Fault.HOLD)
    loading = asyncio.create_task(system.publish(*_crossing(markets, 2_000)))
    await eventually(lambda: held.sprung)

    worker.send(signal.SIGTERM)
    held.release()
    await worker.ended()
    await loading
    await system.member()
    await system.check_invariants()

    assert worker.process.returncode == 0


@pytest.mark.shows("F9")
async def test_a_second_sigterm_ends_a_worker_that_cannot_finish_its_batch(
    system: System, proxy: PgProxy
) -> None:
    markets = await _open(system)
    worker = await _at_work(system, database_url=proxy.url, drain_s=600)
    held = proxy.trap(Fault.HOLD)
    await system.publish(*_crossing(markets, 200))
    await eventually(lambda: held.sprung)

    worker.send(signal.SIGTERM)
    await eventually(lambda: b"worker_stopping" in worker.log.read_bytes())
    worker.send(signal.SIGTERM)
    await worker.ended()
    held.release()
    await system.member(group_id=f"{system.prefix}heir")
    await system.check_invariants()

    assert worker.process.returncode == 130


# There are more of them than lanes.


@pytest.mark.slow
@pytest.mark.shows("F1", "F39")
async def test_an_idle_worker_takes_the_lanes_of_a_busy_one_that_is_killed(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    """Two lanes, one of orders and one of transfers, and four workers."""
    bootstrap = kafka_server.bootstrap
    async with System.start(database_url, bootstrap, topic_prefix, partitions=1) as system:
        markets = await _open(system)
        workers = [await system.process(BLOCKABLE) for _ in range(4)]
        batches = await _batches(system)
        loading = asyncio.create_task(system.publish(*_crossing(markets, 8_000)))
        await eventually(lambda: _busy(system, batches))
        busy = await eventually(lambda: _owner_of_the_orders(system, workers))
        assert busy is not None
        epochs = await _epochs(system)

        busy.kill()
        await busy.ended()
        await loading
        await system.publish(*_crossing(markets, 400))
        await system.check_invariants()

        heir = await _owner_of_the_orders(system, workers)
        assert heir not in (None, busy)
        assert sum((await _epochs(system)).values()) > sum(epochs.values())


# They run out of memory.


@pytest.mark.shows("F13")
async def test_a_worker_without_memory_ends_and_blames_no_command(system: System) -> None:
    markets, cramped = await _open(system), await _at_work(system, stall_s=11, database_timeout_s=5)
    cramped.send(signal.SIGUSR2)
    await system.publish(*_crossing(markets, 8_000))

    await cramped.ended()
    await system.member(group_id=f"{system.prefix}heir")
    await system.check_invariants()

    assert cramped.process.returncode not in (None, 0)
    assert await system.events("ORDER_REJECTED") == []


# They die while a statement is on its way.


@pytest.mark.shows("W3", "F4", "F17")
@pytest.mark.parametrize("first", ["the heir", "the statement"])
async def test_a_dead_workers_statement_that_arrives_late_is_its_batch_or_nothing(
    system: System, proxy: PgProxy, first: str
) -> None:
    markets, victim = await _open(system), await _at_work(system, database_url=proxy.url)
    late = proxy.trap(Fault.LIMBO, then=victim.kill)

    # In one lane: another one's batch could win a race against it.
    await system.publish(*_crossing(markets[:1], 200))
    await victim.ended()
    if first == "the statement":
        late.release()
        await eventually(lambda: late.outcomes)
    await system.member(group_id=f"{system.prefix}heir")
    await system.answered()
    late.release()
    await eventually(lambda: late.outcomes)
    await system.check_invariants()

    assert late.outcomes == [b"E" if first == "the heir" else b"C"]


@pytest.mark.shows("W1", "F7")
async def test_a_worker_killed_within_its_take_over_leaves_the_lane_to_the_next(
    system: System, proxy: PgProxy
) -> None:
    markets = await _open(system)
    victim = await system.process(database_url=proxy.url, group_id=f"{system.prefix}victim")
    proxy.trap(Fault.AFTER, statement=TAKE_OVER, then=victim.kill)

    await victim.ended()
    epochs = await _epochs(system)
    await system.member()
    await system.publish(*_crossing(markets, 200))
    await system.check_invariants()

    assert sum(epochs.values()) >= 1


@pytest.mark.shows("W5")
async def test_a_take_over_that_arrives_after_the_next_one_is_refused(
    system: System, proxy: PgProxy
) -> None:
    """Its transaction began with its Parse, so that it has lost to whoever came between."""
    markets = await _open(system)
    late = proxy.trap(Fault.LIMBO, statement=TAKE_OVER)
    member = await system.member(database_url=proxy.url)
    await system.publish(*_crossing(markets, 200))
    await system.answered()
    # The lane whose take-over is late may have had nothing to answer.
    await eventually(lambda: member.lanes_ready == 4)
    before = await _epochs(system)

    late.release()
    await eventually(lambda: late.outcomes)
    await system.publish(*_crossing(markets, 200))
    await system.check_invariants()

    assert late.outcomes == [b"E"]
    assert await _epochs(system) == before


@pytest.mark.shows("W5")
async def test_a_zombie_that_takes_over_after_the_true_owner_costs_it_one_more(
    system: System,
) -> None:
    markets, member = await _open(system), await system.member()
    await system.publish(*_crossing(markets, 200))
    await system.answered()
    before = await _epochs(system)

    stream = system.settings.orders_topic
    await system.database.execute(statements.TAKE_OVER, stream, 0, "zombie")
    await system.publish(*_crossing(markets, 200))
    await system.check_invariants()

    after = await _epochs(system)
    # The zombie's, and the owner's answer to it.
    assert sum(after.values()) == sum(before.values()) + 2
    assert member.metric("commit_outcomes_total", outcome="Refused") == 1


# In few words.


async def _open(system: System) -> list[MarketId]:
    """Open a market in both lanes and fund its traders, with a worker that is gone afterwards."""
    member = await system.member(group_id=f"{system.prefix}opener")
    markets = [system.market(partition) for partition in range(system.partitions)]
    await system.publish(*(deposit(name, RICH) for name in "ab"), *map(open_market, markets))
    await system.answered()
    await member.stop()
    system.workers.remove(member)
    return markets


async def _at_work(system: System, **settings: object) -> Process:
    """Start a worker and wait until it owns every lane."""
    epochs = await _epochs(system)
    worker = await system.process(BLOCKABLE, **settings)
    await eventually(lambda: _taken_over(system, epochs), TAKEN_AGAIN_S)
    return worker


async def _batches(system: System) -> int:
    """Return how many batches are committed."""
    found: int = await system.database.fetchval("SELECT sum(batch_no) FROM lanes")
    return found


async def _busy(system: System, before: int) -> bool:
    """Whether some more are committed than before the load, which may be over by the first look."""
    return await _batches(system) > before + 2


async def _epochs(system: System) -> dict[int, int]:
    return {r["lane"]: r["epoch"] for r in await system.database.fetch("SELECT * FROM lanes")}


async def _owner_of_the_orders(system: System, workers: Sequence[Process]) -> Process | None:
    """Return which of the workers owns the lane of the orders, if one does already."""
    owner: str = await system.database.fetchval("SELECT owner FROM lanes WHERE lane = 0")
    return next((w for w in workers if owner.endswith(f"/{w.process.pid}")), None)


async def _taken_over(system: System, before: dict[int, int]) -> bool:
    """Whether every lane has another owner than before."""
    now = await _epochs(system)
    return bool(now) and all(epoch > before.get(lane, 0) for lane, epoch in now.items())


def _crossing(markets: Sequence[MarketId], orders: int) -> list[PlaceOrder]:
    """Let rich accounts trade with each other, in one market after the other."""
    half = zip(range(orders // 2), cycle(markets), strict=False)
    return [order for _, m in half for order in (sell(m, "a", 1, 50), buy(m, "b", 1, 50))]
