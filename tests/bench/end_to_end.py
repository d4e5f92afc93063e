"""The worker from topic to topic, measured from its first record to its last event.

A separate process publishes all orders before the workers start. The clock runs from the first
record that a lane accepts until a consumer can read the last event.
"""

import asyncio
import json
import os
import pickle
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM
from tempfile import TemporaryDirectory
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.bench.case import Case
from tests.bench.cpu import cpu_seconds
from tests.bench.replay import Batch
from worker.adapters.kafka import AiokafkaBroker
from worker.embedded import EmbeddedKafka, EmbeddedPostgres
from worker.embedded.process import Child

ROOT: Final = Path(__file__).parents[2]
POLL_S: Final = 0.02
DEADLINE_S: Final = 180.0
STOP_S: Final = 30.0
KAFKA: Final = {
    # Makes the group wait, so that its first worker does not get all partitions for a moment.
    "group.initial.rebalance.delay.ms": "3000",
}
_STANDING: Final = (
    "SELECT lane, next_offset, last_seq, batch_no, partition FROM lanes WHERE stream = $1"
    " ORDER BY partition LIMIT 1000"
)


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of all runs."""

    postgres: EmbeddedPostgres
    kafka: EmbeddedKafka


@dataclass(frozen=True, slots=True)
class Run:
    """One run of workers on one database."""

    case: Case
    database_url: str
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """The progress of a lane."""

    lane: int
    next_offset: int
    last_seq: int
    batch_no: int


@dataclass(slots=True)
class EndToEnd:
    """The end of a run, seen from outside. ``ended_s`` is the machine's monotonic time."""

    ended_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    """Processor seconds of worker, PostgreSQL and Kafka from the first record to the end."""
    standing: Mapping[int, Standing] = field(default_factory=dict)
    """The lanes at the end, by partition."""


@dataclass(slots=True)
class Crew:
    """The worker processes of a run. ``committed`` is complete when they have ended."""

    folder: Path
    children: Sequence[Child] = ()
    committed: list[Batch] = field(default_factory=list)

    def first_record_s(self) -> float:
        """Return the time of the first record of any worker."""
        return min(float(p.read_text(encoding="ascii")) for p in self.folder.glob("*.first"))

    def batches(self, until: EndToEnd) -> list[Batch]:
        """Return the batches of order lanes that were committed until the end."""
        last = {s.lane: s.batch_no for s in until.standing.values()}
        return [batch for batch in self.committed if batch[1] <= last.get(batch[0], 0)]

    def require_alive(self) -> None:
        for child in self.children:
            if child.exit_code is not None:
                raise child.error(f"exited with {child.exit_code}")


async def make_topics(servers: Servers, case: Case) -> None:
    """Create the case's topics, twelve partitions each."""
    broker = AiokafkaBroker(servers.kafka.bootstrap, "bench", "bench")
    inputs = dict.fromkeys((case.orders_topic, case.transfers_topic), case.partitions)
    outputs = dict.fromkeys(
        (case.events_topic, f"{case.name}.transfer-events", f"{case.name}.dead-letters"),
        case.partitions,
    )
    lane_time = {"message.timestamp.type": "CreateTime"}
    await broker.create_topics(inputs, replication_factor=1)
    await broker.create_topics(outputs, replication_factor=1, configs=lane_time)


