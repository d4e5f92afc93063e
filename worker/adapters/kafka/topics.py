"""What the brokers say of topics, and how to make them."""

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
from worker.adapters.kafka.deadline import answered_within, stop_within
from worker.adapters.kafka.settings import Deadlines
from worker.ports import TopicDescription

TIMESTAMP_TYPE: Final = "message.timestamp.type"
LOG_APPEND_TIME: Final = "LogAppendTime"
_TOPIC: Final = 2
"""The code of a topic among the resources that have a configuration."""


@dataclass(frozen=True, slots=True)
class Rights:
    """The operations that the brokers allow, by their names in Kafka."""

    topics: Mapping[str, frozenset[str]]
    cluster: frozenset[str]
    group: frozenset[str]


class Topics:
    """Asks with a connection of its own each time, so that nothing can go stale."""

    def __init__(self, settings: Mapping[str, Any], deadlines: Deadlines) -> None:
        self._settings = settings
        self._deadlines = deadlines

    async def describe(self, topics: Sequence[str]) -> dict[str, TopicDescription]:
        """Return what exists of ``topics``. Creates nothing."""
        async with self._client("describing topics") as client:
            partitions = await _partitions(client, topics)
            types = await _timestamp_types(client, list(partitions))
        return {
            topic: TopicDescription(count, types[topic] == LOG_APPEND_TIME)
            for topic, count in partitions.items()
            if topic in types
        }

    async def create(
        self, topics: Mapping[str, int], replication_factor: int, configs: Mapping[str, str]
    ) -> frozenset[str]:
        """Create what is missing of ``topics`` (name to partitions); return those that existed."""
        config = list({TIMESTAMP_TYPE: LOG_APPEND_TIME, **configs}.items())
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
        """Return what this client may do. Tries nothing."""
        async with self._client("asking for rights") as client:
            of_topics, of_cluster = await rights.of_topics(client, topics)
            return Rights(of_topics, of_cluster, await rights.of_group(client, group_id))

    @asynccontextmanager
    async def _client(self, what: str) -> AsyncIterator[AIOKafkaClient]:
        client = AIOKafkaClient(**self._settings)
        try:
            async with answered_within(self._deadlines.call_s, what):
                await client.bootstrap()
                yield client
        finally:
            await stop_within(1.0, client.close())


async def _partitions(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, int]:
    request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
    answer = await client.send(client.get_random_node(), request)
    return {
        topic: len(partitions)
        for code, topic, _, partitions in answer.topics
        if not _is(code, UnknownTopicOrPartitionError, topic)
    }


async def _timestamp_types(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, str]:
    wanted = [(_TOPIC, topic, [TIMESTAMP_TYPE]) for topic in topics]
    answer = await client.send(client.get_random_node(), DescribeConfigsRequest(wanted, False))
    return {
        topic: entries[0][1]
        for code, message, _, topic, entries in answer.resources
        if not _is(code, UnknownTopicOrPartitionError, topic, message)
    }


def _is(code: int, error: type[KafkaError], *details: str) -> bool:
    """Whether ``code`` is that error. Raises any other."""
    found = for_code(code)
    if found not in {NoError, error}:
        raise found(*details)
    return found is error
