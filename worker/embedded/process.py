"""Server processes that never outlive this process, and waits with deadlines.

The kernel sends the parent-death signal when the *thread* that started the child ends. Therefore
one thread that lives as long as the interpreter starts every child.
"""

import contextlib
import fcntl
import os
import queue
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Self, TextIO

from worker.embedded import launch
from worker.errors import ParityError

Guard = Literal["kernel", "watcher"]
Popen = Callable[[], "subprocess.Popen[bytes]"]
Started = Future["subprocess.Popen[bytes]"]
GUARD: Guard = "kernel" if sys.platform == "linux" else "watcher"

POLL_INTERVAL_S = 0.02
KILL_DEADLINE_S = 10.0
FREEZE_DEADLINE_S = 20.0
LOG_LINES_SHOWN = 20
LOOPBACK = "127.0.0.1"
# Below the usual range of ephemeral ports. A client that keeps dialling a killed server could
# otherwise get the server's own port, and the server could not restart.
PORT_FIRST, PORT_LAST = 20_000, 32_000
# Each port with the lock that reserves it among the programs of this machine. A server binds its
# port seconds after it gets it, and leaves it for a while when it is killed.
GIVEN_PORTS: dict[int, TextIO] = {}
# A file in each temporary directory, locked as long as the program that made the directory lives.
ALIVE = "alive.lock"
# A younger directory may exist already and not be locked yet.
SWEEP_AGE_S = 60.0


class EmbeddedError(ParityError):
    """A server failed or missed a deadline. The text ends with the last lines of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user of a server when this process is root."""

    name: str
    uid: int
    gid: int


class Child:
    """One process and its log file."""

    def __init__(self, process: "subprocess.Popen[bytes]", name: str, log: Path) -> None:
        self._process = process
        self._name = name
        self._log = log

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        log: Path,
        death_signal: signal.Signals = signal.SIGKILL,
        account: Account | None = None,
        environment: Mapping[str, str] | None = None,
        guard: Guard = GUARD,
    ) -> Self:
        """Start `argv[0]`, an absolute path, with its output appended to `log`."""
        uid, gid = (account.uid, account.gid) if account else (-1, -1)
        launcher = [sys.executable, "-I", "-S", launch.__file__]
        command = [*launcher, os.getpid(), int(death_signal), uid, gid, guard, *argv]

        def popen(output: IO[bytes]) -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE if guard == "watcher" else subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env=environment,
                # Ctrl-C in a terminal must not reach the servers: the worker drains first.
                start_new_session=True,
            )

        with log.open("ab") as output:
            process = LASTING_THREAD.start(lambda: popen(output))
        return cls(process, Path(argv[0]).name, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop all threads. A thread on another core may run for a moment after the signal."""
        self.send(signal.SIGSTOP)
        # Missing on macOS before Python 3.13.
        if hasattr(os, "waitid"):
            deadline = time.monotonic() + FREEZE_DEADLINE_S
            while time.monotonic() < deadline and not self._has_stopped():
                time.sleep(POLL_INTERVAL_S)

    def _has_stopped(self) -> bool:
        if self.exit_code is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG) is not None

    def end(self, number: signal.Signals, *, deadline_s: float) -> None:
        """Send `number`, wait, and kill after `deadline_s` seconds. Safe to repeat."""
        self.send(number)
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(KILL_DEADLINE_S)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def finish(self, what: str, *, deadline_s: float) -> None:
        """Wait for a program to exit with 0. Raises EmbeddedError if it does not."""
        self.wait_until(what, lambda: self.exit_code == 0, deadline_s=deadline_s)

    def wait_until(self, what: str, check: Callable[[], bool], *, deadline_s: float) -> None:
        """Poll `check`. Raises EmbeddedError when the process ends first or the time is up."""
        deadline = time.monotonic() + deadline_s
        while True:
            # Read before the check. If the process ends in between, the next round sees it.
            exit_code = self.exit_code
            if check():
                return
            if exit_code is not None:
                raise self.error(f"ended with {exit_code} before {what}")
            if time.monotonic() > deadline:
                self.end(signal.SIGKILL, deadline_s=KILL_DEADLINE_S)
                raise self.error(f"waited {deadline_s:g} s for {what}")
            time.sleep(POLL_INTERVAL_S)

    def error(self, text: str) -> EmbeddedError:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        shown = "\n".join(f"  | {line}" for line in lines[-LOG_LINES_SHOWN:])
        return EmbeddedError(f"{self._name} {text}. The end of {self._log.name}:\n{shown}")


class LastingThread:
    """Starts processes one by one, in a thread that ends with the interpreter."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Popen, Started]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._owner_pid = 0

    def start(self, popen: Popen) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._owner_pid != os.getpid():
                # The first call in this process. A fork does not copy threads.
                threading.Thread(target=self._work, name="embedded-servers", daemon=True).start()
                self._owner_pid = os.getpid()
        started: Started = Future()
        self._jobs.put((popen, started))
        return started.result()

    def _work(self) -> None:
        while True:
            popen, started = self._jobs.get()
            try:
                started.set_result(popen())
            except OSError as error:
                started.set_exception(error)


LASTING_THREAD = LastingThread()


class Home:
    """The directory of one server. A given one is kept, a temporary one is removed."""

    def __init__(self, directory: Path | None, prefix: str) -> None:
        self.temporary = directory is None
        if directory is None:
            _sweep(prefix)
            self.path = Path(tempfile.mkdtemp(prefix=prefix))
            self._alive = (self.path / ALIVE).open("w")
            try_lock(self._alive)
        else:
            self.path = directory
            self.path.mkdir(parents=True, exist_ok=True)

    def remove_if_temporary(self) -> None:
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
            self._alive.close()


def _sweep(prefix: str) -> None:
    """Remove the temporary directories of programs that were killed."""
    for alive in Path(tempfile.gettempdir()).glob(f"{prefix}*/{ALIVE}"):
        with contextlib.suppress(OSError), alive.open() as file:
            if time.time() - alive.stat().st_mtime > SWEEP_AGE_S and try_lock(file):
                shutil.rmtree(alive.parent, ignore_errors=True)


def try_lock(file: TextIO) -> bool:
    """Lock a file until it is closed. Return False if another program holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def free_port() -> int:
    """Return a free TCP port of the loopback interface, reserved for the life of this program."""
    for port in random.SystemRandom().sample(range(PORT_FIRST, PORT_LAST), 200):
        if port not in GIVEN_PORTS and _can_bind(port) and _reserve(port):
            return port
    raise EmbeddedError(f"no free port between {PORT_FIRST} and {PORT_LAST}")


def _reserve(port: int) -> bool:
    locks = Path(tempfile.gettempdir()) / f"parity-ports-{os.getuid()}"
    locks.mkdir(mode=0o700, exist_ok=True)
    lock = (locks / str(port)).open("w")
    if not try_lock(lock):
        lock.close()
        return False
    GIVEN_PORTS[port] = lock
    return True


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        # The option that servers use, so a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
