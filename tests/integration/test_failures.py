"""Failures between Kafka, the worker and the database, with all invariants checked after each.

Every test breaks something in the middle of work, and waits until every record is answered. The
connection to the database runs through a proxy that can cut it at any point.
"""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import RecordsToDelete

from producers.encode import Publishable
from tests.support import dialect
from tests.support.books import buy, cancel, crossing, deposit, open_market, resolve, sell, withdraw
from tests.support.eventually import eventually
from tests.support.pgproxy import BATCH, JOURNAL, Fault, PgProxy, Trap
from tests.support.system import RICH, Member, System
from tests.support.topics import administrator, create
from worker import app
from worker.domain import fills, ids, orders
from worker.domain.book import Book
from worker.domain.commands import PlaceOrder
from worker.domain.draft import Draft
from worker.domain.matching import Fill, Proposal, Taker
from worker.domain.units import AccountId, MarketId, OrderId, Quantity
from worker.embedded import EmbeddedKafka
from worker.errors import ConfigError
from worker.topics import find_streams

SMALL_BATCHES = 600
"""The smallest row budget of a worker, enough for some 40 fills or 198 payments."""


@pytest.fixture
def system_options(proxy: PgProxy) -> Mapping[str, object]:
    """No options. The proxy starts before the workers, so that it outlives them."""
    assert not proxy.traps
    return {}


@pytest.fixture
async def wide_system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str, proxy: PgProxy
) -> AsyncIterator[System]:
    assert not proxy.traps
    bootstrap = kafka_server.bootstrap
    async with System.start(database_url, bootstrap, topic_prefix, partitions=4) as system:
        yield system


# The work during which something breaks.


@dataclass
class Work:
    """Commands that must be answered whatever happens, and a filter of the batches to break."""

    commands: Sequence[Publishable]
    when: Callable[[bytes], bool] = lambda _: True
    skip: int = 0


async def _trading(system: System) -> Work:
    """Return fifty orders that cross resting orders."""
    market = await _open(system, ["a", "b"])
    await system.publish(*(sell(market, "a", 2, 40 + n % 10) for n in range(30)))
    await system.answered()
    return Work([buy(market, "b", 1, 45 + n % 7) for n in range(50)])


async def _sweeping(system: System, makers: int = 120) -> Work:
    """Return an order with so many makers that it needs several batches, and two more orders."""
    names = [f"maker-{n}" for n in range(makers)]
    market = await _open(system, [*names, "taker"])
    await system.publish(*(sell(market, name, 1, 40) for name in names))
    await system.answered()
    taker = buy(market, "taker", makers, 50, "taker")
    after = [buy(market, "maker-0", 1, 3, "after"), sell(market, "maker-1", 1, 45, "later")]
    return Work([taker, *after], when=lambda message: b'"sweeps":[{' in message, skip=1)


async def _settling(system: System, holders: int = 450) -> Work:
    """Return a resolution with so many holders that it needs several pages."""
    names = [f"holder-{n}" for n in range(holders)]
    market = await _open(system, [*names, "house"])
    await system.publish(sell(market, "house", holders, 30))
    await system.publish(*(buy(market, name, 1, 30) for name in names))
    await system.publish(*(buy(market, name, 1, 10) for name in names[:50]))
    await system.answered()
    return Work([resolve(market)], when=lambda message: b'"page":"' in message)


async def _open(system: System, accounts: Iterable[str], partition: int = 0) -> MarketId:
    """Open a market and fund its traders. There is no order between the two topics."""
    (market,) = await system.open(partition, accounts=accounts)
    return market


OUTAGE_S: Final = 5.0

WORKS: list[Callable[[System], Awaitable[Work]]] = [_trading, _sweeping, _settling]


# The connection to the database breaks.


