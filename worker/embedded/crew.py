"""Workers and producers as processes, for the demo, the stress test and the tests.

Each process logs to its own file. None outlives the `with` block, nor the process that started it.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM
from types import FrameType
from typing import Final, Self

from worker.embedded.process import LOG_LINES_SHOWN, Child, Home

WORKER: Final = ("worker", "run")
STOP_DEADLINE_S: Final = 15.0
ROOT: Final = Path(__file__).parents[2]
"""Directory from which the processes import `worker` and `producers`."""


class Crew:
    """Processes that share settings. Use as a context manager, or call `stop`."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """Set ``settings`` in the environment of the processes, and no other PARITY_ variable."""
        self._home = Home(None, "parity-crew-")
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("PARITY_")}
        path = os.pathsep.join(filter(None, (str(ROOT), inherited.get("PYTHONPATH"))))
        self._environment = {**inherited, **settings, "PYTHONPATH": path}
        self._children: dict[str, Child] = {}
        self.workers: dict[str, Child] = {}
        """Workers that were started and not killed, by name."""

    @property
    def logs(self) -> Path:
        """Directory of the log files ``<name>.log``, until the crew is stopped."""
        return self._home.path

    def start(self, name: str, *arguments: str) -> Child:
        """Start ``python -m`` with ``arguments``."""
        command = [sys.executable, "-m", *arguments]
        child = Child.start(command, log=self.logs / f"{name}.log", environment=self._environment)
        self._children[name] = child
        return child

    def start_worker(self, name: str) -> Child:
        """Start a worker, which joins the consumer group when it is ready."""
        child = self.workers[name] = self.start(name, *WORKER)
        return child

    def kill_worker(self, name: str) -> Child:
        """Kill a worker, without a chance to finish anything."""
        child = self.workers.pop(name)
        child.end(SIGKILL, deadline_s=STOP_DEADLINE_S)
        return child

    def check(self) -> None:
        """Raise EmbeddedError if a worker has ended by itself."""
        for child in self.workers.values():
            if child.exit_code is not None:
                raise child.error(f"ended unexpectedly, exit code {child.exit_code}")

    def tails(self) -> str:
        """Return the last lines of every log, to see what went wrong."""
        shown = []
        for log in sorted(self.logs.glob("*.log")):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            shown += [f"{log.name}:", *(f"  | {line}" for line in lines[-LOG_LINES_SHOWN:])]
        return "\n".join(shown)

    def stop(self) -> None:
        """Send SIGTERM to all processes and wait for their end. Safe to repeat."""
        for child in self._children.values():
            child.send(SIGTERM)
        for child in self._children.values():
            child.end(SIGTERM, deadline_s=STOP_DEADLINE_S)
        self.workers.clear()
        self._home.remove_if_temporary()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """End this program on SIGTERM as on Ctrl-C, so that it stops everything it started."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(SIGTERM, before)
