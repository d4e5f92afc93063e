"""Reads what the proof compares: topics from end to end, the journal, the lanes."""

from collections.abc import Mapping, Sequence
from typing import Final

from worker.adapters.kafka.reader import AiokafkaReader
from worker.adapters.postgres.evidence import Evidence, LaneStanding
from worker.demo.proof import LaneEvidence
from worker.demo.stage import SYSTEM, Stage
from worker.domain.state import StreamKind
from worker.errors import BrokerError
from worker.ports import Outgoing, Record, TopicPartition
from worker.wire import journal

READ_DEADLINE_S: Final = 60.0
POLL_S: Final = 0.2


async def gather(stage: Stage, evidence: Evidence) -> list[LaneEvidence]:
    """Return the evidence of each lane. Nothing may be under way any more."""
    standings = await evidence.lanes(stage.streams)
    partitions = stage.partitions_of(*stage.streams, *stage.outputs)
    async with stage.broker.reader(partitions) as reader:
        # Each batch ends at a seq that must be on the topic before the topic's end is looked at.
        awaited = {_output(stage, row): row.last_seq for row in standings}
        tapes = await _read(reader, partitions, awaited)
    lanes = []
    for row in standings:
        batches = await evidence.batches(row.lane, row.batch_no)
        lanes.append(
            LaneEvidence(
                kind=_kind(stage, row),
                standing=row,
                commands=tapes[TopicPartition(row.stream, row.partition)],
                events=tapes[_output(stage, row)],
                batches=batches,
                journal=[o for b in batches for o in _decoded(stage, row, b.events)],
            )
        )
    return lanes


async def _read(
    reader: AiokafkaReader,
    partitions: Sequence[TopicPartition],
    awaited: Mapping[TopicPartition, int],
) -> dict[TopicPartition, list[Record]]:
    """Read all partitions to their ends, and on until each awaited one has that many records."""
    tapes: dict[TopicPartition, list[Record]] = {partition: [] for partition in partitions}
    for partition in partitions:
        reader.seek(partition, 0)
    deadline = SYSTEM.clock() + READ_DEADLINE_S
    while True:
        # A repeat never makes up for what is missing: that only makes this end too early, and then
        # the comparison fails.
        short = {p: n for p, n in awaited.items() if len(tapes[p]) < n}
        ends = await reader.ends()
        if not short and all(_position(tapes[p]) >= ends[p] for p in partitions):
            return tapes
        if SYSTEM.clock() > deadline:
            raise BrokerError(f"waited {READ_DEADLINE_S:g} s for the events of {list(short)}")
        for partition, records in (await reader.poll(POLL_S)).items():
            tapes[partition].extend(records)


def _position(tape: Sequence[Record]) -> int:
    return tape[-1].offset + 1 if tape else 0


def _kind(stage: Stage, row: LaneStanding) -> StreamKind:
    return StreamKind.ORDERS if row.stream == stage.streams[0] else StreamKind.TRANSFERS


def _output(stage: Stage, row: LaneStanding) -> TopicPartition:
    orders = _kind(stage, row) is StreamKind.ORDERS
    return TopicPartition(stage.outputs[0 if orders else 1], row.partition)


def _decoded(stage: Stage, row: LaneStanding, text: str) -> list[Outgoing]:
    output = _output(stage, row)
    route = journal.Route(
        stream=row.stream,
        topic=row.stream,
        partition=row.partition,
        events_topic=output.topic,
        dead_letters_topic=stage.settings.dead_letters_topic,
        dead_letter_partitions=stage.partitions,
    )
    return [record for record in journal.decode(text, route) if record.topic == output.topic]
