"""What must hold when it is quiet again: every invariant, of tables, journal and topics.

None asks the worker how it did, except the last: every batch is planned again from what it
recorded, and must come out the same to the byte.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tests.support.history import batches_of, lane_rows, rows_of
from worker.audit.history import History
from worker.audit.invariants import Findings, Violation
from worker.audit.recount import recount
from worker.audit.rows import Rows
from worker.audit.tables import Tables
from worker.audit.topics import LaneHistory, received
from worker.domain.units import ESCROW
from worker.ports import Outgoing, Record, TopicPartition

if TYPE_CHECKING:
    from tests.simulation.world import World

Event = dict[str, Any]


def violations(world: "World") -> Iterator[str]:
    """Yield everything that is not as promised."""
    findings, tables = Findings(), rows_of(world.database)
    history = _history(world, tables)
    try:
        recount(tables, findings)
        history.check(findings)
    except Exception as bug:  # noqa: BLE001 - a history so wrong that it cannot be read
        yield f"no invariant could be looked for: {bug!r}"
    else:
        for lane, heard in zip(history.lanes, history.heard, strict=True):
            partition = TopicPartition(lane.row.topic, lane.row.partition)
            world.read_events[partition] = heard.events
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
    """Yield the pockets and escrows that were negative after any commit, though not for long."""
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
        if name == "ce_id":
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
    """Note the windows and situations that show in the events and the journal themselves."""
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
                kind = "sweep" if '"sweep"' in row["resume"] else "settlement"
                world.window(f"{kind} taken over" if epoch_only else f"{kind} cut")


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
