"""The demo: a whole exchange, a worker killed at work, and the verdict on its history and books.

stage.py    an exchange of its own, on its own servers or on given ones
play.py     the acts: fund, trade, kill, resolve
verdict.py  the lines that history and books must satisfy, pure
options.py  the options
"""

import asyncio
import json
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version

from worker.adapters.postgres.books import Books
from worker.audit.gather import audit_history
from worker.demo.options import Options
from worker.demo.play import Play
from worker.demo.stage import Opening, open_stage
from worker.demo.verdict import DemoResult, prove
from worker.embedded.crew import Crew
from worker.embedded.together import servers
from worker.stage.exchange import evidence_of, timeout_s, workers
from worker.stage.program import SYSTEM, perform
from worker.stage.show import Line, Show

__all__ = ["Options", "run"]

LIBRARIES = ("parity-exchange", "aiokafka", "asyncpg")


def run(options: Options | None = None) -> int:
    """Play; return 0 if all is proved, 1 if not, 2 or 3 if the demo could not be played."""
    options, began_s = options or Options(), SYSTEM.clock()
    with Show(to_stderr=options.json) as show:
        show.say(f"{_versions()}      demo, not for production")

        def fail(text: str) -> None:
            show.say(f"  {text}")
            show.verdict(f"after {SYSTEM.clock() - began_s:.1f} s", ok=False)

        return perform(lambda: _perform(options, show, began_s), fail)


def _perform(options: Options, show: Show, began_s: float) -> bool:
    with ExitStack() as stack:
        found = stack.enter_context(servers(options.database_url, options.broker))
        for note in found.notes:
            show.say(f"  {note}")
        opening = asyncio.run(open_stage(options, found))
        names = ", ".join(opening.stage.names)
        show.say(f"  {'topics':<26} {options.partitions} partitions  {names}")
        crew = stack.enter_context(workers(opening.stage.settings, show.say))
        lines = asyncio.run(_play(opening, options, crew, show))
        passed = all(line.ok for line in lines)
        if not passed:
            show.say(crew.tails())
    seconds = SYSTEM.clock() - began_s
    show.proof(lines)
    show.verdict(f"{seconds:.1f} s   backend {opening.backend} (repeatable read)", ok=passed)
    if options.json:
        sys.stdout.write(f"{json.dumps(_result(lines, opening.backend, seconds), indent=2)}\n")
    return passed


async def _play(opening: Opening, options: Options, crew: Crew, show: Show) -> Sequence[Line]:
    stage, settings = opening.stage, opening.stage.settings
    inputs = stage.broker.reader(stage.inputs)
    async with evidence_of(settings) as evidence, inputs:
        play = Play(opening, options, crew=crew, evidence=evidence, inputs=inputs, show=show)
        await play.run()
        result = DemoResult(
            orders=options.orders,
            markets=options.markets,
            cash_before=opening.cash,
            owners=frozenset(play.owners),
            killing=play.killing,
        )
        sums = await evidence.sums(stage.names[0])
    books = Books(settings.database_url.get_secret_value(), timeout_s=timeout_s(settings))
    audit = await audit_history(books, stage.broker, stage.outputs, SYSTEM.clock, stage.names)
    for violation in audit.result.violations:
        show.say(f"  {violation.line()}")
    return prove(audit, sums, result)


def _versions() -> str:
    ours, *others = LIBRARIES
    libraries = "  ".join(f"{name} {version(name)}" for name in others)
    return f"parity {version(ours)}  python {platform.python_version()}  {libraries}"


def _result(lines: Sequence[Line], backend: str, seconds: float) -> dict[str, object]:
    return {
        "pass": all(line.ok for line in lines),
        "seconds": round(seconds, 1),
        "backend": backend,
        "versions": {name: version(name) for name in LIBRARIES},
        "proof": [
            {"name": n.name, "value": n.value, "must_be": n.must_be, "ok": n.ok} for n in lines
        ],
    }