@pytest.mark.shows("W2", "F14", "F15", "F16")
@pytest.mark.parametrize("work", WORKS, ids=["trading", "sweep", "page"])
@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.MIDDLE, Fault.AFTER])
async def test_broken_connection_loses_and_repeats_nothing(
    system: System, proxy: PgProxy, fault: Fault, work: Callable[[System], Awaitable[Work]]
) -> None:
    member = await system.member(database_url=proxy.url, batch_rows=SMALL_BATCHES)
    doing = await work(system)
    trap = proxy.trap(fault, when=doing.when, skip=doing.skip)

    await system.publish(*doing.commands)
    await system.check_invariants()

    assert trap.sprung == 1
    assert await _value(system, "SELECT max(epoch) FROM lanes") == 1
    assert member.metric("commit_outcomes_total", outcome="OutcomeUnknown") == 1
    refused = member.metric("commit_outcomes_total", outcome="Refused")
    assert refused == (1 if fault is Fault.AFTER else 0)


@pytest.mark.shows("W2", "F17")
@pytest.mark.parametrize("work", WORKS, ids=["trading", "sweep", "page"])
async def test_late_statement_changes_nothing(
    system: System, proxy: PgProxy, work: Callable[[System], Awaitable[Work]]
) -> None:
    await system.member(database_url=proxy.url, batch_rows=SMALL_BATCHES)
    doing = await work(system)
    trap = proxy.trap(Fault.LIMBO, when=doing.when, skip=doing.skip)

    await system.publish(*doing.commands)
    await system.answered()
    trap.release()
    await eventually(lambda: trap.outcomes)
    await system.check_invariants()

    assert trap.outcomes == [b"E"]


@pytest.mark.shows("W2", "F17")
async def test_late_statement_without_rival_is_the_batch(system: System, proxy: PgProxy) -> None:
    member = await system.member(database_url=proxy.url)
    doing = await _trading(system)
    again: list[Trap] = []
    late = proxy.trap(Fault.LIMBO, then=lambda: again.append(proxy.trap(Fault.HOLD)))

    await system.publish(*doing.commands)
    await eventually(lambda: again and again[0].sprung)
    late.release()
    await eventually(lambda: late.outcomes)
    again[0].release()
    await system.check_invariants()

    # The conflicts way may refuse this commit, and then the next one is the batch.
    assert late.outcomes == [b"C"] or dialect.REFUSES_COMMITS
    refused = member.metric("commit_outcomes_total", outcome="Refused")
    assert refused == late.outcomes.count(b"C")


@pytest.mark.shows("W2", "F18")
async def test_missing_reply_is_given_up(system: System, proxy: PgProxy) -> None:
    member = await system.member(database_url=proxy.url, database_timeout_s=3.0)
    doing = await _trading(system)
    trap = proxy.trap(Fault.SWALLOW)

    await system.publish(*doing.commands)
    await system.check_invariants()

    assert trap.outcomes == [b"C"]
    assert member.metric("commit_outcomes_total", outcome="OutcomeUnknown") >= 1


@pytest.mark.shows("W2", "F14")
async def test_second_unknown_outcome_halves_the_batch(system: System, proxy: PgProxy) -> None:
    await system.member(database_url=proxy.url)
    doing = await _trading(system)
    proxy.trap(Fault.BEFORE, when=_answers_many, times=2)

    await system.publish(*doing.commands)
    await system.check_invariants()

    halved = [f["limits"]["commands"] for f in await _facts(system) if "commands" in f["limits"]]
    assert halved


@pytest.mark.shows("F26")
async def test_lane_waits_for_an_unreachable_database(system: System, proxy: PgProxy) -> None:
    member = await system.member(database_url=proxy.url)
    doing = await _trading(system)
    loading = asyncio.create_task(system.publish(*doing.commands))

    await proxy.down()
    await loading
    await eventually(lambda: any(lane.backlog for lane in member.lanes.values()))
    await asyncio.sleep(OUTAGE_S)
    await proxy.up()
    await system.check_invariants()


@pytest.mark.shows("F23")
async def test_lane_reconnects_after_a_server_shutdown(system: System, proxy: PgProxy) -> None:
    await system.member(database_url=proxy.url)
    doing = await _trading(system)

    proxy.say_goodbye()
    await system.publish(*doing.commands)

    await system.check_invariants()


# Failures that happen only in steps, whichever way the tests run.

_STEPS: Final = {
    "the first": BATCH,
    "the ledger": b"INSERT INTO postings",
    "the journal": JOURNAL,
}


