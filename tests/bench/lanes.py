"""Lanes without Kafka: a database with rich accounts and a market a lane, and orders for each lane.

The flow is ``producers.flow.hot``: one market maker on half of the fills in every lane, and traders
of one lane each. With the adversary every tenth order is his: 200 accounts that have 20 coins among
them trade one contract at a time in a market of every lane, so that the coins are drawn through all
lanes.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from typing import Final

import asyncpg

from producers.flow import FlowSettings, hot
from tests.bench.seed_way import OUTBOX
from tests.support.books import Desk, buy, deposit, open_market, sell
from worker.adapters.postgres import statements
from worker.adapters.postgres.migrate import migrate
from worker.adapters.postgres.store import PostgresStore
from worker.domain import ids
from worker.domain.commands import PlaceOrder
from worker.domain.state import Home, Limits, StreamKind
from worker.domain.units import CASH_MAX, AccountId, Lane, MarketId, OrderId

MARKETS: Final = ("market", "coins")
"""Of each lane, opened by its first records."""
STREAM, TRANSFERS = "far.orders", "far.transfers"
ROWS_A_BATCH: Final = 1_000
"""What a worker takes for DSQL."""
TRADERS: Final = 50
"""In each lane."""
RICH: Final = 10**9
ADVERSARIES: Final = 200
COINS: Final = 20
COIN: Final = 100
"""Money for one contract in one lane."""
ADVERSARY_SHARE: Final = 10
"""Every so manieth order is his."""
TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Lanes:
    """Some lanes of one stream of orders, and the transfers' only lane after them."""

    number: int

    def home(self, partition: int) -> Home:
        return Home(Lane(partition), STREAM, partition, self.number, StreamKind.ORDERS, CASH_MAX)

    def market(self, partition: int, name: str = "market") -> MarketId:
        """Return the name of a lane's market."""
        return next(
            MarketId(f"{name}-{n}")
            for n in count()
            if ids.partition_of(f"{name}-{n}", self.number) == partition
        )

    async def build(self, url: str) -> None:
        """Make the tables, register the streams, fund everybody, open the markets."""
        await migrate(url, timeout_s=TIMEOUT_S)
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(OUTBOX)
            for stream, kind, lanes in (
                (STREAM, StreamKind.ORDERS, self.number),
                (TRANSFERS, StreamKind.TRANSFERS, 1),
            ):
                await connection.execute(
                    statements.REGISTER_STREAM, stream, f"topic.{stream}", kind, lanes
                )
        finally:
            await connection.close()
        transfers = Lane(self.number)
        home = Home(transfers, TRANSFERS, 0, 1, StreamKind.TRANSFERS, CASH_MAX)
        cash = await self.desk(url, home)
        traders = [(_SETTINGS.trader(n), p) for p in range(self.number) for n in range(TRADERS)]
        rich = [_SETTINGS.maker, *(_local(name, partition) for name, partition in traders)]
        await cash.run(*(deposit(name, RICH) for name in rich))
        coins = [COIN if n < COINS else 1 for n in range(ADVERSARIES)]
        await cash.run(*(deposit(adversary(n), coin) for n, coin in enumerate(coins)))
        await cash.store.close()
        for partition in range(self.number):
            lane = await self.desk(url, self.home(partition))
            await lane.run(*(open_market(self.market(partition, name)) for name in MARKETS))
            await lane.store.close()

    async def desk(self, url: str, home: Home) -> Desk:
        """Take a lane over, without a worker."""
        desk = await Desk.open(PostgresStore(url, timeout_s=TIMEOUT_S), home)
        desk.limits = Limits(ROWS_A_BATCH)
        return desk

    def orders(self, orders: int, *, with_adversary: bool) -> Sequence[list[PlaceOrder]]:
        """Return about as many orders, dealt to their lanes."""
        settings = replace(_SETTINGS, markets=self.number, orders=orders)
        names = {settings.market(n): n for n in range(self.number)}
        markets = [self.market(partition) for partition in range(self.number)]
        dealt: list[list[PlaceOrder]] = [[] for _ in range(self.number)]
        adversary_orders = [self._coins(partition) for partition in range(self.number)]
        for command in hot(settings):
            if not isinstance(command, PlaceOrder):
                continue
            partition = names[command.market_id]
            lane = dealt[partition]
            account_id = _local(command.account_id, partition)
            lane.append(replace(command, market_id=markets[partition], account_id=account_id))
            if with_adversary and len(lane) % ADVERSARY_SHARE == ADVERSARY_SHARE - 1:
                lane.extend(islice(adversary_orders[partition], 1))
        return dealt

    def _coins(self, partition: int) -> Iterator[PlaceOrder]:
        rng, market = random.Random(partition), self.market(partition, "coins")
        for number in count():
            side = rng.choice((buy, sell))
            account = adversary(rng.randrange(ADVERSARIES))
            yield partial(side, market, account, 1, 50)(OrderId(f"c{partition}.{number}"))


def adversary(number: int) -> AccountId:
    return AccountId(f"coin-{number:03}")


def _local(name: AccountId, partition: int) -> AccountId:
    """Return the account that a trader of the flow has in a lane; the market maker has but one."""
    return name if name == _SETTINGS.maker else AccountId(f"{name}.{partition}")


_SETTINGS: Final = FlowSettings(seed=3, accounts=TRADERS, payouts=(COIN,))
