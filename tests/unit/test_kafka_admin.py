"""The descriptions of topics, made from the brokers' answers."""

from types import SimpleNamespace
from typing import Any

from worker.adapters.kafka.admin import _sizes

Partition = tuple[int, int, int, list[int], list[int], list[int]]
"""Error, number, leader, replicas, those in sync, those offline."""


class Client:
    """A client that gets one answer to every request."""

    def __init__(self, *topics: object) -> None:
        self._answer = SimpleNamespace(topics=topics)

    @staticmethod
    def get_random_node() -> int:
        return 1

    async def send(self, _node_id: int, _request: object) -> SimpleNamespace:
        return self._answer


async def test_replicas_out_of_sync_count() -> None:
    """A broker that is down for a while makes no topic unfit."""
    in_sync: Partition = (0, 0, 1, [1, 2, 3], [1, 2, 3], [])
    behind: Partition = (0, 1, 1, [1, 2, 3], [1], [2, 3])
    client: Any = Client((0, "topic", False, [in_sync, behind]))
    assert await _sizes(client, ["topic"]) == {"topic": (2, 3)}


async def test_least_replicated_partition_counts() -> None:
    partitions: list[Partition] = [
        (0, n, 1, replicas, [1], []) for n, replicas in enumerate(([1, 2], [1], [1, 2]))
    ]
    client: Any = Client((0, "topic", False, partitions))
    assert await _sizes(client, ["topic"]) == {"topic": (3, 1)}
