"""The longest step of the event loop, in processor time of its thread.

Real time shows how busy the machine is. The processor time of one step shows how long the code
holds the loop, on a machine with nothing else to do. A core that others share needs almost twice
the processor time for the same work, so a long step is compared with a known piece of work at once.
"""

import asyncio
import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from worker.app import GARBAGE_THRESHOLDS

KNOWN_WORK: Final = json.dumps([{"order": f"o-{n}", "fills": [n] * 6} for n in range(400)])
KNOWN_WORK_S: Final = 0.005
"""Processor time of `_known_work` on an idle core of two that a test may expect."""
LONG_S: Final = 0.05
"""Shorter steps are not worth the comparison."""


@dataclass(slots=True)
class Steps:
    """The steps seen so far."""

    count: int = 0
    longest_s: float = 0.0
    longest: str = field(default="", repr=False)
    """The callback of the longest step."""

    def reset(self) -> None:
        """Forget all steps."""
        self.count, self.longest_s, self.longest = 0, 0.0, ""


@contextmanager
def watched() -> Iterator[Steps]:
    """Watch every step of every loop of this process, with the worker's garbage collection."""
    steps, run, thresholds = Steps(), asyncio.Handle._run, gc.get_threshold()

    def timed(handle: asyncio.Handle) -> None:
        took_s = _processor_s(lambda: run(handle))
        if took_s > LONG_S:
            now_s = min(_processor_s(_known_work) for _ in range(3))
            took_s *= min(1.0, KNOWN_WORK_S / now_s)
        steps.count += 1
        if took_s > steps.longest_s:
            steps.longest_s, steps.longest = took_s, repr(handle)[:300]

    # Objects of the test run would be searched for garbage, too.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    asyncio.Handle._run = timed  # type: ignore[method-assign,assignment]
    try:
        yield steps
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]
        gc.set_threshold(*thresholds)


def _processor_s(work: Callable[[], None]) -> float:
    began_s = time.thread_time()
    work()
    return time.thread_time() - began_s


def _known_work() -> None:
    for _ in range(4):
        json.loads(json.dumps(json.loads(KNOWN_WORK)))
