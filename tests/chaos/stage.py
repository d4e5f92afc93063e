"""The exchange that is broken on purpose: three brokers, PostgreSQL, workers, load.

Workers connect to the brokers through gates and to the database through a proxy. The checks and the
load connect directly.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import asyncpg
from pydantic import SecretStr

from tests.chaos.detour import Gates
from tests.support.eventually import eventually
from tests.support.pgproxy import PgProxy
from tests.support.system import System
from worker import config, topic_rules
from worker.embedded import EmbeddedError, EmbeddedKafka, EmbeddedPostgres
from worker.embedded.crew import Crew
from worker.embedded.process import Child
from worker.exit_codes import UNDRAINED, USAGE

BROKERS: Final = 3
WORKERS: Final = 3
PARTITIONS: Final = 4
DATABASE_TIMEOUT_S: Final = 5.0
KAFKA_TIMEOUT_S: Final = 2.5
"""Shorter than many outages, so that sends fail and are not only late."""
DRAIN_S: Final = 12.0
END_S: Final = 45.0
"""Time for a worker to end after SIGTERM, whatever is broken at that time."""
LOAD_S: Final = 600.0
REFUSED_SETTINGS: Final = tuple(
    name.encode() for name in (topic_rules.STAMPS, topic_rules.BATCH_BYTES)
)
"""The settings that `Havoc` gets wrong."""
LOADS_MAX: Final = 20
"""Attempts to publish a part of a flow. More failures have another cause than the faults."""


@dataclass
class Stage:
    """Everything that can break, with the means to break it."""

    kafka: EmbeddedKafka
    gates: Gates
    postgres: EmbeddedPostgres
    database_url: str
    proxy: PgProxy
    system: System
    crew: Crew
    slots: list[Child] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    started: Counter[str] = field(default_factory=Counter)

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["Stage"]:
        """Start everything, and stop everything whatever happens."""
        async with AsyncExitStack() as stack:
            postgres, kafka = await asyncio.gather(
                asyncio.to_thread(EmbeddedPostgres.start),
                asyncio.to_thread(EmbeddedKafka.start, brokers=BROKERS, detours=True),
            )
            stack.callback(postgres.stop)
            stack.callback(kafka.stop)
            url = await asyncio.to_thread(postgres.create_database, "chaos")
            proxy = await stack.enter_async_context(PgProxy.before(url))
            gates = await stack.enter_async_context(Gates.before(kafka))
            system = await stack.enter_async_context(
                System.start(url, kafka.bootstrap, "chaos-", partitions=PARTITIONS)
            )
            crew = stack.enter_context(Crew(_environment(system, gates.bootstrap, proxy.url)))
            made = cls(kafka, gates, postgres, url, proxy, system, crew)
            made.slots = [made.start_worker() for _ in range(WORKERS)]
            yield made

    # Workers.

    def start_worker(self) -> Child:
        """Start one more worker."""
        self.started["worker"] += 1
        return self.crew.start(f"worker-{self.started['worker']:03}", "tests.chaos.worker", "run")

    def kill(self, slot: int) -> None:
        """Kill a worker, without a chance to finish, and start another in its place."""
        self.slots[slot].end(signal.SIGKILL, deadline_s=END_S)
        self.slots[slot] = self.start_worker()

    async def ask_to_stop(self, worker: Child) -> None:
        """Send SIGTERM to a worker, which must exit in time, drained unless a fault prevents it."""
        worker.send(signal.SIGTERM)
        try:
            await eventually(partial(_has_ended, worker), END_S)
        except AssertionError:
            worker.end(signal.SIGKILL, deadline_s=END_S)
        # A worker that has not yet installed its handler, or is about to end, dies from the signal.
        died_young = worker.exit_code == -signal.SIGTERM and (
            not self.has_begun(worker) or self.refuses_a_topic(worker)
        )
        refused = worker.exit_code == USAGE and self.refuses_a_topic(worker)
        if worker.exit_code not in {0, UNDRAINED} and not (died_young or refused):
            text = f"got SIGTERM and exited with {worker.exit_code}"
            self.complaints.append(str(worker.error(text)))

    @staticmethod
    def has_begun(worker: Child) -> bool:
        """Return whether a worker has logged anything. Before that, it handles no signal."""
        return worker._log.stat().st_size > 0

    @staticmethod
    def refuses_a_topic(worker: Child) -> bool:
        """Return whether a worker has said that it cannot start with a topic's settings."""
        *_, last = [b"", *worker._log.read_bytes().splitlines()]
        return b"command_failed" in last and any(name in last for name in REFUSED_SETTINGS)

    def check_workers(self) -> None:
        """Record a worker that has ended by itself, for which no outage is a reason."""
        for slot, worker in enumerate(self.slots):
            if worker.exit_code == USAGE and self.refuses_a_topic(worker):
                self.slots[slot] = self.start_worker()
            elif worker.exit_code is not None:
                text = f"ended by itself with {worker.exit_code}"
                self.complaints.append(str(worker.error(text)))
                self.slots[slot] = self.start_worker()

    # Load.

    async def load(self, seed: int, *options: str) -> None:
        """Publish a part of a seed's flow until all of it is acknowledged. Repeats keep the ids."""
        settings = self.system.settings
        for _ in range(LOADS_MAX):
            self.started["load"] += 1
            child = self.crew.start(
                f"load-{self.started['load']:03}",
                "producers.load",
                "--bootstrap",
                settings.bootstrap_servers,
                "--orders-topic",
                settings.orders_topic,
                "--transfers-topic",
                settings.transfers_topic,
                "--seed",
                str(seed),
                *options,
            )
            try:
                await eventually(partial(_has_ended, child), LOAD_S)
            finally:
                child.send(signal.SIGTERM)
            if child.exit_code == 0:
                return
            self.started["load again"] += 1
        raise EmbeddedError(f"seed {seed} was not published in {LOADS_MAX} tries")

    # The end.

    async def look_at_database(self) -> None:
        """Connect again, because the old connection may have broken with the server."""
        self.system.database.terminate()
        self.system.database = await asyncpg.connect(self.database_url)


def _has_ended(child: Child) -> bool:
    return child.exit_code is not None


def _environment(system: System, bootstrap: str, database_url: str) -> Mapping[str, str]:
    changed = {
        "bootstrap_servers": bootstrap,
        "database_url": SecretStr(database_url),
        "database_timeout_s": DATABASE_TIMEOUT_S,
        "kafka_timeout_s": KAFKA_TIMEOUT_S,
        "drain_s": DRAIN_S,
        "http_port": 0,
        "log_json": True,
    }
    return config.environment(system.settings.model_copy(update=changed))
