"""The demo: the whole exchange on this machine, a killed worker, and the proof.

stage.py   where it plays: database, topics, settings     play.py    what happens
proof.py   what its history and books must show, pure     show.py    lines, bars, the table
options.py what may be asked for
"""

import asyncio
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version

from worker.adapters.postgres.books import Books
from worker.adapters.postgres.evidence import Evidence
from worker.audit.gather import OutputTopics, audit_history
from worker.demo.options import Options
from worker.demo.play import Play
from worker.demo.proof import Line, Run, prove
from worker.demo.show import Show, as_json
from worker.demo.stage import SYSTEM, TIMEOUT_S, Stage, prepare
from worker.embedded import EmbeddedError
from worker.embedded.crew import Crew, sigterm_interrupts
from worker.embedded.together import servers
from worker.errors import BrokerError, ConfigError, ParityError, StoreError

__all__ = ["Options", "run"]

LIBRARIES = ("parity-exchange", "aiokafka", "asyncpg")
INTERRUPTED = 130


def run(options: Options | None = None) -> int:
    """Play the demo; return 0 when it is proved, 1 when not, 2 or 3 when it could not be played."""
    options = options or Options()
    began = SYSTEM.clock()
    with Show(to_stderr=options.json) as show, sigterm_interrupts():
        show.say(f"{_versions()}      demo, not for production")
        try:
            backend, lines = _perform(options, show)
        except KeyboardInterrupt:
            show.say("  interrupted; everything that was started is stopped")
            return INTERRUPTED
        except (ParityError, EmbeddedError) as error:
            show.say(f"  {type(error).__name__}: {error}")
            show.verdict(f"after {SYSTEM.clock() - began:.1f} s", ok=False)
            return _exit_code(error)
    passed, seconds = all(line.ok for line in lines), SYSTEM.clock() - began
    show.proof(lines)
    show.verdict(f"{seconds:.1f} s   backend {backend} (repeatable read)", ok=passed)
    if options.json:
        sys.stdout.write(as_json(_result(lines, backend, seconds)))
    return 0 if passed else 1


def _perform(options: Options, show: Show) -> tuple[str, Sequence[Line]]:
    with ExitStack() as stack:
        found = stack.enter_context(servers(options.database_url, options.broker))
        for note in found.notes:
            show.say(f"  {note}")
        stage = asyncio.run(prepare(options, found.database_url, found.bootstrap))
        show.say(f"  {'topics':<26} {stage.partitions} partitions  {', '.join(stage.streams)}")
        crew = stack.enter_context(Crew(stage.environment))
        try:
            lines = asyncio.run(_play(stage, options, crew, show))
            failed = not all(line.ok for line in lines)
        except (ParityError, EmbeddedError):
            show.say(crew.tails())
            raise
        if failed:
            show.say(crew.tails())
        return stage.backend, lines


async def _play(stage: Stage, options: Options, crew: Crew, show: Show) -> Sequence[Line]:
    url = stage.settings.database_url.get_secret_value()
    inputs = stage.broker.reader(stage.partitions_of(*stage.streams))
    async with Evidence(url, timeout_s=TIMEOUT_S) as evidence, inputs:
        play = Play(stage, options, crew=crew, evidence=evidence, inputs=inputs, show=show)
        await play.run()
        run_ = Run(
            orders=options.orders,
            markets=options.markets,
            cash_before=stage.cash_before,
            owners=frozenset(play.owners),
            killing=play.killing,
        )
        sums = await evidence.sums(stage.streams[0])
        books = Books(url, timeout_s=TIMEOUT_S)
        dead = stage.settings.dead_letters_topic
        outputs = OutputTopics(*stage.outputs, dead, stage.partitions)
        audit = await audit_history(books, stage.broker, outputs, SYSTEM.clock, stage.streams)
        return prove(audit, sums, run_)


def _exit_code(error: Exception) -> int:
    match error:
        case ConfigError():
            return 2
        case StoreError() | BrokerError():
            return 3
        case _:
            return 1


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
