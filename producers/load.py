"""A process of its own that publishes a flow: ``python -m producers.load --help``.

``parity load`` is the same with the worker's settings: brokers, security and topics.

The flow depends on the seed alone, so a run that was killed is simply run again: what arrived twice
is answered DUPLICATE. Orders and deposits are different topics, read side by side: whoever wants no
UNKNOWN_ACCOUNT at the start runs ``--phase fund``, waits for the DEPOSITED events, then
``--phase trade``.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Final

from producers.client import OrderPublisher, PublisherError
from producers.commands import Publishable
from producers.flow import Flow, FlowSettings, flow, hot, resolutions, uniform
from worker.domain.commands import Deposit, OpenMarket

FLOWS: Final = {"flow": flow, "uniform": uniform, "hot": hot}
PHASES: Final = ("fund", "trade", "resolve")
PACE_MIN_S: Final = 0.001
"""Shorter pauses are not worth a turn of the loop: at a high rate records leave in small groups."""


@dataclass(slots=True)
class Run:
    """One run and what it has done so far."""

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
        """Return what is to be said, as JSON."""
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


def main(
    arguments: Sequence[str] | None = None, *, security: Mapping[str, object] | None = None
) -> int:
    """Publish; return 0 when done or stopped, 1 when the broker did not take everything.

    ``security`` is that of `OrderPublisher`; `parity load` gives it the worker's.
    """
    options = _parser().parse_args(arguments)
    try:
        settings = FlowSettings(
            seed=options.seed,
            markets=options.markets,
            accounts=options.accounts,
            orders=options.orders,
            sweep=options.sweep,
        )
    except ValueError as error:
        sys.stderr.write(f"producers.load: {error}\n")
        return 2
    try:
        asyncio.run(_publish(options, settings, security))
    except PublisherError as error:
        sys.stderr.write(f"producers.load: {type(error).__name__}: {error}\n")
        return 1
    return 0


async def _publish(
    options: argparse.Namespace, settings: FlowSettings, security: Mapping[str, object] | None
) -> None:
    run = Run(options, settings, FLOWS[options.flow](settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        # What is in flight is still waited for; the rest is not sent.
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
    """Yield ``per_second`` commands, on average since the start; 0 is as fast as they are taken."""
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


async def _progress(run: Run, publisher: OrderPublisher) -> None:
    """Write how far it is, now and again, for whoever draws it."""
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


def _parser() -> argparse.ArgumentParser:
    defaults = FlowSettings()
    parser = argparse.ArgumentParser(prog="python -m producers.load", description=__doc__)
    add = parser.add_argument
    add("--bootstrap", required=True, help="host:port[,host:port…]")
    add("--flow", choices=FLOWS, default="flow", help="what kind of commands (%(default)s)")
    add("--phase", choices=PHASES, action="append", help="only this part; may be repeated")
    add("--resolve", action="store_true", help="resolve every market at the end")
    add("--seed", type=int, default=defaults.seed)
    add("--orders", type=int, default=defaults.orders, help="PLACE_ORDER records (%(default)s)")
    add("--markets", type=int, default=defaults.markets)
    add("--accounts", type=int, default=defaults.accounts)
    add("--sweep", type=int, default=defaults.sweep, help="orders that one taker goes through")
    add("--rate", type=float, default=0.0, help="commands per second; 0 is as fast as possible")
    add("--in-flight", type=int, default=4_000, help="unacknowledged commands at most")
    add("--orders-topic", default="parity.orders.v1")
    add("--transfers-topic", default="parity.transfers.v1")
    add("--orders-partitions", type=int, help="the stream's count, if the topic has more")
    add("--transfers-partitions", type=int, help="the stream's count, if the topic has more")
    add("--progress", type=float, default=0.0, metavar="S", help="a JSON line every S seconds")
    add("--report-json", metavar="PATH", help="where the report goes; - is standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
