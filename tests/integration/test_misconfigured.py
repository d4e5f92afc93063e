"""Databases that lack a table or a right: an operator's mistake, and no command's fault."""

import pytest

from tests.support.books import buy, open_market, sell
from tests.support.eventually import eventually
from tests.support.system import System


@pytest.mark.parametrize(
    ("table", "commit_mode"), [("trades", "statement"), ("trades", "steps"), ("pockets", "steps")]
)
async def test_missing_table_costs_no_command_its_answer(
    system: System,
    table: str,
    commit_mode: str,
) -> None:
    """The table is written by a batch, or read before it."""
    member = await system.member(commit_mode=commit_mode)
    (market,) = await system.open(0)
    await system.publish(*(sell(market, "a", 1, 40) for _ in range(20)))
    await system.answered()

    await system.database.execute(f"ALTER TABLE {table} RENAME TO mislaid")
    await system.publish(*(buy(market, "b", 1, 50) for _ in range(20)))
    await eventually(lambda: member.metric("alarms_total", alarm="database_misconfigured") == 1)
    lane = next(lane for lane in member.lanes.values() if lane.trouble)
    assert lane.trouble == f'42P01 relation "{table}" does not exist'
    await eventually(lambda: lane.refusals.count > 5)
    gauge = {"stream": system.settings.orders_topic, "partition": "0"}
    assert member.metric("lane_ready", **gauge) == 0
    await system.database.execute(f"ALTER TABLE mislaid RENAME TO {table}")
    await system.check_invariants()

    assert await system.events("ORDER_REJECTED") == []
    assert len(await system.events("ORDER_FILLED")) == 20
    assert member.metric("alarms_total", alarm="database_misconfigured") == 1, "one alarm"
    assert lane.trouble == ""
    assert member.metric("lane_ready", **gauge) == 1
    await eventually(lambda: member.lanes_ready == len(member.lanes))
    assert await system.database.fetchval("SELECT max(epoch) FROM lanes") == 1


async def test_missing_table_at_takeover_is_waited_for(system: System) -> None:
    """Lanes come and go meanwhile, and their refusals count as one series."""
    await (await system.member()).stop()
    await system.database.execute("ALTER TABLE markets RENAME TO mislaid")
    member = await system.member()

    def is_reported() -> bool:
        lanes = member.lanes.values()
        return len(lanes) == 4 and all(
            lane.refusals.count > 3 and "42P01" in lane.trouble for lane in lanes
        )

    await eventually(is_reported)
    assert member.metric("lane_ready") == 0
    await system.database.execute("ALTER TABLE mislaid RENAME TO markets")
    await system.publish(open_market(system.market(0)))
    await system.check_invariants()
    await eventually(lambda: member.lanes_ready == 4)
    assert not any(lane.trouble for lane in member.lanes.values())
