"""Lanes without Kafka: a database with rich accounts, a market per lane, and orders for each lane.

The flow is ``producers.flow.hot``. One market maker has half of the fills in every lane, and every
trader trades in one lane. The adversary adds every tenth order. Its 200 accounts share 20 coins and
trade one contract at a time in a market of every lane, so that all lanes draw the coins in turn.
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
from worker.domain.facts import Limits
from worker.domain.state import Home, StreamKind
from worker.domain.units import CASH_MAX, AccountId, LaneId, MarketId, OrderId

MARKETS: Final = ("market", "coins")
"""Markets of each lane, opened by its first records."""
STREAM, TRANSFERS = "far.orders", "far.transfers"
ROWS_PER_BATCH: Final = 1_000
"""The row budget of a worker on DSQL."""
TRADERS: Final = 50
"""Traders of each lane."""
RICH: Final = 10**9
ADVERSARIES: Final = 200
COINS: Final = 20
COIN: Final = 100
"""Money for one contract in one lane."""
ADVERSARY_SHARE: Final = 10
"""One order of so many comes from the adversary."""
TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Lanes:
    """Some lanes of one stream of orders, followed by the only lane of transfers."""

    number: int

    def home(self, partition: int) -> Home:
        return Home(LaneId(partition), STREAM, partition, self.number, StreamKind.ORDERS, CASH_MAX)

    def market(self, partition: int, name: str = "market") -> MarketId:
        """Return the name of a lane's market."""
        return next(
            MarketId(f"{name}-{n}")
            for n in count()
            if ids.partition_of(f"{name}-{n}", self.number) == partition
        )

    async def build(self, url: str) -> None:
        """Create the tables, register the streams, fund all accounts and open the markets."""
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
        transfers = LaneId(self.number)
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
        desk.limits = Limits(ROWS_PER_BATCH)
        return desk

    def orders(self, orders: int, *, with_adversary: bool) -> Sequence[list[PlaceOrder]]:
        """Return about so many orders, by lane."""
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
    """Return the account of a trader in a lane. The market maker has one account for all lanes."""
    return name if name == _SETTINGS.maker else AccountId(f"{name}.{partition}")


_SETTINGS: Final = FlowSettings(seed=3, accounts=TRADERS, payouts=(COIN,))
