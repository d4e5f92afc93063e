"""The command `parity` as a process, with settings of its own."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.support.ports import listening_port

REPOSITORY = Path(__file__).parents[2]
HIDDEN = "geheim"
DEADLINE_S = 100.0
"""How long a command may take, also without any server."""


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
    """Calls `parity` with its own settings."""

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
        """Run a worker, and kill it at the end if it still runs."""
        command = [sys.executable, *(program or ("-m", "worker", "run"))]
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=REPOSITORY, env=self.environment(), stderr=file)
            try:
                yield process
            finally:
                process.kill()
                process.wait()


def until_ready(worker: "subprocess.Popen[bytes]") -> None:
    until(lambda: status_of(worker, "/readyz") == 200)


def until(condition: Any) -> None:  # noqa: ANN401
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def status_of(worker: "subprocess.Popen[bytes]", path: str) -> int:
    try:
        return ask(worker, path)[0]
    except OSError:
        return 0


def read_json(worker: "subprocess.Popen[bytes]", path: str) -> Any:  # noqa: ANN401
    return json.loads(ask(worker, path)[1])


def ask(worker: "subprocess.Popen[bytes]", path: str) -> tuple[int, bytes]:
    """Ask the port that the system gave to the worker. A port chosen here could be taken."""
    assert worker.poll() is None, "it has ended"
    port = listening_port(worker.pid)
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
