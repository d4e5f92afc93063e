"""A database that lacks what a worker needs: an operator's mistake, and no command's fault."""

import pytest

from tests.support.books import buy, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.system import System
from worker.embedded import EmbeddedKafka

pytestmark = pytest.mark.integration

RICH = 10**6


@pytest.mark.parametrize(
    ("table", "commit_mode"), [("trades", "statement"), ("trades", "steps"), ("pockets", "steps")]
)
async def test_a_table_that_is_taken_away_for_a_while_costs_no_command_its_answer(
    database_url: str,
    kafka_server: EmbeddedKafka,
    topic_prefix: str,
    table: str,
    commit_mode: str,
) -> None:
    """One that a batch writes, or one that is read before."""
    bootstrap = kafka_server.bootstrap
    async with System.start(
        database_url, bootstrap, topic_prefix, commit_mode=commit_mode
    ) as system:
        member = await system.member()
        market = system.market(0)
        await system.publish(deposit("a", RICH), deposit("b", RICH), open_market(market))
        await system.answered()
        await system.publish(*(sell(market, "a", 1, 40) for _ in range(20)))
        await system.answered()

        await system.database.execute(f"ALTER TABLE {table} RENAME TO mislaid")
        await system.publish(*(buy(market, "b", 1, 50) for _ in range(20)))
        await eventually(lambda: member.metric("alarms_total", alarm="target_unfit") == 1)
        lane = next(lane for lane in member.lanes.values() if lane.trouble)
        assert lane.trouble == f'42P01 relation "{table}" does not exist'
        await eventually(lambda: lane.refusals.count > 5)
        gauge = {"stream": system.settings.orders_topic, "partition": "0"}
        assert member.metric("lane_ready", **gauge) == 0
        await system.database.execute(f"ALTER TABLE mislaid RENAME TO {table}")
        await system.check_invariants()

        assert await system.events("ORDER_REJECTED") == []
        assert len(await system.events("ORDER_FILLED")) == 20
        assert member.metric("alarms_total", alarm="target_unfit") == 1, "it is told once"
        assert lane.trouble == ""
        assert member.metric("lane_ready", **gauge) == 1
        assert member.lanes_ready == len(member.lanes)
        assert await system.database.fetchval("SELECT max(epoch) FROM lanes") == 1


async def test_a_table_that_is_missing_at_the_take_over_is_waited_for_and_told(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    """Lanes come and go while it lasts; what they were told is reckoned as one."""
    async with System.start(database_url, kafka_server.bootstrap, topic_prefix) as system:
        await (await system.member()).stop()
        await system.database.execute("ALTER TABLE markets RENAME TO mislaid")
        member = await system.member()

        def is_told() -> bool:
            lanes = member.lanes.values()
            return len(lanes) == 4 and all(
                lane.refusals.count > 3 and "42P01" in lane.trouble for lane in lanes
            )

        await eventually(is_told)
        assert member.metric("lane_ready") == 0
        await system.database.execute("ALTER TABLE mislaid RENAME TO markets")
        await system.publish(open_market(system.market(0)))
        await system.check_invariants()
        await eventually(lambda: member.lanes_ready == 4)
        assert not any(lane.trouble for lane in member.lanes.values())
