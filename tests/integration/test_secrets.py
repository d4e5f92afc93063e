"""Secrets never appear in logs of any level, errors, HTTP answers or exit messages.

The database asks for a password, and every test searches the output for it. The content of an order
is no secret, but must not be logged either.
"""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import pytest

from tests.support.books import buy
from tests.support.eventually import eventually
from tests.support.ports import listening_port
from tests.support.system import REPOSITORY, System
from worker import config
from worker.adapters.postgres.connect import LANE_SETTINGS, connect
from worker.adapters.postgres.store import PostgresStore
from worker.embedded import EmbeddedKafka, EmbeddedPostgres
from worker.errors import ConfigError, ParityError, StoreError

pytestmark = pytest.mark.integration

HIDDEN = "geheim-7Qx"
PRIVATE = "vertraulich-3Zk"
WITHIN_S = 60.0
PATHS = ("/livez", "/readyz?verbose", "/metrics", "/api/proof", "/api/markets/m/book", "/nowhere")


@pytest.fixture(scope="module")
def guarded() -> Iterator[EmbeddedPostgres]:
    """A server that requires the password from every role except its owner."""
    with EmbeddedPostgres.start() as server:
        server._execute(f"CREATE ROLE parity SUPERUSER LOGIN PASSWORD '{HIDDEN}'")
        rules = server._data / "pg_hba.conf"
        asked = "host all parity 127.0.0.1/32 scram-sha-256\n"
        rules.write_text(asked + rules.read_text(encoding="utf-8"), encoding="utf-8")
        server._execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture
def url(guarded: EmbeddedPostgres, topic_prefix: str) -> Iterator[str]:
    """The address of a database on that server, with the password."""
    name = topic_prefix.replace("-", "_")
    parts = urlsplit(guarded.create_database(name))
    yield urlunsplit(parts._replace(netloc=f"parity:{HIDDEN}@127.0.0.1:{parts.port}"))
    guarded.drop_database(name)


@dataclass
class Program:
    """A process and the file of its output."""

    process: asyncio.subprocess.Process
    output: Path

    @property
    def text(self) -> str:
        return self.output.read_text(encoding="utf-8")

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), WITHIN_S)

    async def served(self) -> str:
        """Return all its HTTP answers."""
        port = await eventually(lambda: listening_port(self.process.pid), WITHIN_S)
        timeout = aiohttp.ClientTimeout(total=WITHIN_S)
        found = []
        async with aiohttp.ClientSession(timeout=timeout) as client:
            for path in PATHS:
                async with client.get(f"http://127.0.0.1:{port}{path}") as answer:
                    found.append(f"{path} {answer.status} {await answer.text()}")
        return "\n".join(found)


@asynccontextmanager
async def program(directory: Path, *arguments: str, **settings: object) -> AsyncIterator[Program]:
    """Run a Python program at log level DEBUG, with both outputs in one file."""
    given = {"log_level": "DEBUG", "database_timeout_s": 2, **settings, "http_port": 0}
    environment = {f"PARITY_{name.upper()}": str(value) for name, value in given.items()}
    output = directory / "output.log"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONASYNCIODEBUG": "1", **environment},
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        yield Program(process, output)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def settings_of(system: System) -> dict[str, object]:
    settings = system.settings.model_dump()
    return {**settings, "database_url": system.settings.database_url.get_secret_value()}


@pytest.fixture
async def system(url: str, kafka_server: EmbeddedKafka, topic_prefix: str) -> AsyncIterator[System]:
    async with System.start(url, kafka_server.bootstrap, topic_prefix) as started:
        yield started


RUN = ("-m", "worker", "run")


@pytest.mark.shows("F28")
@pytest.mark.parametrize("as_json", [False, True])
async def test_worker_in_trouble_logs_no_secret(
    system: System, tmp_path: Path, *, as_json: bool
) -> None:
    """The database refuses one of its orders, and then ends its connections."""
    await system.database.execute(
        f"ALTER TABLE orders ADD CONSTRAINT odd CHECK (order_id <> '{PRIVATE}')"
    )
    settings = {**settings_of(system), "log_json": as_json}
    async with program(tmp_path, *RUN, **settings) as worker:
        (market,) = await system.open(0, accounts="a")
        await system.publish(buy(market, "a", 1, 50, PRIVATE), buy(market, "a", 1, 50))
        await system.answered()
        await system.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await system.publish(buy(market, "a", 1, 50))
        await system.answered()
        served = await worker.served()
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.ended() == 0

    assert await system.events("ORDER_REJECTED", reason="INTERNAL_REJECT")
    assert worker.text
    for text in (worker.text, served):
        assert HIDDEN not in text
        assert PRIVATE not in text


@pytest.mark.shows("F28")
@pytest.mark.parametrize("trouble", ["wrong password", "refused", "no broker"])
async def test_worker_that_cannot_start_logs_no_secret(
    system: System, tmp_path: Path, trouble: str
) -> None:
    settings = settings_of(system)
    right = str(settings["database_url"])
    if trouble == "wrong password":
        settings["database_url"] = right.replace(HIDDEN, f"{HIDDEN}-mistyped")
    elif trouble == "refused":
        settings["database_url"] = f"postgresql://parity:{HIDDEN}@127.0.0.1:1/d"
    else:
        settings |= {"bootstrap_servers": "127.0.0.1:1", "kafka_timeout_s": 1}
    async with program(tmp_path, *RUN, **settings) as worker:
        await eventually(lambda: "waiting_to_start" in worker.text, WITHIN_S)
        served = await worker.served()
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.ended() == 0

    assert HIDDEN not in worker.text
    assert HIDDEN not in served


