"""Descriptions, creation and rights of topics, asked from the brokers."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from worker.adapters.kafka import rights
from worker.adapters.kafka.deadline import (
    NoBrokers,
    answered_within,
    require_brokers,
    stop_within,
)
from worker.adapters.kafka.identity import topic_ids
from worker.adapters.kafka.settings import Deadlines
from worker.adapters.system import system
from worker.errors import BrokerError
from worker.ports import TopicDescription
from worker.retry import retry
from worker.topic_rules import DESCRIBED, LOG_APPEND_TIME, STAMPS

_TOPIC: Final = 2
"""Kafka's number of topics among the resources that have a configuration."""
_REPLICAS: Final = 3
"""The place of all replicas in the description of a partition. Those in sync follow."""
BOOTSTRAPS_MAX: Final = 16
BOOTSTRAP_PAUSE_MAX_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Rights:
    """The operations that the brokers allow this client, by their names in Kafka."""

    topics: Mapping[str, frozenset[str]]
    cluster: frozenset[str]
    group: frozenset[str]


class Admin:
    """Requests about topics. Each opens its own connection, so that no answer can be stale."""

    def __init__(self, settings: Mapping[str, Any], deadlines: Deadlines) -> None:
        self._settings = settings
        self._deadlines = deadlines

    async def describe(self, topics: Sequence[str]) -> dict[str, TopicDescription]:
        """Return the descriptions of those ``topics`` that exist. Creates none."""
        async with self._client("describing topics") as client:
            sizes = await _sizes(client, topics)
            settings = await _settings(client, list(sizes))
            ids = await topic_ids(client, list(sizes))
        return {
            topic: TopicDescription(
                partitions, settings[topic], ids.get(topic, ""), replicas=replicas
            )
            for topic, (partitions, replicas) in sizes.items()
            if topic in settings
        }

    async def create(
        self, topics: Mapping[str, int], replication_factor: int, configs: Mapping[str, str]
    ) -> frozenset[str]:
        """Create the missing ``topics`` (name to partitions) and return those that existed."""
        config = list({STAMPS: LOG_APPEND_TIME, **configs}.items())
        wanted: list[Any] = [
            (topic, partitions, replication_factor, [], config)
            for topic, partitions in topics.items()
        ]
        async with self._client("creating topics") as client:
            request = CreateTopicsRequest(wanted, int(self._deadlines.call_s * 1_000), False)
            controller = client.cluster.controller
            node_id = controller.nodeId if controller else client.get_random_node()
            answer = await client.send(node_id, request)
            return frozenset(
                topic
                for topic, code, *message in answer.topic_errors
                if _is(code, TopicAlreadyExistsError, topic, *message)
            )

    async def rights(self, topics: Sequence[str], group_id: str) -> Rights:
        """Return the rights of this client. Tries none of them."""
        async with self._client("asking for rights") as client:
            of_topics, of_cluster = await rights.of_topics(client, topics)
            return Rights(of_topics, of_cluster, await rights.of_group(client, group_id))

    @asynccontextmanager
    async def _client(self, what: str) -> AsyncIterator[AIOKafkaClient]:
        client, connected = AIOKafkaClient(**self._settings), False
        require_brokers(client)
        try:
            async with answered_within(self._deadlines.call_s, what):
                # A broker that has just started lists no brokers for a moment, not even itself.
                await retry(
                    client.bootstrap,
                    NoBrokers,
                    cap_s=BOOTSTRAP_PAUSE_MAX_S,
                    tries=BOOTSTRAPS_MAX,
                    system=system(),
                )
                connected = True
                yield client
        except BrokerError as error:
            if connected or isinstance(error, NoBrokers):
                raise
            servers = self._settings["bootstrap_servers"]
            raise BrokerError(
                f"no answer from {servers} (PARITY_BOOTSTRAP_SERVERS) within"
                f" {self._deadlines.call_s:g} s: start the broker or correct the address ({error})"
            ) from error
        finally:
            await stop_within(1.0, client.close())


async def _sizes(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the numbers of partitions, and of replicas where a partition has fewest."""
    request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
    answer = await client.send(client.get_random_node(), request)
    return {
        topic: (len(partitions), min((len(each[_REPLICAS]) for each in partitions), default=1))
        for code, topic, _, partitions in answer.topics
        if not _is(code, UnknownTopicOrPartitionError, topic)
    }


async def _settings(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    wanted = [(_TOPIC, topic, list(DESCRIBED)) for topic in topics]
    answer = await client.send(client.get_random_node(), DescribeConfigsRequest(wanted, False))
    return {
        topic: {name: value for name, value, *_ in entries}
        for code, message, _, topic, entries in answer.resources
        if not _is(code, UnknownTopicOrPartitionError, topic, message)
    }


def _is(code: int, error: type[KafkaError], *details: str) -> bool:
    """Return whether ``code`` is that error. Raises any other error."""
    found = for_code(code)
    if found not in {NoError, error}:
        raise found(*details)
    return found is error