@pytest.mark.shows("W2", "F14", "F16")
@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.MIDDLE, Fault.AFTER])
async def test_connection_broken_at_commit_loses_nothing(
    system: System, proxy: PgProxy, fault: Fault
) -> None:
    member = await system.member(database_url=proxy.url, commit_mode="steps")
    doing = await _trading(system)
    trap = proxy.trap(fault)

    await system.publish(*doing.commands)
    await system.check_invariants()

    assert trap.sprung == 1
    assert member.metric("commit_outcomes_total", outcome="OutcomeUnknown") == 1
    refused = member.metric("commit_outcomes_total", outcome="Refused")
    assert refused == (1 if fault is Fault.AFTER else 0)


@pytest.mark.shows("W2", "F15")
@pytest.mark.parametrize("step", _STEPS.values(), ids=_STEPS.keys())
async def test_connection_broken_between_steps_commits_nothing(
    system: System, proxy: PgProxy, step: bytes
) -> None:
    member = await system.member(database_url=proxy.url, commit_mode="steps")
    doing = await _trading(system)
    trap = proxy.trap(Fault.BETWEEN, statement=step)

    await system.publish(*doing.commands)
    await system.check_invariants()

    assert trap.sprung == 1
    assert member.metric("commit_outcomes_total", outcome="OutcomeUnknown") == 1
    assert member.metric("commit_outcomes_total", outcome="Refused") == 0


@pytest.mark.shows("W2")
async def test_commit_answered_by_rollback_is_a_conflict(system: System, proxy: PgProxy) -> None:
    member = await system.member(database_url=proxy.url, commit_mode="steps")
    doing = await _trading(system)
    lost = member.metric("commit_outcomes_total", outcome="Conflict")
    trap = proxy.trap(Fault.ABORT, times=2)

    await system.publish(*doing.commands)
    await system.check_invariants()

    assert trap.sprung == 2
    assert member.metric("commit_outcomes_total", outcome="Conflict") >= lost + 2
    assert member.metric("commit_outcomes_total", outcome="OutcomeUnknown") == 0


@pytest.mark.shows("W3", "F11")
async def test_worker_stopped_between_steps_blocks_for_seconds(
    system: System, proxy: PgProxy
) -> None:
    """PostgreSQL ends a transaction that is idle for five seconds."""
    first = await system.member()
    markets = [await _open(system, "ab"), await _open(system, "ab", 1)]
    await first.stop()
    stopped = await system.process(
        database_url=proxy.url, commit_mode="steps", group_id=f"{system.prefix}stopped"
    )
    trap = proxy.trap(Fault.HOLD, statement=JOURNAL, then=lambda: stopped.send(signal.SIGSTOP))
    await system.publish(*crossing(markets, 200))
    await eventually(lambda: trap.sprung)

    await system.member(group_id=f"{system.prefix}heir")
    await system.answered()
    stopped.send(signal.SIGCONT)
    trap.release()
    await system.publish(*crossing(markets, 200))
    await system.check_invariants()


# The worker dies.


@pytest.mark.shows("W6", "F4", "F5")
async def test_workers_killed_before_publishing_lose_nothing(
    system: System, proxy: PgProxy
) -> None:
    """Each worker has its own consumer group, since Kafka's assignment is only a hint."""
    first = await system.member()
    markets = [await _open(system, "ab"), await _open(system, "ab", 1)]
    await first.stop()
    loading = asyncio.create_task(system.publish(*crossing(markets, 3_000)))

    unpublished = 0
    for number in range(4):
        # Small batches, so that there is one for every kill.
        worker = await system.process(
            database_url=proxy.url, batch_rows=SMALL_BATCHES, group_id=f"{system.prefix}{number}"
        )
        trap = proxy.trap(Fault.AFTER, skip=number, then=worker.kill)
        await eventually(lambda trap=trap: trap.sprung)  # type: ignore[misc]
        await worker.ended()
        unpublished += await _unpublished(system)
    await loading
    await system.member(group_id=f"{system.prefix}last")
    await system.check_invariants()

    assert unpublished >= 4


