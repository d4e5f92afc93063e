"""The invariants that must hold after every test.

``gather`` reads the database in one snapshot and adds the records of the topics. ``check`` compares
both with every invariant of `worker.audit`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
from aiokafka import ConsumerRecord

from worker.adapters.postgres.books import Snapshot
from worker.audit.event_log import LaneHistory, received
from worker.audit.gather import lanes_of, route_of
from worker.audit.history import History
from worker.audit.invariants import Findings
from worker.audit.tables import Tables
from worker.audit.walk import walk
from worker.config import Settings
from worker.domain.state import StreamKind
from worker.ports import Record, TopicPartition
from worker.topics import OutputTopics

Records = Mapping[TopicPartition, Sequence[ConsumerRecord]]


@dataclass
class Evidence:
    """The database and topics at one moment, with the findings in the tables alone."""

    history: History
    findings: Findings


async def gather(
    settings: Settings, database: "asyncpg.Connection[asyncpg.Record]", records: Records
) -> Evidence:
    """Read the database in one snapshot, and add the records of the topics."""
    findings, tables = Findings(), Tables()
    async with database.transaction(isolation="repeatable_read", readonly=True):
        for method in ("seqscan", "sort", "hashjoin"):
            # Planned like a page of a few rows, which are looked up by key.
            await database.execute(f"SET LOCAL enable_{method} = off")
        snapshot = Snapshot(database, is_dsql=False)
        await walk(snapshot, findings, tables)
        stored = await lanes_of(snapshot)
    tapes = defaultdict(list, {at: [_record(r) for r in rs] for at, rs in records.items()})
    dead = settings.dead_letters_topic
    outputs = OutputTopics(*settings.outputs, sum(at.topic == dead for at in records))
    lanes = []
    for row, batches in stored:
        route = route_of(row, outputs)
        asked = tapes[TopicPartition(row.topic, row.partition)]
        inputs = [received(record, StreamKind(row.kind)) for record in asked]
        told = tapes[TopicPartition(route.events_topic, row.partition)]
        lanes.append(LaneHistory(row, route, inputs, told, batches))
    graves = [record for at, found in tapes.items() if at.topic == dead for record in found]
    return Evidence(History(lanes, graves, tables), findings)


def check(evidence: Evidence) -> None:
    """Raise AssertionError if an invariant is violated."""
    evidence.history.check(evidence.findings)
    found = [violation.line() for violation in evidence.findings.violations()]
    assert not found, "\n".join(found)


def seq_of(record: ConsumerRecord) -> int:
    """Return the seq in the record's header."""
    return int(dict(record.headers)["ce_id"].rpartition(b"/")[2])


def value_of(record: ConsumerRecord) -> bytes:
    """Return the value of an event's record, which is never null."""
    value: bytes | None = record.value
    assert value is not None, record
    return value


def first_occurrences(records: Sequence[ConsumerRecord]) -> list[ConsumerRecord]:
    """Drop repeats as a consumer does, and check that repeats are equal and nothing is missing."""
    first: list[ConsumerRecord] = []
    for record in records:
        seq = seq_of(record)
        if seq <= len(first):
            assert _record(record)[1:] == _record(first[seq - 1])[1:], f"a repeat differs: {record}"
        else:
            assert seq == len(first) + 1, f"a gap before {record}"
            first.append(record)
    return first


def _record(record: ConsumerRecord) -> Record:
    headers = tuple(record.headers)
    by_broker = record.timestamp_type == 1
    return Record(record.offset, record.timestamp, record.key, record.value, headers, by_broker)
