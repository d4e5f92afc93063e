"""The longest step of the event loop, in processor time of its thread.

Real time shows how busy the machine is. The processor time of one step shows how long the code
holds the loop, on a machine with nothing else to do.
"""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from worker.app import GARBAGE_THRESHOLDS


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
        began_s = time.thread_time()
        run(handle)
        took_s = time.thread_time() - began_s
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
        gc.unfreeze()