@pytest.mark.shows("W1", "F1", "F2")
async def test_lanes_of_a_killed_worker_move_on(system: System) -> None:
    survivor, victim = await system.member(), await system.process()
    markets = [await _open(system, "ab"), await _open(system, "ab", 1)]
    await eventually(lambda: survivor.lanes_ready == 2)
    await system.publish(*crossing(markets, 1_000))
    loading = asyncio.create_task(system.publish(*crossing(markets, 1_000)))

    victim.kill()
    await loading
    await system.check_invariants()

    assert survivor.lanes_ready == 4


@pytest.mark.shows("W6", "F4")
async def test_large_settlement_continues_after_a_kill(system: System, proxy: PgProxy) -> None:
    member = await system.member()
    doing = await _settling(system, holders=2_100)
    await member.stop()
    worker = await system.process(
        database_url=proxy.url, batch_rows=SMALL_BATCHES, group_id=f"{system.prefix}victim"
    )
    proxy.trap(Fault.AFTER, when=doing.when, skip=4, then=worker.kill)

    await system.publish(*doing.commands)
    await worker.ended()
    half_way, paid = await _balances(system), await _value(system, "SELECT count(*) FROM payouts")
    await system.member(batch_rows=SMALL_BATCHES, group_id=f"{system.prefix}heir")
    await system.check_invariants()

    assert 0 < paid < 2_100
    assert half_way == await _balances(system), "an observer saw a half-paid market"
    (settled,) = await system.events("MARKET_SETTLED")
    assert settled["holders"] == 2_100


@pytest.mark.shows("W6", "F4")
async def test_sweep_continues_after_a_kill(system: System, proxy: PgProxy) -> None:
    member = await system.member(batch_rows=SMALL_BATCHES)
    doing = await _sweeping(system)
    await member.stop()
    worker = await system.process(
        database_url=proxy.url, batch_rows=SMALL_BATCHES, group_id=f"{system.prefix}victim"
    )
    proxy.trap(Fault.AFTER, when=doing.when, skip=doing.skip, then=worker.kill)

    await system.publish(*doing.commands)
    await worker.ended()
    fills = await _value(system, "SELECT count(*) FROM trades")
    await system.member(batch_rows=SMALL_BATCHES, group_id=f"{system.prefix}heir")
    await system.check_invariants()

    assert 0 < fills < 120
    assert not await system.events("ORDER_REJECTED")
    assert len(await system.events("ORDER_FILLED")) == 120


@pytest.mark.shows("F32")
async def test_broker_restart_costs_only_time(system: System, kafka_server: EmbeddedKafka) -> None:
    await system.member()
    markets = [await _open(system, "ab"), await _open(system, "ab", 1)]
    await system.publish(*crossing(markets, 600))
    loading = asyncio.create_task(system.publish(*crossing(markets, 600)))

    await asyncio.to_thread(kafka_server.kill)
    await asyncio.to_thread(kafka_server.restart)
    await loading
    await system.check_invariants()

    assert len(await system.events("ORDER_FILLED")) >= 600


# Other owners and lanes compete.


@pytest.mark.shows("W21")
async def test_two_owners_answer_everything_once(system: System) -> None:
    first = await system.member()
    markets = [await _open(system, "ab"), await _open(system, "ab", 1)]
    rival = await system.member(group_id=f"{system.prefix}rival")
    await eventually(lambda: rival.lanes_ready == 4)

    for _ in range(20):
        await system.publish(*crossing(markets, 100))
    await system.check_invariants()

    assert first.metric("batches_total")
    assert rival.metric("batches_total")
    # The fenced worker takes over again, possibly only after all the work is done.
    fought = "SELECT nullif(max(epoch) > 2, false) FROM lanes"
    await eventually(lambda: _value(system, fought))


@pytest.mark.shows("F20")
async def test_lanes_with_shared_poor_accounts_all_progress(
    wide_system: System, proxy: PgProxy
) -> None:
    member = await wide_system.member(database_url=proxy.url, batch_rows=SMALL_BATCHES)
    hot = [f"h{n}" for n in range(4)]
    markets = await _quoted(wide_system, hot, 1_100)
    proxy.latency_s = 0.005

    for turn in range(60):
        traders = hot[turn % 4 :] + hot[: turn % 4]
        await wide_system.publish(*_churn(markets, traders, 1), *_churn(markets, hot, 2))
    await wide_system.check_invariants()

    assert member.metric("lost_races_total") > 10
    assert member.metric("draws_total") > 20


