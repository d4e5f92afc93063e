"""Reader of a whole history: the tables in one snapshot, then the topics from end to end.

Records that are newer than the snapshot are left out, so workers may go on meanwhile. The history
is held in memory.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.kafka.reader import AiokafkaReader
from worker.adapters.postgres.books import BATCHES_PER_PAGE, Books, Snapshot
from worker.audit import walk as walking
from worker.audit.event_log import LaneHistory, received, seq_of
from worker.audit.history import History
from worker.audit.invariants import Findings
from worker.audit.records import AuditedLane, StoredBatch
from worker.audit.tables import Tables
from worker.audit.walk import AuditResult
from worker.domain.state import StreamKind
from worker.errors import BrokerError, ConfigError
from worker.ports import Monotonic, Record, TopicPartition
from worker.topics import OutputTopics
from worker.wire import journal

READ_DEADLINE_S: Final = 60.0
"""How long to wait for the next record that must be there."""
POLL_S: Final = 0.2

Tapes = Mapping[TopicPartition, Sequence[Record]]
Stored = Sequence[tuple[AuditedLane, Sequence[StoredBatch]]]
"""Every lane with its journal, in order."""


@dataclass(frozen=True, slots=True)
class HistoryAudit:
    """The result of an audit, its findings by rule, and the history that was read."""

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
    """Check tables and topics for all invariants. Raises StoreError, BrokerError, ConfigError.

    If ``streams`` leaves some out, their topics are not read. The tables then hold more than the
    events show, so the two are not compared. ConfigError means that a topic is missing or no
    longer begins with its first record, so no reader can follow it.
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
    events = sum(len(contents.events) for contents in history.contents)
    result = walking.result(
        findings,
        rows=rows,
        seconds=clock() - began_s,
        events=events,
        replayed=history.replayed,
    )
    return HistoryAudit(result, findings, history)


async def lanes_of(snapshot: Snapshot) -> Stored:
    """Return every lane with its journal."""
    found = []
    for row in map(AuditedLane._make, await snapshot.lanes()):
        batches: list[StoredBatch] = []
        # One number more, so that a batch beyond the last one is seen.
        for first in range(1, row.batch_no + 2, BATCHES_PER_PAGE):
            last = min(first + BATCHES_PER_PAGE - 1, row.batch_no + 1)
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
    """Read the topics of ``stored``, without later records. Raises as ``audit_history``."""
    inputs, events = _inputs(stored), _outputs(stored, outputs)
    dead = _awaited_letters(stored, outputs)
    await _require_topics(broker, [*inputs, *events, *dead])
    async with broker.reader([*inputs, *events, *dead]) as reader:
        tapes = await _Tapes(reader, {**inputs, **events, **dead}, inputs, clock).read()
    async with books.snapshot() as snapshot:
        # Everything that the topics held is committed by now.
        now = {row.lane: row.last_seq for row in map(AuditedLane._make, await snapshot.lanes())}
    lanes = []
    for (row, batches), input_, output in zip(stored, inputs, events, strict=True):
        kind, route = StreamKind(row.kind), route_of(row, outputs)
        answered = [received(r, kind) for r in tapes[input_] if r.offset < row.next_offset]
        later = range(row.last_seq + 1, now[row.lane] + 1)
        published = [record for record in tapes[output] if seq_of(record) not in later]
        lanes.append(LaneHistory(row, route, answered, published, batches))
    ends = {(row.topic, row.partition): row.next_offset for row, _ in stored}
    letters = [record for at in dead for record in tapes[at] if not _is_later(record, ends)]
    return History(lanes, letters, None)


def route_of(row: AuditedLane, outputs: OutputTopics) -> journal.Route:
    """Return the route of a lane's records."""
    return outputs.route(row.stream, row.topic, StreamKind(row.kind), row.partition)


class _Tapes:
    """Records read so far. Each partition must reach its ``awaited`` offset, seq or count.

    Offsets are those of ``inputs``. The position counts there and not the last record, because a
    transaction's mark, an aborted transaction or a compacted gap may follow.
    """

    def __init__(
        self,
        reader: AiokafkaReader,
        awaited: Mapping[TopicPartition, int],
        inputs: Collection[TopicPartition],
        clock: Monotonic,
    ) -> None:
        self._reader, self._awaited, self._clock = reader, awaited, clock
        self._inputs = inputs
        self._positions: dict[TopicPartition, int] = dict.fromkeys(awaited, 0)
        self._tapes: dict[TopicPartition, list[Record]] = {at: [] for at in awaited}
        self._reached: Counter[TopicPartition] = Counter()

    async def read(self) -> Tapes:
        """Read until every committed record has arrived. Raises BrokerError, ConfigError."""
        for at, first in (await self._reader.starts()).items():
            if first:
                raise ConfigError(
                    f"{at.topic}[{at.partition}] was trimmed: it begins at offset {first} and an"
                    " audit needs offset 0, so run `parity audit` without --events"
                )
            self._reader.seek(at, 0)
        # Asked once, so that new records do not keep us reading without end.
        ends = await self._reader.ends()
        deadline_s = self._clock() + READ_DEADLINE_S
        while short := self._short(ends):
            arrived = await self._reader.poll(POLL_S)
            positions = {at: await self._reader.position(at) for at in self._tapes}
            moved, self._positions = positions != self._positions, positions
            for at, records in arrived.items():
                self._tapes[at].extend(records)
                # Only events have a seq. A repeated event must not count for a missing one.
                last = max(map(seq_of, records)) or len(self._tapes[at])
                self._reached[at] = max(self._reached[at], last)
            for at in self._inputs:
                self._reached[at] = self._positions[at]
            if moved:
                deadline_s = self._clock() + READ_DEADLINE_S
            elif self._clock() > deadline_s:
                raise BrokerError(
                    f"no records received from {short[:3]} for {READ_DEADLINE_S:g} s,"
                    " though committed ones are missing: check the topics and the brokers"
                )
        return self._tapes

    def _short(self, ends: Mapping[TopicPartition, int]) -> list[TopicPartition]:
        return [
            at
            for at in self._tapes
            if self._reached[at] < self._awaited[at] or self._positions[at] < ends[at]
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
    """Return whether a dead letter belongs to a record that was not yet answered."""
    headers = dict(letter.headers)
    try:
        topic, partition, offset = (
            (headers[f"__dlq.errors.{name}"] or b"").decode()
            for name in ("topic", "partition", "offset")
        )
        return int(offset) >= ends[topic, int(partition)]
    except (KeyError, ValueError):
        return False


async def _require_topics(broker: AiokafkaBroker, wanted: Sequence[TopicPartition]) -> None:
    found = await broker.describe(sorted({at.topic for at in wanted}))
    for at in wanted:
        if at.topic not in found or found[at.topic].partitions <= at.partition:
            raise ConfigError(
                f"{at.topic}[{at.partition}] does not exist, and a lane has used it: check the"
                " names of the topics in the settings"
            )
