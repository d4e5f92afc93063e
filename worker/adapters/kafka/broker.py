"""`ports.Broker` for a real cluster."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.adapters.kafka.consumer import AiokafkaConsumer
from worker.adapters.kafka.producer import AiokafkaProducer
from worker.adapters.kafka.reader import AiokafkaReader
from worker.adapters.kafka.settings import (
    METADATA_AGE_MAX_MS,
    RETRY_BACKOFF_MS,
    Compression,
    Deadlines,
    Security,
    require_codec,
    silence_secrets,
)
from worker.adapters.kafka.topics import Rights, Topics
from worker.ports import Assignment, Tail, TopicDescription, TopicPartition


class AiokafkaBroker:
    """Implements `ports.Broker`. Needs a running loop only when it is asked for something.

    ``client_id`` should be the same after a restart and differ between workers: it decides who
    gets which lane.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        group_id: str,
        client_id: str,
        *,
        security: Security | None = None,
        deadlines: Deadlines | None = None,
        compression: Compression | None = None,
    ) -> None:
        """Raise ConfigError when ``compression`` cannot be done here."""
        require_codec(compression)
        silence_secrets()
        self._group_id = group_id
        self._compression = compression
        self._deadlines = deadlines or Deadlines()
        self._settings: dict[str, Any] = {
            "bootstrap_servers": bootstrap_servers,
            "client_id": client_id,
            "metadata_max_age_ms": METADATA_AGE_MAX_MS,
            "retry_backoff_ms": RETRY_BACKOFF_MS,
            **(security or Security()).arguments(),
        }
        self._topics = Topics(self._settings, self._deadlines)

    async def consumer(self, topics: Sequence[str], assignment: Assignment) -> AiokafkaConsumer:
        """Return a member of the group that is not started yet."""
        settings = {**self._settings, "group_id": self._group_id}
        return AiokafkaConsumer(settings, topics, assignment, self._deadlines)

    async def producer(self) -> AiokafkaProducer:
        """Return a started idempotent producer, for one lane."""
        settings = {**self._settings, "compression_type": self._compression}
        producer = AiokafkaProducer(settings, self._deadlines)
        await producer.start()
        return producer

    def reader(self, partitions: Iterable[TopicPartition]) -> AiokafkaReader:
        """Return a reader of whole partitions, to be opened with ``async with``."""
        return AiokafkaReader(self._settings, partitions, self._deadlines)

    async def describe(self, topics: Sequence[str]) -> Mapping[str, TopicDescription]:
        """Return what exists of ``topics``; a new topic may be missing for a moment."""
        return await self._topics.describe(topics)

    async def create_topics(
        self,
        topics: Mapping[str, int],
        *,
        replication_factor: int,
        configs: Mapping[str, str] | None = None,
    ) -> frozenset[str]:
        """Create topics (name to partitions) and return those that existed, which stay as they are.

        They stamp records with LogAppendTime unless ``configs`` says CreateTime, as topics of
        events must: their records carry lane time.
        """
        return await self._topics.create(topics, replication_factor, configs or {})

    async def tail(self, partition: TopicPartition, offsets: int) -> Tail:
        """Return the last ``offsets`` of a partition, read by a connection of its own.

        Also what lies behind a transaction that somebody left open: no worker's records are part
        of one. Raises BrokerError by the deadline, also when there is no such partition.
        """
        settings = {**self._settings, "isolation_level": "read_uncommitted"}
        async with AiokafkaReader(settings, [partition], self._deadlines) as reader:
            return await reader.tail(partition, offsets)

    async def rights(self, topics: Sequence[str]) -> Rights:
        """Return what this client may do with topics, its group and the cluster. Tries nothing."""
        return await self._topics.rights(topics, self._group_id)

    async def close(self) -> None:
        """Do nothing: consumers and producers are closed by whoever asked for them."""
