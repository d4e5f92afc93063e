"""Makers without money, matched after a take-over by an order that can pay."""

import pytest

from tests.support.books import buy, deposit, open_market, sell, withdraw
from tests.support.system import System
from worker.ports import TopicPartition


@pytest.mark.parametrize("makers", [70, 300])
async def test_penniless_makers_do_not_halt_their_lane(system: System, makers: int) -> None:
    """Each is cancelled, and the order trades with the first maker that has money."""
    first = await system.member()
    market, names = system.market(0), [f"maker-{n}" for n in range(makers)]
    rich = [deposit("rich-taker", 10_000), deposit("rich-maker", 10_000)]
    await system.publish(*rich, *(deposit(name, 100) for name in names), open_market(market))
    await system.answered()
    await system.publish(*(sell(market, name, 1, 50) for name in names))
    await system.publish(sell(market, "rich-maker", 5, 60))
    await system.answered()
    await system.publish(*(withdraw(name, 100) for name in names))
    await system.answered()
    await first.stop()
    system.workers.remove(first)

    second = await system.member()
    await system.publish(buy(market, "rich-taker", 1, 60, "honest"))
    await system.answered()
    await system.check_invariants()

    unfunded = await system.events("ORDER_CANCELLED", reason="UNFUNDED")
    assert {event["account_id"] for event in unfunded} == set(names)
    assert len(await system.events("ORDER_FILLED", market_id=market)) == 1
    lane = second.lanes[TopicPartition(system.settings.orders_topic, 0)]
    assert (lane.status, lane.reason) == ("READY", "")
