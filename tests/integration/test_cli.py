"""`parity` as a process: what it prints where, and how it ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import execute
from tests.support.ports import listening_port
from worker.cli import show
from worker.embedded import EmbeddedKafka

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
HIDDEN = "geheim"
DEAD_PORT = 1
DEADLINE_S = 100.0
"""How long a command may take: also one that meets nobody is over by then."""
PROOF_FIELDS = {
    "backend",
    "trades",
    "ledgerImbalance",
    "negativeBalances",
    "cashConserved",
    "consistent",
}


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command prints
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Shell:
    """Calls `parity` with settings of its own."""

    settings: Mapping[str, str]

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("PARITY_")}
        given = {**self.settings, **more}
        return {**inherited, **{f"PARITY_{name}": value for name, value in given.items()}}

    def parity(self, *arguments: str, stdin: str = "", **settings: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=REPOSITORY,
            env=self.environment(**settings),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def worker(self, log: Path, *program: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a worker, killed in the end if it has not ended."""
        command = [sys.executable, *(program or ("-m", "worker", "run"))]
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=REPOSITORY, env=self.environment(), stderr=file)
            try:
                yield process
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def shell(empty_database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str) -> Shell:
    return Shell(
        {
            "DATABASE_URL": empty_database_url,
            "BOOTSTRAP_SERVERS": kafka_server.bootstrap,
            "GROUP_ID": topic_prefix,
            "ORDERS_TOPIC": f"{topic_prefix}orders",
            "TRANSFERS_TOPIC": f"{topic_prefix}transfers",
            "EVENTS_TOPIC": f"{topic_prefix}events",
            "TRANSFER_EVENTS_TOPIC": f"{topic_prefix}transfer-events",
            "DEAD_LETTERS_TOPIC": f"{topic_prefix}dead-letters",
            "HTTP_PORT": "0",
        }
    )


@pytest.fixture
def nowhere() -> Shell:
    """Settings under which nobody answers."""
    return Shell(
        {
            "DATABASE_URL": f"postgresql://u:{HIDDEN}@127.0.0.1:{DEAD_PORT}/d",
            "BOOTSTRAP_SERVERS": f"127.0.0.1:{DEAD_PORT}",
            "KAFKA_TIMEOUT_S": "3",
            "DATABASE_TIMEOUT_S": "3",
        }
    )


# Usage and configuration.


def test_the_version(nowhere: Shell) -> None:
    result = nowhere.parity("--version")

    assert (result.code, result.out) == (0, f"parity {version('parity-exchange')}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["publish"],
        ["publish", "place-order", "--market", "m"],
        ["publish", "--file", "/nowhere/at/all.ndjson"],
        ["publish", "deposit", "--account", "a b", "--transfer-id", "t", "--amount", "1"],
        ["tail", "rumours"],
        ["tail", "--limit", "0"],
        ["topics", "--partitions", "0"],
    ],
)
def test_a_wrong_call_is_2(nowhere: Shell, arguments: list[str]) -> None:
    result = nowhere.parity(*arguments)

    assert (result.code, result.out) == (2, "")
    assert result.err


@pytest.mark.parametrize("command", ["run", "tail", "proof"])
def test_a_bad_setting_is_2_and_named(nowhere: Shell, command: str) -> None:
    result = nowhere.parity(command, STALL_S="0", DATABASE_URL=f"mysql://u:{HIDDEN}@h/d")

    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert "PARITY_STALL_S='0': " in result.err
    assert "PARITY_DATABASE_URL='mysql://u:***@h/d': must begin with postgresql://" in result.err


def test_what_is_not_migrated_says_what_to_do(shell: Shell) -> None:
    for command in ("proof", "audit"):
        result = shell.parity(command)
        assert (result.code, "parity migrate" in result.err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["proof"],
        ["audit"],
        ["migrate"],
        ["topics"],
        ["tail"],
        ["publish", "deposit", "--account", "a", "--transfer-id", "t", "--amount", "1"],
    ],
)
def test_what_cannot_be_reached_is_3_in_time(nowhere: Shell, arguments: list[str]) -> None:
    result = nowhere.parity(*arguments)

    assert (result.code, result.out) == (3, "")
    assert result.err.count("\n") == 1
    assert result.err.startswith("parity: ")
    assert HIDDEN not in result.err