async def test_withdrawal_gathers_after_a_lost_race(system: System, proxy: PgProxy) -> None:
    member = await system.member(database_url=proxy.url)
    markets = await _quoted(system, ["hot"], 10_000)
    trap = proxy.trap(Fault.HOLD, when=lambda message: b'"deposit":false' in message)

    await system.publish(withdraw("hot", 7_000))
    await eventually(lambda: trap.sprung)
    await system.publish(*_churn(markets[:1], ["hot"], 12))
    await eventually(lambda: _filled(system, 2))
    trap.release()
    await system.check_invariants()

    assert [f for f in await _facts(system) if "gatherings" in f]
    assert len(await system.events("WITHDRAWN", amount=7_000)) == 1
    lost_races = member.metric("lost_races_total")
    assert lost_races == 1 or (dialect.REFUSES_COMMITS and lost_races > 1)


@pytest.mark.parametrize("amount", [8_000, 8_500, 9_000])
async def test_money_that_escapes_a_gathering_is_in_use(
    system: System, proxy: PgProxy, amount: int
) -> None:
    """The gathered money returns to the wallet, and the same withdrawal succeeds later."""
    await system.member(database_url=proxy.url)
    markets = await _quoted(system, ["hot"], 10_000)
    await system.publish(*_churn(markets[1:], ["hot"], 9))
    await system.answered()
    first = proxy.trap(Fault.HOLD, when=lambda message: b'"deposit":false' in message)
    second = proxy.trap(Fault.HOLD, when=_gathers_from_lane_1)

    await system.publish(withdraw("hot", amount, "w"))
    await eventually(lambda: first.sprung)
    await system.publish(*_churn(markets[:1], ["hot"], 10))
    await eventually(lambda: _filled(system, 4))
    first.release()
    await eventually(lambda: second.sprung)
    await system.publish(*_churn(markets[:1], ["hot"], 8))
    await eventually(lambda: _filled(system, 6))
    second.release()
    await system.answered()
    (refused,) = await system.events("TRANSFER_REJECTED")
    kept_back = await _value(system, _IN_TRANSFERS_LANES)
    await system.publish(withdraw("hot", amount, "w"))
    await system.check_invariants()

    assert refused["reason"] == "FUNDS_IN_USE"
    assert kept_back == 0
    assert len(await system.events("WITHDRAWN", amount=amount)) == 1


async def test_withdrawals_under_contention_are_all_answered(
    wide_system: System, proxy: PgProxy
) -> None:
    await wide_system.member(database_url=proxy.url)
    hot = [f"h{n}" for n in range(3)]
    markets = await _quoted(wide_system, hot, 8_000)
    proxy.latency_s = 0.01

    for turn in range(60):
        account = hot[turn % 3]
        await wide_system.publish(
            *_churn(markets, hot[turn % 3 :] + hot[: turn % 3], 10),
            withdraw(account, 6_500, f"out-{turn}"),
            deposit(account, 6_500, f"in-{turn}"),
        )
    await wide_system.check_invariants()

    withdrawn = await wide_system.events("WITHDRAWN")
    rejected = await wide_system.events("TRANSFER_REJECTED")
    assert len(withdrawn) + len(rejected) == 60
    assert len(withdrawn) > 20
    assert [f for f in await _facts(wide_system) if "gatherings" in f], "nothing was gathered"
    assert await _value(wide_system, _IN_TRANSFERS_LANES) == 0


# The database refuses.


POISONS = {
    "a constraint": """
        ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (order_id <> 'poison')""",
    "an error of data": """
        ALTER TABLE orders ADD CONSTRAINT no_poison
        CHECK (1 / (CASE order_id WHEN 'poison' THEN 0 ELSE 1 END) = 1)""",
}


