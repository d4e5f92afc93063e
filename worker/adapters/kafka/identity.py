"""The ids of topics. A topic that was deleted and recreated has the old name and another id.

aiokafka's metadata requests end before version 10, the first with ids. This is that version.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final
from uuid import UUID

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    NoError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)
from typing_extensions import override

from worker.adapters.kafka.rights import OneVersion

_TEXT: Final = CompactString("utf-8")
_NO_ID: Final = UUID(int=0)


class _Uuid(AbstractType[UUID]):
    """Sixteen bytes."""

    @classmethod
    @override
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    @override
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", _TEXT),
                ("port", Int32),
                ("rack", _TEXT),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequest(RequestStruct):
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("topic", _TEXT), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


async def topic_ids(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, str]:
    """Return the ids of those ``topics`` that exist. Brokers before Kafka 2.8 have none."""
    asked: list[tuple[UUID, str, dict[int, bytes]]] = [(_NO_ID, topic, {}) for topic in topics]
    request = OneVersion(_MetadataRequest, asked, False, False, False, {})
    try:
        answer: Any = await client.send(client.get_random_node(), request)
    except IncompatibleBrokerVersion:
        return {}
    found: dict[str, str] = {}
    for code, topic, topic_id, *_ in answer.topics:
        error = for_code(code)
        if error not in {NoError, UnknownTopicOrPartitionError}:
            raise error(topic)
        if error is NoError and topic_id != _NO_ID:
            found[topic] = str(topic_id)
    return found
