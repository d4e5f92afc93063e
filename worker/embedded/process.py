"""Server processes that cannot outlive this one, and waits that always end.

The kernel's parent-death signal fires when the *thread* that started the child ends, so every
child is started from one thread that lives as long as the interpreter.
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

Guard = Literal["kernel", "watcher"]
Popen = Callable[[], "subprocess.Popen[bytes]"]
Started = Future["subprocess.Popen[bytes]"]
GUARD: Guard = "kernel" if sys.platform == "linux" else "watcher"

POLL_INTERVAL_S = 0.02
KILL_DEADLINE_S = 10.0
FREEZE_DEADLINE_S = 20.0
LOG_LINES_SHOWN = 20
LOOPBACK = "127.0.0.1"
# Below the usual range of ephemeral ports: a client that keeps dialling a killed server could
# otherwise be given the server's own port, and the server could not come back.
PORT_FIRST, PORT_LAST = 20_000, 32_000
# With the lock that keeps other programs here from being given the same: a server binds its port
# seconds later, and leaves it for a while when it is killed.
GIVEN_PORTS: dict[int, TextIO] = {}
# In each temporary directory, locked as long as the program that made it lives.
ALIVE = "alive.lock"
# Younger ones may be between their making and their locking.
SWEEP_AGE_S = 60.0


class EmbeddedError(RuntimeError):
    """A server here did not do what was awaited. The text ends with its last log lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user that a server runs as when this process is root."""

    name: str
    uid: int
    gid: int


class Child:
    """One process, its log file and its end."""

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
                # Ctrl-C in a terminal is for the worker, which drains while its servers live.
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
        """Send a signal; nothing happens if the process has ended."""
        self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop all of its threads. One on another core may run for a moment after the signal."""
        self.send(signal.SIGSTOP)
        # macOS has it in later Pythons only.
        if hasattr(os, "waitid"):
            deadline = time.monotonic() + FREEZE_DEADLINE_S
            while time.monotonic() < deadline and not self._has_stopped():
                time.sleep(POLL_INTERVAL_S)

    def _has_stopped(self) -> bool:
        if self.exit_code is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG) is not None

    def end(self, number: signal.Signals, *, deadline_s: float) -> None:
        """Send `number` and wait; after `deadline_s` seconds kill. Safe to repeat."""
        self.send(number)
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(KILL_DEADLINE_S)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def finish(self, what: str, *, deadline_s: float) -> None:
        """Wait for a program that ends by itself; raises EmbeddedError unless it ends well."""
        self.wait_until(what, lambda: self.exit_code == 0, deadline_s=deadline_s)

    def wait_until(self, what: str, check: Callable[[], bool], *, deadline_s: float) -> None:
        """Poll `check`; raises EmbeddedError when the process ends first or the time is up."""
        deadline = time.monotonic() + deadline_s
        while True:
            # Looked at before the check: an end after it is seen in the next round.
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
        return EmbeddedError(f"{self._name} {text}; the end of {self._log.name}:\n{shown}")


class LastingThread:
    """Starts processes, one after the other, in a thread that ends with the interpreter."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Popen, Started]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._owner_pid = 0

    def start(self, popen: Popen) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._owner_pid != os.getpid():
                # The first call, or a fork, which leaves threads behind.
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
    """The directory of one server: given by the caller and kept, or temporary and removed."""

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
    """Remove what programs that were killed could not remove."""
    for alive in Path(tempfile.gettempdir()).glob(f"{prefix}*/{ALIVE}"):
        with contextlib.suppress(OSError), alive.open() as file:
            if time.time() - alive.stat().st_mtime > SWEEP_AGE_S and try_lock(file):
                shutil.rmtree(alive.parent, ignore_errors=True)


def try_lock(file: TextIO) -> bool:
    """Lock a file until it is closed; False if another program holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def free_port() -> int:
    """A TCP port of the loopback interface, this program's own as long as it lives."""
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
        # As servers bind: a port that only waits out a closed connection is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
