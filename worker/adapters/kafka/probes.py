"""What the worker relies on at the brokers. Nothing is written, joined or created."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.adapters.answer import Answer, missing, not_tried, note, ok
from worker.adapters.kafka.broker import AiokafkaBroker
from worker.adapters.kafka.rights import IDEMPOTENT_WRITE, READ, WRITE
from worker.adapters.kafka.topics import Rights
from worker.ports import TopicDescription, TopicPartition

POLL_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Names:
    """The topics of one exchange: input to output, and where the unreadable goes."""

    outputs: Mapping[str, str]
    dead_letters: str

    @property
    def inputs(self) -> Sequence[str]:
        return list(self.outputs)

    @property
    def all(self) -> Sequence[str]:
        return [*self.outputs, *self.outputs.values(), self.dead_letters]


class Brokers:
    """Probes of one Kafka cluster."""

    def __init__(self, broker: AiokafkaBroker, names: Names) -> None:
        self._broker, self._names = broker, names
        self._found: Mapping[str, TopicDescription] = {}
        self._rights = Rights({}, frozenset(), frozenset())

    async def answer(self) -> Answer:
        """Ask for the topics that this client may see."""
        self._rights = await self._broker.rights(self._names.all)
        seen = [name for name, rights in self._rights.topics.items() if rights]
        self._found = await self._broker.describe(seen)
        return ok(f"{len(self._found)} of {len(self._names.all)} topics known")

    async def topic(self, name: str, registered: int | None) -> Answer:
        """Look at one topic. ``registered``: the partitions of its stream, once it has one."""
        found = self._found.get(name)
        if found is None and name in self._rights.topics:
            return missing("this client may not see it")
        if found is None:
            return missing("does not exist: run `parity topics`")
        stamps = "LogAppendTime" if found.log_append_time else "CreateTime"
        text = f"{found.partitions} partitions, {stamps}"
        if name in self._names.inputs:
            return _judged_input(found, text, registered)
        if found.log_append_time:
            return missing(f"{text}: its records carry lane time, set CreateTime")
        return self._judged_output(name, found, text)

    async def rights(self) -> Answer:
        """Look at what this client may do. Writing is not tried: a record would stay."""
        found = self._rights
        # Of the events too: a new owner looks up which of them are there already.
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

    async def reading(self) -> Answer:
        """Read the newest record of the input topics, outside of every group."""
        partitions = [
            TopicPartition(name, number)
            for name in self._names.inputs
            if name in self._found
            for number in range(self._found[name].partitions)
        ]
        if not partitions:
            return not_tried("no input topic")
        async with self._broker.reader(partitions) as reader:
            starts, ends = await reader.starts(), await reader.ends()
            full = [p for p in partitions if starts[p] < ends[p]]
            if not full:
                return note(f"{len(partitions)} partitions, none has a record to read")
            reader.seek(full[0], ends[full[0]] - 1)
            fetched = await reader.poll(POLL_S)
        if not any(fetched.values()):
            return note(f"nothing within {POLL_S:g} s, though {full[0].topic} has records")
        return ok(f"one record of {full[0].topic}[{full[0].partition}]")

    def _judged_output(self, name: str, found: TopicDescription, text: str) -> Answer:
        for source, output in self._names.outputs.items():
            wanted = self._found[source].partitions if source in self._found else 0
            if output == name and found.partitions < wanted:
                return missing(f"{text}: {source} has {wanted}")
            if output == name and found.partitions > wanted > 0:
                return note(f"{text}: {source} has {wanted}, the rest stays empty")
        return ok(text)


def _judged_input(found: TopicDescription, text: str, registered: int | None) -> Answer:
    if not found.log_append_time:
        return missing(f"{text}: set message.timestamp.type=LogAppendTime")
    if registered is None:
        return ok(f"{text}; no stream yet, a worker will register it")
    if found.partitions < registered:
        return missing(f"{text}: its stream has {registered}, it was recreated")
    if found.partitions > registered:
        return note(f"{text}: its stream has {registered}, the rest is not read")
    return ok(f"{text}, as its stream")
