"""Commands on their way from the command line to the input topics: read, all or none, and sent."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from producers.client import Delivery, OrderPublisher
from producers.commands import Publishable, check
from producers.link import Ack
from worker.app import make_security
from worker.config import Settings
from worker.domain.commands import Unreadable
from worker.errors import ConfigError
from worker.wire.commands import decode_order, decode_transfer

SENT_AT_ONCE: Final = 1_000
WRONG_LINES_SHOWN: Final = 10


def commands_of(text: str, source: str) -> list[Publishable]:
    """Return the commands of all lines, JSON as on the wire; ``source`` is the file's name.

    Raises ConfigError naming the lines that are none.
    """
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


async def send(
    settings: Settings, commands: Sequence[Publishable], show: Callable[[Publishable, Ack], None]
) -> None:
    """Send in order per key, and show each that is acknowledged, also when another is not.

    Raises InvalidCommand before anything is sent, and what an OrderPublisher raises.
    """
    for command in commands:
        check(command)
    async with OrderPublisher(
        settings.bootstrap_servers,
        orders_topic=settings.orders_topic,
        transfers_topic=settings.transfers_topic,
        delivery=Delivery(timeout_s=settings.kafka_timeout_s),
        security=make_security(settings).arguments(),
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


def _chunks(commands: Sequence[Publishable]) -> Iterator[Sequence[Publishable]]:
    left = iter(commands)
    while some := list(islice(left, SENT_AT_ONCE)):
        yield some
