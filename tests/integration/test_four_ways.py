"""The same records give the same events whichever way leads to the database.

On PostgreSQL, in fallback mode, through the dialect proxy, and where every second commit is
refused. Every account is rich, as the straight line's law asks. The way through the dialect proxy
is walked by ``make test-dialect``, which starts one.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Final

import pytest

from tests.integration.exchanges import ACCOUNTS, LANES, MARKETS, Exchanges, crowd, placeless
from tests.support import dialect
from tests.support.books import resolve, withdraw
from tests.support.dsql_line import DsqlLine, Habits, Refusal
from tests.support.system import System
from worker.domain.commands import Outcome
from worker.embedded import EmbeddedKafka, EmbeddedPostgres

PIECES: Final = 12


@pytest.fixture
async def exchanges(
    postgres_server: EmbeddedPostgres, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[Exchanges]:
    bootstrap = kafka_server.bootstrap
    async with Exchanges.over(postgres_server.url, bootstrap, topic_prefix, straight=True) as made:
        yield made


@pytest.mark.timeout(240)
@pytest.mark.shows("F19", "F20", "F22")
async def test_every_way_gives_the_same_events(exchanges: Exchanges) -> None:
    direct, contended = await exchanges.another(), await exchanges.another()
    in_steps, steps_contended = [await exchanges.another(commit_mode="steps") for _ in range(2)]
    ways = [(direct, _url(direct)), (in_steps, _url(in_steps))]
    lines = [
        await exchanges.line(contended, Habits(conflicts=0.5, schema_changes=0.1)),
        await exchanges.line(steps_contended, Habits(conflicts=0.5, schema_changes=0.1)),
    ]
    ways += [(contended, lines[0].url), (steps_contended, lines[1].url)]
    if dialect.PROXY_URL:
        spoken = await exchanges.another()
        ways.append((spoken, dialect.through(_url(spoken))))
    await exchanges.fund()

    await _trade(ways)

    await asyncio.gather(*(system.check_invariants() for system, _ in ways))
    for lane in LANES:
        expected = placeless(direct, lane)
        assert expected
        for system, url in ways:
            assert placeless(system, lane) == expected, (lane, url)
    for line in lines:
        _show_refused_every_third(line)
    assert len(await direct.events("ORDER_FILLED")) > 100
    assert len(await direct.events("MARKET_SETTLED")) == 3


async def _trade(ways: Sequence[tuple[System, str]]) -> None:
    """Publish orders, withdrawals and endings a few at a time, so that there are many batches."""
    first, _ = ways[0]
    for system, url in ways:
        await system.member(database_url=url)
    commands = crowd(random.Random(5), 900)
    withdrawals = [withdraw(account, 1_000 + n) for n, account in enumerate(ACCOUNTS)]
    endings = [resolve(m, o) for m, o in zip(MARKETS[:3], [*Outcome, Outcome.YES], strict=True)]
    commands = [*commands[:700], *withdrawals, *endings, *commands[700:], *endings]
    step = len(commands) // PIECES
    for start in range(0, len(commands), step):
        await first.publish(*commands[start : start + step])
        await asyncio.gather(*(system.answered() for system, _ in ways))


def _show_refused_every_third(line: DsqlLine) -> None:
    refused = sum(line.refused.values())
    assert line.commits >= 40
    assert refused * 3 >= line.commits + refused
    assert line.refused[Refusal.CONFLICT]
    assert line.refused[Refusal.SCHEMA_CHANGED]


def _url(system: System) -> str:
    return system.settings.database_url.get_secret_value()
