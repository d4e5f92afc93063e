"""Log lines of a process: of the worker, of libraries, and of errors that nobody caught."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LOUD = r"""
import asyncio, gc, logging, sys, threading, warnings
from worker.telemetry import configure_logging, log, log_uncaught

class Unraisable:
    def __del__(self):
        raise OSError("unraisable\x1b[31m")

def fail(text):
    raise ValueError(text)

async def forget():
    task = asyncio.ensure_future(asyncio.to_thread(fail, "forgotten\x1b[31m\n2026 [info] forged"))
    await asyncio.wait([task])
    del task
    gc.collect()

configure_logging("INFO", as_json=sys.argv[1] == "json")
log_uncaught()
log.info("own", path="/\x1b[2J\n2026 [info] forged", name="\u202ename", rows=3, at=("\x1b",))
logging.getLogger("aiokafka.conn").warning("Heartbeat of %s\x1b[31m\n2026 [info] forged", "\x07")
logging.getLogger("aiohttp").error("%d is no number", "x")
warnings.warn("warned\x1b[31m\n2026 [info] forged", stacklevel=1)
asyncio.run(forget())
thread = threading.Thread(target=fail, args=("in a thread\x1b[31m\n2026 [info] forged",))
thread.start()
thread.join()
Unraisable()
fail("uncaught\x1b[31m\n2026 [info] forged")
"""
TEXTS = (
    *("own", "Heartbeat of", "library_line_unfit", "warned"),
    *("forgotten", "in a thread", "unraisable", "uncaught"),
)


def lines_of(form: str) -> list[str]:
    """Return what the process above writes to standard error."""
    command = [sys.executable, "-c", LOUD, form]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    for text in TEXTS:
        assert text in done.stderr
    return done.stderr.removesuffix("\n").split("\n")


def test_every_json_line_is_json() -> None:
    lines = lines_of("json")
    found = [json.loads(line) for line in lines]

    assert all({"event", "level", "timestamp"} <= set(line) for line in found)
    assert all(line.isprintable() and line.isascii() for line in lines)
    own = next(line for line in found if line["event"] == "own")
    assert (own["path"], own["name"]) == ("/\x1b[2J\n2026 [info] forged", "\u202ename")
    heard = next(line for line in found if line.get("logger") == "aiokafka.conn")
    assert heard["event"] == "Heartbeat of \x07\x1b[31m\n2026 [info] forged"
    assert heard["level"] == "warning"
    assert sum("exception" in line for line in found) == 4


def test_text_lines_cannot_be_forged() -> None:
    """A line begins with its time, or is an indented line of a traceback."""
    lines = lines_of("text")
    for line in lines:
        assert line.isprintable()
        if not line.startswith("    "):
            datetime.fromisoformat(line.split(" ")[0])
    assert "forged" in "".join(lines)
