"""Workers that die, stall or come back too late, as real processes with real servers."""

import asyncio
import signal
from collections.abc import Mapping, Sequence

import pytest

from tests.chaos.worker import BLOCKED_S
from tests.support.books import crossing
from tests.support.eventually import eventually
from tests.support.pgproxy import TAKE_OVER, Fault, PgProxy
from tests.support.system import Process, System
from worker.adapters.postgres import statements
from worker.domain.digest import RULES
from worker.domain.units import MarketId
from worker.embedded import EmbeddedKafka

BLOCKABLE = "tests.chaos.worker"
VARIANT = "tests.chaos.variant"
TAKEN_AGAIN_S = 60.0
WORKERS = 3
KILLS = 36
KILL_EVERY_S = 2.5


@pytest.fixture
def system_options(proxy: PgProxy) -> Mapping[str, object]:
    """No options. The proxy starts before the workers, so that it outlives them."""
    assert not proxy.traps
    return {}


# Stalled workers, whose lanes others take over.


@pytest.mark.slow
@pytest.mark.shows("W4", "W9", "F10")
async def test_worker_stopped_past_its_session_is_fenced(system: System) -> None:
    markets, zombie = await _open(system), await _at_work(system)
    batches = await _batches(system)
    loading = asyncio.create_task(system.publish(*crossing(markets, 4_000)))
    await eventually(lambda: _busy(system, batches))

    zombie.send(signal.SIGSTOP)
    epochs = await _epochs(system)
    heir = await system.process(BLOCKABLE)
    await eventually(lambda: _taken_over(system, epochs), TAKEN_AGAIN_S)
    zombie.send(signal.SIGCONT)
    await loading
    await system.publish(*crossing(markets, 400))
    await system.check_invariants()

    assert [worker.process.returncode for worker in (zombie, heir)] == [None, None]


@pytest.mark.slow
@pytest.mark.shows("W4", "F12")
async def test_worker_blocked_past_its_session_is_fenced(system: System) -> None:
    markets, blocked = await _open(system), await _at_work(system)
    batches = await _batches(system)
    loading = asyncio.create_task(system.publish(*crossing(markets, 4_000)))
    await eventually(lambda: _busy(system, batches))
    epochs = await _epochs(system)

    blocked.send(signal.SIGUSR1)
    heir = await system.process(BLOCKABLE)
    await eventually(lambda: _taken_over(system, epochs), TAKEN_AGAIN_S + BLOCKED_S)
    await loading
    await system.publish(*crossing(markets, 400))
    await system.check_invariants()

    assert [worker.process.returncode for worker in (blocked, heir)] == [None, None]


@pytest.mark.shows("W20", "F9")
async def test_sigterm_amid_batches_leaves_none_unfinished(system: System, proxy: PgProxy) -> None:
    markets, worker = await _open(system), await _at_work(system, database_url=proxy.url)
    held = proxy.trap(Fault.HOLD)
    loading = asyncio.create_task(system.publish(*crossing(markets, 2_000)))
    await eventually(lambda: held.sprung)

    worker.send(signal.SIGTERM)
    held.release()
    await worker.ended()
    await loading
    await system.member()
    await system.check_invariants()

    assert worker.process.returncode == 0


@pytest.mark.shows("F9")
async def test_second_sigterm_ends_a_stuck_worker(system: System, proxy: PgProxy) -> None:
    markets = await _open(system)
    worker = await _at_work(system, database_url=proxy.url, drain_s=600)
    held = proxy.trap(Fault.HOLD)
    await system.publish(*crossing(markets, 200))
    await eventually(lambda: held.sprung)

    worker.send(signal.SIGTERM)
    await eventually(lambda: b"worker_stopping" in worker.log.read_bytes())
    worker.send(signal.SIGTERM)
    await worker.ended()
    held.release()
    await system.member(group_id=f"{system.prefix}heir")
    await system.check_invariants()

    assert worker.process.returncode == 130


# More workers than lanes.


