"""Republishing of a lane's events from its journal, for a topic that has lost some of them.

A repeat is byte-identical and does no harm, even while the lane has an owner. The database is only
read.
"""

from dataclasses import dataclass
from typing import Final

from worker.adapters.postgres.evidence import Evidence, JournalBatch, LaneStanding
from worker.adapters.system import system
from worker.config import Settings
from worker.errors import ConfigError
from worker.ports import Broker, StreamRow
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics, Metrics
from worker.topics import find_streams

BATCHES_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Republished:
    """The events published again. They begin with a whole batch, perhaps before ``from_seq``."""

    topic: str
    partition: int
    batches: int
    first_seq: int
    last_seq: int


async def republish(
    settings: Settings, broker: Broker, topic: str, partition: int, from_seq: int
) -> Republished:
    """Publish the events of an input partition again, from ``from_seq`` to the last committed.

    Raises ConfigError on a wrong argument, or BrokerError or StoreError on a failure.
    """
    streams = await find_streams(settings, broker)
    stream = {row.topic: row for row in (streams.orders, streams.transfers)}.get(topic)
    if stream is None:
        inputs = f"{streams.orders.topic} or {streams.transfers.topic}"
        raise ConfigError(f"topic {topic} is no input: name {inputs}")
    route = streams.route(stream, partition)
    metrics = LaneMetrics(Metrics(), stream.stream, partition)
    publisher = Publisher(broker, route, system=system(), metrics=metrics)
    url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
    async with Evidence(url, timeout_s=timeout_s) as evidence:
        lane = await _standing(evidence, stream, partition)
        first = await _batch_of(evidence, lane, from_seq)
        observer = Publisher(broker, route, system=system(), metrics=metrics)
        await _require_no_gap(observer, from_seq)
        for start in range(first.batch_no, lane.batch_no + 1, BATCHES_AT_ONCE):
            numbers = range(start, min(start + BATCHES_AT_ONCE, lane.batch_no + 1))
            for batch in await evidence.page(lane.lane, numbers):
                await publisher.put(batch)
            await publisher.flush()
    return Republished(
        topic=route.events_topic,
        partition=partition,
        batches=lane.batch_no + 1 - first.batch_no,
        first_seq=first.first_seq,
        last_seq=lane.last_seq,
    )


async def _require_no_gap(observer: Publisher, from_seq: int) -> None:
    """Raise ConfigError if events before ``from_seq`` would stay missing."""
    there_seq = await observer.published_seq()
    if there_seq and from_seq > there_seq + 1:
        end = f"the topic ends at seq {there_seq}"
        raise ConfigError(f"seq {from_seq}: {end}, use --from-seq {there_seq + 1} or lower")


async def _standing(evidence: Evidence, stream: StreamRow, partition: int) -> LaneStanding:
    for lane in await evidence.lanes([stream.stream]):
        if lane.partition == partition:
            return lane
    last = stream.partitions - 1
    raise ConfigError(f"partition {partition}: stream {stream.stream} has partitions 0 to {last}")


async def _batch_of(evidence: Evidence, lane: LaneStanding, seq: int) -> JournalBatch:
    """Return the batch that has ``seq``. Searches by halves, since there is no index."""
    if not 1 <= seq <= lane.last_seq:
        raise ConfigError(f"seq {seq}: the lane has events 1 to {lane.last_seq}")
    low, high = 1, lane.batch_no
    while low < high:
        middle = (low + high) // 2
        found = await evidence.page(lane.lane, range(middle, middle + 1))
        # A missing batch was exported and trimmed, with all batches before it.
        if not found or found[0].last_seq < seq:
            low = middle + 1
        else:
            high = middle
    found = await evidence.page(lane.lane, range(low, low + 1))
    if not found or found[0].first_seq > seq:
        raise ConfigError(f"seq {seq}: the journal begins later, use a higher --from-seq")
    return found[0]
