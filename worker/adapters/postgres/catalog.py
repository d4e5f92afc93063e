"""Streams: the lanes of each incarnation of an input topic. Registered once, then fixed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import asyncpg

from worker.adapters.postgres import outcomes, statements
from worker.adapters.postgres.connect import LANE_SETTINGS, connect
from worker.adapters.system import system
from worker.domain.state import StreamKind
from worker.errors import Conflict, Misconfigured, Refused, StoreError
from worker.ports import StreamRow
from worker.retry import retry

T = TypeVar("T")

TRIES_MAX: Final = 8
BACKOFF_CAP_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Rival:
    """A lane of another stream on the same topic that has answered more than ours."""

    stream: str
    topic_id: str
    partition: int
    next_offset: int
    own_offset: int


async def register(url: str, wanted: StreamRow, *, timeout_s: float) -> StreamRow:
    """Return the stream, registered like ``wanted`` if it is new."""
    async with _connected(url, timeout_s) as connection:
        return await register_by(connection, wanted)


async def register_by(
    connection: "asyncpg.Connection[asyncpg.Record]", wanted: StreamRow
) -> StreamRow:
    """Return the stream, registered through an open connection if it is new. Raises StoreError.

    The first topic id that is known for a stream is stored and never changes here.
    """

    async def registered() -> StreamRow:
        found = await _find(connection, wanted.stream)
        if found is None:
            await _insert(connection, wanted)
        if wanted.topic_id and not (found and found.topic_id):
            await _fetch(connection, statements.NOTE_TOPIC, wanted.stream, wanted.topic_id)
            found = None
        found = found or await _find(connection, wanted.stream)
        assert found is not None, f"stream {wanted.stream!r} was inserted"
        return found

    # Another worker may register at the same moment. The next try then finds its rows.
    return await _retried(registered)


async def rivals(url: str, stream: str, topic: str, *, timeout_s: float) -> Sequence[Rival]:
    """Return the lanes of other streams that have answered more of the topic than ``stream``."""
    async with _connected(url, timeout_s) as connection:
        found = await _fetch(connection, statements.READ_RIVALS, stream, topic)
        return [Rival(**dict(row)) for row in found]


async def cursors(url: str, stream: str, *, timeout_s: float) -> Mapping[int, int]:
    """Return the next offset of each lane of a stream, by partition."""
    async with _connected(url, timeout_s) as connection:
        found = await _fetch(connection, statements.READ_CURSORS, stream)
        return {row["partition"]: row["next_offset"] for row in found}


async def adopt(url: str, stream: str, topic_id: str, *, timeout_s: float) -> None:
    """Store the id of a recreated topic, from now on the one that the stream reads."""
    async with _connected(url, timeout_s) as connection:

        async def adopted() -> None:
            await _fetch(connection, statements.ADOPT_TOPIC, stream, topic_id)

        # Another operator may take the next number at the same moment.
        await _retried(adopted)


async def _retried(call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a call, made again if another process wrote the same rows first."""
    lost = (Conflict, Refused)
    return await retry(call, lost, cap_s=BACKOFF_CAP_S, tries=TRIES_MAX, system=system())


@asynccontextmanager
async def _connected(
    url: str, timeout_s: float
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await connect(url, LANE_SETTINGS, timeout_s=timeout_s)
    try:
        yield connection
    finally:
        connection.terminate()


async def _insert(connection: "asyncpg.Connection[asyncpg.Record]", wanted: StreamRow) -> None:
    """Insert the stream with its lanes, in two statements where one may not write twice."""
    given = (wanted.stream, wanted.topic, wanted.kind, wanted.partitions)
    try:
        try:
            await connection.execute(statements.REGISTER_STREAM, *given)
        except asyncpg.FeatureNotSupportedError:
            async with connection.transaction():
                await connection.execute(statements.STEP_STREAM, *given)
                await connection.execute(statements.STEP_LANES, wanted.stream)
    except outcomes.DRIVER_ERRORS as error:
        raise _meaning(error) from error


async def _find(connection: "asyncpg.Connection[asyncpg.Record]", stream: str) -> StreamRow | None:
    for row in await _fetch(connection, statements.READ_STREAMS):
        if row["stream"] == stream:
            return stream_of(row)
    return None


def stream_of(row: asyncpg.Record) -> StreamRow:
    """Return a row of ``read_streams.sql`` in the port's words."""
    return StreamRow(**{**dict(row), "kind": StreamKind(row["kind"])})


async def _fetch(
    connection: "asyncpg.Connection[asyncpg.Record]", statement: str, *arguments: object
) -> Sequence[asyncpg.Record]:
    try:
        return await connection.fetch(statement, *arguments)
    except outcomes.DRIVER_ERRORS as error:
        raise _meaning(error) from error


def _meaning(error: Exception) -> StoreError:
    """Return what a failed statement means. These tables are the first that a worker looks for."""
    found = outcomes.of_statement(error)
    if found.sqlstate == outcomes.MISSING_TABLE:
        return Misconfigured(outcomes.NO_TABLES, sqlstate=found.sqlstate)
    return found
