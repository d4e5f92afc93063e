"""Mistakes and habits of operators: pipes, terminals, full disks, wrong settings, odd text."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.support.shell import DEADLINE_S, HIDDEN, REPOSITORY, Shell, status_of, until, until_ready
from worker.stage.show import Line, Show

pytestmark = pytest.mark.integration

HOSTILE = "\x1b]0;owned\x07\x1b[2J\n2026-01-01T00:00:00Z [info] forged \u202etxt.exe"
PUBLISH = ("publish", "deposit", "--account", "a", "--transfer-id", "t", "--amount", "1")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "run": (),
    "migrate": (),
    "topics": (),
    "load": ("--orders", "1"),
    "republish": ("--topic", "t", "--partition", "0"),
    "tail": (),
    "proof": (),
    "audit": (),
    "doctor": (),
    "demo": ("--orders", "1"),
    "stress": ("--orders", "1"),
    "publish": PUBLISH[1:],
}


def parity(
    shell: Shell, *arguments: str, stdout: int | None = None, stderr: int | None = None
) -> "subprocess.Popen[bytes]":
    """Start `parity` with file descriptors as its streams."""
    command = [sys.executable, "-m", "worker", *arguments]
    environment = shell.environment()
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=stdout, stderr=stderr)


@pytest.fixture
def unread() -> Iterator[int]:
    """Return a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


# Settings.


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_rejects_unknown_variables(nowhere: Shell, command: str) -> None:
    result = nowhere.parity(command, *COMMANDS[command], DATABASE=f"postgresql://u:{HIDDEN}@h/d")

    assert (result.code, result.out) == (2, "")
    said = "PARITY_DATABASE: there is no such setting, did you mean PARITY_DATABASE_URL?"
    assert said in result.err
    assert HIDDEN not in result.err


def test_every_command_is_tried(nowhere: Shell) -> None:
    listed = nowhere.parity("--help").out.partition("Commands:\n")[2]

    assert {line.split()[0] for line in listed.splitlines() if line.strip()} == set(COMMANDS)


def test_usage_error_is_json_with_json_logs(nowhere: Shell) -> None:
    for arguments in (["fly"], ["tail", "--limit", "0"], ["publish"], ["proof"]):
        result = nowhere.parity(*arguments, LOG_JSON="true")
        (line,) = map(json.loads, result.err.splitlines())
        assert (line["event"], line["exit_code"]) == ("command_failed", result.code)


async def test_stress_names_another_incarnation(shell: Shell, tmp_path: Path) -> None:
    """Before, the test looked for the books of other markets, and reported lost cash."""
    shell.parity("migrate")
    shell.parity("topics", "--partitions", "1")
    with shell.worker(tmp_path / "worker.log"):
        result = shell.parity("stress", "--orders", "1", INCARNATION="2")

    orders, transfers = shell.settings["ORDERS_TOPIC"], shell.settings["TRANSFERS_TOPIC"]
    assert result.code == 2, result.err
    assert f"and the settings name {orders}@2 and {transfers}@2: set PARITY_INCARNATION" in (
        " ".join(result.err.split())
    )
    assert "FAIL" not in result.out


