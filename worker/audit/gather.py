"""Reads a whole history: the tables in one snapshot, then the topics from end to end.

Whatever the topics hold beyond the snapshot is left out, so that workers may go on meanwhile. Holds
the history in memory.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.kafka.reader import AiokafkaReader
from worker.adapters.postgres.books import Books, Snapshot
from worker.audit import walk as walking
from worker.audit.history import History
from worker.audit.invariants import Findings
from worker.audit.rows import LaneRow
from worker.audit.tables import Tables
from worker.audit.topics import LaneHistory, StoredBatch, received, seq_of
from worker.audit.walk import AuditResult
from worker.domain.state import StreamKind
from worker.errors import BrokerError, ConfigError
from worker.ports import Monotonic, Record, TopicPartition
from worker.wire import journal

READ_DEADLINE_S: Final = 60.0
"""How long nothing may arrive of what is committed."""
POLL_S: Final = 0.2
BATCHES_A_PAGE: Final = 500

Tapes = Mapping[TopicPartition, Sequence[Record]]
Stored = Sequence[tuple[LaneRow, Sequence[StoredBatch]]]
"""Every lane with its journal, in order."""


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """Where the events go."""

    events: str
    transfer_events: str
    dead_letters: str
    dead_letter_partitions: int


@dataclass(frozen=True, slots=True)
class HistoryAudit:
    """What was found, by what rule, in what history."""

    result: AuditResult
    findings: Findings
    history: History


async def audit_history(
    books: Books,
    broker: AiokafkaBroker,
    outputs: OutputTopics,
    clock: Monotonic,
    streams: Collection[str] = (),
) -> HistoryAudit:
    """Hold tables and topics against all invariants. Raises StoreError, BrokerError, ConfigError.

    ``streams``: only these have their topics followed; then the tables hold more than the events
    tell, and are not compared with them. ConfigError when a topic is missing or no longer begins
    with its first record: nobody can follow it then.
    """
    began_s, findings, tables = clock(), Findings(), Tables()
    async with books.snapshot(paged=True) as snapshot:
        rows = await walking.walk(snapshot, findings, tables)
        stored = await lanes_of(snapshot)
    followed = [(row, batches) for row, batches in stored if not streams or row.stream in streams]
    history = await gather(books, broker, outputs, followed, clock)
    if len(followed) == len(stored):
        history.tables = tables
    history.check(findings)
    events = sum(len(heard.events) for heard in history.heard)
    result = walking.result(findings, rows=rows, seconds=clock() - began_s, events=events)
    return HistoryAudit(result, findings, history)


async def lanes_of(snapshot: Snapshot) -> Stored:
    """Return every lane with its journal."""
    found = []
    for row in map(LaneRow._make, await snapshot.lanes()):
        batches: list[StoredBatch] = []
        # One more than there should be, so that what goes beyond is seen.
        for first in range(1, row.batch_no + 2, BATCHES_A_PAGE):
            last = min(first + BATCHES_A_PAGE - 1, row.batch_no + 1)
            page = await snapshot.batches(row.lane, first, last, whole=True)
            batches += map(StoredBatch._make, page)
        found.append((row, batches))
    return found


async def gather(
    books: Books,
    broker: AiokafkaBroker,
    outputs: OutputTopics,
    stored: Stored,
    clock: Monotonic,
) -> History:
    """Read the topics of ``stored``, without what came later. Raises as ``audit_history``."""
    inputs, told = _inputs(stored), _outputs(stored, outputs)
    dead = _awaited_letters(stored, outputs)
    await _require_topics(broker, [*inputs, *told, *dead])
    async with broker.reader([*inputs, *told, *dead]) as reader:
        tapes = await _Tapes(reader, {**inputs, **told, **dead}, clock).read()
    async with books.snapshot() as snapshot:
        # Whatever was published by now must be committed by now.
        now = {row.lane: row.last_seq for row in map(LaneRow._make, await snapshot.lanes())}
    lanes = []
    for (row, batches), asked, said in zip(stored, inputs, told, strict=True):
        kind, route = StreamKind(row.kind), route_of(row, outputs)
        answered = [received(r, kind) for r in tapes[asked] if r.offset < row.next_offset]
        later = range(row.last_seq + 1, now[row.lane] + 1)
        heard = [record for record in tapes[said] if seq_of(record) not in later]
        lanes.append(LaneHistory(row, route, answered, heard, batches))
    ends = {(row.topic, row.partition): row.next_offset for row, _ in stored}
    graves = [record for at in dead for record in tapes[at] if not _is_later(record, ends)]
    return History(lanes, graves, None)


def route_of(row: LaneRow, outputs: OutputTopics) -> journal.Route:
    """Return where a lane's records go."""
    orders = row.kind == StreamKind.ORDERS
    return journal.Route(
        stream=row.stream,
        topic=row.topic,
        partition=row.partition,
        events_topic=outputs.events if orders else outputs.transfer_events,
        dead_letters_topic=outputs.dead_letters,
        dead_letter_partitions=outputs.dead_letter_partitions,
    )


