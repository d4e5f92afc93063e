"""The attacked exchange: fresh tables and topics, and two workers that are processes.

A worker that ends is started again, as a supervisor does. Its end is counted.
"""

import asyncio
import re
import resource
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final, Self

from aiokafka.admin import AIOKafkaAdminClient

from tests.hostile.gauges import forget_peak, peak_kib
from tests.support import hostile
from tests.support.eventually import eventually
from tests.support.system import System
from worker import config
from worker.adapters.postgres.books import Books
from worker.audit.proof import prove
from worker.domain.ids import partition_of
from worker.embedded import EmbeddedKafka
from worker.embedded.crew import Crew
from worker.ports import TopicPartition

PARTITIONS: Final = 4
WORKERS: Final = 2
ATTACKED: Final = partition_of(hostile.OPEN, PARTITIONS)
"""The partition of orders that is attacked, which is that of most of the hostile corpus."""
MIB: Final = 1_048_576
READY_S: Final = 60.0
PREPARED_S: Final = 240.0
PROOF_S: Final = 60.0
LOOK_EVERY_S: Final = 0.5
RESTARTS_MAX: Final = 100
_PORT: Final = re.compile(rb'"http_listening".*"port": ?(\d+)|"port": ?(\d+).*"http_listening"')
_OWNERS: Final = (
    "SELECT count(DISTINCT owner) AS owners, min(epoch) AS first, max(epoch) AS last FROM lanes"
)


@dataclass
class Scene:
    """One exchange with its workers."""

    kafka: EmbeddedKafka
    system: System
    crew: Crew
    memory_mib: int
    """Address space of a worker. 0: no limit."""
    ended: int = 0
    """Workers that have ended by themselves."""
    peak_kib: int = 0
    """Largest memory of a worker since `forget_peak`."""
    until_end: ExitStack = field(default_factory=ExitStack)
    """Closed when the workers have ended."""
    _names: "count[int]" = field(default_factory=lambda: count(1))

    @classmethod
    @asynccontextmanager
    async def start(
        cls, database_url: str, kafka: EmbeddedKafka, memory_mib: int
    ) -> AsyncIterator[Self]:
        """Create tables, topics and workers, and drop the topics at the end."""
        prefix = f"hostile-{uuid.uuid4().hex[:8]}-"
        async with System.start(
            database_url,
            kafka.bootstrap,
            prefix,
            partitions=PARTITIONS,
            http_port=0,
            log_json=True,
        ) as system:
            with Crew(config.environment(system.settings)) as crew:
                scene = cls(kafka, system, crew, memory_mib)
                await scene.start_workers()
                with scene.until_end:
                    yield scene
                    await asyncio.to_thread(crew.stop)
            await _drop_topics(system)

    # Workers.

    async def start_workers(self) -> None:
        """Start the workers, and return when they share the lanes."""
        before = await self.system.database.fetchrow(_OWNERS)
        epoch = (before["last"] if before else None) or 0
        for _ in range(WORKERS):
            self._start_worker()
        await eventually(partial(self._is_shared, epoch), READY_S)

    async def replace_workers(self) -> None:
        """Kill all workers and start others, which have nothing in their caches."""
        for name in list(self.crew.workers):
            await asyncio.to_thread(self.crew.kill_worker, name)
        await self.start_workers()

    async def _is_shared(self, epoch: int) -> bool:
        self.crew.check()
        found = await self.system.database.fetchrow(_OWNERS)
        return bool(found and found["owners"] == WORKERS and found["first"] > epoch)

    def _start_worker(self) -> None:
        worker = self.crew.start_worker(f"worker-{next(self._names):03}")
        if self.memory_mib:
            limit = self.memory_mib * MIB
            resource.prlimit(worker.pid, resource.RLIMIT_AS, (limit, limit))

    async def watch(self) -> None:
        """Look after the workers until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Note the memory of the workers, and replace those that have ended."""
        for name, worker in list(self.crew.workers.items()):
            if worker.exit_code is None:
                self.peak_kib = max(self.peak_kib, peak_kib(worker.pid))
            elif self.ended < RESTARTS_MAX:
                del self.crew.workers[name]
                self.ended += 1
                self._start_worker()

    def forget_peak(self) -> None:
        """Begin to measure the largest memory of the workers."""
        self.peak_kib = 0
        for worker in self.crew.workers.values():
            forget_peak(worker.pid)

    def ports(self) -> list[int]:
        """Return the ports of the workers' HTTP servers."""
        logs = [(self.crew.logs / f"{name}.log").read_bytes() for name in self.crew.workers]
        found = [_PORT.search(log) for log in logs]
        return [int(match[1] or match[2]) for match in found if match]

    # The exchange.

    async def prepared(self) -> None:
        """Wait until all records are answered."""
        await eventually(self._is_prepared, PREPARED_S)

    async def _is_prepared(self) -> bool:
        self.crew.check()
        return not await self.system.unanswered()

    @property
    def lane(self) -> TopicPartition:
        """Return the attacked partition."""
        return TopicPartition(self.system.settings.orders_topic, ATTACKED)

    async def halted(self) -> bool:
        """Return whether the attacked lane has unanswered records."""
        return self.lane in await self.system.unanswered()

    async def is_consistent(self) -> bool:
        """Return whether the books balance."""
        books = Books(self.system.settings.database_url.get_secret_value(), timeout_s=PROOF_S)
        try:
            return (await prove(books)).consistent
        finally:
            await books.close()


async def _drop_topics(system: System) -> None:
    """Delete the topics, since some attacks fill them with gigabytes."""
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics(list(system.topics))
    finally:
        await admin.close()
