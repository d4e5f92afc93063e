"""Streams: which incarnation of which topic has which lanes. Registered once, then fixed."""

from collections.abc import Sequence

import asyncpg

from worker.adapters.postgres import outcomes, statements
from worker.adapters.postgres.connect import LANE_SETTINGS, connect
from worker.domain.state import StreamKind
from worker.errors import Conflict, Refused
from worker.ports import StreamRow

_ATTEMPTS_MAX = 8


async def register(
    url: str, stream: str, topic: str, kind: StreamKind, partitions: int, *, timeout_s: float
) -> StreamRow:
    """Return the stream, registering it with ``partitions`` lanes if it is new."""
    connection = await connect(url, LANE_SETTINGS, timeout_s=timeout_s)
    try:
        return await register_by(connection, stream, topic, kind, partitions)
    finally:
        connection.terminate()


async def register_by(
    connection: "asyncpg.Connection[asyncpg.Record]",
    stream: str,
    topic: str,
    kind: StreamKind,
    partitions: int,
) -> StreamRow:
    """Do it on a connection that is there. Raises StoreError."""
    for attempt in range(_ATTEMPTS_MAX):
        for row in await _streams(connection):
            if row.stream == stream:
                return row
        try:
            await _insert(connection, stream, topic, kind, partitions)
        except outcomes.DRIVER_ERRORS as error:
            meaning = outcomes.of_statement(error)
            # Another worker registers at the same time: look again.
            if not isinstance(meaning, Conflict | Refused) or attempt == _ATTEMPTS_MAX - 1:
                raise meaning from error
    raise Conflict(f"stream {stream!r} could not be registered")


async def _insert(
    connection: "asyncpg.Connection[asyncpg.Record]",
    stream: str,
    topic: str,
    kind: StreamKind,
    partitions: int,
) -> None:
    """Insert the stream with its lanes, in two statements where one may not write twice."""
    try:
        await connection.execute(statements.REGISTER_STREAM, stream, topic, kind, partitions)
    except asyncpg.FeatureNotSupportedError:
        async with connection.transaction():
            await connection.execute(statements.STEP_STREAM, stream, topic, kind, partitions)
            await connection.execute(statements.STEP_LANES, stream)


async def _streams(connection: "asyncpg.Connection[asyncpg.Record]") -> Sequence[StreamRow]:
    try:
        found = await connection.fetch(statements.READ_STREAMS)
    except outcomes.DRIVER_ERRORS as error:
        raise outcomes.of_statement(error) from error
    return [StreamRow(**{**dict(row), "kind": StreamKind(row["kind"])}) for row in found]
