"""The rights of this client, asked from the brokers so that nothing is written or joined.

aiokafka's own requests have versions without this answer. These are the next ones of the protocol.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IncompatibleBrokerVersion,
    NoError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from worker.adapters.system import system
from worker.retry import retry

LOOKUPS_MAX: Final = 24
LOOKUP_PAUSE_MAX_S: Final = 0.5
READ, WRITE, DESCRIBE, IDEMPOTENT_WRITE = "READ", "WRITE", "DESCRIBE", "IDEMPOTENT_WRITE"
_DENIED: Final = (GroupAuthorizationFailedError, TopicAuthorizationFailedError)
_NOT_YET: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
_BITS: Final = {READ: 3, WRITE: 4, DESCRIBE: 8, IDEMPOTENT_WRITE: 12}
_TEXT: Final = String("utf-8")


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _GroupsStruct(RequestStruct):
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_authorized_operations", Boolean))


class OneVersion:
    """A request of one version, with the interface of aiokafka's `Request`."""

    def __init__(self, struct: type[RequestStruct], *values: object) -> None:
        self._struct, self._values = struct, values

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> RequestStruct:
        """Return the message to send. Raises IncompatibleBrokerVersion."""
        key, version = self._struct.API_KEY, self._struct.API_VERSION
        first, last = versions.get(key, (0, 0))
        if not first <= version <= last:
            raise IncompatibleBrokerVersion(f"version {version} of request {key}")
        return self._struct(*self._values)


async def of_topics(
    client: AIOKafkaClient, topics: Sequence[str]
) -> tuple[Mapping[str, frozenset[str]], frozenset[str]]:
    """Return the rights to each topic and to the cluster.

    A topic that does not exist is left out. A topic that is hidden from this client has no rights.
    """
    request = OneVersion(_MetadataStruct, list(topics), False, True, True)
    answer = await client.send(client.get_random_node(), request)
    found = {
        topic: frozenset[str]() if for_code(code) in _DENIED else _named(operations)
        for code, topic, _, _, operations in answer.topics
        if for_code(code) is not UnknownTopicOrPartitionError
    }
    return found, _named(answer.authorized_operations)


async def of_group(client: AIOKafkaClient, group_id: str) -> frozenset[str]:
    """Return the rights to a consumer group. The first group of a cluster takes some seconds."""
    try:
        return await retry(
            partial(_of_group, client, group_id),
            _NOT_YET,
            cap_s=LOOKUP_PAUSE_MAX_S,
            tries=LOOKUPS_MAX,
            system=system(),
        )
    except _DENIED:
        return frozenset()


async def _of_group(client: AIOKafkaClient, group_id: str) -> frozenset[str]:
    node_id = await client.coordinator_lookup(CoordinationType.GROUP, group_id)
    answer: Any = await client.send(node_id, OneVersion(_GroupsStruct, [group_id], True))
    code, *_, operations = answer.groups[0]
    if (error := for_code(code)) is not NoError:
        raise error(group_id)
    return _named(operations)


def _named(operations: int) -> frozenset[str]:
    return frozenset(name for name, bit in _BITS.items() if operations >> bit & 1)
