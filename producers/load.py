"""A program that publishes a flow. See ``python -m producers.load --help``.

``parity load`` does the same with the worker's settings of brokers, security and topics.

The flow depends on the seed alone, so a killed run is simply started again. Commands that arrive
twice are answered DUPLICATE. Workers read orders and deposits at the same time. To avoid
UNKNOWN_ACCOUNT at the start, run ``--phase fund``, wait for the DEPOSITED events, and then run
``--phase trade``.
"""

import argparse
import asyncio
import contextlib
import json
import math
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Final

from producers.client import OrderPublisher, PublisherError
from producers.encode import Publishable
from producers.flow import Flow, FlowSettings, flow, hot, resolutions, uniform
from producers.language import Deposit, OpenMarket

FLOWS: Final = {"flow": flow, "uniform": uniform, "hot": hot}
PHASES: Final = ("fund", "trade", "resolve")
PACE_MIN_S: Final = 0.001
"""The shortest pause. At a high rate records leave in small groups instead."""


@dataclass(slots=True)
class LoadRun:
    """A run of the load generator and its progress."""

    options: argparse.Namespace
    settings: FlowSettings
    flow: Flow
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    resolved: int = 0
    seconds: float = 0.0

    def commands(self) -> Iterator[Publishable]:
        """Yield the commands of the chosen phases."""
        phases = self.options.phase or ["fund", "trade"]
        if "trade" in phases and "fund" in phases:
            yield from self.flow
        elif "trade" in phases:
            yield from dropwhile(_funds, self.flow)
        elif "fund" in phases:
            yield from takewhile(_funds, self.flow)
        if "resolve" in phases or self.options.resolve:
            for command in resolutions(self.settings):
                self.resolved += 1
                yield command

    def report(self, event: str, acknowledged: int) -> Mapping[str, object]:
        """Return the report, as JSON."""
        return {
            "event": event,
            "flow": self.options.flow,
            "seed": self.settings.seed,
            "orders": self.flow.orders,
            "orders_wanted": self.settings.orders,
            "refused_for_certain": self.flow.refused,
            "resolved": self.resolved,
            "acknowledged": acknowledged,
            "seconds": round(self.seconds, 3),
            "per_second": round(acknowledged / self.seconds) if self.seconds else 0,
            "kinds": dict(self.flow.summary),
        }


def main() -> None:
    """Run `python -m producers.load`. Exits with 1 if the broker did not take everything."""
    try:
        run()
    except PublisherError as error:
        sys.exit(f"producers.load: {type(error).__name__}: {error}")


def run(
    arguments: Sequence[str] | None = None, *, security: Mapping[str, object] | None = None
) -> None:
    """Publish until done or stopped. Raises PublisherError if the broker did not take everything.

    ``security`` is that of `OrderPublisher`. Wrong ``arguments`` exit with 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = FlowSettings(
            seed=options.seed,
            markets=options.markets,
            accounts=options.accounts,
            orders=options.orders,
            sweep=options.sweep,
        )
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(_publish(options, settings, security))


async def _publish(
    options: argparse.Namespace, settings: FlowSettings, security: Mapping[str, object] | None
) -> None:
    run = LoadRun(options, settings, FLOWS[options.flow](settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        # Commands in flight are still awaited. The others are not sent.
        asyncio.get_running_loop().add_signal_handler(number, run.stop.set)
    event = "failed"
    async with OrderPublisher(
        options.bootstrap,
        orders_topic=options.orders_topic,
        transfers_topic=options.transfers_topic,
        orders_partitions=options.orders_partitions,
        transfers_partitions=options.transfers_partitions,
        security=security,
    ) as publisher:
        progress = asyncio.create_task(_progress(run, publisher), name="progress")
        begun_at = asyncio.get_running_loop().time()
        try:
            commands = _paced(run.commands(), options.rate, run.stop)
            await publisher.publish_all(commands, in_flight_max=options.in_flight)
            event = "stopped" if run.stop.is_set() else "done"
        finally:
            run.seconds = asyncio.get_running_loop().time() - begun_at
            progress.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await progress
            _say(run.report(event, publisher.acknowledged), options.report_json)


async def _paced(
    commands: Iterable[Publishable], per_second: float, stop: asyncio.Event
) -> AsyncIterator[Publishable]:
    """Yield ``per_second`` commands on average since the start. 0 means no limit."""
    clock = asyncio.get_running_loop().time
    begun_at = clock()
    for number, command in enumerate(commands):
        if per_second:
            early_s = begun_at + number / per_second - clock()
            if early_s > PACE_MIN_S:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), early_s)
        if stop.is_set():
            return
        yield command


async def _progress(run: LoadRun, publisher: OrderPublisher) -> None:
    """Print the progress at the interval of ``--progress``."""
    while run.options.progress:
        await asyncio.sleep(run.options.progress)
        line = {
            "event": "progress",
            "orders": run.flow.orders,
            "orders_wanted": run.settings.orders,
            "acknowledged": publisher.acknowledged,
        }
        _say(line, "-")


def _say(line: Mapping[str, object], where: str | None) -> None:
    text = f"{json.dumps(line)}\n"
    if where == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    elif where:
        Path(where).write_text(text, encoding="utf-8")


def _funds(command: Publishable) -> bool:
    return isinstance(command, OpenMarket | Deposit)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}: use an integer, 1 or more")
    return int(text)


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"is {text!r}: use a finite number, 0 or more")
    return number


def _writable(path: str) -> str:
    """Return ``path`` if a report can be written there, before anything is published."""
    if path != "-":
        try:
            Path(path).touch()
        except OSError as error:
            raise argparse.ArgumentTypeError(f"is {path!r}: {error.strerror}") from error
    return path


def _parser() -> argparse.ArgumentParser:
    defaults = FlowSettings()
    parser = argparse.ArgumentParser(prog="python -m producers.load", description=__doc__)
    add = parser.add_argument
    add("--bootstrap", required=True, help="host:port[,host:port…]")
    add("--flow", choices=FLOWS, default="flow", help="the kind of commands (%(default)s)")
    add("--phase", choices=PHASES, action="append", help="publish only this part, may be repeated")
    add("--resolve", action="store_true", help="resolve every market at the end")
    add("--seed", type=int, default=defaults.seed)
    add("--orders", type=int, default=defaults.orders, help="PLACE_ORDER records (%(default)s)")
    add("--markets", type=int, default=defaults.markets)
    add("--accounts", type=int, default=defaults.accounts)
    add("--sweep", type=int, default=defaults.sweep, help="orders that one taker sweeps")
    add("--rate", type=_amount, default=0.0, help="commands per second, 0 for no limit")
    add("--in-flight", type=_count, default=4_000, help="most unacknowledged commands")
    add("--orders-topic", default="parity.orders.v1")
    add("--transfers-topic", default="parity.transfers.v1")
    add("--orders-partitions", type=_count, help="the stream's count, if the topic has more")
    add("--transfers-partitions", type=_count, help="the stream's count, if the topic has more")
    add("--progress", type=_amount, default=0.0, metavar="S", help="a JSON line every S seconds")
    add(
        "--report-json",
        type=_writable,
        metavar="PATH",
        help="file of the report, - for standard output",
    )
    return parser


if __name__ == "__main__":
    main()
