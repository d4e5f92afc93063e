"""Long work in one market, and an honest order in another market of the same lane."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

import pytest

from tests.support.books import buy, cancel, deposit, open_market, resolve, sell
from tests.support.system import System
from worker.domain.state import WAITING_MAX
from worker.domain.units import AccountId

MAKERS: Final = 900
ROWS: Final = 600
"""Rows of a batch, so few that the sweep of all makers takes more than five."""

pytestmark = pytest.mark.integration


async def _batches_of(system: System, text: str) -> Sequence[int]:
    """Return the numbers of the batches whose events contain a text."""
    rows = await system.database.fetch(
        "SELECT b.batch_no FROM batches b JOIN lanes l ON l.lane = b.lane AND l.kind = 'ORDERS'"
        " WHERE l.partition = 0 AND position($1 in b.events) > 0 ORDER BY b.batch_no",
        text,
    )
    return [row["batch_no"] for row in rows]


async def test_order_elsewhere_waits_two_batches_for_sweep(system: System) -> None:
    """A command of the busy market is in front of it, and waits for the sweep."""
    await system.member(batch_rows=ROWS)
    busy, calm = system.market(0, "busy"), system.market(0, "calm")
    makers = [f"maker-{n}" for n in range(3)]
    await system.publish(
        *map(open_market, (busy, calm)),
        *[deposit(name, 10**9) for name in ("ann", "bob", *makers)],
    )
    await system.answered()
    await system.publish(*[sell(busy, makers[n % 3], 1, 50, f"ask-{n}") for n in range(MAKERS)])
    await system.answered()
    await system.publish(
        buy(busy, "ann", MAKERS, 50, "the-sweep"),
        cancel(busy, "ann", "the-sweep"),
        buy(calm, "bob", 1, 5, "the-order"),
    )
    await system.answered()
    sweep = await _batches_of(system, "the-sweep")
    (order,) = await _batches_of(system, "the-order")
    assert len(sweep) > 5
    assert order - sweep[0] <= 2
    (refused,) = await system.events("CANCEL_REJECTED")
    assert refused["reason"] == "ALREADY_TERMINAL"
    await system.check_invariants()


async def test_order_elsewhere_passes_thousands_of_waiting_commands(
    system: System,
) -> None:
    """More than may wait are in front of it. The market refuses the others until it is free."""
    worker = await system.member(batch_rows=ROWS)
    busy, calm = system.market(0, "busy"), system.market(0, "calm")
    await system.publish(
        *map(open_market, (busy, calm)), *[deposit(name, 10**9) for name in ("ann", "bob", "eve")]
    )
    await system.answered()
    await system.publish(*[sell(busy, "eve", 1, 50, f"ask-{n}") for n in range(MAKERS)])
    await system.answered()
    await worker.stop()
    await system.publish(
        buy(busy, "ann", MAKERS, 50, "the-sweep"),
        *[cancel(busy, "eve", f"none-{n}") for n in range(2 * WAITING_MAX + 500)],
        buy(calm, "bob", 1, 5, "the-order"),
    )
    await system.member(batch_rows=ROWS // 3)
    await system.answered()
    sweep = await _batches_of(system, "the-sweep")
    (order,) = await _batches_of(system, "the-order")
    assert len(sweep) > 10
    assert order < sweep[-1]
    reasons = Counter(event["reason"] for event in await system.events("CANCEL_REJECTED"))
    assert reasons["UNKNOWN_ORDER"] >= WAITING_MAX
    assert reasons["MARKET_BUSY"] > 500
    assert reasons.total() == 2 * WAITING_MAX + 500
    await system.check_invariants()


async def test_order_elsewhere_waits_for_no_resolutions(system: System) -> None:
    """Thirty resolutions, and as many of strangers, are in front of it."""
    worker = await system.member()
    markets = [system.market(0, f"m-{n}") for n in range(30)]
    calm = system.market(0, "calm")
    await system.publish(*map(open_market, (*markets, calm)), deposit("bob", 1_000))
    await system.answered()
    await worker.stop()
    stranger = AccountId("stranger")
    ends = [(replace(resolve(m), operator_id=stranger), resolve(m)) for m in markets]
    await system.publish(*chain.from_iterable(ends), buy(calm, "bob", 1, 5, "the-order"))
    heir = await system.member()
    await system.answered()
    resolved = await _batches_of(system, "MARKET_RESOLVED")
    (order,) = await _batches_of(system, "the-order")
    assert len(resolved) == 30
    # Lost races cut the batches that answer.
    cuts = heir.metric("lost_races_total")
    assert sum(batch < order for batch in resolved) <= 1 + cuts
    assert len(await _batches_of(system, "NOT_OPERATOR")) <= 2 + cuts
    await system.check_invariants()
