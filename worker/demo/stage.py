"""Where a demo is played: topics, a migrated database, and settings that every process gets.

Servers that were given keep what they held: then names are chosen that nobody has used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from producers.flow import FlowSettings
from worker import app, config
from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.postgres.evidence import Evidence
from worker.adapters.postgres.migrate import migrate
from worker.adapters.system import system
from worker.config import Settings
from worker.demo.options import Options
from worker.domain import ids
from worker.ports import TopicPartition
from worker.topics import find_streams, make_topics

TIMEOUT_S: Final = 30.0
LOOK_EVERY_S: Final = 0.05
SYSTEM: Final = system()


@dataclass(frozen=True, slots=True)
class Stage:
    """What is ready when the first worker starts."""

    settings: Settings
    environment: Mapping[str, str]
    broker: AiokafkaBroker
    partitions: int
    seed: int
    cash_before: int
    backend: str

    @property
    def streams(self) -> tuple[str, str]:
        """The streams of orders and transfers; incarnation 1, so named like their topics."""
        return self.settings.orders_topic, self.settings.transfers_topic

    @property
    def outputs(self) -> tuple[str, str]:
        """The topics of what happened, in the streams' order."""
        return self.settings.events_topic, self.settings.transfer_events_topic

    def partitions_of(self, *topics: str) -> list[TopicPartition]:
        """Return every partition of ``topics``."""
        return [TopicPartition(t, number) for t in topics for number in range(self.partitions)]


async def prepare(options: Options, database_url: str, bootstrap: str) -> Stage:
    """Migrate, make the topics, register the streams. Raises ParityError."""
    await migrate(database_url, timeout_s=TIMEOUT_S)
    async with Evidence(database_url, timeout_s=TIMEOUT_S) as evidence:
        settings, overrides = _named("", options, database_url, bootstrap)
        broker = app.make_broker(settings)
        if await evidence.streams() or await broker.describe((*settings.inputs, *settings.outputs)):
            suffix = f".demo-{SYSTEM.random.getrandbits(32):08x}"
            settings, overrides = _named(suffix, options, database_url, bootstrap)
            broker = app.make_broker(settings)
        await make_topics(settings, broker, options.partitions)
        await find_streams(settings, broker)
        sums = await evidence.sums(settings.orders_topic)
        return Stage(
            settings=settings,
            environment={f"{config.PREFIX}{n.upper()}": str(v) for n, v in overrides.items()},
            broker=broker,
            partitions=options.partitions,
            seed=await _unused_seed(evidence, options.seed),
            cash_before=sums.cash,
            backend=f"PostgreSQL {await evidence.server_version()}",
        )


def _named(
    suffix: str, options: Options, database_url: str, bootstrap: str
) -> tuple[Settings, Mapping[str, object]]:
    given = config.load()
    overrides: dict[str, object] = {
        "kafka_security": given.kafka_security,
        "kafka_ca_file": given.kafka_ca_file,
        "kafka_region": given.kafka_region,
        "database_url": database_url,
        "bootstrap_servers": bootstrap,
        "group_id": f"parity{suffix}",
        "orders_topic": f"parity.orders.v1{suffix}",
        "transfers_topic": f"parity.transfers.v1{suffix}",
        "events_topic": f"parity.events.v1{suffix}",
        "transfer_events_topic": f"parity.transfer-events.v1{suffix}",
        "dead_letters_topic": f"parity.dead-letters.v1{suffix}",
        "incarnation": 1,
        "batch_rows": options.batch_rows,
        "http_port": 0,
        "log_level": "INFO",
    }
    return config.load(**overrides), overrides


async def _unused_seed(evidence: Evidence, seed: int) -> int:
    """Return the first seed whose market maker has no money: accounts belong to no stream."""
    while (await evidence.holdings([_maker(seed)], [], [])).cash:
        seed += 1
    return seed


def _maker(seed: int) -> str:
    return ids.account_key(FlowSettings(seed=seed).maker)
