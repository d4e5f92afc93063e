"""The five topics of an exchange, their routes, and the streams registered for the inputs.

A record may be answered by one stream only. A stream of another incarnation begins where no other
stream has answered, or it is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.postgres import catalog
from worker.adapters.system import system
from worker.config import Settings
from worker.domain.state import StreamKind
from worker.errors import BrokerError, ConfigError
from worker.ports import Broker, StreamRow, TopicDescription, TopicPartition
from worker.retry import retry
from worker.topic_rules import INPUT_SETTINGS, OUTPUT_SETTINGS, STAMPS, foreign, problem
from worker.wire import journal

LOOKS_MAX: Final = 32
LOOK_EVERY_MAX_S: Final = 2.0


class _NotYetKnown(BrokerError):
    """A broker does not list topics that were just created."""


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """The output topics of an exchange, and which of them each lane writes to."""

    events: str
    transfer_events: str
    dead_letters: str
    dead_letter_partitions: int

    def events_of(self, kind: StreamKind) -> str:
        """Return the topic of the events of a stream of ``kind``."""
        return self.events if kind is StreamKind.ORDERS else self.transfer_events

    def route(self, stream: str, topic: str, kind: StreamKind, partition: int) -> journal.Route:
        """Return the route of a lane's records. ``topic`` is the input's."""
        return journal.Route(
            stream=stream,
            topic=topic,
            partition=partition,
            events_topic=self.events_of(kind),
            dead_letters_topic=self.dead_letters,
            dead_letter_partitions=self.dead_letter_partitions,
        )


@dataclass(frozen=True, slots=True)
class Streams:
    """The two input streams and the topics of their events."""

    orders: StreamRow
    transfers: StreamRow
    outputs: OutputTopics

    def of_topic(self, topic: str) -> StreamRow:
        """Return the stream of the input ``topic``."""
        return self.orders if topic == self.orders.topic else self.transfers

    def route(self, stream: StreamRow, partition: int) -> journal.Route:
        """Return the route of the lane that reads ``partition`` of ``stream``."""
        return self.outputs.route(stream.stream, stream.topic, stream.kind, partition)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and its problem, which is empty if the topic fits."""

    name: str
    partitions: int
    stamps: str
    """The topic's message.timestamp.type."""
    existed: bool
    problem: str

    @property
    def verdict(self) -> str:
        """Return yes, or no with the problem."""
        return f"no: {self.problem}" if self.problem else "yes"

    def as_json(self) -> Mapping[str, object]:
        """Return the topic for `--json`."""
        return {
            "topic": self.name,
            "partitions": self.partitions,
            "timestamps": self.stamps,
            "existed": self.existed,
            "fits": not self.problem,
            "problem": self.problem or None,
        }


async def make_topics(
    settings: Settings, broker: AiokafkaBroker, partitions: int, replication: int = 1
) -> list[Topic]:
    """Create the missing topics, wait until all are known, and check each. Raises BrokerError."""
    inputs, outputs = settings.inputs, settings.outputs
    existed: frozenset[str] = frozenset()
    for names, wanted in ((inputs, INPUT_SETTINGS), (outputs, OUTPUT_SETTINGS)):
        existed |= await broker.create_topics(
            dict.fromkeys(names, partitions), replication_factor=replication, configs=wanted
        )
    found = await _described(broker, (*inputs, *outputs))
    return [
        Topic(
            name,
            topic.partitions,
            topic.settings[STAMPS],
            name in existed,
            _problem(topic, partitions, is_input=name in inputs),
        )
        for name, topic in found.items()
    ]


async def find_streams(settings: Settings, broker: Broker) -> Streams:
    """Check the topics and register their streams. Raises ConfigError if they do not fit."""
    names = (*settings.inputs, *settings.outputs)
    topics = await broker.describe(names)
    missing = [name for name in names if name not in topics]
    if missing:
        raise ConfigError(f"topics {', '.join(missing)} do not exist: run `parity topics`")
    for name in names:
        if found := problem(topics[name], is_input=name in settings.inputs):
            raise ConfigError(f"topic {name}: {found}")
    rows = []
    for kind, (topic, output) in zip(StreamKind, event_topics(settings).items(), strict=True):
        await _require_unanswered(settings, topic, topics[topic], broker)
        row = await _registered(settings, topic, kind, topics[topic])
        _check_partitions(row, topics, output)
        rows.append(row)
    orders, transfers = rows
    dead_letter_partitions = topics[settings.dead_letters_topic].partitions
    return Streams(orders, transfers, OutputTopics(*settings.outputs, dead_letter_partitions))


async def adopt_topics(settings: Settings, broker: Broker) -> Sequence[StreamRow]:
    """Accept the input topics that an operator has recreated, and return their streams.

    Raises ConfigError if a topic does not reach from the beginning to each lane's cursor, or does
    not end there.
    """
    topics = await broker.describe(settings.inputs)
    adopted = []
    for kind, topic in zip(StreamKind, settings.inputs, strict=True):
        if topic not in topics:
            raise ConfigError(f"topic {topic} does not exist: run `parity topics`")
        row = await _registered(settings, topic, kind, topics[topic])
        found_id = topics[topic].topic_id
        if not foreign(topic, row.topic_id, found_id):
            continue
        url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
        cursors = await catalog.cursors(url, row.stream, timeout_s=timeout_s)
        await _require_cursors(topic, cursors, broker)
        await catalog.adopt(url, row.stream, found_id, timeout_s=timeout_s)
        adopted.append(replace(row, topic_id=found_id))
    return adopted


