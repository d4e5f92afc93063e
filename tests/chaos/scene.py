"""An exchange at work, and what becomes of its topics and its database."""

from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.conftest import execute
from tests.support.books import deposit, open_market, sell
from tests.support.system import Member, System
from worker.domain.units import MarketId

RICH: Final = 10**9


async def trading(system: System, **settings: object) -> tuple[Member, list[MarketId]]:
    """Let a worker answer some orders in both order lanes."""
    member = await system.member(**settings)
    markets = [system.market(partition) for partition in range(system.partitions)]
    await system.publish(*(deposit(name, RICH) for name in "ab"), *map(open_market, markets))
    await system.answered()
    await system.publish(*(sell(market, "b", 1, 50) for market in markets for _ in range(5)))
    await system.check_invariants()
    return member, markets


async def stop(system: System) -> None:
    """Take every worker down, and forget it."""
    await system.stop()
    system.workers.clear()


async def copied(system: System, database_url: str) -> str:
    """Return the address of a copy of the database as it is now."""
    older = f"{name_of(database_url)}_older"
    await system.database.close()
    server = urlunsplit(urlsplit(database_url)._replace(path="/postgres"))
    await execute(server, f'CREATE DATABASE "{older}" TEMPLATE "{name_of(database_url)}"')
    system.database = await asyncpg.connect(database_url)
    return urlunsplit(urlsplit(database_url)._replace(path=f"/{older}"))


def name_of(database_url: str) -> str:
    """Return the database's name."""
    return urlsplit(database_url).path.removeprefix("/")
