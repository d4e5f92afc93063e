"""Checks of every invariant of tables, journal and topics, when the simulation is quiet.

Only the last check uses code of the worker. It replays every batch from the recorded facts, and the
result must be equal to the byte.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tests.support.history import batches_of, lane_rows, rows_of
from worker.audit.event_log import LaneHistory, received
from worker.audit.history import History
from worker.audit.invariants import Findings, Violation
from worker.audit.records import Rows
from worker.audit.recount import recount
from worker.audit.tables import Tables
from worker.domain.units import ESCROW
from worker.ports import Outgoing, Record, TopicPartition

if TYPE_CHECKING:
    from tests.simulation.world import World

Event = dict[str, Any]


def violations(world: "World") -> Iterator[str]:
    """Yield every violation."""
    findings, tables = Findings(), rows_of(world.database)
    history = _history(world, tables)
    try:
        recount(tables, findings)
        history.check(findings)
    except Exception as bug:  # noqa: BLE001 - a history so wrong that it cannot be read
        yield f"the checks failed: {bug!r}"
    else:
        for lane, read in zip(history.lanes, history.contents, strict=True):
            partition = TopicPartition(lane.row.topic, lane.row.partition)
            world.read_events[partition] = read.events
    yield from map(Violation.line, findings.violations())
    yield from _negative_at_a_commit(world)
    for row in lane_rows(tables):
        partition = TopicPartition(row.topic, row.partition)
        if row.next_offset != world.kafka.log(partition).end or row.resume:
            yield f"{partition} has not answered all: {row}"


def _history(world: "World", tables: Mapping[str, Rows]) -> History:
    batches = batches_of(world.database)
    lanes = []
    for row in lane_rows(tables):
        partition = TopicPartition(row.topic, row.partition)
        route = world.route(partition)
        kind = world.stream_of(row.topic).kind
        lanes.append(
            LaneHistory(
                row,
                route,
                [received(record, kind) for record in world.kafka.records(partition)],
                world.kafka.records(TopicPartition(route.events_topic, route.partition)),
                batches.get(row.lane, []),
            )
        )
    graves = world.kafka.records(TopicPartition(world.dead_letters, 0))
    return History(lanes, graves, Tables.of(tables))


def _negative_at_a_commit(world: "World") -> Iterator[str]:
    """Yield the pockets and escrows that were negative after any commit, even for a moment."""
    balances: Counter[tuple[str, int]] = Counter()
    for number, commit in enumerate(world.database.commits):
        touched = set()
        for table, row in commit.inserted:
            if table == "ledger" and row["lane"] >= ESCROW:
                balances[row["account"], row["lane"]] += row["amount"]
                touched.add((row["account"], row["lane"]))
        low = [pocket for pocket in touched if balances[pocket] < 0]
        if low:
            yield f"I4 after commit {number} these are negative: {low}"


def seq_of(record: Record | Outgoing) -> int:
    """Return the seq of a published event, by its headers."""
    for name, value in record.headers:
        if name == "ce_id" and value:
            return int(value[value.rindex(b"/") + 1 :])
    raise ValueError("a record without ce_id is no event")


def published(world: "World", partition: TopicPartition) -> list[Record]:
    """Return the first occurrences of a lane's events, in the order of the topic."""
    route = world.route(partition)
    found: dict[int, Record] = {}
    for record in world.kafka.records(TopicPartition(route.events_topic, route.partition)):
        found.setdefault(seq_of(record), record)
    return list(found.values())


def note_windows(world: "World") -> None:
    """Record the windows and situations that appear in the events and the journal."""
    for partition in world.partitions():
        for event in world.read_events.get(partition, ()):
            window = OF_REASON.get(event.get("reason", ""))
            if window is not None:
                world.window(window)
            if event["type"] == "DUPLICATE":
                world.window("W19")
    for row in world.database.rows("batches"):
        found = json.loads(row["facts"])
        for name in OF_FACTS.keys() & found.keys():
            if found[name]:
                world.window(OF_FACTS[name])
    _note_continuations(world)


def _note_continuations(world: "World") -> None:
    for commit in world.database.commits:
        for (table, _), row in commit.writes.items():
            if table == "lanes" and row["resume"]:
                epoch_only = len(commit.writes) == 1
                for kind in json.loads(row["resume"]):
                    world.window(f"{kind} taken over" if epoch_only else f"{kind} left")


OF_REASON: Final = {
    "MALFORMED": "W18",
    "WRONG_PARTITION": "W15",
    "FUNDS_IN_USE": "funds in use",
    "UNFUNDED": "unfunded",
    "INSUFFICIENT_FUNDS": "insufficient funds",
    "SELF_TRADE": "self trade",
}
OF_FACTS: Final = {
    "gatherings": "gathering",
    "no_draws": "planned without draws",
    "exact_draws": "drawn exactly",
}
