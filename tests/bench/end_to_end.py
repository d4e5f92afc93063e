"""The worker from topic to topic: how long from its first record to its last event.

All orders are in the input topic, put there by a process of its own, before the workers start. The
clock runs from the first record that a lane takes until the brokers give out the last event.
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
from signal import SIGTERM
from tempfile import TemporaryDirectory
from typing import Final

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.bench.case import Case
from tests.bench.replay import Batch, Recording
from worker.adapters.kafka import AiokafkaBroker
from worker.embedded import EmbeddedKafka, EmbeddedPostgres
from worker.embedded.process import Child

ROOT: Final = Path(__file__).parents[2]
POLL_S: Final = 0.02
DEADLINE_S: Final = 180.0
STOP_S: Final = 30.0
KAFKA: Final = {
    # All workers of a run get their partitions at once, and not the first of them all for a moment.
    "group.initial.rebalance.delay.ms": "3000",
}
_STANDING: Final = (
    "SELECT lane, next_offset, last_seq, batch_no, partition FROM lanes WHERE stream = $1"
    " ORDER BY partition LIMIT 1000"
)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where everything runs."""

    postgres: EmbeddedPostgres
    kafka: EmbeddedKafka


@dataclass(frozen=True, slots=True)
class Run:
    """Workers on one database."""

    case: Case
    database_url: str
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a lane is."""

    lane: int
    next_offset: int
    last_seq: int
    batch_no: int


@dataclass(slots=True)
class EndToEnd:
    """What was seen from outside. ``ended_s`` is on the machine's monotonic clock."""

    ended_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    """Processor seconds of worker, PostgreSQL and Kafka until then, from the first record on."""
    standing: Mapping[int, Standing] = field(default_factory=dict)
    """The lanes by partition, then."""


@dataclass(slots=True)
class Recordings:
    """What the worker processes have remembered; empty until they have ended."""

    parts: list[Recording] = field(default_factory=list)

    @property
    def first_record_s(self) -> float:
        return min(part.first_record_s for part in self.parts if part.first_record_s)

    def batches(self, until: EndToEnd) -> list[Batch]:
        """Return what was committed until then, of the lanes of the orders' stream."""
        last = {s.lane: s.batch_no for s in until.standing.values()}
        return [b for part in self.parts for b in part.committed if b[1] < last.get(b[0], 0)]


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


async def publish(servers: Servers, case: Case, first: int, count: int) -> None:
    """Put orders into the topic, from a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.publish", servers.kafka.bootstrap),
        *(json.dumps(asdict(case)), str(first), str(count)),
        cwd=ROOT,
    )
    if await process.wait():
        raise RuntimeError("the producer could not publish the orders")


@asynccontextmanager
async def workers(servers: Servers, run: Run, into: Recordings) -> AsyncIterator[Sequence[Child]]:
    """Run worker processes; afterwards ``into`` has what they committed."""
    with TemporaryDirectory(prefix="parity-bench-") as name:
        folder = Path(name)
        children = [_start(servers, run, folder, number) for number in range(run.processes)]
        try:
            yield children
            for child in children:
                child.send(SIGTERM)
        finally:
            for child in children:
                await asyncio.to_thread(child.end, SIGTERM, deadline_s=STOP_S)
        for number in range(run.processes):
            content = (folder / f"{number}.pickle").read_bytes()
            into.parts.append(pickle.loads(content))  # noqa: S301 -- written by our own process


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


async def until_done(
    servers: Servers, run: Run, orders: range, children: Sequence[Child]
) -> EndToEnd:
    """Wait until ``orders``, by number in the flow, are answered and their events consumable."""
    connection = await asyncpg.connect(run.database_url)
    topic = run.case.orders_topic
    result = EndToEnd()
    before = cpu_seconds(servers, children)
    try:
        async with asyncio.timeout(DEADLINE_S), _tail(servers, run.case) as tail:
            while True:
                _require_alive(children)
                lanes = {
                    row["partition"]: Standing(*row[:4])
                    for row in await connection.fetch(_STANDING, topic)
                }
                answered = sum(lane.next_offset for lane in lanes.values())
                if answered <= orders.start:
                    before = cpu_seconds(servers, children)
                elif answered >= orders.stop and await tail.shows(lanes):
                    break
                await asyncio.sleep(POLL_S)
        result.ended_s = time.monotonic()
        after = cpu_seconds(servers, children)
        result.cpu_s = {name: spent - before[name] for name, spent in after.items()}
        result.standing = lanes
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
            if json.loads(record.value)["seq"] < standing.last_seq:
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


def _require_alive(children: Sequence[Child]) -> None:
    for child in children:
        if child.exit_code is not None:
            raise child.error(f"ended with {child.exit_code}")


def cpu_seconds(servers: Servers, children: Sequence[Child]) -> dict[str, float]:
    """Return the processor seconds that each part has used so far, its children's too."""
    return {
        "worker": sum(_of(psutil.Process(child.pid)) for child in children),
        "PostgreSQL": _of(psutil.Process(servers.postgres.pid)),
        "Kafka": sum(_of(psutil.Process(pid)) for pid in servers.kafka.pids),
    }


def _of(process: psutil.Process) -> float:
    own = process.cpu_times()
    spent = own.user + own.system + own.children_user + own.children_system
    for child in process.children():
        times = child.cpu_times()
        spent += times.user + times.system
    return float(spent)
