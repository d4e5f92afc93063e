"""No secret is in anything that a worker says: log lines at any level, errors, HTTP, exit messages.

The database asks for a password, which every test then looks for. What a client wrote into an order
is no secret, but no log is the place for it either.
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

from tests.support.books import buy, deposit, open_market
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
    """A server that lets nobody but its owner in without the password."""
    with EmbeddedPostgres.start() as server:
        server._execute(f"CREATE ROLE parity SUPERUSER LOGIN PASSWORD '{HIDDEN}'")
        rules = server._data / "pg_hba.conf"
        asked = "host all parity 127.0.0.1/32 scram-sha-256\n"
        rules.write_text(asked + rules.read_text(encoding="utf-8"), encoding="utf-8")
        server._execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture
def url(guarded: EmbeddedPostgres, topic_prefix: str) -> Iterator[str]:
    """A database of that server, with the password in its address."""
    name = topic_prefix.replace("-", "_")
    parts = urlsplit(guarded.create_database(name))
    yield urlunsplit(parts._replace(netloc=f"parity:{HIDDEN}@127.0.0.1:{parts.port}"))
    guarded.drop_database(name)


@dataclass
class Heard:
    """A process, and all that it said."""

    process: asyncio.subprocess.Process
    said: Path

    @property
    def text(self) -> str:
        return self.said.read_text(encoding="utf-8")

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), WITHIN_S)

    async def served(self) -> str:
        """Return everything that it serves."""
        port = await eventually(lambda: listening_port(self.process.pid), WITHIN_S)
        timeout = aiohttp.ClientTimeout(total=WITHIN_S)
        found = []
        async with aiohttp.ClientSession(timeout=timeout) as client:
            for path in PATHS:
                async with client.get(f"http://127.0.0.1:{port}{path}") as answer:
                    found.append(f"{path} {answer.status} {await answer.text()}")
        return "\n".join(found)


@asynccontextmanager
async def heard(directory: Path, *program: str, **settings: object) -> AsyncIterator[Heard]:
    """Run a program at the most talkative level, both of its outputs into one file."""
    given = {"log_level": "DEBUG", "database_timeout_s": 2, **settings, "http_port": 0}
    environment = {f"PARITY_{name.upper()}": str(value) for name, value in given.items()}
    said = directory / "said.log"
    with said.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONASYNCIODEBUG": "1", **environment},
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        yield Heard(process, said)
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
async def test_a_worker_at_work_and_in_trouble_names_no_secret(
    system: System, tmp_path: Path, *, as_json: bool
) -> None:
    """Orders are answered, one is refused by the database, and the database throws it out."""
    await system.database.execute(
        f"ALTER TABLE orders ADD CONSTRAINT odd CHECK (order_id <> '{PRIVATE}')"
    )
    market = system.market(0)
    settings = {**settings_of(system), "log_json": as_json}
    async with heard(tmp_path, *RUN, **settings) as worker:
        await system.publish(deposit("a", 10_000), open_market(market))
        await system.answered()
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
async def test_a_worker_that_cannot_begin_names_no_secret(
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
    async with heard(tmp_path, *RUN, **settings) as worker:
        await eventually(lambda: worker.text.count("\n") >= 3, WITHIN_S)
        served = await worker.served()
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.ended() == 0

    assert HIDDEN not in worker.text
    assert HIDDEN not in served


@pytest.mark.shows("F28")
@pytest.mark.parametrize("command", ["migrate", "proof", "audit"])
async def test_a_command_that_is_not_let_in_names_no_secret(
    url: str, tmp_path: Path, command: str
) -> None:
    wrong = url.replace(HIDDEN, f"{HIDDEN}-mistyped")
    async with heard(tmp_path, "-m", "worker", command, database_url=wrong) as called:
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
TOLD_BUG = """
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
async def test_the_traceback_of_a_bug_shows_no_variables(system: System, tmp_path: Path) -> None:
    async with heard(tmp_path, "-c", BUG, **settings_of(system)) as worker:
        assert await worker.ended() != 0
    assert "Traceback" in worker.text
    assert HIDDEN not in worker.text


@pytest.mark.shows("F28")
@pytest.mark.parametrize("as_json", [False, True])
async def test_a_bug_that_is_logged_shows_no_variables(tmp_path: Path, *, as_json: bool) -> None:
    settings = {"database_url": f"postgresql://u:{HIDDEN}@h/d", "log_json": as_json}
    async with heard(tmp_path, "-c", TOLD_BUG, **settings) as told:
        assert await told.ended() == 0
    assert "ZeroDivisionError" in told.text
    assert HIDDEN not in told.text


# Settings and errors, as they may be printed.


@pytest.mark.shows("F28")
def test_settings_show_no_secret_however_they_are_shown() -> None:
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
async def test_an_address_that_is_none_is_refused_without_its_secret(pattern: str) -> None:
    given = pattern.format(HIDDEN)
    told = ""
    try:
        settings = config.load(database_url=given)
        store = PostgresStore(settings.database_url.get_secret_value(), timeout_s=0.5)
        await store.take_over("s", 0, "me")
    except ParityError as error:
        told = "".join(traceback.format_exception(error)) + repr(error)
    assert told
    assert HIDDEN not in told


@pytest.mark.shows("F28")
@pytest.mark.parametrize(
    "name", ["bootstrap_servers", "orders_topic", "log_level", "http_port", "commit_mode"]
)
def test_an_address_in_the_wrong_variable_is_refused_without_its_secret(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.load(**{name: f"postgresql://u:{HIDDEN}@h:5432/d"})
    assert HIDDEN not in "".join(traceback.format_exception(raised.value))


@pytest.mark.shows("F28")
async def test_an_error_of_the_database_names_no_secret(url: str) -> None:
    wrong = url.replace(HIDDEN, f"{HIDDEN}-mistyped")
    with pytest.raises(StoreError) as raised:
        await connect(wrong, LANE_SETTINGS, timeout_s=30)
    assert raised.value.sqlstate == "28P01"
    assert HIDDEN not in "".join(traceback.format_exception(raised.value))
