"""The servers of the demo and the tests answer, keep their data, and clean up."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.conftest import PostgresServer
from tests.support.databases import execute, fetch
from tests.support.topics import administrator, create
from worker.embedded import EmbeddedError, EmbeddedKafka, EmbeddedPostgres
from worker.embedded import process as embedded_process
from worker.embedded.process import ALIVE, Child, Guard, Home, free_port

pytestmark = pytest.mark.integration

DEADLINE_S = 60.0


async def test_each_test_gets_an_empty_database(
    postgres_server: PostgresServer, empty_database_url: str
) -> None:
    sql = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert await fetch(empty_database_url, sql) == [(0,)]
    assert empty_database_url != postgres_server.url


async def test_committed_rows_survive_a_kill() -> None:
    with EmbeddedPostgres.start() as server:
        url = server.create_database("kept")
        await execute(url, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (7)")
        first_pid = server.pid

        server.kill()
        server.restart()

        assert await fetch(url, "SELECT n FROM t") == [(7,)]
        assert server.pid != first_pid


async def test_database_is_dropped_despite_its_connections() -> None:
    with EmbeddedPostgres.start() as server:
        connection = await asyncpg.connect(server.create_database("busy"))

        server.drop_database("busy")

        with pytest.raises(asyncpg.PostgresConnectionError):
            await connection.fetchval("SELECT 1")
        await connection.close()


async def test_acknowledged_records_survive_a_kill(topic_prefix: str) -> None:
    topic = f"{topic_prefix}kept"
    with EmbeddedKafka.start() as server:
        await create_topic(server.bootstrap, topic)
        await send(server.bootstrap, topic, b"before")

        server.kill()
        server.restart()

        await send(server.bootstrap, topic, b"after")
        assert await read(server.bootstrap, topic, count=2) == [b"before", b"after"]


async def test_resumed_broker_answers_again(kafka_server: EmbeddedKafka, topic_prefix: str) -> None:
    topic = f"{topic_prefix}paused"
    await create_topic(kafka_server.bootstrap, topic)
    kafka_server.pause()
    wait_until(lambda: psutil.Process(kafka_server.pids[0]).status() == psutil.STATUS_STOPPED)

    kafka_server.resume()

    await send(kafka_server.bootstrap, topic, b"value")
    assert await read(kafka_server.bootstrap, topic, count=1) == [b"value"]


def test_reserved_port_is_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    # Like another program that finds all other ports taken. The lock still reserves this one.
    monkeypatch.setattr(embedded_process, "GIVEN_PORTS", {})
    monkeypatch.setattr(embedded_process, "PORT_FIRST", port)
    monkeypatch.setattr(embedded_process, "PORT_LAST", port + 200)
    monkeypatch.setattr(embedded_process, "_can_bind", lambda other: other == port)

    with pytest.raises(EmbeddedError, match="no free port"):
        free_port()


def test_failed_start_gives_the_reason() -> None:
    with pytest.raises(EmbeddedError, match=r'(?s)postgres ended .* "max_connections": "many"'):
        EmbeddedPostgres.start(settings={"max_connections": "many"})


def test_wait_ends_and_names_its_subject(tmp_path: Path) -> None:
    child = Child.start(["/bin/sh", "-c", "echo starting; exec sleep 60"], log=tmp_path / "sh.log")

    with pytest.raises(EmbeddedError, match=r"(?s)waited 0.5 s for the moon\. .*starting"):
        child.wait_until("the moon", lambda: False, deadline_s=0.5)

    assert child.exit_code == -signal.SIGKILL


SERVERS = """
import signal
from worker.embedded import EmbeddedKafka, EmbeddedPostgres
postgres, kafka = EmbeddedPostgres.start(), EmbeddedKafka.start()
print(postgres.pid, *kafka.pids, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_their_program(number: signal.Signals) -> None:
    program = subprocess.Popen([sys.executable, "-c", SERVERS], stdout=subprocess.PIPE)
    pids = read_pids(program)
    processes = [*map(psutil.Process, pids), *psutil.Process(pids[0]).children()]
    assert len(processes) > 2

    program.send_signal(number)

    program.communicate()
    wait_until_gone(processes)


async def test_servers_for_a_first_look_print_their_addresses() -> None:
    command = (sys.executable, "-m", "worker.embedded")
    program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert program.stdout is not None
    lines = [(await program.stdout.readline()).decode() for _ in range(2)]
    (database, url), (brokers, bootstrap) = (line.strip().split("=", 1) for line in lines)
    try:
        assert await fetch(url, "SELECT 1") == [(1,)]
        await create_topic(bootstrap, "first")
    finally:
        program.send_signal(signal.SIGINT)
        await asyncio.wait_for(program.wait(), DEADLINE_S)

    assert program.returncode == 0
    assert database == "export PARITY_DATABASE_URL"
    assert brokers == "export PARITY_BOOTSTRAP_SERVERS"


ONE_CHILD = """
import signal, sys
from pathlib import Path
from worker.embedded.process import Child
child = Child.start(["/bin/sleep", "600"], log=Path(sys.argv[1]), guard=sys.argv[2])
print(child.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("guard", ["kernel", "watcher"])
def test_guards_end_servers_of_a_killed_program(guard: Guard, tmp_path: Path) -> None:
    if guard == "kernel" and sys.platform != "linux":
        pytest.skip("Linux only")
    command = [sys.executable, "-c", ONE_CHILD, str(tmp_path / "log"), guard]
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    processes = [psutil.Process(pid) for pid in read_pids(program)]

    program.kill()

    program.communicate()
    wait_until_gone(processes)


def test_only_directories_of_killed_programs_are_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "parity-x-left").mkdir()
    (tmp_path / "parity-x-left" / ALIVE).touch()
    living = Home(None, "parity-x-")
    for alive in tmp_path.glob(f"*/{ALIVE}"):
        os.utime(alive, (0, 0))

    newest = Home(None, "parity-x-")

    assert set(tmp_path.iterdir()) == {living.path, newest.path}
    living.remove_if_temporary()
    newest.remove_if_temporary()
    assert not list(tmp_path.iterdir())


def test_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[Child] = []
    argv = ["/bin/sleep", "600"]
    thread = threading.Thread(
        target=lambda: started.append(Child.start(argv, log=tmp_path / "log"))
    )
    thread.start()
    thread.join()
    (child,) = started

    # The launcher becomes the server after it has set up the guard.
    child.wait_until("the server", lambda: runs(child.pid, "sleep"), deadline_s=DEADLINE_S)
    child.end(signal.SIGTERM, deadline_s=DEADLINE_S)
    assert child.exit_code == -signal.SIGTERM


def runs(pid: int, program: str) -> bool:
    return bool(psutil.Process(pid).name() == program)


def read_pids(program: "subprocess.Popen[bytes]") -> list[int]:
    assert program.stdout is not None
    return [int(word) for word in program.stdout.readline().split()]


def wait_until_gone(processes: list[psutil.Process]) -> None:
    wait_until(lambda: not any(lives(process) for process in processes))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def create_topic(bootstrap: str, topic: str) -> None:
    async with administrator(bootstrap) as admin:
        await create(admin, topic, 1)


async def send(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value)


async def read(bootstrap: str, topic: str, *, count: int) -> list[bytes | None]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        return [(await consumer.getone()).value for _ in range(count)]