def test_a_database_that_swallows_everything_is_3_in_time(nowhere: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:{HIDDEN}@127.0.0.1:{silent.getsockname()[1]}/d"
        result = nowhere.parity("proof", "--json", DATABASE_URL=url)

    assert (result.code, result.out) == (3, "")


# Setting up.


def test_a_dry_run_of_migrate_tells_what_it_would_do_and_does_nothing(shell: Shell) -> None:
    for _ in range(2):
        told = shell.parity("migrate", "--dry-run")
        lines = told.out.splitlines()
        assert (told.code, lines[-1]) == (0, "15 to apply")
        assert lines[0] == "0001_streams.sql: would begin: CREATE TABLE streams"
    shell.parity("migrate")
    assert shell.parity("migrate", "--dry-run").out == "up to date\n"


def test_migrate_and_topics_are_safe_to_repeat(shell: Shell) -> None:
    first, second = shell.parity("migrate"), shell.parity("migrate")
    made = shell.parity("topics", "--partitions", "3", "--json")
    found = shell.parity("topics", "--partitions", "3", "--json")

    assert (first.code, second.code, second.out) == (0, 0, "up to date\n")
    assert (made.code, found.code) == (0, 0)
    assert [topic["existed"] for topic in made.json] == [False] * 5
    assert [topic["existed"] for topic in found.json] == [True] * 5
    assert [topic["timestamps"] for topic in found.json] == ["LogAppendTime"] * 2 + [
        "CreateTime"
    ] * 3
    assert {topic["partitions"] for topic in found.json} == {3}
    assert all(topic["fits"] for topic in found.json)


def test_a_topic_that_does_not_fit_is_1(shell: Shell) -> None:
    shell.parity("topics", "--partitions", "2")

    few = shell.parity("topics", "--partitions", "4")
    events = shell.settings["EVENTS_TOPIC"]
    wrong = shell.parity("topics", "--partitions", "2", "--json", ORDERS_TOPIC=events)

    assert (few.code, few.out.count("no: has 2 partitions of 4")) == (1, 5)
    assert wrong.code == 1
    assert "LogAppendTime" in wrong.json[0]["problem"]


# Publish, run, look.


def test_from_the_first_command_to_the_proof(shell: Shell, tmp_path: Path) -> None:
    assert shell.parity("migrate").code == 0
    assert shell.parity("topics", "--partitions", "2").code == 0
    with shell.worker(tmp_path / "worker.log") as worker:
        _until_ready(worker)
        _publish(shell)
        _look(shell)
        served = _get(worker, "/api/proof")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0

    proof, audit = shell.parity("proof", "--json"), shell.parity("audit", "--events", "--json")
    assert (proof.code, proof.json["consistent"], audit.code) == (0, True, 0)
    assert set(served) == set(proof.json)
    assert set(proof.json) >= PROOF_FIELDS
    assert audit.json["violations"] == []
    assert "CONSISTENT" in shell.parity("proof").out
    assert audit.json["events"] == proof.json["events"]
    looked = {name for name, found in audit.json["invariants"].items() if found["checked"]}
    assert looked >= {"I9", "I10", "I11", "I12", "I13", "I20"}


def test_an_audit_of_events_needs_the_whole_topics(shell: Shell) -> None:
    assert shell.parity("migrate").code == 0
    missing = shell.parity("audit", "--events")
    assert (missing.code, "does not exist" in missing.err) == (2, True)


def _publish(shell: Shell) -> None:
    """A deposit, a market, the same order twice, and a record that is no command."""
    money = ["--account", "alice", "--transfer-id", "d", "--amount", "900"]
    deposit = shell.parity("publish", "--json", "deposit", *money)
    assert deposit.code == 0
    topic = shell.settings["TRANSFERS_TOPIC"]
    assert deposit.lines[0] | {"partition": 0} == {
        "type": "DEPOSIT",
        "topic": topic,
        "partition": 0,
        "offset": 0,
    }
    shell.parity("tail", "transfer-events", "--from", "earliest", "--limit", "1")
    about = ["--market", "rain", "--operator", "op", "--title", "Rain?"]
    opened = shell.parity("publish", "open-market", *about)
    assert (opened.code, "OPEN_MARKET" in opened.out) == (0, True)
    order = ["--market", "rain", "--account", "alice", "--order-id", "o-1"]
    terms = ["--side", "buy", "--price", "40", "--quantity", "3"]
    assert shell.parity("publish", "place-order", *order, *terms).code == 0
    again = shell.parity("publish", "--file", "-", stdin=f"{json.dumps(_BUY)}\n")
    assert again.code == 0
    subprocess.run([sys.executable, "-c", _NO_COMMAND], env=shell.environment(), check=True)


def _look(shell: Shell) -> None:
    earliest = ["--from", "earliest"]
    answers = shell.parity("tail", *earliest, "--market", "rain", "--limit", "3", "--json")
    assert [line["event"]["type"] for line in answers.lines] == [
        "MARKET_OPENED",
        "ORDER_ACCEPTED",
        "DUPLICATE",
    ]
    shown = shell.parity("tail", "transfer-events", *earliest, "--no-follow")
    assert (shown.code, shown.out.count("DEPOSITED")) == (0, 1)
    letters = shell.parity("tail", "dead-letters", *earliest, "--limit", "1", "--json")
    assert letters.lines[0]["headers"]["parity-dlq-code"] == "MALFORMED"


_NO_COMMAND = """
import asyncio
import os
from aiokafka import AIOKafkaProducer

async def main():
    server = os.environ["PARITY_BOOTSTRAP_SERVERS"]
    async with AIOKafkaProducer(bootstrap_servers=server) as producer:
        await producer.send_and_wait(os.environ["PARITY_ORDERS_TOPIC"], bytes([255, 0]))

asyncio.run(main())
"""
_BUY = {
    "type": "PLACE_ORDER",
    "market_id": "rain",
    "account_id": "alice",
    "order_id": "o-1",
    "side": "BUY",
    "price": 40,
    "quantity": 3,
    "time_in_force": "GTC",
}


def test_a_file_with_one_wrong_line_sends_nothing(shell: Shell, tmp_path: Path) -> None:
    shell.parity("topics", "--partitions", "1")
    file = tmp_path / "commands.ndjson"
    wrong = {**_BUY, "time_in_farce": "IOC"}
    file.write_text(f"{json.dumps(_BUY)}\n\n{json.dumps(wrong)}\nnonsense\n", encoding="utf-8")

    refused = shell.parity("publish", "--file", str(file))
    file.write_text(f"{json.dumps(_BUY)}\n", encoding="utf-8")
    taken = shell.parity("publish", "--json", "--file", str(file))

    assert (refused.code, refused.out) == (2, "")
    assert f"{file}:3: time_in_farce: unknown field" in refused.err
    assert f"{file}:4: value: must be JSON" in refused.err
    assert (taken.code, taken.lines[0]["offset"]) == (0, 0)


async def test_books_that_are_wrong_are_1(shell: Shell) -> None:
    url = shell.settings["DATABASE_URL"]
    assert shell.parity("migrate").code == 0
    account = "6f3c1a52-2a0e-5c55-9f0e-0a8f3f7c1d11"
    await execute(url, f"INSERT INTO pockets VALUES ('{account}', -1, 5)")  # noqa: S608

    proof, audit = shell.parity("proof", "--json"), shell.parity("audit", "--json")
    shown = shell.parity("audit")

    assert (proof.code, proof.json["consistent"]) == (1, False)
    assert (audit.code, audit.json["violations"][0]["name"]) == (1, "pocket_differs")
    assert f"account {account}" in shown.out


# How a worker ends.


def test_ctrl_c_is_130(shell: Shell, tmp_path: Path) -> None:
    shell.parity("migrate")
    shell.parity("topics", "--partitions", "1")
    deposit = ("--account", "ann", "--transfer-id", "1", "--amount", "100")
    shell.parity("publish", "deposit", *deposit)
    tail = subprocess.Popen(
        [sys.executable, "-m", "worker", "tail", "transfer-events", "--from", "earliest"],
        cwd=REPOSITORY,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with shell.worker(tmp_path / "worker.log") as worker:
        _until_ready(worker)
        # It may still be importing, and then ends as any program of Python does.
        assert tail.stdout is not None
        assert b"DEPOSITED" in tail.stdout.readline()
        for process in (worker, tail):
            process.send_signal(signal.SIGINT)
        assert (worker.wait(DEADLINE_S), tail.wait(DEADLINE_S)) == (130, 130)
    _, complaint = tail.communicate()
    assert b"Traceback" not in complaint


def test_a_worker_whose_port_is_taken_is_2(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = shell.parity("run", HTTP_PORT=port)

    assert result.code == 2
    assert f"PARITY_HTTP_PORT='{port}'" in result.err


def test_a_table_keeps_every_character_of_long_words_and_of_brackets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "PIPE_COLUMNS", 60)
    words = f"{'abc.dsql.us-east-1.on.aws:' * 3}[bold][/end]"

    show.print_table(("check", "what came back", "took"), [("connection", words, 1_000)])

    lines = capsys.readouterr().out.splitlines()[1:]
    assert "".join(line[12:-7].rstrip() for line in lines) == words


def test_an_address_that_can_be_no_cluster_is_2_whoever_else_is_away(nowhere: Shell) -> None:
    result = nowhere.parity("run", DATABASE_URL="dsql://localhost", HTTP_PORT="0")

    assert result.code == 2
    assert "'localhost' is no DSQL endpoint" in result.err


@pytest.mark.parametrize("command", [["run"], ["demo", "--database"]])
def test_a_worker_is_no_admin_whoever_else_is_away(nowhere: Shell, command: list[str]) -> None:
    url = "dsql://abc.dsql.eu-west-1.on.aws?role=admin"
    arguments = [*command, url] if command[-1] == "--database" else command

    result = nowhere.parity(*arguments, DATABASE_URL=url, HTTP_PORT="0")

    assert result.code == 2
    assert "PARITY_DATABASE_URL: ?role=admin may change" in result.err
    assert "workers run as parity_worker: leave ?role= out" in result.err
    assert "http_listening" not in result.err


def test_a_worker_without_topics_is_2(shell: Shell) -> None:
    shell.parity("migrate")

    result = shell.parity("run")

    assert result.code == 2
    assert "run `parity topics`" in result.err


def test_a_worker_that_finds_nobody_waits_and_stops_when_asked(
    nowhere: Shell, tmp_path: Path
) -> None:
    shell = Shell({**nowhere.settings, "HTTP_PORT": "0"})
    with shell.worker(tmp_path / "worker.log") as worker:
        _until(lambda: _status(worker, "/livez") == 200)
        assert _status(worker, "/readyz") == 503
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
    assert HIDDEN not in (tmp_path / "worker.log").read_text(encoding="utf-8")


HANGING = """
import asyncio
import sys
from worker.adapters.postgres.store import PostgresStore
from worker.cli import main

async def commit(self, statement):
    await asyncio.sleep(3600)

PostgresStore.commit = commit
sys.argv = ["parity", "run"]
main()
"""


def test_a_worker_that_stands_still_ends_itself_with_70(shell: Shell, tmp_path: Path) -> None:
    shell = Shell(
        {**shell.settings, "STALL_S": "10", "DATABASE_TIMEOUT_S": "5", "LOG_JSON": "true"}
    )
    shell.parity("migrate")
    shell.parity("topics", "--partitions", "1")
    log = tmp_path / "worker.log"
    with shell.worker(log, "-c", HANGING) as worker:
        _until_ready(worker)
        shell.parity("publish", "deposit", "--account", "a", "--transfer-id", "t", "--amount", "1")
        assert worker.wait(DEADLINE_S) == 70
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("lane_stands_still", 70)
    assert last["topic"] == shell.settings["TRANSFERS_TOPIC"]


def _until_ready(worker: "subprocess.Popen[bytes]") -> None:
    _until(lambda: _status(worker, "/readyz") == 200)


def _until(condition: Any) -> None:  # noqa: ANN401
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _status(worker: "subprocess.Popen[bytes]", path: str) -> int:
    try:
        return _ask(worker, path)[0]
    except OSError:
        return 0


def _get(worker: "subprocess.Popen[bytes]", path: str) -> Any:  # noqa: ANN401
    return json.loads(_ask(worker, path)[1])


def _ask(worker: "subprocess.Popen[bytes]", path: str) -> tuple[int, bytes]:
    """Ask the port that the worker was given: one chosen for it may be taken by then."""
    assert worker.poll() is None, "it has ended"
    port = listening_port(worker.pid)
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
