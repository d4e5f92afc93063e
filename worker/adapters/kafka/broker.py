"""`ports.Broker` for a real cluster."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.adapters.kafka.admin import Admin, Rights
from worker.adapters.kafka.batches import require_codecs
from worker.adapters.kafka.consumer import AiokafkaConsumer
from worker.adapters.kafka.producer import AiokafkaProducer
from worker.adapters.kafka.reader import AiokafkaReader
from worker.adapters.kafka.settings import (
    METADATA_AGE_MAX_MS,
    RETRY_BACKOFF_MS,
    Deadlines,
    Security,
    silence_secrets,
)
from worker.ports import Assignment, TopicDescription, TopicEnd, TopicPartition


class AiokafkaBroker:
    """Implements `ports.Broker`. Its construction needs no running event loop.

    ``client_id`` decides which lanes this worker gets. It should be the same after a restart, and
    differ between workers.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        group_id: str,
        client_id: str,
        *,
        security: Security | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        """Raise ConfigError if batches of some codec could not be read."""
        require_codecs()
        silence_secrets()
        self._group_id = group_id
        self._deadlines = deadlines or Deadlines()
        self._settings: dict[str, Any] = {
            "bootstrap_servers": bootstrap_servers,
            "client_id": client_id,
            "metadata_max_age_ms": METADATA_AGE_MAX_MS,
            "retry_backoff_ms": RETRY_BACKOFF_MS,
            **(security or Security()).arguments(),
        }
        self._admin = Admin(self._settings, self._deadlines)

    async def consumer(self, topics: Sequence[str], assignment: Assignment) -> AiokafkaConsumer:
        """Return a member of the group. It is not started yet."""
        settings = {**self._settings, "group_id": self._group_id}
        return AiokafkaConsumer(settings, topics, assignment, self._deadlines)

    async def producer(self) -> AiokafkaProducer:
        """Return a started idempotent producer, for one lane."""
        producer = AiokafkaProducer(self._settings, self._deadlines)
        await producer.start()
        return producer

    def reader(self, partitions: Iterable[TopicPartition]) -> AiokafkaReader:
        """Return a reader of whole partitions. Open it with ``async with``."""
        return AiokafkaReader(self._settings, partitions, self._deadlines)

    async def describe(self, topics: Sequence[str]) -> Mapping[str, TopicDescription]:
        """Return the descriptions of those ``topics`` that exist. A new one may be missing."""
        return await self._admin.describe(topics)

    async def create_topics(
        self,
        topics: Mapping[str, int],
        *,
        replication_factor: int,
        configs: Mapping[str, str] | None = None,
    ) -> frozenset[str]:
        """Create topics (name to partitions) and return those that existed, which do not change.

        New topics have LogAppendTime unless ``configs`` says otherwise. Topics of events need
        CreateTime, since their records carry lane time.
        """
        return await self._admin.create(topics, replication_factor, configs or {})

    async def tail(self, partition: TopicPartition, offsets: int) -> TopicEnd:
        """Return the last ``offsets`` of a partition, read through a separate connection.

        Includes records after the beginning of an open transaction, which some other client left.
        No worker's records are part of one. Raises BrokerError by the deadline, also if there is no
        such partition.
        """
        settings = {**self._settings, "isolation_level": "read_uncommitted"}
        async with AiokafkaReader(settings, [partition], self._deadlines) as reader:
            return await reader.tail(partition, offsets)

    async def starts(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the first offset of each partition, asked through a separate connection."""
        async with self.reader(partitions) as reader:
            return await reader.starts()

    async def rights(self, topics: Sequence[str]) -> Rights:
        """Return this client's rights to topics, its group and the cluster. Tries none."""
        return await self._admin.rights(topics, self._group_id)