@pytest.mark.shows("W18")
@pytest.mark.parametrize("sql", POISONS.values(), ids=POISONS.keys())
async def test_refused_command_is_isolated_and_answered(system: System, sql: str) -> None:
    member = await system.member()
    market = await _open(system, "ab")
    await member.stop()
    await system.database.execute(sql)
    orders_ = [(buy if n % 2 else sell)(market, "ab"[n % 2], 1, 50) for n in range(300)]
    orders_[137] = buy(market, "b", 1, 50, "poison")
    await system.publish(*orders_)

    await system.member()
    await system.check_invariants()

    (rejected,) = await system.events("ORDER_REJECTED")
    assert (rejected["order_id"], rejected["reason"]) == ("poison", "INTERNAL_REJECT")
    assert len(await system.events("ORDER_ACCEPTED")) == 299


async def test_refused_fill_parks_only_its_sweep(system: System) -> None:
    await system.database.execute("ALTER TABLE trades ADD CONSTRAINT odd CHECK (price <> 41)")
    member = await system.member(batch_rows=SMALL_BATCHES)
    market = await _open(system, [*(f"m{n}" for n in range(90)), "taker", "late"])
    other = await _second_market(system)
    # The refused fill is the last of the sweep, so that it ends in a batch without other fills.
    await system.publish(*(sell(market, f"m{n}", 1, 40) for n in range(89)))
    await system.publish(sell(market, "m89", 1, 41))
    await system.answered()

    await system.publish(
        buy(market, "taker", 90, 45, "taker"),
        sell(other, "m0", 1, 50),
        buy(other, "m1", 1, 50),
        buy(market, "late", 1, 45),
    )
    await system.check_invariants()

    filled = await system.events("ORDER_FILLED")
    assert sum(event["market_id"] == market for event in filled) == 89
    assert sum(event["market_id"] == other for event in filled) == 1
    (rejected,) = await system.events("ORDER_REJECTED")
    assert (rejected["account_id"], rejected["reason"]) == ("late", "MARKET_HALTED")
    assert member.metric("alarms_total", alarm="continuation_parked") == 1


async def test_refused_payment_parks_only_its_settlement(system: System) -> None:
    await system.database.execute(
        "ALTER TABLE payouts ADD CONSTRAINT odd CHECK (quantity <> 2)",
    )
    member = await system.member(batch_rows=SMALL_BATCHES)
    names = [f"holder-{n}" for n in range(250)]
    market = await _open(system, [*names, "house"])
    other = await _second_market(system)
    await system.publish(sell(market, "house", 251, 30))
    await system.publish(*(buy(market, n, 1 + (n == names[77]), 30) for n in names))
    await system.answered()

    await system.publish(resolve(market), sell(other, "house", 1, 50), buy(other, names[0], 1, 50))
    await system.check_invariants()

    assert member.metric("alarms_total", alarm="continuation_parked") == 1
    assert len(await system.events("ORDER_FILLED", market_id=other)) == 1
    assert not await system.events("MARKET_SETTLED")
    assert await _value(system, "SELECT status FROM markets WHERE market_id = $1", market) == 3


async def test_refused_closing_does_not_stop_the_resolution(system: System) -> None:
    await system.database.execute(
        "ALTER TABLE orders ADD CONSTRAINT odd CHECK (status <> 3 OR quantity <> 7)"
    )
    await system.member()
    market = await _open(system, "ab")
    names = sorted((f"o{n}" for n in range(12)), key=lambda name: _order_key(system, market, name))
    await system.publish(
        *(buy(market, "a", 7 if n == names[-3] else 1, 30, n) for n in sorted(names))
    )

    await system.publish(resolve(market), open_market(f"{market}-next"))
    await system.check_invariants()

    assert len(await system.events("MARKET_RESOLVED")) == 1
    assert not await system.events("COMMAND_REJECTED", reason="INTERNAL_REJECT")
    assert await _value(system, "SELECT status FROM markets WHERE market_id = $1", market) == 3


# The worker's own rules have a bug.