async def find_outputs(settings: Settings, broker: Broker) -> OutputTopics:
    """Return the output topics. Raises ConfigError if there is none for dead letters."""
    name = settings.dead_letters_topic
    found = await broker.describe((name,))
    if name not in found:
        raise ConfigError(f"topic {name} does not exist: run `parity topics`")
    return OutputTopics(*settings.outputs, found[name].partitions)


def event_topics(settings: Settings) -> Mapping[str, str]:
    """Return the topic of events of each input topic."""
    outputs = OutputTopics(*settings.outputs, dead_letter_partitions=0)
    return dict(zip(settings.inputs, map(outputs.events_of, StreamKind), strict=True))


async def _described(
    broker: AiokafkaBroker, names: Sequence[str]
) -> Mapping[str, TopicDescription]:
    """Return the descriptions of all ``names``. Brokers learn of new topics after a moment."""

    async def described() -> Mapping[str, TopicDescription]:
        found = await broker.describe(names)
        if missing := [name for name in names if name not in found]:
            text = f"topics {', '.join(missing)}: created, but not known to every broker yet"
            raise _NotYetKnown(f"{text}; run `parity topics` again")
        return {name: found[name] for name in names}

    return await retry(
        described, _NotYetKnown, cap_s=LOOK_EVERY_MAX_S, tries=LOOKS_MAX, system=system()
    )


def _problem(topic: TopicDescription, partitions: int, *, is_input: bool) -> str:
    found = problem(topic, is_input=is_input)
    if topic.partitions < partitions:
        few = f"has {topic.partitions} partitions of {partitions}"
        return f"{found}; {few}" if found else few
    return found


async def _registered(
    settings: Settings, topic: str, kind: StreamKind, found: TopicDescription
) -> StreamRow:
    """Return the stream of a topic, registered if it is new. Raises ConfigError."""
    row = await catalog.register(
        settings.database_url.get_secret_value(),
        StreamRow(settings.stream(topic), topic, kind, found.partitions, 0, found.topic_id),
        timeout_s=settings.database_timeout_s,
    )
    if row.kind is not kind:
        raise ConfigError(
            f"stream {row.stream} was registered for {row.kind.lower()}, and the settings name its"
            f" topic for {kind.lower()}: exchange PARITY_ORDERS_TOPIC and PARITY_TRANSFERS_TOPIC"
        )
    return row


async def _require_unanswered(
    settings: Settings, name: str, topic: TopicDescription, broker: Broker
) -> None:
    """Raise ConfigError if the stream would answer records that another stream has answered."""
    stream = settings.stream(name)
    url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
    rivals = [
        rival
        for rival in await catalog.rivals(url, stream, name, timeout_s=timeout_s)
        if not foreign(name, rival.topic_id, topic.topic_id)
    ]
    if not rivals:
        return
    starts = await broker.starts([TopicPartition(name, n) for n in range(topic.partitions)])
    for rival in rivals:
        start = starts.get(TopicPartition(name, rival.partition), rival.next_offset)
        begins = max(start, rival.own_offset)
        if begins < rival.next_offset:
            raise ConfigError(
                f"PARITY_INCARNATION={settings.incarnation}: stream {stream} would execute again"
                f" what {rival.stream} has answered, offsets {begins} to {rival.next_offset - 1} of"
                f" {name}[{rival.partition}]: delete those records or take a new topic, see"
                " RUNBOOK, 'A new stream'"
            )


async def _require_cursors(topic: str, cursors: Mapping[int, int], broker: Broker) -> None:
    """Raise ConfigError unless each partition holds its lane's cursor."""
    partitions = [TopicPartition(topic, number) for number in cursors]
    starts = await broker.starts(partitions)
    for partition in partitions:
        cursor, start = cursors[partition.partition], starts[partition]
        end = (await broker.tail(partition, 0)).end
        if not start <= cursor <= end:
            raise ConfigError(
                f"{topic}[{partition.partition}] holds offsets {start} to {end} and its lane's next"
                f" offset is {cursor}: fill it to the cursor first, as in RUNBOOK"
            )


def _check_partitions(
    stream: StreamRow, topics: Mapping[str, TopicDescription], output: str
) -> None:
    found, given = topics[stream.topic].partitions, topics[output].partitions
    if found < stream.partitions:
        raise ConfigError(
            f"topic {stream.topic} has {found} partitions, but its stream {stream.stream} was"
            f" registered with {stream.partitions}, so it was recreated. Restore it as in RUNBOOK,"
            " 'The input topic is not what it was', or abandon it by PARITY_INCARNATION"
        )
    if given < stream.partitions:
        raise ConfigError(
            f"topic {output} has {given} partitions: it needs the {stream.partitions} partitions of"
            f" {stream.topic}, create it again"
        )
