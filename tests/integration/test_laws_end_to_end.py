"""The same records give the same events, whatever the batches, owners and kills.

Several exchanges read the same input topics, each into its own database. The law holds only for
rich accounts, because an account that is short of money may fail in one lane or in another.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Final

import pytest

from producers.encode import Publishable
from tests.integration.exchanges import (
    ACCOUNTS,
    LANES,
    MARKETS,
    Exchanges,
    crowd,
    placeless,
    published,
)
from tests.support.books import resolve, withdraw
from tests.support.eventually import eventually
from tests.support.pgproxy import Fault, PgProxy
from tests.support.system import System
from worker.domain.commands import Outcome
from worker.embedded import EmbeddedKafka, EmbeddedPostgres

KILLS: Final = 3


@pytest.fixture
async def exchanges(
    postgres_server: EmbeddedPostgres, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[Exchanges]:
    bootstrap = kafka_server.bootstrap
    async with Exchanges.over(postgres_server.url, bootstrap, topic_prefix) as made:
        yield made


@pytest.mark.shows("W2", "W6", "F4", "F14", "F15", "F16")
async def test_batches_owners_and_kills_change_no_byte(exchanges: Exchanges) -> None:
    calm, busy, dying = [await exchanges.another() for _ in range(3)]
    busy_proxy, dying_proxy = await exchanges.proxy(busy), await exchanges.proxy(dying)
    await exchanges.fund()

    commands = crowd(random.Random(7), 1_500)
    trouble = asyncio.create_task(_die_often(dying, dying_proxy))
    await _trade_in_trouble(busy, busy_proxy, commands)
    await trouble
    await calm.member()
    for system in exchanges.systems:
        await system.check_invariants()

    assert await _batches(calm) * 2 < await _batches(busy)
    for lane in LANES:
        events = [published(system, lane) for system in exchanges.systems]
        assert events[0] == events[1], lane
        assert events[0] == events[2], lane


async def test_settlements_and_withdrawals_differ_only_in_place(exchanges: Exchanges) -> None:
    calm, busy = await exchanges.another(), await exchanges.another()
    proxy = await exchanges.proxy(busy)
    await exchanges.fund()

    commands = crowd(random.Random(11), 900)
    withdrawals = [withdraw(account, 1_000 + n) for n, account in enumerate(ACCOUNTS)]
    endings = [resolve(m, o) for m, o in zip(MARKETS[:3], [*Outcome, Outcome.YES], strict=True)]
    commands = [*commands[:700], *withdrawals, *endings, *commands[700:], *endings]
    await _trade_in_trouble(busy, proxy, commands)
    await calm.member()
    for system in exchanges.systems:
        await system.check_invariants()

    for lane in LANES:
        assert placeless(calm, lane) == placeless(busy, lane)
    assert len(await calm.events("MARKET_SETTLED")) == 3
    assert len(await calm.events("WITHDRAWN")) == len(ACCOUNTS)


CORRUPTIONS: Final = {
    "UPDATE postings SET amount = amount + 1 WHERE lane = -3": "I1 ledger_unbalanced",
    "UPDATE pockets SET balance = balance + 1 WHERE lane = -1": "I3 pocket_differs",
    "UPDATE transfers SET amount = amount + 1": "I1 cash_differs",
    "UPDATE markets SET escrow = escrow + payout, open_interest = open_interest + 1"
    " WHERE status = 1": "I1 cash_differs",
    "UPDATE positions SET quantity = quantity + 1 WHERE quantity > 0": "I17 open_interest",
    "UPDATE positions SET quantity = quantity - 1 WHERE quantity < 0": "I16 positions_unbalanced",
    "DELETE FROM trades WHERE seq = (SELECT max(seq) FROM trades)": "I16 position_differs",
    "UPDATE lanes SET trades = trades + 1": "I1 lane_totals",
    "DELETE FROM accounts": "I20 pocket_ownerless",
    "DELETE FROM payouts": "I17 open_interest",
    "UPDATE orders SET leaves = leaves - 1 WHERE leaves > 1": "I13 orders_told",
    "UPDATE orders SET leaves = 0, status = 3 WHERE leaves > 0": "I13 orders_told",
    "UPDATE orders SET price = 99 WHERE leaves > 0 AND side = 1": "I18 book_crossed",
    "UPDATE orders SET status = 4, reason = 'x' WHERE status = 2": "I13 orders_told",
    "UPDATE batches SET events = '' WHERE batch_no = 2": "I12 journal_differs",
    "UPDATE batches SET plan_hash = 'x' WHERE batch_no = 2": "I20 replay_differs",
    "UPDATE batches SET facts = replace(facts, ':2500', ':2501')": "I20 replay_differs",
    "UPDATE batches SET epoch = 9 WHERE batch_no = 1": "I15 journal_epochs",
    "DELETE FROM batches WHERE batch_no = 2": "I9 journal_gap",
    "UPDATE batches SET first_seq = 0 WHERE batch_no = 2": "I9 journal_seqs",
    "UPDATE lanes SET next_offset = next_offset - 1": "I9 journal_offsets",
    "UPDATE markets SET market_seq = market_seq + 1": "I13 markets_told",
}
"""Damage to consistent books, each with the violation that the checks must report."""


async def test_checks_detect_differences(exchanges: Exchanges) -> None:
    system = await exchanges.another()
    await exchanges.fund()
    await system.member()
    await system.publish(*crowd(random.Random(3), 300))
    await system.answered()
    await system.publish(resolve(MARKETS[0]))
    await system.check_invariants()

    for sql, complaint in CORRUPTIONS.items():
        transaction = system.database.transaction(isolation="repeatable_read")
        await transaction.start()
        assert not (await system.database.execute(sql)).endswith(" 0"), sql
        with pytest.raises(AssertionError, match=complaint):
            await system.check_books()
        await transaction.rollback()


async def _trade_in_trouble(
    system: System, proxy: PgProxy, commands: Sequence[Publishable]
) -> None:
    """Trade with two workers, small batches and a slow proxy that breaks, and replace a worker."""
    url = proxy.url
    proxy.latency_s = 0.002
    first = await system.member(database_url=url, batch_rows=600)
    await system.member(database_url=url, batch_rows=700)
    for number in range(6):
        proxy.trap(list(Fault)[number % 3], skip=2 + number)
    step = len(commands) // 15
    for start in range(0, len(commands), step):
        await system.publish(*commands[start : start + step])
        if start == step * 6:
            await first.stop()
            await system.member(database_url=url, batch_rows=800)
        else:
            await system.answered()


async def _die_often(system: System, proxy: PgProxy) -> None:
    """Start workers one after the other, and kill each between a commit and its publication."""
    for number in range(KILLS):
        worker = await system.process(
            database_url=proxy.url, batch_rows=600, group_id=f"{system.prefix}{number}"
        )
        trap = proxy.trap(Fault.AFTER, skip=number, then=worker.kill)
        await eventually(lambda trap=trap: trap.sprung)  # type: ignore[misc]
        await worker.ended()
    await system.member(group_id=f"{system.prefix}last")


async def _batches(system: System) -> int:
    count: int = await system.database.fetchval("SELECT count(*) FROM batches")
    return count