async def test_bug_in_the_rules_halts_only_its_market(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = await system.member()
    market, other = await _open(system, "ab"), await _second_market(system)
    await system.publish(sell(market, "a", 5, 50, "rests"))
    await system.answered()
    monkeypatch.setattr(orders, "apply", _breaking(market))

    await system.publish(
        buy(other, "a", 1, 50),
        buy(market, "b", 1, 50, "breaks"),
        buy(market, "b", 1, 50, "late"),
        sell(other, "b", 1, 50),
        cancel(market, "a", "rests"),
        resolve(market),
    )
    await system.answered()
    monkeypatch.undo()
    await system.check_invariants()

    rejected = {e["order_id"]: e["reason"] for e in await system.events("ORDER_REJECTED")}
    assert rejected == {"breaks": "INTERNAL_REJECT", "late": "MARKET_HALTED"}
    assert len(await system.events("ORDER_FILLED", market_id=other)) == 1
    assert len(await system.events("ORDER_CANCELLED", reason="REQUESTED")) == 1
    assert await system.events("MARKET_SETTLED", market_id=market)
    # A batch that loses a race is planned again, and breaks again.
    planned = 1 + member.metric("lost_races_total")
    assert 1 <= member.metric("alarms_total", alarm="rules_broken") <= planned


async def test_bug_in_a_sweep_halts_its_market(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = await system.member(batch_rows=SMALL_BATCHES)
    doing = await _sweeping(system)
    market = system.market(0)
    monkeypatch.setattr(fills, "_fill", _breaking_at("maker-100", fills._fill))

    await system.publish(*doing.commands, cancel(market, "taker", "taker"), resolve(market))
    await system.answered()
    monkeypatch.undo()
    await system.check_invariants()

    filled = len(await system.events("ORDER_FILLED"))
    (cancelled,) = await system.events("ORDER_CANCELLED", order_id="taker")
    assert 0 < filled <= 100
    assert cancelled["cancelled_quantity"] == 120 - filled
    rejected = {e["order_id"]: e["reason"] for e in await system.events("ORDER_REJECTED")}
    assert rejected == {"after": "MARKET_HALTED", "later": "MARKET_HALTED"}
    assert await system.events("MARKET_SETTLED")
    assert member.metric("alarms_total", alarm="continuation_parked") == 1


# The input topics change.


@pytest.mark.shows("W14", "F46")
async def test_truncated_topic_halts_only_its_lane(
    system: System, kafka_server: EmbeddedKafka
) -> None:
    market, other = await _trade_and_stop(system)
    await system.publish(*(buy(market, "a", 1, 10) for _ in range(20)))
    await _truncate(system, kafka_server, partition=0, before=20)

    member = await system.member()
    await system.publish(buy(other, "a", 1, 10, "goes-on"))

    await eventually(lambda: system.events("ORDER_ACCEPTED", order_id="goes-on"))
    await _expect_halted(system, member, "truncated", partition=0)


@pytest.mark.shows("W14", "F45")
async def test_recreated_topic_halts_its_lanes(system: System, kafka_server: EmbeddedKafka) -> None:
    market, other = await _trade_and_stop(system)
    await _recreate(system, kafka_server)
    await system.publish(*(buy(market, "a", 1, 10) for _ in range(40)), buy(other, "a", 1, 10))

    member = await system.member()

    await _expect_halted(system, member, "recreated", partition=0)
    await _expect_halted(system, member, "recreated", partition=1)


async def test_too_few_output_partitions_stop_the_start(
    system: System, kafka_server: EmbeddedKafka
) -> None:
    small = f"{system.prefix}small"
    async with administrator(kafka_server.bootstrap) as admin:
        await create(admin, small, 1)

    with pytest.raises(ConfigError, match="needs the 2 partitions"):
        await eventually(lambda: _found(system, small))


# Helpers.


_IN_TRANSFERS_LANES = """
    SELECT coalesce(sum(balance), 0)
      FROM pockets JOIN lanes USING (lane)
     WHERE kind = 'TRANSFERS'"""


def _order_key(system: System, market: MarketId, order_id: str) -> str:
    """Return the key by which a settlement sorts its pages."""
    account = ids.account_key(AccountId("a"))
    return ids.order_key(
        ids.market_key(system.settings.orders_topic, market), account, OrderId(order_id)
    )


def _answers_many(message: bytes) -> bool:
    return message.count(b'"order_key"') > 3


def _gathers_from_lane_1(message: bytes) -> bool:
    """Return whether a statement moves a pocket into a lane of transfers without a withdrawal."""
    moves = re.search(rb'"source":1,"target":[23]\b', message)
    return moves is not None and b'"deposit"' not in message


async def _second_market(system: System) -> MarketId:
    """Open another market in the same lane."""
    name = system.market(0, "second")
    await system.publish(open_market(name))
    await system.answered()
    return name


async def _quoted(system: System, traders: Iterable[str], amount: int) -> list[MarketId]:
    """Open a market with payout 1,000 in every lane, with deep offers at 501 and bids at 499."""
    markets = [system.market(partition) for partition in range(system.partitions)]
    await system.publish(*(deposit(name, RICH) for name in ("house", "bank")))
    await system.publish(*(deposit(trader, amount) for trader in traders))
    await system.publish(*(open_market(market, 1_000) for market in markets))
    await system.answered()
    await system.publish(*(sell(market, "house", 100_000, 501) for market in markets))
    await system.publish(*(buy(market, "bank", 100_000, 499) for market in markets))
    await system.answered()
    return markets


async def _filled(system: System, times: int) -> bool:
    return len(await system.events("ORDER_FILLED")) >= times


def _churn(markets: Sequence[MarketId], traders: Sequence[str], quantity: int) -> list[PlaceOrder]:
    """Let each trader buy and sell in one lane at the same time, which draws money there."""
    found = []
    for market, trader in zip(markets, cycle(traders), strict=False):
        found += [buy(market, trader, quantity, 501), sell(market, trader, quantity, 499)]
    return found


def _breaking(market_id: MarketId) -> Callable[[Draft, Taker, Proposal], None]:
    def broken(draft: Draft, taker: Taker, proposal: Proposal) -> None:
        assert taker.market.market_id != market_id, "broken on purpose"
        fills.apply(draft, taker, proposal)

    return broken


def _breaking_at(account: str, fill: Callable[..., None]) -> Callable[..., None]:
    def broken(draft: Draft, book: Book, taker: Taker, meeting: Fill, leaves: Quantity) -> None:
        assert meeting.maker.account_id != account, "broken on purpose"
        fill(draft, book, taker, meeting, leaves)

    return broken


async def _value(system: System, sql: str, *arguments: object) -> int:
    """Return the single number that a query selects."""
    found: int = await system.database.fetchval(sql, *arguments)
    return found


async def _facts(system: System) -> list[dict[str, Any]]:
    rows = await system.database.fetch("SELECT facts FROM batches ORDER BY lane, batch_no")
    return [json.loads(row["facts"]) for row in rows]


async def _balances(system: System) -> list[tuple[Any, ...]]:
    rows = await system.database.fetch("SELECT account, balance FROM balances ORDER BY 1")
    return [tuple(row) for row in rows]


async def _unpublished(system: System) -> bool:
    """Return whether an event is committed and not in the topics."""
    await system.log.read()
    committed = await _value(system, "SELECT sum(last_seq) FROM lanes")
    return committed > len(await system.events())


async def _trade_and_stop(system: System) -> tuple[MarketId, MarketId]:
    member = await system.member()
    market, other = await _open(system, "ab"), await _open(system, "ab", 1)
    await system.publish(*(sell(name, "b", 1, 50) for name in (market, other) for _ in range(5)))
    await system.check_invariants()
    await member.stop()
    return market, other


async def _expect_halted(system: System, member: Member, reason: str, *, partition: int) -> None:
    assert reason in (await system.halted(member, partition)).reason
    assert member.metric("alarms_total", alarm="lane_halted")
    system.raise_failures()


async def _truncate(
    system: System, kafka_server: EmbeddedKafka, *, partition: int, before: int
) -> None:
    where = KafkaPartition(system.settings.orders_topic, partition)
    async with administrator(kafka_server.bootstrap) as admin:
        await admin.delete_records({where: RecordsToDelete(before)})


async def _recreate(system: System, kafka_server: EmbeddedKafka) -> None:
    topic = system.settings.orders_topic
    async with administrator(kafka_server.bootstrap) as admin:
        await admin.delete_topics([topic])
        await create(admin, topic, message_timestamp_type="LogAppendTime")


async def _found(system: System, events_topic: str) -> bool:
    settings = system.settings.model_copy(update={"events_topic": events_topic})
    broker = app.make_broker(settings)
    await find_streams(settings, broker)
    return False