@pytest.mark.shows("F28")
@pytest.mark.parametrize("command", ["migrate", "proof", "audit"])
async def test_refused_command_prints_no_secret(url: str, tmp_path: Path, command: str) -> None:
    wrong = url.replace(HIDDEN, f"{HIDDEN}-mistyped")
    async with program(tmp_path, "-m", "worker", command, database_url=wrong) as called:
        assert await called.ended() == 3
    assert called.text
    assert HIDDEN not in called.text


BUG = """
import sys
from worker.adapters.postgres.store import PostgresStore
from worker.cli import main

async def take_over(self, stream, partition, owner):
    address = self._url
    raise ZeroDivisionError(len(address))

PostgresStore.take_over = take_over
sys.argv = ["parity", "run"]
main()
"""
LOGGED_BUG = """
import os
from worker.telemetry import configure_logging, log

def connect(address):
    raise ZeroDivisionError(len(address))

configure_logging("DEBUG", as_json=os.environ["PARITY_LOG_JSON"] == "True")
try:
    connect(os.environ["PARITY_DATABASE_URL"])
except ZeroDivisionError as error:
    log.error("http_bug", exc_info=error)
"""


@pytest.mark.shows("F28")
async def test_traceback_of_a_bug_shows_no_variables(system: System, tmp_path: Path) -> None:
    async with program(tmp_path, "-c", BUG, **settings_of(system)) as worker:
        assert await worker.ended() != 0
    assert "Traceback" in worker.text
    assert HIDDEN not in worker.text


@pytest.mark.shows("F28")
@pytest.mark.parametrize("as_json", [False, True])
async def test_logged_bug_shows_no_variables(tmp_path: Path, *, as_json: bool) -> None:
    settings = {"database_url": f"postgresql://u:{HIDDEN}@h/d", "log_json": as_json}
    async with program(tmp_path, "-c", LOGGED_BUG, **settings) as logging:
        assert await logging.ended() == 0
    assert "ZeroDivisionError" in logging.text
    assert HIDDEN not in logging.text


# Settings and errors in every printed form.


@pytest.mark.shows("F28")
def test_settings_show_no_secret_in_any_form() -> None:
    settings = config.load(database_url=f"postgresql://u:{HIDDEN}@h/d")
    shown = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())]
    shown += [repr(vars(settings)), f"{settings.database_url!r} {settings.database_url}"]
    assert HIDDEN not in "".join(shown)
    assert HIDDEN in settings.database_url.get_secret_value()


ODD_URLS = [
    "postgresql://u:{}@h:port/d",
    "postgresql://u:{}@h:99999/d",
    "postgresql://u:{}/@h/d",
    "postgresql://u:{}@@h/d",
    "postgresql://u:{}#@h/d",
    "postgresql://u:{}?@h/d",
    "postgresql://u:{}[@h/d",
    "postgresql://u:{}%zz@h/d",
    "postgresql://u@h/d?password={}&sslmode=perhaps",
    "postgresql://u:{}@h/d?sslmode=perhaps",
    "postgresql://u:{}@h/d?target_session_attrs=perhaps",
    "postgresql://u:{}@h,h2:1,h3/d",
    "postgresql://u:{}@/d?host=a,b&port=1,2,3",
    "dsql://u:{}@c.dsql.eu-west-1.on.aws",
    "dsql://c.dsql.eu-west-1.on.aws/postgres?password={}",
    "dsql://nowhere/?password={}",
    "mysql://u:{}@h/d",
    "postgresql:u:{}@h/d",
    "u:{}@h/d",
    "{}",
]


@pytest.mark.shows("F28")
@pytest.mark.parametrize("pattern", ODD_URLS)
async def test_wrong_address_is_refused_without_its_secret(pattern: str) -> None:
    given = pattern.format(HIDDEN)
    text = ""
    try:
        settings = config.load(database_url=given)
        store = PostgresStore(settings.database_url.get_secret_value(), timeout_s=0.5)
        await store.take_over("s", 0, "me")
    except ParityError as error:
        text = "".join(traceback.format_exception(error)) + repr(error)
    assert text
    assert HIDDEN not in text


@pytest.mark.shows("F28")
@pytest.mark.parametrize(
    "name", ["bootstrap_servers", "orders_topic", "log_level", "http_port", "commit_mode"]
)
def test_misplaced_address_is_refused_without_its_secret(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.load(**{name: f"postgresql://u:{HIDDEN}@h:5432/d"})
    assert HIDDEN not in "".join(traceback.format_exception(raised.value))


@pytest.mark.shows("F28")
async def test_database_error_names_no_secret(url: str) -> None:
    wrong = url.replace(HIDDEN, f"{HIDDEN}-mistyped")
    with pytest.raises(StoreError) as raised:
        await connect(wrong, LANE_SETTINGS, timeout_s=30)
    assert raised.value.sqlstate == "28P01"
    assert HIDDEN not in "".join(traceback.format_exception(raised.value))