async def publish(servers: Servers, case: Case) -> None:
    """Publish the orders from a separate process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.publish", servers.kafka.bootstrap),
        json.dumps(asdict(case)),
        cwd=ROOT,
    )
    if await process.wait():
        raise RuntimeError("the producer could not publish the orders")


@asynccontextmanager
async def workers(servers: Servers, run: Run) -> AsyncIterator[Crew]:
    """Run worker processes."""
    with TemporaryDirectory(prefix="parity-bench-") as name:
        crew = Crew(Path(name))
        numbers = range(run.processes)
        crew.children = [_start(servers, run, crew.folder, number) for number in numbers]
        try:
            yield crew
            # One signal each, because a second would end a worker before it has drained.
            for child in crew.children:
                child.send(SIGTERM)
            for child in crew.children:
                await asyncio.to_thread(_wait_for_end, child)
        finally:
            for child in crew.children:
                await asyncio.to_thread(child.end, SIGKILL, deadline_s=STOP_S)
        for number in numbers:
            content = (crew.folder / f"{number}.pickle").read_bytes()
            crew.committed += pickle.loads(content)  # noqa: S301 -- written by our own process


def _start(servers: Servers, run: Run, folder: Path, number: int) -> Child:
    case = run.case
    settings = {
        "DATABASE_URL": run.database_url,
        "BOOTSTRAP_SERVERS": servers.kafka.bootstrap,
        "GROUP_ID": case.name,
        "ORDERS_TOPIC": case.orders_topic,
        "TRANSFERS_TOPIC": case.transfers_topic,
        "EVENTS_TOPIC": case.events_topic,
        "TRANSFER_EVENTS_TOPIC": f"{case.name}.transfer-events",
        "DEAD_LETTERS_TOPIC": f"{case.name}.dead-letters",
        "HTTP_PORT": "0",
        "LOG_LEVEL": "WARNING",
    }
    program = [sys.executable, "-m", "tests.bench.recording_worker"]
    return Child.start(
        [*program, str(folder / f"{number}.pickle")],
        log=folder / f"{number}.log",
        environment={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **{f"PARITY_{key}": value for key, value in settings.items()},
        },
    )


def _wait_for_end(child: Child) -> None:
    deadline_s = time.monotonic() + STOP_S
    while child.exit_code is None and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


async def until_done(servers: Servers, run: Run, crew: Crew) -> EndToEnd:
    """Wait until the case's orders are answered and their events can be consumed."""
    connection = await asyncpg.connect(run.database_url)
    result = EndToEnd()
    before = _cpu_s(servers, crew)
    try:
        async with asyncio.timeout(DEADLINE_S), _tail(servers, run.case) as tail:
            while True:
                crew.require_alive()
                rows = await connection.fetch(_STANDING, run.case.orders_topic)
                result.standing = {row["partition"]: Standing(*row[:4]) for row in rows}
                answered = sum(lane.next_offset for lane in result.standing.values())
                if not answered:
                    before = _cpu_s(servers, crew)
                elif answered >= run.case.orders and await tail.shows(result.standing):
                    break
                await asyncio.sleep(POLL_S)
        result.ended_s = time.monotonic()
        after = _cpu_s(servers, crew)
        result.cpu_s = {name: spent - before[name] for name, spent in after.items()}
        return result
    finally:
        await connection.close()


class _Tail:
    """The last event of each output partition."""

    def __init__(self, kafka: AIOKafkaConsumer, topic: str) -> None:
        self._kafka, self._topic = kafka, topic

    async def shows(self, lanes: Mapping[int, Standing]) -> bool:
        """Return whether every lane's last event can be consumed. Repeats do not count."""
        wanted = {TopicPartition(self._topic, n): s for n, s in lanes.items() if s.last_seq}
        self._kafka.assign(list(wanted))
        ends = await self._kafka.end_offsets(list(wanted))
        if not all(ends.values()) or not wanted:
            return False
        for partition, end in ends.items():
            self._kafka.seek(partition, end - 1)
        for partition, standing in wanted.items():
            record = await self._kafka.getone(partition)
            if json.loads(record.value or b"")["seq"] < standing.last_seq:
                return False
        return True


@asynccontextmanager
async def _tail(servers: Servers, case: Case) -> AsyncIterator[_Tail]:
    kafka = AIOKafkaConsumer(bootstrap_servers=servers.kafka.bootstrap, fetch_max_wait_ms=20)
    await kafka.start()
    try:
        yield _Tail(kafka, case.events_topic)
    finally:
        await kafka.stop()


def _cpu_s(servers: Servers, crew: Crew) -> dict[str, float]:
    return {
        "workers": cpu_seconds(*(child.pid for child in crew.children)),
        "PostgreSQL": cpu_seconds(servers.postgres.pid),
        "Kafka": cpu_seconds(*servers.kafka.pids),
    }