async def test_consumer_rule_survives_another_incarnation(shell: Shell, tmp_path: Path) -> None:
    """The README's rule takes each event once, although a second stream counts from 1 again.

    The second stream has input topics of its own and the same topic of events.
    """
    rule: dict[str, Any] = {"json": json}
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```python\n([^`]*def is_new.*?)```", readme, re.DOTALL)
    exec(text, rule)  # noqa: S102 - the README's own
    successor = {name: f"{shell.settings[name]}-2" for name in ("ORDERS_TOPIC", "TRANSFERS_TOPIC")}
    second = Shell({**shell.settings, **successor, "INCARNATION": "2"})
    shell.parity("migrate")
    for number, stream in enumerate((shell, second)):
        stream.parity("topics", "--partitions", "1")
        with stream.worker(tmp_path / f"{number}.log") as worker:
            for market in ("m", "n"):
                opening = ("--market", market, "--operator", "o", "--title", "t")
                assert stream.parity("publish", "open-market", *opening).code == 0
            arguments = ("tail", "--from", "earliest", "--limit", str(2 * number + 2))
            assert stream.parity(*arguments).out.count("MARKET_OPENED") == 2 * number + 2
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(DEADLINE_S) == 0

    last_seq: dict[object, int] = {}
    async with AIOKafkaConsumer(
        shell.settings["EVENTS_TOPIC"],
        bootstrap_servers=shell.settings["BOOTSTRAP_SERVERS"],
        auto_offset_reset="earliest",
    ) as consumer:
        records = [await consumer.getone() for _ in range(4)]
    taken = [json.loads(r.value)["seq"] for r in records * 2 if rule["is_new"](r, last_seq)]
    assert taken == [1, 2, 1, 2]


# Pipes and files.


def test_unread_output_ends_commands_quietly(shell: Shell, unread: int) -> None:
    """The code is not 0, because a verdict may have been missed."""
    for arguments in (
        ["--version"],
        ["--help"],
        ["migrate"],
        ["topics", "--partitions", "1"],
        ["publish", "deposit", "--account", "a", "--transfer-id", "t", "--amount", "1"],
        ["load", "--orders", "1", "--report-json", "-"],
        ["proof"],
        ["proof", "--json"],
        ["audit"],
        ["doctor"],
    ):
        process = parity(shell, *arguments, stdout=unread, stderr=subprocess.PIPE)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert (arguments, process.returncode, errors) == (arguments, 141, b"")


@pytest.mark.parametrize("options", [["--json"], []])
def test_tail_ends_quietly_with_its_reader(shell: Shell, options: list[str]) -> None:
    """The input is read as if it were the output, so no worker is needed."""
    shell.parity("topics", "--partitions", "1")
    shell.parity(*PUBLISH)
    tailed = Shell(
        {
            **shell.settings,
            "TRANSFERS_TOPIC": "another",
            "TRANSFER_EVENTS_TOPIC": shell.settings["TRANSFERS_TOPIC"],
        }
    )
    tail = parity(
        tailed,
        *("tail", "transfer-events", "--from", "earliest", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert tail.stdout is not None
    assert tail.stderr is not None
    assert b"DEPOSIT" in tail.stdout.readline()
    tail.stdout.close()
    shell.parity(*PUBLISH)

    assert (tail.wait(DEADLINE_S), tail.stderr.read()) == (141, b"")
    tail.stderr.close()


def test_full_disk_is_reported(nowhere: Shell) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = parity(nowhere, "--version", stdout=full.fileno(), stderr=subprocess.PIPE)
        _, errors = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 1
    assert errors == b"parity: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("arguments", [["proof"], ["--version"], list(PUBLISH)])
def test_closed_streams_cause_no_traceback(nowhere: Shell, arguments: list[str]) -> None:
    command = f"exec {sys.executable} -m worker {' '.join(arguments)} <&- >&-"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=REPOSITORY,
        env=nowhere.environment(),
        stderr=subprocess.PIPE,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode in {0, 3}
    assert b"Traceback" not in done.stderr


def test_lost_log_stops_no_worker(nowhere: Shell, unread: int) -> None:
    """As after `parity run 2>&1 | head -1`, or when the program that collects the log has died."""
    shell = Shell({**nowhere.settings, "HTTP_PORT": "0", "KAFKA_TIMEOUT_S": "1"})
    worker = parity(shell, "run", stderr=unread)
    try:
        until(lambda: status_of(worker, "/livez") == 200)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
    finally:
        worker.kill()
        worker.wait()


def test_file_may_have_line_separators_in_text(shell: Shell, tmp_path: Path) -> None:
    """JSON allows U+2028 and U+0085 in a string. Python takes them for the end of a line."""
    shell.parity("topics", "--partitions", "1")
    command = {"type": "OPEN_MARKET", "market_id": "m", "operator_id": "o", "payout": 100}
    file = tmp_path / "commands.ndjson"
    line = json.dumps({**command, "title": "a\u2028b"}, ensure_ascii=False)
    file.write_text(f"{line}\r\n", encoding="utf-8")

    result = shell.parity("publish", "--file", str(file))

    assert (result.code, "OPEN_MARKET" in result.out) == (0, True), result.err


def test_standard_input_must_be_utf_8(nowhere: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "publish", "--file", "-"],
        cwd=REPOSITORY,
        env=nowhere.environment(),
        input=b'{"type": "\xff"}\n',
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"parity: --file -: 'utf-8' codec can't decode byte 0xff")


# Hostile text.


async def test_tail_escapes_records(shell: Shell) -> None:
    """A record may have any content, also one that looks like an event."""
    shell.parity("topics", "--partitions", "1")
    event = {"type": f"A{HOSTILE}", "seq": 1, f"b{HOSTILE}": HOSTILE, "c": "\ud800", "d": "Zürich"}
    async with AIOKafkaProducer(bootstrap_servers=shell.settings["BOOTSTRAP_SERVERS"]) as producer:
        await producer.send_and_wait(shell.settings["EVENTS_TOPIC"], json.dumps(event).encode())
        await producer.send_and_wait(
            shell.settings["EVENTS_TOPIC"],
            HOSTILE.encode(),
            key=HOSTILE.encode(),
            headers=[("parity-dlq-code", HOSTILE.encode()), (f"h{HOSTILE}", b"\x7f")],
        )
    earliest = ("tail", "--from", "earliest", "--no-follow")
    shown = shell.parity(*earliest)
    as_json = shell.parity(*earliest, "--json")

    assert (shown.code, as_json.code) == (0, 0)
    first, second = shown.out.removesuffix("\n").split("\n")
    assert first.isprintable()
    assert second.isprintable()
    assert r"\x1b]0;owned\x07\x1b[2J\n2026-01-01T00:00:00Z [info] forged \u202etxt.exe" in first
    assert "d=Zürich" in first
    assert all(line.isprintable() and line.isascii() for line in as_json.out.splitlines())
    assert as_json.lines[0]["event"] == event
    assert as_json.lines[1]["value"] == HOSTILE


def test_output_survives_poor_encodings(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("PYTHONUTF8", "0")
    file = tmp_path / "Zürich.ndjson"

    result = shell.parity("publish", "--file", str(file))

    assert result.code == 2
    assert r"Z\xfcrich.ndjson: No such file" in result.err


FAILING_BOOK = """
import sys
from worker.cli import main
from worker.health import serve

def book_of(state, market_id, levels):
    raise ValueError(f"bug at {market_id}")

serve._book_of = book_of
serve.is_id = bool
sys.argv = ["parity", "run"]
main()
"""


@pytest.mark.parametrize("as_json", ["true", "false"])
def test_paths_are_escaped_in_logs(shell: Shell, tmp_path: Path, as_json: str) -> None:
    """A stranger's path is logged when it meets a bug."""
    shell.parity("migrate")
    shell.parity("topics", "--partitions", "1")
    shell = Shell({**shell.settings, "LOG_JSON": as_json})
    log = tmp_path / "worker.log"
    with shell.worker(log, "-c", FAILING_BOOK) as worker:
        until_ready(worker)
        path = "/api/markets/%1b]0;owned%07%1b[2J%0a2026-01-01T00:00:00Z%20[info]%20forged/book"
        assert status_of(worker, path) == 500
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
    lines = log.read_text(encoding="utf-8").removesuffix("\n").split("\n")

    assert all(line.isprintable() for line in lines)
    assert any(line.count(r"owned") for line in lines)
    if as_json == "true":
        (bug,) = [line for line in map(json.loads, lines) if line["event"] == "http_bug"]
        assert bug["path"].endswith("[info] forged/book")
        assert "ValueError: bug at \x1b]0;owned" in bug["exception"]
    else:
        _require_own_lines(lines)


# Terminals and logs.


def test_libraries_log_in_the_form_of_the_worker(nowhere: Shell, tmp_path: Path) -> None:
    """aiokafka reports that it cannot connect. A file has no colours."""
    for as_json in ("true", "false"):
        shell = Shell({**nowhere.settings, "HTTP_PORT": "0", "LOG_JSON": as_json})
        log = tmp_path / f"{as_json}.log"
        with shell.worker(log) as worker:
            until(lambda log=log: b"aiokafka" in log.read_bytes())
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(DEADLINE_S) == 0
        lines = log.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        assert all(line.isprintable() for line in lines)
        if as_json == "true":
            assert {"event", "level", "timestamp"} <= set.intersection(
                *(set(json.loads(line)) for line in lines)
            )
        else:
            _require_own_lines(lines)


@pytest.mark.parametrize(
    ("variables", "colours"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_terminal_has_colours_unless_refused(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], *, colours: bool
) -> None:
    """Compare the head of a table, which is bold, and a log line, whose level has a colour."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    table = _on_terminal(shell, "topics", "--partitions", "1")
    logged = _on_terminal(Shell({**shell.settings, "HTTP_PORT": "0"}), "run")

    assert b"partitions" in table
    assert b"http_listening" in logged
    assert (b"\x1b[" in table, b"\x1b[" in logged) == (colours, colours)


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"])
def test_file_never_has_colours(
    nowhere: Shell, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")

    for arguments in (["--help"], ["fly"], ["proof"], ["demo", "--broker", "x"]):
        result = nowhere.parity(*arguments)
        assert "\x1b" not in result.out + result.err


def test_demo_draws_nothing_on_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """rich draws on a file, too, if FORCE_COLOR is set."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Show(to_stderr=True) as show:
        show.say(f"crew {HOSTILE}")
        show.bar("orders", 1, 2)
        show.proof([Line("cash", "1", "1", ok=False)])
        show.verdict("done", ok=True)

    shown = capsys.readouterr().err
    assert "FAIL" in shown
    assert all(line.isprintable() for line in shown.split("\n"))


def _on_terminal(shell: Shell, *arguments: str) -> bytes:
    """Return what a command writes to a terminal. SIGTERM ends it after its first lines."""
    ours, its = pty.openpty()
    process = parity(shell, *arguments, stdout=its, stderr=its)
    os.close(its)
    seen = b""
    try:
        while b"\n" not in seen.replace(b"\r", b""):
            seen += os.read(ours, 65_536)
        if arguments == ("run",):
            process.terminate()
        while more := os.read(ours, 65_536):
            seen += more
    except OSError:
        pass  # The terminal is closed.
    finally:
        os.close(ours)
        process.wait(DEADLINE_S)
    return seen


def _require_own_lines(lines: list[str]) -> None:
    """Require that a line begins with its time, or is an indented line of a traceback."""
    for line in lines:
        if not line.startswith("    "):
            datetime.fromisoformat(line.split(" ")[0])