class _Tapes:
    """Topics as far as they are read. ``awaited``: each must come to that offset, seq or count."""

    def __init__(
        self, reader: AiokafkaReader, awaited: Mapping[TopicPartition, int], clock: Monotonic
    ) -> None:
        self._reader, self._awaited, self._clock = reader, awaited, clock
        self._tapes: dict[TopicPartition, list[Record]] = {at: [] for at in awaited}
        self._reached: Counter[TopicPartition] = Counter()

    async def read(self) -> Tapes:
        """Read until all is there that is committed. Raises BrokerError, ConfigError."""
        for at, first in (await self._reader.starts()).items():
            if first:
                raise ConfigError(f"{at.topic}[{at.partition}] begins at {first}: it was trimmed")
            self._reader.seek(at, 0)
        # Once: what comes in meanwhile must not keep us reading for ever.
        ends = await self._reader.ends()
        deadline_s = self._clock() + READ_DEADLINE_S
        while short := self._short(ends):
            arrived = await self._reader.poll(POLL_S)
            for at, records in arrived.items():
                self._tapes[at].extend(records)
                # Only events have a seq: a repeat of one must not stand for what is missing.
                last = max(map(seq_of, records)) or len(self._tapes[at])
                self._reached[at] = max(self._reached[at], last)
            if arrived.keys() & set(short):
                deadline_s = self._clock() + READ_DEADLINE_S
            elif self._clock() > deadline_s:
                raise BrokerError(f"nothing came of {short[:3]} for {READ_DEADLINE_S:g} s")
        return self._tapes

    def _short(self, ends: Mapping[TopicPartition, int]) -> list[TopicPartition]:
        return [
            at
            for at, tape in self._tapes.items()
            if self._reached[at] < self._awaited[at]
            or (tape[-1].offset + 1 if tape else 0) < ends[at]
        ]


def _inputs(stored: Stored) -> dict[TopicPartition, int]:
    return {TopicPartition(row.topic, row.partition): row.next_offset for row, _ in stored}


def _outputs(stored: Stored, outputs: OutputTopics) -> dict[TopicPartition, int]:
    return {
        TopicPartition(route_of(row, outputs).events_topic, row.partition): row.last_seq
        for row, _ in stored
    }


def _awaited_letters(stored: Stored, outputs: OutputTopics) -> dict[TopicPartition, int]:
    """Return how many dead letters the journals hold for each partition."""
    found = {
        TopicPartition(outputs.dead_letters, number): 0
        for number in range(outputs.dead_letter_partitions)
    }
    for row, batches in stored:
        at = TopicPartition(outputs.dead_letters, row.partition % outputs.dead_letter_partitions)
        found[at] += sum(f"\n{batch.events}".count("\n!") for batch in batches)
    return found


def _is_later(letter: Record, ends: Mapping[tuple[str, int], int]) -> bool:
    """Return whether a dead letter is of a record that was not yet answered."""
    headers = dict(letter.headers)
    try:
        topic, partition, offset = (
            headers[f"__dlq.errors.{name}"].decode() for name in ("topic", "partition", "offset")
        )
        return int(offset) >= ends[topic, int(partition)]
    except (KeyError, ValueError):
        return False


async def _require_topics(broker: AiokafkaBroker, wanted: Sequence[TopicPartition]) -> None:
    found = await broker.describe(sorted({at.topic for at in wanted}))
    for at in wanted:
        if at.topic not in found or found[at.topic].partitions <= at.partition:
            raise ConfigError(f"there is no {at.topic}[{at.partition}], which a lane has read")
