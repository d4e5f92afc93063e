"""The stress test of the article that Parity grew from.

Few accounts fire many orders at once, at the same few prices of few markets, so that everything
conflicts that can. Then the books of exactly these accounts and markets must be right. Names are
new in each run: the test can be repeated on a system that is in use.

volley.py  fires, waits for the answers, compares the books
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from worker import config
from worker.config import Settings
from worker.embedded.together import servers
from worker.stage.exchange import Stage, evidence_of, prepare, workers
from worker.stage.program import SYSTEM, perform
from worker.stage.show import Show
from worker.stress.volley import Names, StressReport, Volley

__all__ = ["Options", "run"]

PUBLISHERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One stress test. ``embedded`` starts a database, a broker and two workers first."""

    orders: int = 216
    markets: int = 3
    embedded: bool = False


def run(options: Options | None = None) -> int:
    """Fire and compare; return 0 if the books are right, 1 if not, 2 or 3 if nothing was fired."""
    options = options or Options()
    with Show(to_stderr=True) as show:
        return perform(lambda: _perform(options, show), lambda text: show.say(f"stress: {text}"))


def _perform(options: Options, show: Show) -> bool:
    with _system(options, show) as settings:
        report = asyncio.run(_fire(settings, options, show))
    sys.stdout.write("".join(f"{line}\n" for line in report.lines()))
    if not report.passed:
        show.proof(report.proof())
    return report.passed


@contextmanager
def _system(options: Options, show: Show) -> Iterator[Settings]:
    """Yield the settings of a running system: the given one, or one that lives as long."""
    if not options.embedded:
        yield config.load()
        return
    with servers() as found:
        settings = config.load(
            database_url=found.database_url, bootstrap_servers=found.bootstrap, http_port=0
        )
        asyncio.run(prepare(settings))
        with workers(settings, show.say):
            yield settings


async def _fire(settings: Settings, options: Options, show: Show) -> StressReport:
    stage = await Stage.find(settings)
    async with AsyncExitStack() as stack:
        volley = Volley(
            Names.of_run(f"{SYSTEM.random.getrandbits(40):010x}", options.markets),
            streams=stage.names,
            evidence=await stack.enter_async_context(evidence_of(settings)),
            reader=await stack.enter_async_context(stage.broker.reader(stage.events)),
            publishers=[
                await stack.enter_async_context(stage.publisher()) for _ in range(PUBLISHERS)
            ],
            show=show,
        )
        return await volley.fire(options.orders)
