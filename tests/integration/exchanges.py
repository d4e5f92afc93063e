"""Several exchanges that read the same input topics, each into its own database.

Their events must be equal, to the byte in some laws, in everything except their place in others.
"""

import json
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Self

from producers.encode import Publishable
from tests.support import dialect, invariants
from tests.support.books import cancel, deposit, open_market, place
from tests.support.databases import created
from tests.support.dsql_line import DsqlLine, Habits
from tests.support.pgproxy import PgProxy
from tests.support.system import System
from worker.domain.commands import PlaceOrder, Side, TimeInForce
from worker.domain.units import AccountId, MarketId
from worker.ports import TopicPartition

PARTITIONS: Final = 2
RICH: Final = 10**10
ACCOUNTS: Final = [AccountId(f"a{n}") for n in range(40)]
MARKETS: Final = [MarketId(f"m{n}") for n in range(4)]
LANES: Final = [(kind, p) for kind in ("events", "transfer-events") for p in range(PARTITIONS)]


class Exchanges:
    """Several systems with the same input topics. ``straight`` systems ignore the tests' way."""

    def __init__(
        self, stack: AsyncExitStack, server_url: str, bootstrap: str, prefix: str, *, straight: bool
    ) -> None:
        self._stack, self._straight = stack, straight
        self._server_url, self._bootstrap, self._prefix = server_url, bootstrap, prefix
        self.systems: list[System] = []

    @classmethod
    @asynccontextmanager
    async def over(
        cls, server_url: str, bootstrap: str, prefix: str, *, straight: bool = False
    ) -> AsyncIterator[Self]:
        async with AsyncExitStack() as stack:
            made = cls(stack, server_url, bootstrap, prefix, straight=straight)
            yield made
            # Before the proxies close.
            for system in made.systems:
                await system.stop()

    async def another(self, **settings: object) -> System:
        """Return a system with its own database and output topics."""
        name = f"law_{uuid.uuid4().hex}"
        url = await self._stack.enter_async_context(created(self._server_url, name))
        if not self._straight:
            url = await self._stack.enter_async_context(dialect.way(url))
        starting = System.start(
            url,
            self._bootstrap,
            f"{self._prefix}{len(self.systems)}-",
            partitions=PARTITIONS,
            orders_topic=f"{self._prefix}orders",
            transfers_topic=f"{self._prefix}transfers",
            **settings,
        )
        self.systems.append(await self._stack.enter_async_context(starting))
        return self.systems[-1]

    async def proxy(self, system: System) -> PgProxy:
        url = system.settings.database_url.get_secret_value()
        return await self._stack.enter_async_context(PgProxy.before(url))

    async def line(self, system: System, habits: Habits) -> DsqlLine:
        url = system.settings.database_url.get_secret_value()
        return await self._stack.enter_async_context(DsqlLine.before(url, habits))

    async def fund(self) -> None:
        """Make every account rich in every system, before any trade."""
        first = self.systems[0]
        members = [await system.member() for system in self.systems]
        await first.publish(*(deposit(account, RICH) for account in ACCOUNTS))
        await first.publish(*map(open_market, MARKETS))
        for system, member in zip(self.systems, members, strict=True):
            await system.answered()
            await member.stop()


def crowd(rng: random.Random, count: int) -> list[Publishable]:
    """Return orders that rest, cross and sweep, cancels, and repeats of either."""
    placed: list[PlaceOrder] = []
    commands: list[Publishable] = []
    for number in range(count):
        kind = rng.random()
        if placed and kind < 0.1:
            order = rng.choice(placed)
            commands.append(cancel(order.market_id, order.account_id, order.order_id))
        elif placed and kind < 0.15:
            commands.append(rng.choice(placed))
        else:
            placed.append(_order(rng, number, sweep=kind > 0.985))
            commands.append(placed[-1])
    return commands


def _order(rng: random.Random, number: int, *, sweep: bool) -> PlaceOrder:
    side = rng.choice(list(Side))
    away = 30 if sweep else rng.randint(-8, 3)
    return place(
        rng.choice(MARKETS),
        rng.choice(ACCOUNTS),
        f"o{number}",
        side=side,
        price=50 + (away if side is Side.BUY else -away),
        quantity=500 if sweep else rng.randint(1, 9),
        time_in_force=TimeInForce.IOC if sweep or rng.random() < 0.1 else TimeInForce.GTC,
    )


def published(system: System, lane: tuple[str, int]) -> list[Any]:
    """Return the first occurrences of the lane's events, as bytes."""
    kind, partition = lane
    records = system.log.records[TopicPartition(f"{system.prefix}{kind}", partition)]
    return [
        (r.key, r.value, tuple(r.headers), r.timestamp)
        for r in invariants.first_occurrences(records)
    ]


def placeless(system: System, lane: tuple[str, int]) -> dict[tuple[int, int], Any]:
    """Return the lane's events by offset and index, without fields that depend on their place."""
    found = {}
    for _, value, _, _ in published(system, lane):
        event = json.loads(value)
        for name in ("seq", "market_seq", "time_ms"):
            event.pop(name, None)
        event.get("first", {}).pop("seq", None)
        found[event["offset"], event["index"]] = event
    return found
