"""An exchange to play on: tables, topics and streams, its workers, and how to read and write it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from producers.client import OrderPublisher
from worker import app, config
from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.postgres.evidence import Evidence
from worker.adapters.postgres.migrate import migrate
from worker.config import Settings
from worker.embedded.crew import Crew
from worker.errors import ParityError
from worker.ports import TopicPartition
from worker.topics import OutputTopics, Streams, find_streams, make_topics

PARTITIONS: Final = 12
WORKERS: Final = 2
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    """An exchange with tables, topics and registered streams."""

    settings: Settings
    broker: AiokafkaBroker
    streams: Streams

    @classmethod
    async def find(cls, settings: Settings) -> "Stage":
        """Return the stage that the settings name. Raises ConfigError, BrokerError, StoreError."""
        broker = app.make_broker(settings)
        return cls(settings, broker, await find_streams(settings, broker))

    @property
    def names(self) -> tuple[str, str]:
        """Return the names of the streams: orders, transfers."""
        return self.streams.orders.stream, self.streams.transfers.stream

    @property
    def outputs(self) -> OutputTopics:
        """Return where the events go."""
        return self.streams.outputs

    @property
    def inputs(self) -> list[TopicPartition]:
        """Return every input partition."""
        return self._partitions(*self.settings.inputs)

    @property
    def events(self) -> list[TopicPartition]:
        """Return every partition of events."""
        return self._partitions(self.outputs.events, self.outputs.transfer_events)

    def _partitions(self, orders: str, transfers: str) -> list[TopicPartition]:
        counts = {orders: self.streams.orders, transfers: self.streams.transfers}
        return [TopicPartition(t, n) for t, s in counts.items() for n in range(s.partitions)]

    def publisher(self) -> OrderPublisher:
        """Return a publisher of commands. Use with ``async with``."""
        return OrderPublisher(
            self.settings.bootstrap_servers,
            orders_topic=self.settings.orders_topic,
            transfers_topic=self.settings.transfers_topic,
            orders_partitions=self.streams.orders.partitions,
            transfers_partitions=self.streams.transfers.partitions,
            security=app.make_security(self.settings).arguments(),
        )


async def prepare(settings: Settings, partitions: int = PARTITIONS) -> None:
    """Migrate the database and create the topics. Raises ParityError."""
    await make_tables(settings)
    await make_topics(settings, app.make_broker(settings), partitions)


async def make_tables(settings: Settings) -> None:
    """Migrate the database. Raises StoreError."""
    await migrate(settings.database_url.get_secret_value(), timeout_s=timeout_s(settings))


def evidence_of(settings: Settings) -> Evidence:
    """Return a reader of the books. Use with ``async with``."""
    return Evidence(settings.database_url.get_secret_value(), timeout_s=timeout_s(settings))


def timeout_s(settings: Settings) -> float:
    """Return how long a look at the books may take: it reads more than a lane does."""
    return max(settings.database_timeout_s, TIMEOUT_S)


@contextmanager
def workers(settings: Settings, say: Callable[[str], None]) -> Iterator[Crew]:
    """Start two workers. Their last log lines are shown if the body fails."""
    with Crew(config.environment(settings)) as crew:
        for number in range(1, WORKERS + 1):
            crew.start_worker(f"worker-{number}")
        try:
            yield crew
        except ParityError:
            say(crew.tails())
            raise
