"""Endings: after the simulation is quiet, something breaks for good, and workers start again.

The invariants do not hold afterwards, so each ending has its own checks. Lanes that the ending does
not break must continue.
"""

from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any, Final

from tests.simulation import check
from tests.support.fake_schema import Row
from worker.health.topic_watch import LOOK_EVERY_S
from worker.lane import LaneStatus
from worker.ports import JournalRow, Outgoing, System, TopicPartition
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics
from worker.wire import journal

if TYPE_CHECKING:
    from tests.simulation.world import World

BEGINS_AGAIN_S: Final = 15.0
"""Time in which a new worker takes over every lane, answers the backlog and publishes."""

NOTICED_WITHIN_S: Final = 2 * LOOK_EVERY_S
EXPECTED: Final = frozenset({"lane_halted", "published_again"})
"""The alarms that an ending may raise."""


def begin_again(world: "World") -> None:
    """Play the ending of the seed, if it has one."""
    ending = ENDINGS.get(world.seed % 8)
    if ending is not None:
        world.loop.run_until_complete(ending(world))


async def topic_wrong(world: "World") -> None:
    """Replace an input topic. Its lane halts, whether it is running or not."""
    victim = _victim(world, "next_offset")
    if victim is None:
        return
    world.window("W14")
    while_it_runs = world.random.random() < 0.5
    if while_it_runs:
        world.window("topic spoilt under a running lane")
        world.begin_again()
        await world.loop.sleep(BEGINS_AGAIN_S)
    # Without another id only a take-over recognises a topic that is refilled at once.
    ways = ["recreated", "past its retention", "replaced"]
    way = world.random.choice(ways if while_it_runs else [*ways, "refilled"])
    if way == "replaced":
        await _go_on(world, await _replace(world, victim.topic))
    else:
        _spoil(world, victim, way)
        await _go_on(world, {victim})


async def _replace(world: "World", topic: str) -> Collection[TopicPartition]:
    """Refill a topic to its lanes' cursors under another id. Return the partitions."""
    partitions = [partition for partition in world.partitions() if partition.topic == topic]
    world.kafka.replace_topic(topic)
    for partition in partitions:
        _spoil(world, partition, "refilled")
    world.window("topic replaced")
    await world.loop.sleep(NOTICED_WITHIN_S)
    return partitions


def _spoil(world: "World", partition: TopicPartition, how: str) -> None:
    """Recreate a topic empty or refilled, or let retention pass the cursor."""
    log = world.kafka.log(partition)
    world.note("", how, str(partition))
    world.window(f"topic {how}")
    if how == "past its retention":
        world.kafka.append([_anything(partition)])
        world.kafka.forget_before(partition, log.end)
    elif how == "refilled":
        log.records = [record._replace(value=b"other") for record in log.records]
    else:
        log.records.clear()


async def events_lost(world: "World") -> None:
    """Lose acknowledged events. All lanes continue, and the journal has the events."""
    victim = _victim(world, "last_seq")
    if victim is None:
        return
    world.window("W17")
    route = world.route(victim)
    records = world.kafka.log(TopicPartition(route.events_topic, route.partition)).records
    last = world.last_published(victim)
    first_of_last = next(at for at, record in enumerate(records) if check.seq_of(record) == last)
    del records[world.random.randint(0, first_of_last) :]
    world.note("", "events lost", f"{victim} after {world.last_published(victim)}")
    kept = world.last_published(victim)
    await _go_on(world, ())
    await _republish(world, victim, kept + 1)
    journaled = {seq: text for row in _journal(world, victim) for seq, text in _events(row, route)}
    published = {check.seq_of(record): record.value for record in check.published(world, victim)}
    if published != journaled:
        missing = sorted(journaled.keys() - published.keys())
        world.violation(f"{victim} republished lacks {missing}, or has other bytes")


async def _republish(world: "World", partition: TopicPartition, first_seq: int) -> None:
    """Publish from the journal, as an operator does."""
    publisher = Publisher(
        world.broker(),
        world.route(partition),
        system=System(world.loop.time, world.loop.sleep, world.random),
        metrics=LaneMetrics(world.metrics, partition.topic, partition.partition),
    )
    publishing = world.loop.create_task(publisher.run())
    for row in _journal(world, partition):
        if row["last_seq"] >= first_seq:
            await publisher.put(JournalRow(row["batch_no"], row["events"]))
    await publisher.drained()
    publishing.cancel()


def _journal(world: "World", partition: TopicPartition) -> list[Row]:
    lane = world.lane_row(partition)["lane"]
    found = [row for row in world.database.rows("batches") if row["lane"] == lane]
    return sorted(found, key=lambda row: int(row["batch_no"]))


def _events(row: Row, route: journal.Route) -> list[tuple[int, bytes | None]]:
    records = journal.decode(row["events"], route)
    return [(check.seq_of(r), r.value) for r in records if r.topic == route.events_topic]


async def database_restored(world: "World") -> None:
    """Restore the database to an earlier state. Lanes with unknown published events halt."""
    first, last = len(world.database.tables["streams"]), len(world.database.commits)
    world.database = world.database.restored(world.random.randint(first, last - 1))
    outdated = {
        partition
        for partition in world.partitions()
        if world.last_published(partition) > world.lane_row(partition)["last_seq"]
    }
    if outdated:
        world.window("W22")
    world.note("", "database restored", f"{sorted(outdated)}")
    await _go_on(world, outdated)
    for partition in world.partitions():
        route = world.route(partition)
        records = world.kafka.records(TopicPartition(route.events_topic, route.partition))
        different = {record[1:] for record in records}
        if len(different) != world.last_published(partition):
            world.violation(f"{partition} has published two events with the same seq")


# Helpers.


def _victim(world: "World", column: str) -> TopicPartition | None:
    """Return a lane that has made some progress."""
    lanes = [p for p in world.partitions() if world.lane_row(p)[column] > 1]
    return world.random.choice(lanes) if lanes else None


def _anything(partition: TopicPartition) -> Outgoing:
    """Return a record that is no command. It is answered as well."""
    return Outgoing(*partition, b"k", b"{", (), 0)


async def _go_on(world: "World", halted: Collection[TopicPartition]) -> None:
    """Start workers again. Lanes in ``halted`` must write nothing, the others must answer."""
    before = {p: world.lane_row(p)["batch_no"] for p in world.partitions()}
    world.kafka.append([_anything(partition) for partition in before])
    if not world.is_running:
        world.begin_again()
    await world.loop.sleep(BEGINS_AGAIN_S)
    for partition, batch_no in before.items():
        wrote = world.lane_row(partition)["batch_no"] > batch_no
        status = _status(world, partition)
        if partition in halted and (wrote or status is not LaneStatus.HALTED):
            world.violation(f"{partition} is {status}, {wrote=}, and should be halted")
        if partition not in halted and not wrote:
            world.violation(f"{partition} is {status} and writes nothing: {sorted(halted)}")
    world.alarms = [alarm for alarm in world.alarms if alarm.split()[0] not in EXPECTED]
    await world.stop()


def _status(world: "World", partition: TopicPartition) -> LaneStatus | None:
    """Return the status of a lane in the process that owns it."""
    for process in world.processes:
        lanes = process.assignments.lanes if process.assignments else {}
        if not process.ended and partition in lanes:
            return lanes[partition].status
    return None


ENDINGS: Final[dict[int, Callable[["World"], Coroutine[Any, Any, None]]]] = {
    5: topic_wrong,
    6: events_lost,
    7: database_restored,
}
"""Endings by the seed modulo 8."""
