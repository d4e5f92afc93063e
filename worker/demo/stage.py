"""Prepares the stage of a demo: an exchange of its own, also on servers that are in use."""

from dataclasses import dataclass

from producers.flow import FlowSettings
from worker import app, config
from worker.adapters.postgres.evidence import Evidence
from worker.config import Settings
from worker.demo.options import Options
from worker.domain import ids
from worker.embedded.together import Servers
from worker.stage.exchange import Stage, evidence_of, make_tables
from worker.stage.program import SYSTEM
from worker.topics import make_topics


@dataclass(frozen=True, slots=True)
class Opening:
    """An exchange before the first worker of a demo starts."""

    stage: Stage
    seed: int
    cash: int
    backend: str


async def open_stage(options: Options, servers: Servers) -> Opening:
    """Migrate, make topics with names that nothing else uses, register. Raises ParityError."""
    settings = _named("", options, servers)
    await make_tables(settings)
    if await _is_used(settings):
        settings = _named(f".demo-{SYSTEM.random.getrandbits(32):08x}", options, servers)
    await make_topics(settings, app.make_broker(settings), options.partitions)
    stage = await Stage.find(settings)
    async with evidence_of(settings) as evidence:
        return Opening(
            stage,
            seed=await _unused_seed(evidence, options.seed),
            cash=(await evidence.sums(settings.orders_topic)).cash,
            backend=f"PostgreSQL {await evidence.server_version()}",
        )


async def _is_used(settings: Settings) -> bool:
    """Return whether the database has streams, or the brokers have one of these topics."""
    async with evidence_of(settings) as evidence:
        streams = await evidence.streams()
    topics = (*settings.inputs, *settings.outputs)
    return bool(streams or await app.make_broker(settings).describe(topics))


def _named(suffix: str, options: Options, servers: Servers) -> Settings:
    return config.load(
        database_url=servers.database_url,
        bootstrap_servers=servers.bootstrap,
        group_id=f"parity{suffix}",
        orders_topic=f"parity.orders.v1{suffix}",
        transfers_topic=f"parity.transfers.v1{suffix}",
        events_topic=f"parity.events.v1{suffix}",
        transfer_events_topic=f"parity.transfer-events.v1{suffix}",
        dead_letters_topic=f"parity.dead-letters.v1{suffix}",
        incarnation=1,
        batch_rows=options.batch_rows,
        http_port=0,
        log_level="INFO",
    )


async def _unused_seed(evidence: Evidence, seed: int) -> int:
    """Return the first seed whose market maker has no money: accounts belong to no stream."""
    while (await evidence.holdings([_maker(seed)], [], [])).cash:
        seed += 1
    return seed


def _maker(seed: int) -> str:
    return ids.account_key(FlowSettings(seed=seed).maker)
