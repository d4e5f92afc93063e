"""The command `parity publish`: publishes one command of the exchange, or a file of them."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer

from producers.client import Delivery, OrderPublisher
from producers.encode import Publishable, check, encode
from producers.link import Ack
from worker import app
from worker.cli.process import complete, quiet_settings
from worker.cli.show import AsJson, print_json, say
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
from worker.errors import ConfigError
from worker.wire.decode import decode_order, decode_transfer

PUBLISHED_AT_ONCE: Final = 1_000
WRONG_LINES_SHOWN: Final = 10

Market = Annotated[str, typer.Option("--market", help="The market's id.")]
Account = Annotated[str, typer.Option("--account", help="The account's id.")]
Operator = Annotated[
    str, typer.Option("--operator", help="The account that opens and resolves the market.")
]
Order = Annotated[str, typer.Option("--order-id", help="Unique per account and market.")]
Transfer = Annotated[str, typer.Option("--transfer-id", help="Unique per account.")]
Amount = Annotated[int, typer.Option("--amount", help="In the smallest unit.")]

cli = typer.Typer(
    help="Publish one command, or a file of commands. Sending again with the same ids is safe."
)


@cli.callback()
def publish(
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Option(
            help="A file of JSON lines, - for standard input. One wrong line: nothing is sent."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish commands, and print Kafka's receipts. `parity tail events` shows the answers."""
    context.obj = as_json
    if context.invoked_subcommand is None:
        if file is None:
            raise typer.BadParameter("give a command, or --file (- for standard input)")
        text = _read(file)
        _publish(context, _commands_of(text, "stdin" if file == "-" else file))
    elif file is not None:
        raise typer.BadParameter("give --file or a command, not both")


@cli.command()
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


@cli.command()
def cancel_order(context: typer.Context, market: Market, account: Account, order_id: Order) -> None:
    """Remove the open rest of an order from the book."""
    command = CancelOrder(
        market_id=MarketId(market), account_id=AccountId(account), order_id=OrderId(order_id)
    )
    _publish(context, [command])


@cli.command()
def open_market(
    context: typer.Context,
    market: Market,
    operator: Operator,
    title: Annotated[str, typer.Option(help="Shown to people.")],
    payout: Annotated[
        int, typer.Option(help="Paid per winning contract, in the smallest unit.")
    ] = 100,
) -> None:
    """Open a market."""
    command = OpenMarket(
        market_id=MarketId(market), operator_id=AccountId(operator), payout=payout, title=title
    )
    _publish(context, [command])


@cli.command()
def resolve_market(
    context: typer.Context,
    market: Market,
    operator: Operator,
    outcome: Annotated[Outcome, typer.Option(case_sensitive=False)],
) -> None:
    """Resolve a market and pay its winners."""
    command = ResolveMarket(
        market_id=MarketId(market), operator_id=AccountId(operator), outcome=outcome
    )
    _publish(context, [command])


@cli.command()
def deposit(
    context: typer.Context, account: Account, transfer_id: Transfer, amount: Amount
) -> None:
    """Deposit money. The first deposit creates the account."""
    command = Deposit(
        account_id=AccountId(account), transfer_id=TransferId(transfer_id), amount=Money(amount)
    )
    _publish(context, [command])


@cli.command()
def withdraw(
    context: typer.Context, account: Account, transfer_id: Transfer, amount: Amount
) -> None:
    """Withdraw money."""
    command = Withdraw(
        account_id=AccountId(account), transfer_id=TransferId(transfer_id), amount=Money(amount)
    )
    _publish(context, [command])


def _read(file: str) -> str:
    """Return the text of a file. Standard input is UTF-8, too, whatever the locale says."""
    if file == "-" and sys.stdin is None:
        raise ConfigError("--file -: standard input is closed")
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--file {file}: {getattr(error, 'strerror', None) or error}") from error


def _commands_of(text: str, source: str) -> list[Publishable]:
    """Return the commands of all lines. Raises ConfigError with the lines that are no command."""
    commands: list[Publishable] = []
    wrong = []
    # Not `splitlines`: it also ends a line at U+2028 and others, which JSON allows in a string.
    for number, line in enumerate(text.split("\n"), start=1):
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
    """Return the command of a line, or the reason why it is none."""
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
            print_json({"type": kind, **place})
        else:
            say(f"published to {ack.topic}[{ack.partition}] offset {ack.offset}  {kind}")

    complete(_send(quiet_settings(), commands, show))


async def _send(
    settings: Settings, commands: Sequence[Publishable], show: Callable[[Publishable, Ack], None]
) -> None:
    """Send in order per key. Acknowledged commands are shown even if another one fails."""
    async with OrderPublisher(
        settings.bootstrap_servers,
        orders_topic=settings.orders_topic,
        transfers_topic=settings.transfers_topic,
        delivery=Delivery(timeout_s=settings.kafka_timeout_s),
        security=app.make_security(settings).arguments(),
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
