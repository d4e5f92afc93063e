"""Checks of the brokers' features that the worker needs. They write, join and create nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.adapters.kafka.admin import Rights
from worker.adapters.kafka.batches import reads
from worker.adapters.kafka.broker import AiokafkaBroker
from worker.adapters.kafka.rights import IDEMPOTENT_WRITE, READ, WRITE
from worker.adapters.kafka.unpack import CODECS
from worker.ports import StreamRow, TopicDescription, TopicPartition
from worker.response import Response, missing, not_tried, note, ok
from worker.topic_rules import STAMPS, foreign, problem

POLL_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Names:
    """The topics of one exchange. ``outputs`` maps each input topic to its topic of events."""

    outputs: Mapping[str, str]
    dead_letters: str

    @property
    def inputs(self) -> Sequence[str]:
        return list(self.outputs)

    @property
    def all(self) -> Sequence[str]:
        return [*self.outputs, *self.outputs.values(), self.dead_letters]


class Brokers:
    """Checks of one Kafka cluster."""

    def __init__(self, broker: AiokafkaBroker, names: Names) -> None:
        self._broker, self._names = broker, names
        self._found: Mapping[str, TopicDescription] = {}
        self._rights = Rights({}, frozenset(), frozenset())

    async def answer(self) -> Response:
        """Ask for the topics that this client may describe."""
        self._rights = await self._broker.rights(self._names.all)
        seen = [name for name, rights in self._rights.topics.items() if rights]
        self._found = await self._broker.describe(seen)
        return ok(f"{len(self._found)} of {len(self._names.all)} topics known")

    async def codecs(self) -> Response:
        """Compress a batch by each codec and read it back, in this process."""
        failed = [name for name in CODECS if not reads(name)]
        if failed:
            return missing(f"batches in {', '.join(failed)} cannot be read")
        return ok(f"{', '.join(CODECS)} read back")

    async def topic(self, name: str, registered: StreamRow | None) -> Response:
        """Check one topic. ``registered`` is its stream, if it has one."""
        found = self._found.get(name)
        if found is None and name in self._rights.topics:
            return missing("this client may not describe it")
        if found is None:
            return missing("does not exist: run `parity topics`")
        text = f"{found.partitions} partitions, {found.settings[STAMPS]}"
        is_input = name in self._names.inputs
        if why := problem(found, is_input=is_input):
            return missing(f"{text}: {why}")
        if is_input:
            return _judged_input(found, text, registered)
        return self._judged_output(name, found, text)

    async def rights(self) -> Response:
        """Check the rights of this client. Writes no record, because it would stay."""
        found = self._rights
        # Events are read, too. A new owner looks up which of them are published.
        read = [*self._names.inputs, *self._names.outputs.values()]
        written = [*self._names.outputs.values(), self._names.dead_letters]
        needed = [*((READ, name) for name in read), *((WRITE, name) for name in written)]
        lacking = [
            f"{right} {name}"
            for right, name in needed
            if right not in found.topics.get(name, frozenset())
        ]
        if READ not in found.group:
            lacking.append("READ the consumer group")
        if lacking:
            return missing(f"this client may not {', '.join(lacking)}")
        own = "" if IDEMPOTENT_WRITE in found.cluster else "; IDEMPOTENT_WRITE comes with WRITE"
        return ok(f"READ inputs, events and the group, WRITE the output topics{own}")

    async def reading(self) -> Response:
        """Read the newest record of an input topic, outside of every group."""
        partitions = [
            TopicPartition(name, number)
            for name in self._names.inputs
            if name in self._found
            for number in range(self._found[name].partitions)
        ]
        if not partitions:
            return not_tried("there is no input topic")
        async with self._broker.reader(partitions) as reader:
            starts, ends = await reader.starts(), await reader.ends()
            full = [p for p in partitions if starts[p] < ends[p]]
            if not full:
                return note(f"{len(partitions)} partitions have no record to read")
            reader.seek(full[0], ends[full[0]] - 1)
            fetched = await reader.poll(POLL_S)
        if not any(fetched.values()):
            return note(f"no record within {POLL_S:g} s, but {full[0].topic} has some")
        return ok(f"one record of {full[0].topic}[{full[0].partition}]")

    def _judged_output(self, name: str, found: TopicDescription, text: str) -> Response:
        for source, output in self._names.outputs.items():
            wanted = self._found[source].partitions if source in self._found else 0
            if output == name and found.partitions < wanted:
                return missing(f"{text}: {source} has {wanted}")
            if output == name and found.partitions > wanted > 0:
                return note(f"{text}: {source} has {wanted}, the others stay empty")
        return ok(text)


def _judged_input(found: TopicDescription, text: str, registered: StreamRow | None) -> Response:
    if registered is None:
        return ok(f"{text}, no stream yet: the first worker registers it")
    if why := foreign(registered.topic, registered.topic_id, found.topic_id):
        return missing(why)
    if found.partitions < registered.partitions:
        return missing(f"{text}: its stream has {registered.partitions}, so it was recreated")
    if found.partitions > registered.partitions:
        return note(f"{text}: its stream has {registered.partitions}, the others are not read")
    if not found.topic_id:
        return note(f"{text}, like its stream, but these brokers have no ids of topics")
    return ok(f"{text}, like its stream")
