"""The five topics of an exchange: made, looked at, and the inputs registered as streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.postgres.catalog import register
from worker.adapters.system import sleep
from worker.config import Settings
from worker.domain.state import StreamKind
from worker.errors import BrokerError, ConfigError
from worker.ports import Broker, StreamRow, TopicDescription
from worker.wire import journal

LOOKS_MAX: Final = 16
LOOK_EVERY_MAX_S: Final = 2.0
STAMPS: Final = "message.timestamp.type"


@dataclass(frozen=True, slots=True)
class Streams:
    """The two input streams and where their events go."""

    orders: StreamRow
    transfers: StreamRow
    dead_letter_partitions: int

    def of_topic(self, topic: str) -> StreamRow:
        """Return the stream that comes in by ``topic``."""
        return self.orders if topic == self.orders.topic else self.transfers

    def route(self, settings: Settings, stream: StreamRow, partition: int) -> journal.Route:
        """Return where the events of a lane go."""
        orders = stream.kind is StreamKind.ORDERS
        return journal.Route(
            stream=stream.stream,
            topic=stream.topic,
            partition=partition,
            events_topic=settings.events_topic if orders else settings.transfer_events_topic,
            dead_letters_topic=settings.dead_letters_topic,
            dead_letter_partitions=self.dead_letter_partitions,
        )


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is, and what does not fit."""

    name: str
    partitions: int
    log_append_time: bool
    existed: bool
    problem: str

    @property
    def stamps(self) -> str:
        """Return whose time its records carry."""
        return "LogAppendTime" if self.log_append_time else "CreateTime"

    @property
    def verdict(self) -> str:
        """Return yes, or why not."""
        return f"no: {self.problem}" if self.problem else "yes"

    def as_json(self) -> Mapping[str, object]:
        """Return it for `--json`."""
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
    """Create the topics that are missing, wait until all are known, and look at each.

    Raises BrokerError.
    """
    inputs, outputs = settings.inputs, settings.outputs
    existed: frozenset[str] = frozenset()
    # An event carries lane time, so that publishing it again gives the same bytes.
    for names, stamps in ((inputs, "LogAppendTime"), (outputs, "CreateTime")):
        existed |= await broker.create_topics(
            dict.fromkeys(names, partitions),
            replication_factor=replication,
            configs={STAMPS: stamps},
        )
    found = await _described(broker, (*inputs, *outputs))
    return [
        Topic(
            name,
            topic.partitions,
            topic.log_append_time,
            name in existed,
            _problem(topic, partitions, is_input=name in inputs),
        )
        for name, topic in found.items()
    ]


async def find_streams(settings: Settings, broker: Broker) -> Streams:
    """Check the topics and register their streams. Raises ConfigError on what cannot work."""
    names = (*settings.inputs, *settings.outputs)
    topics = await broker.describe(names)
    missing = [name for name in names if name not in topics]
    if missing:
        raise ConfigError(f"topics {', '.join(missing)} do not exist: run `parity topics`")
    rows = []
    for topic, kind, output in zip(settings.inputs, StreamKind, settings.outputs, strict=False):
        if problem := _problem(topics[topic], 0, is_input=True):
            raise ConfigError(f"topic {topic}: {problem}")
        rows.append(
            await register(
                settings.database_url.get_secret_value(),
                settings.stream(topic),
                topic,
                kind,
                topics[topic].partitions,
                timeout_s=settings.database_timeout_s,
            )
        )
        _check_partitions(rows[-1], topics, output)
    orders, transfers = rows
    return Streams(orders, transfers, topics[settings.dead_letters_topic].partitions)


async def _described(
    broker: AiokafkaBroker, names: Sequence[str]
) -> Mapping[str, TopicDescription]:
    """Return what the broker knows of the topics; new ones are a moment in coming."""
    for tries in range(LOOKS_MAX):
        found = await broker.describe(names)
        if len(found) == len(set(names)):
            return {name: found[name] for name in names}
        await sleep(min(0.05 * 2.0**tries, LOOK_EVERY_MAX_S))
    raise BrokerError("the brokers do not know the new topics yet: run this again")


def _problem(topic: TopicDescription, partitions: int, *, is_input: bool) -> str:
    if is_input and not topic.log_append_time:
        return f"set {STAMPS}=LogAppendTime, which time in this exchange relies on"
    if not is_input and topic.log_append_time:
        return f"set {STAMPS}=CreateTime: its records carry lane time"
    if topic.partitions < partitions:
        return f"has {topic.partitions} partitions of {partitions}"
    return ""


def _check_partitions(
    stream: StreamRow, topics: Mapping[str, TopicDescription], output: str
) -> None:
    found, given = topics[stream.topic].partitions, topics[output].partitions
    if found < stream.partitions:
        raise ConfigError(
            f"topic {stream.topic} has {found} partitions, its stream {stream.stream} was"
            f" registered with {stream.partitions}: it was recreated. RUNBOOK, 'The input topic is"
            " not what it was', brings it back; PARITY_INCARNATION abandons it"
        )
    if given < stream.partitions:
        raise ConfigError(
            f"topic {output} needs the {stream.partitions} partitions of {stream.topic}:"
            f" it has {given}"
        )
