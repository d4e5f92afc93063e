"""Databases of a server, and statements on a connection of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def named(url: str, name: str) -> str:
    """Return the address of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def name_of(url: str) -> str:
    """Return the database's name."""
    return urlsplit(url).path.removeprefix("/")


@asynccontextmanager
async def created(server_url: str, name: str, template: str = "template1") -> AsyncIterator[str]:
    """Yield the address of a new database, which is dropped at the end despite its connections."""
    await execute(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield named(server_url, name)
    finally:
        await execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Open a connection, and close it at the end."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def execute(url: str, *statements: str) -> None:
    async with connected(url) as connection:
        for statement in statements:
            await connection.execute(statement)


async def fetch(url: str, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    async with connected(url) as connection:
        return [tuple(row) for row in await connection.fetch(sql, *arguments)]
