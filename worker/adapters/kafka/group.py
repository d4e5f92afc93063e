"""A consumer's part in its group: the assignor, the listener, and the end."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from typing_extensions import override

from worker.adapters.kafka.deadline import cancelled, stop_within

_COORDINATOR_TASKS: Final = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task")


def round_robin(receive: Callable[[Iterable[KafkaPartition]], None]) -> type[Any]:
    """Return a round-robin assignor that passes its assignments to ``receive``.

    aiokafka's sticky assignor keeps its state in the class, shared by all consumers of a process.
    It would save nothing, as the eager protocol revokes every partition anyway. Round robin sorts
    members by id, which begins with the client's id, so stable client ids keep lanes in place.
    """

    class Assignor(RoundRobinPartitionAssignor):
        @classmethod
        @override
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            receive(assignment.partitions())

    return Assignor


class Listener(ConsumerRebalanceListener):
    """Passes on aiokafka's two calls, whose errors aiokafka would only log (A3)."""

    def __init__(
        self,
        assigned: Callable[[Iterable[KafkaPartition]], Awaitable[None]],
        revoked: Callable[[Iterable[KafkaPartition]], Awaitable[None]],
    ) -> None:
        self._assigned = assigned
        self._revoked = revoked

    @override
    async def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        await self._assigned(assigned)

    @override
    async def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        await self._revoked(revoked)


async def stop_consumer(kafka: AIOKafkaConsumer, seconds: float) -> None:
    """Stop a consumer within ``seconds`` and a second or two, and close all its connections.

    aiokafka's ``stop`` leaves them open if it meets a fetch that pauses after a failure (A11).
    """
    await stop_within(seconds, kafka.stop())
    await sever(kafka)


async def sever(kafka: AIOKafkaConsumer) -> None:
    """Close the connections and tasks that an unfinished ``stop`` left.

    Without a ``stop`` before, the member dies silently, like a killed process.
    """
    coordinator, fetcher = getattr(kafka, "_coordinator", None), getattr(kafka, "_fetcher", None)
    await cancelled(
        [
            *(getattr(coordinator, name, None) for name in _COORDINATOR_TASKS),
            getattr(fetcher, "_fetch_task", None),
            *getattr(fetcher, "_pending_tasks", ()),
        ]
    )
    await stop_within(1.0, kafka._client.close())  # noqa: SLF001
