"""The stress test of the article that Parity grew from, against whatever the settings point to.

Many orders at once, of few accounts, at the same few prices of few markets: everything conflicts
that can. Then the books of exactly these accounts and markets must still be right. Names are new in
each run, so it can be repeated on a system that is in use.

    __init__.py  finds or starts the system      volley.py  fires, and compares
"""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from producers.client import BrokerUnreachable, OrderPublisher, PublisherError
from worker import app, config
from worker.adapters.postgres.evidence import Evidence
from worker.adapters.postgres.migrate import migrate
from worker.config import Settings
from worker.embedded import EmbeddedError
from worker.embedded.crew import Crew, sigterm_interrupts
from worker.embedded.together import servers
from worker.errors import BrokerError, ConfigError, ParityError, StoreError
from worker.ports import TopicPartition
from worker.stress.volley import SYSTEM, Names, Proof, Volley
from worker.topics import Streams, find_streams, make_topics

__all__ = ["Options", "run"]

PUBLISHERS: Final = 8
EMBEDDED_PARTITIONS: Final = 12
EMBEDDED_WORKERS: Final = 2
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much, and on what: ``embedded`` starts a database, a broker and two workers first."""

    orders: int = 216
    markets: int = 3
    embedded: bool = False


def run(options: Options | None = None) -> int:
    """Fire and prove; return 0 when the books are right, 1 when not, 2 or 3 if it could not be."""
    options = options or Options()
    try:
        with sigterm_interrupts(), _system(options) as settings:
            proof = asyncio.run(_stress(settings, options))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ParityError, EmbeddedError, PublisherError) as error:
        sys.stderr.write(f"stress: {type(error).__name__}: {error}\n")
        return _exit_code(error)
    sys.stdout.write("".join(f"{line}\n" for line in proof.lines()))
    return 0 if proof.passed else 1


def _exit_code(error: Exception) -> int:
    match error:
        case ConfigError():
            return 2
        case StoreError() | BrokerError() | BrokerUnreachable():
            return 3
        case _:
            return 1


@contextmanager
def _system(options: Options) -> Iterator[Settings]:
    """Yield the settings of a system that runs: the given one, or one of our own."""
    if not options.embedded:
        yield config.load()
        return
    with servers() as found:
        settings = config.load(
            database_url=found.database_url, bootstrap_servers=found.bootstrap, http_port=0
        )
        asyncio.run(_prepare(settings))
        with Crew(_environment(settings, found.database_url)) as crew:
            for number in range(1, EMBEDDED_WORKERS + 1):
                crew.start_worker(f"worker-{number}")
            try:
                yield settings
            except ParityError:
                sys.stderr.write(f"{crew.tails()}\n")
                raise


def _environment(settings: Settings, database_url: str) -> Mapping[str, str]:
    values = {**settings.model_dump(exclude_none=True), "database_url": database_url}
    return {f"{config.PREFIX}{name.upper()}": str(value) for name, value in values.items()}


async def _prepare(settings: Settings) -> None:
    await migrate(settings.database_url.get_secret_value(), timeout_s=settings.database_timeout_s)
    await make_topics(settings, app.make_broker(settings), EMBEDDED_PARTITIONS)


async def _stress(settings: Settings, options: Options) -> Proof:
    names = Names.of_run(f"{SYSTEM.random.getrandbits(40):010x}", options.markets)
    broker = app.make_broker(settings)
    streams = await find_streams(settings, broker)
    outputs = (
        (settings.events_topic, streams.orders),
        (settings.transfer_events_topic, streams.transfers),
    )
    partitions = [
        TopicPartition(topic, number)
        for topic, stream in outputs
        for number in range(stream.partitions)
    ]
    url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
    async with AsyncExitStack() as stack:
        evidence = await stack.enter_async_context(Evidence(url, timeout_s=timeout_s))
        reader = await stack.enter_async_context(broker.reader(partitions))
        publishers = [
            await stack.enter_async_context(_publisher(settings, streams))
            for _ in range(PUBLISHERS)
        ]
        volley = Volley(
            names,
            stream=streams.orders.stream,
            evidence=evidence,
            reader=reader,
            publishers=publishers,
        )
        return await volley.fire(options.orders)


def _publisher(settings: Settings, streams: Streams) -> OrderPublisher:
    return OrderPublisher(
        settings.bootstrap_servers,
        orders_topic=settings.orders_topic,
        transfers_topic=settings.transfers_topic,
        orders_partitions=streams.orders.partitions,
        transfers_partitions=streams.transfers.partitions,
        security=app.make_security(settings).arguments(),
    )