@pytest.mark.slow
@pytest.mark.shows("F1", "F39")
async def test_idle_worker_takes_lanes_of_a_killed_worker(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    """Four workers share two lanes, one of orders and one of transfers."""
    bootstrap = kafka_server.bootstrap
    async with System.start(database_url, bootstrap, topic_prefix, partitions=1) as system:
        markets = await _open(system)
        workers = [await system.process(BLOCKABLE) for _ in range(4)]
        batches = await _batches(system)
        loading = asyncio.create_task(system.publish(*crossing(markets, 8_000)))
        await eventually(lambda: _busy(system, batches))
        busy = await eventually(lambda: _owner_of_the_orders(system, workers))
        assert busy is not None
        epochs = await _epochs(system)

        busy.kill()
        await busy.ended()
        await loading
        await system.publish(*crossing(markets, 400))
        await system.check_invariants()

        heir = await _owner_of_the_orders(system, workers)
        assert heir not in (None, busy)
        assert sum((await _epochs(system)).values()) > sum(epochs.values())


# A worker without memory.


@pytest.mark.shows("F13")
async def test_worker_without_memory_blames_no_command(system: System) -> None:
    markets, cramped = await _open(system), await _at_work(system, stall_s=11, database_timeout_s=5)
    cramped.send(signal.SIGUSR2)
    await system.publish(*crossing(markets, 8_000))

    await cramped.ended()
    await system.member(group_id=f"{system.prefix}heir")
    await system.check_invariants()

    assert cramped.process.returncode not in (None, 0)
    assert await system.events("ORDER_REJECTED") == []


# Workers that die while a statement is in flight.


@pytest.mark.shows("W3", "F4", "F17")
@pytest.mark.parametrize("first", ["the heir", "the statement"])
async def test_late_statement_commits_wholly_or_not(
    system: System, proxy: PgProxy, first: str
) -> None:
    markets, victim = await _open(system), await _at_work(system, database_url=proxy.url)
    late = proxy.trap(Fault.LIMBO, then=victim.kill)

    # Only one lane, because a batch of another lane could win a race.
    await system.publish(*crossing(markets[:1], 200))
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
async def test_kill_during_take_over_frees_the_lane(system: System, proxy: PgProxy) -> None:
    markets = await _open(system)
    victim = await system.process(database_url=proxy.url, group_id=f"{system.prefix}victim")
    proxy.trap(Fault.AFTER, statement=TAKE_OVER, then=victim.kill)

    await victim.ended()
    epochs = await _epochs(system)
    await system.member()
    await system.publish(*crossing(markets, 200))
    await system.check_invariants()

    assert sum(epochs.values()) >= 1


@pytest.mark.shows("W5")
async def test_late_take_over_is_refused(system: System, proxy: PgProxy) -> None:
    """The transaction begins at its Parse, so that it loses to any take-over since then."""
    markets = await _open(system)
    late = proxy.trap(Fault.LIMBO, statement=TAKE_OVER)
    member = await system.member(database_url=proxy.url)
    await system.publish(*crossing(markets, 200))
    await system.answered()
    # The lane whose take-over is late may have had nothing to answer.
    await eventually(lambda: member.lanes_ready == 4)
    before = await _epochs(system)

    late.release()
    await eventually(lambda: late.outcomes)
    await system.publish(*crossing(markets, 200))
    await system.check_invariants()

    assert late.outcomes == [b"E"]
    assert await _epochs(system) == before


@pytest.mark.shows("W5")
async def test_zombie_take_over_costs_one_more_take_over(system: System) -> None:
    markets, member = await _open(system), await system.member()
    await system.publish(*crossing(markets, 200))
    await system.answered()
    before = await _epochs(system)

    stream = system.settings.orders_topic
    await system.database.execute(statements.TAKE_OVER, stream, 0, "zombie")
    await system.publish(*crossing(markets, 200))
    await system.check_invariants()

    after = await _epochs(system)
    # The take-over of the zombie, and then that of the owner.
    assert sum(after.values()) == sum(before.values()) + 2
    assert member.metric("commit_outcomes_total", outcome="Refused") == 1


# Many kills, names of members, and two versions.


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.shows("F8")
async def test_worker_killed_every_few_seconds_loses_nothing(system: System) -> None:
    """A kill every 2.5 s for a minute and a half. The lanes of a dead member wait for 10 s."""
    markets = await _open(system)
    workers = [await system.process() for _ in range(WORKERS)]
    loading = asyncio.create_task(_load(system, markets, KILLS))
    epochs = sum((await _epochs(system)).values())
    for number in range(KILLS):
        await asyncio.sleep(KILL_EVERY_S)
        victim = workers[number % WORKERS]
        assert victim.process.returncode is None, "a worker ended by itself"
        victim.kill()
        await victim.ended()
        workers[number % WORKERS] = await system.process()
    await loading
    await system.check_invariants()

    assert sum((await _epochs(system)).values()) > epochs
    assert [worker.process.returncode for worker in workers] == [None] * WORKERS


async def _load(system: System, markets: Sequence[MarketId], parts: int) -> None:
    """Publish some orders each time that a worker is killed."""
    for _ in range(parts):
        await system.publish(*crossing(markets, 100))
        await asyncio.sleep(KILL_EVERY_S)


@pytest.mark.shows("F38")
async def test_static_member_restarts_within_its_session(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group gives the lanes to the same name at once. Only the epoch shows another owner."""
    markets = await _open(system)
    monkeypatch.setenv("VARIANT_NAME", "one")
    epochs = await _epochs(system)
    first = await system.process(VARIANT)
    await eventually(lambda: _taken_over(system, epochs), TAKEN_AGAIN_S)
    batches = await _batches(system)
    loading = asyncio.create_task(system.publish(*crossing(markets, 4_000)))
    await eventually(lambda: _busy(system, batches))

    first.kill()
    await first.ended()
    epochs = await _epochs(system)
    await system.process(VARIANT)
    await eventually(lambda: _taken_over(system, epochs), TAKEN_AGAIN_S)
    await loading
    await system.check_invariants()


@pytest.mark.slow
@pytest.mark.shows("F37")
async def test_two_members_of_one_name_repeat_nothing(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brokers accept the one that joined last, and the other joins again, and so on."""
    markets = await _open(system)
    monkeypatch.setenv("VARIANT_NAME", "one")
    epochs = await _epochs(system)
    twins = [await system.process(VARIANT) for _ in range(2)]
    await system.publish(*crossing(markets, 400))
    await eventually(lambda: _taken_over(system, epochs), TAKEN_AGAIN_S)
    await asyncio.sleep(KILL_EVERY_S)
    twins[0].kill()
    await twins[0].ended()
    await system.publish(*crossing(markets, 400))
    await system.check_invariants()

    assert twins[1].process.returncode is None


@pytest.mark.shows("F70")
async def test_workers_of_two_versions_share_the_lanes(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes go from one to the other and back. Each batch has the number of its rules."""
    markets = await _open(system)
    workers = [await _joined(system, monkeypatch, markets, version) for version in (0, 1)]
    workers[1].kill()
    await workers[1].ended()
    await system.publish(*crossing(markets, 100))
    await system.check_invariants()

    planned = await system.database.fetch("SELECT rules, count(*) FROM batches GROUP BY rules")
    assert {row["rules"] for row in planned} == {RULES, RULES + 1}


async def _joined(
    system: System, monkeypatch: pytest.MonkeyPatch, markets: Sequence[MarketId], version: int
) -> Process:
    """Start a worker of a version, and let it answer orders."""
    monkeypatch.setenv("VARIANT_RULES", str(version))
    epochs, worker = await _epochs(system), await system.process(VARIANT)
    await eventually(lambda: _taken_over(system, epochs), TAKEN_AGAIN_S)
    await eventually(lambda: _owns_orders(system, worker), TAKEN_AGAIN_S)
    await system.publish(*crossing(markets, 100))
    await system.check_invariants()
    return worker


async def _owns_orders(system: System, worker: Process) -> bool:
    """Return whether a lane of orders is a worker's."""
    owners = await system.database.fetch("SELECT owner FROM lanes WHERE kind = 'ORDERS'")
    return any(row["owner"].endswith(f"/{worker.process.pid}") for row in owners)


# Helpers.


async def _open(system: System) -> list[MarketId]:
    """Open a market in both lanes and fund its traders, with a worker that then ends."""
    member = await system.member(group_id=f"{system.prefix}opener")
    markets = await system.open()
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
    """Return the number of committed batches."""
    found: int = await system.database.fetchval("SELECT sum(batch_no) FROM lanes")
    return found


async def _busy(system: System, before: int) -> bool:
    """Return whether batches of the load are committed. The load may be over by the first look."""
    return await _batches(system) > before + 2


async def _epochs(system: System) -> dict[int, int]:
    return {r["lane"]: r["epoch"] for r in await system.database.fetch("SELECT * FROM lanes")}


async def _owner_of_the_orders(system: System, workers: Sequence[Process]) -> Process | None:
    """Return the worker that owns the lane of orders, or None."""
    owner: str = await system.database.fetchval("SELECT owner FROM lanes WHERE lane = 0")
    return next((w for w in workers if owner.endswith(f"/{w.process.pid}")), None)


async def _taken_over(system: System, before: dict[int, int]) -> bool:
    """Return whether every lane has been taken over since ``before``."""
    now = await _epochs(system)
    return bool(now) and all(epoch > before.get(lane, 0) for lane, epoch in now.items())
