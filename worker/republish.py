"""A lane's events published again from the journal, for a topic that has lost some of them.

A repeat is byte-identical, so it harms nobody, whether the lane has an owner meanwhile or not.
Reads the database only.
"""

from dataclasses import dataclass
from typing import Final

from worker.adapters.postgres.evidence import Evidence, JournalBatch, LaneStanding
from worker.adapters.system import system
from worker.config import Settings
from worker.errors import ConfigError
from worker.ports import Broker, JournalRow, StreamRow
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics, Metrics
from worker.topics import find_streams

BATCHES_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Republished:
    """What was published again: whole batches, so it may begin before the seq asked for."""

    topic: str
    partition: int
    batches: int
    first_seq: int
    last_seq: int


async def republish(
    settings: Settings, broker: Broker, topic: str, partition: int, from_seq: int
) -> Republished:
    """Publish the events of an input partition again, from ``from_seq`` to the last committed.

    Raises ConfigError on what cannot be done, BrokerError and StoreError when it did not work.
    """
    streams = await find_streams(settings, broker)
    stream = {row.topic: row for row in (streams.orders, streams.transfers)}.get(topic)
    if stream is None:
        text = f"{streams.orders.topic} and {streams.transfers.topic} are the input topics"
        raise ConfigError(f"topic {topic}: {text}")
    route = streams.route(settings, stream, partition)
    metrics = LaneMetrics(Metrics(), stream.stream, partition)
    publisher = Publisher(broker, route, system=system(), metrics=metrics)
    url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
    async with Evidence(url, timeout_s=timeout_s) as evidence:
        lane = await _standing(evidence, stream, partition)
        first = await _batch_of(evidence, lane, from_seq)
        onlooker = Publisher(broker, route, system=system(), metrics=metrics)
        await _require_no_gap(onlooker, from_seq)
        for start in range(first.batch_no, lane.batch_no + 1, BATCHES_AT_ONCE):
            numbers = range(start, min(start + BATCHES_AT_ONCE, lane.batch_no + 1))
            for batch in await evidence.page(lane.lane, numbers):
                await publisher.put(JournalRow(batch.batch_no, batch.events))
            await publisher.flush()
    return Republished(
        topic=route.events_topic,
        partition=partition,
        batches=lane.batch_no + 1 - first.batch_no,
        first_seq=first.first_seq,
        last_seq=lane.last_seq,
    )


async def _require_no_gap(onlooker: Publisher, from_seq: int) -> None:
    """Raise ConfigError when something would be missing before ``from_seq``, and stay so."""
    there_seq = await onlooker.published_seq()
    if there_seq and from_seq > there_seq + 1:
        raise ConfigError(f"seq {from_seq}: the topic ends at {there_seq}, begin right behind it")


async def _standing(evidence: Evidence, stream: StreamRow, partition: int) -> LaneStanding:
    for lane in await evidence.lanes([stream.stream]):
        if lane.partition == partition:
            return lane
    raise ConfigError(f"stream {stream.stream} has {stream.partitions} partitions, from 0 on")


async def _batch_of(evidence: Evidence, lane: LaneStanding, seq: int) -> JournalBatch:
    """Return the batch that holds ``seq``, by halving what may hold it: there is no index."""
    if not 1 <= seq <= lane.last_seq:
        raise ConfigError(f"seq {seq}: the lane has {lane.last_seq} events, numbered from 1")
    low, high = 1, lane.batch_no
    while low < high:
        middle = (low + high) // 2
        found = await evidence.page(lane.lane, range(middle, middle + 1))
        # A missing one was exported and trimmed, with all before it.
        if not found or found[0].last_seq < seq:
            low = middle + 1
        else:
            high = middle
    found = await evidence.page(lane.lane, range(low, low + 1))
    if not found or found[0].first_seq > seq:
        raise ConfigError(f"seq {seq}: the journal does not reach back so far")
    return found[0]
