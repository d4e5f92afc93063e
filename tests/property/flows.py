"""Command sequences for the property tests, which Hypothesis generates and shrinks.

A flow has some commands of every kind. Repeats, misrouted commands, unknown ids and impossible
numbers are rare. Orders cross often, because prices and quantities are few.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.support import books
from tests.support.driver import Exchange, Sent
from worker.domain.commands import (
    Command,
    Deposit,
    OpenMarket,
    Outcome,
    PlaceOrder,
    TimeInForce,
    Unreadable,
)
from worker.domain.units import MarketId, Quantity

PROFILE: Final = os.environ.get("HYPOTHESIS_PROFILE", "")
EXAMPLES: Final = {"thorough": 5_000, "brief": 25}
law = settings(
    max_examples=EXAMPLES.get(PROFILE, 200),
    # The coverage floor runs the brief ones. Neither it nor a mutant's killer may depend on chance.
    derandomize=PROFILE == "brief" or settings().derandomize,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""Decorator of a property. HYPOTHESIS_PROFILE chooses another number of examples."""

PAYOUT: Final = 10
RICH: Final = 10**12
MARKETS: Final = ("m-0", "m-1", "m-2")
TRADERS: Final = ("ann", "bob", "cyd", "dan", "eve", "fay")

_KINDS: Final = (
    ("place", 90),
    ("cancel", 9),
    ("again", 5),
    ("altered", 2),
    ("deposit", 5),
    ("withdraw", 8),
    ("open", 2),
    ("resolve", 2),
    ("astray", 2),
    ("unreadable", 1),
    ("odd", 3),
)
_ODD: Final = (0, -1, PAYOUT, 10**9 + 1, 10**13 + 1)
"""Numbers that are wrong as a price, a quantity or an amount."""

_WHO: Final = (*TRADERS * 5, "nobody")
_NUMBERS: Final = ((1, PAYOUT - 1), (0, 10), (0, 63), (-20, 20))
"""Price, index of the size, bits for all other choices, and error of the clock."""
_SIZES: Final = (1, 1, 2, 2, 3, 3, 4, 4, 5, 20, 40)
_WHERE: Final = (*MARKETS[:1] * 10, *MARKETS[1:2] * 6, *MARKETS[2:])


def flows(*, without: Sequence[str] = ()) -> st.SearchStrategy[list[Sent]]:
    """Return sequences of commands without some kinds.

    Short sequences are drawn number by number and shrink well. Long sequences are made from a seed,
    because Hypothesis draws long lists too uniformly for an account to run out of money.
    """
    kinds = [kind for kind, weight in _KINDS if kind not in without for _ in range(weight)]
    ranges = [(0, len(kinds) - 1), (0, len(_WHO) - 1), (0, len(_WHERE) - 1), *_NUMBERS]
    short = st.lists(st.tuples(*(st.integers(*each) for each in ranges)), max_size=10)
    longer = (
        st.builds(_by_seed, st.just(ranges), st.integers(size, 2 * size), st.integers(0, 2**63))
        for size in (20, 30, 40, 50)
    )
    return st.one_of(short, *longer).map(lambda drawn: _flow(kinds, drawn))


def _by_seed(ranges: list[tuple[int, int]], size: int, seed: int) -> list[tuple[int, ...]]:
    rng = Random(seed)
    return [tuple(rng.randint(*each) for each in ranges) for _ in range(size)]


def _flow(kinds: Sequence[str], drawn: list[tuple[int, ...]]) -> list[Sent]:
    flow: list[Sent] = []
    for number, (what, *numbers, jitter) in enumerate(drawn):
        kind, time_ms = kinds[what], 1_000 + 10 * number + jitter
        if kind in _AFTER and flow:
            earlier = flow[numbers[-1] % len(flow)]
            flow.append(Sent(_AFTER[kind](earlier.command), time_ms, earlier.astray))
        else:
            flow.append(Sent(_command(kind, number, numbers), time_ms, kind == "astray"))
    return flow


def _command(kind: str, number: int, numbers: list[int]) -> Command:
    who, where, price, which, bits = numbers
    quantity = _SIZES[which]
    match kind:
        case "deposit" | "withdraw":
            return _transfer(kind, number, who, price * quantity)
        case "open" | "resolve":
            return _market_command(kind, _WHERE[where], bits)
        case "unreadable":
            return Unreadable(detail="no JSON", key=b"k", value=b"v", headers=())
        case "odd" | "astray" if bits % 3 == 0:
            amount = quantity if kind == "astray" else _ODD[price % len(_ODD)]
            return _transfer("deposit", number, who, amount)
        case "odd" if bits % 3 == 1:
            quantity = _ODD[price % len(_ODD)]
        case "odd":
            price = _ODD[which % len(_ODD)]
        case _:
            pass
    side = books.buy if bits & 4 else books.sell
    order = side(_WHERE[where], _WHO[who], quantity, price, f"o-{number}")
    return replace(order, time_in_force=TimeInForce.IOC) if bits // 8 == 0 else order


def _transfer(kind: str, number: int, who: int, amount: int) -> Command:
    transfer = books.deposit if kind == "deposit" else books.withdraw
    return transfer(_WHO[who], amount, f"t-{number}")


def _market_command(kind: str, market_id: str, bits: int) -> Command:
    if kind == "open":
        return open_market(MarketId(market_id), payout=1 + bits % 3 if bits < 32 else PAYOUT)
    outcome = Outcome.YES if bits % 2 else Outcome.NO
    return books.resolve(market_id, outcome, operator="stranger" if bits > 55 else "op")


def _cancelled(command: Command) -> Command:
    if not isinstance(command, PlaceOrder):
        return command
    return books.cancel(command.market_id, command.account_id, command.order_id)


def _altered(command: Command) -> Command:
    match command:
        case PlaceOrder():
            return replace(command, quantity=Quantity(command.quantity + 1))
        case Deposit():
            return books.withdraw(command.account_id, command.amount, command.transfer_id)
        case OpenMarket():
            return replace(command, title="another")
        case _:
            return command


_AFTER: Final = {"again": lambda command: command, "altered": _altered, "cancel": _cancelled}
"""Kinds that refer to an earlier command."""


def open_market(market_id: MarketId, *, payout: int = PAYOUT) -> OpenMarket:
    return books.open_market(market_id, payout)


def opening(amounts: Sequence[int]) -> list[Sent]:
    """Return the deposits of the traders. A trader without amount stays unknown."""
    return [
        Sent(books.deposit(name, amount, "opening"), 0)
        for name, amount in zip(TRADERS, amounts, strict=True)
        if amount
    ]


poor = st.lists(
    st.sampled_from((0, 20, 30, 40, 50, 60, 100, 1_000, 2_000, 3_000)),
    min_size=len(TRADERS),
    max_size=len(TRADERS),
)
"""Initial amounts of traders who cannot pay for all their orders."""
rich = st.just([RICH] * len(TRADERS))


def run(exchange: Exchange, amounts: Sequence[int], flow: Sequence[Sent], chunk: int) -> Exchange:
    """Feed the deposits, two markets and the flow in chunks, and return the exchange."""
    exchange.feed(opening(amounts))
    commands = [*(Sent(open_market(MarketId(name)), 0) for name in MARKETS[:2]), *flow]
    for start in range(0, len(commands), chunk):
        exchange.feed(commands[start : start + chunk])
    return exchange
