"""An exchange at work, and copies of its database."""

import asyncpg

from tests.support.books import sell
from tests.support.databases import execute, name_of, named
from tests.support.system import Member, System
from worker.domain.units import MarketId


async def trading(system: System, **settings: object) -> tuple[Member, list[MarketId]]:
    """Let a worker answer some orders in both order lanes."""
    member = await system.member(**settings)
    markets = await system.open()
    await system.publish(*(sell(market, "b", 1, 50) for market in markets for _ in range(5)))
    await system.check_invariants()
    return member, markets


async def stop(system: System) -> None:
    """Stop all workers and forget them."""
    await system.stop()
    system.workers.clear()


async def copied(system: System, database_url: str) -> str:
    """Return the address of a copy of the database in its present state."""
    older = f"{name_of(database_url)}_older"
    await system.database.close()
    server = named(database_url, "postgres")
    await execute(server, f'CREATE DATABASE "{older}" TEMPLATE "{name_of(database_url)}"')
    system.database = await asyncpg.connect(database_url)
    return named(database_url, older)
