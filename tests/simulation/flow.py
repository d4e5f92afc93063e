"""The records of the clients in one seed: some of every kind, and many of the hard kinds.

Hard are busy accounts that trade in every market, adversaries that move one coin through all lanes,
sweeps deeper than the row budget, markets with more holders than a page, withdrawals of money that
is spread over the lanes, repeated ids, and records that are no commands.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Final, NamedTuple

from producers.encode import encode
from tests.support import books
from worker.domain import ids
from worker.domain.commands import (
    Deposit,
    MarketCommand,
    OpenMarket,
    Outcome,
    PlaceOrder,
    Side,
    TimeInForce,
    TransferCommand,
    Withdraw,
)
from worker.domain.units import AccountId, MarketId, Money, Quantity, TransferId

PAYOUT: Final = 10
OPERATOR: Final = AccountId("op")
TRADERS: Final = tuple(AccountId(f"t{n}") for n in range(11))
HOT: Final = (AccountId("hot0"), AccountId("hot1"))
ADVERSARIES: Final = (AccountId("adv0"), AccountId("adv1"))
BEGIN_S: Final = 1.0
JUNK: Final = (b"", b"{", b'{"type":"PLACE_ORDER"}', b"\xff\xfe", b'{"type":"NO_SUCH"}', None)


class Sending(NamedTuple):
    """A record of a client, for a partition of the topic of orders or of transfers."""

    at_s: float
    orders: bool
    partition: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Flow:
    """Makes the records of one seed."""

    random: Random
    order_partitions: int
    transfer_partitions: int
    until_s: float
    markets: list[MarketId] = field(default_factory=list)
    sent: list[Sending] = field(default_factory=list)
    placed: list[PlaceOrder] = field(default_factory=list)
    moved: list[TransferCommand] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    now_s: float = 0.0
    rich: int = 0

    def records(self) -> list[Sending]:
        """Return all records in the order of time."""
        self._open()
        kinds = (
            [self._trade] * 10
            + [self._cancel] * 2
            + [self._again] * 2
            + [self._withdraw] * 2
            + [self._adversary] * 3
            + [self._sweep, self._sweep, self._bank_run, self._bank_run, self._crowd]
            + [self._deposit, self._stray, self._junk, self._resolve]
        )
        steps = self.random.randint(20, 38)
        times = sorted(self.random.uniform(BEGIN_S, self.until_s) for _ in range(steps))
        if self.random.random() < 0.3:
            # All within a short time, which makes large batches.
            times = [BEGIN_S + (at - BEGIN_S) * 0.2 for at in times]
        for self.now_s in times:
            self.random.choice(kinds)()
        self.now_s = self.until_s
        self._resolve()
        return sorted(self.sent, key=lambda sending: sending.at_s)

    def steady(self, every_s: float) -> list[Sending]:
        """Return orders and transfers at a constant rate."""
        self._open()
        for number in range(int((self.until_s - BEGIN_S) / every_s)):
            self.now_s = BEGIN_S + number * every_s
            self.random.choice((self._trade, self._trade, self._cancel, self._deposit))()
        return sorted(self.sent, key=lambda sending: sending.at_s)

    # The beginning.

    def _open(self) -> None:
        for partition in range(self.order_partitions):
            for number in range(self.random.choice((1, 1, 2))):
                names = (MarketId(f"m{partition}-{number}-{n}") for n in count())
                market_id = next(m for m in names if self._home(m) == partition)
                self.markets.append(market_id)
                self.now_s = self.random.uniform(0.0, 0.5)
                self._send(self._market(market_id))
        self.rich = rich = self.random.choice((100, 300, 3_000))
        for account_id in (*TRADERS, *HOT, *ADVERSARIES):
            self.now_s = self.random.uniform(0.0, 0.5)
            amount = rich * 10 if account_id in HOT else 20 if account_id in ADVERSARIES else rich
            self._transfer(Deposit, account_id, amount)

    @staticmethod
    def _market(market_id: MarketId) -> OpenMarket:
        return books.open_market(market_id, PAYOUT, operator=OPERATOR, title=f"{market_id}?")

    def _home(self, market_id: str) -> int:
        return ids.partition_of(market_id, self.order_partitions)

    # The actions of clients.

    def _trade(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            self._place(
                self.random.choice(self.markets),
                self.random.choice((*TRADERS, *HOT, *HOT)),
                self.random.choice(tuple(Side)),
                self.random.randint(1, PAYOUT - 1),
                self.random.choice((1, 2, 5, 20)),
            )

    def _adversary(self) -> None:
        """Move the little money of the adversaries through some lanes or all, back and forth."""
        markets = len(self.markets)
        for market_id in self.random.sample(
            self.markets, min(self.random.choice((3, markets)), markets)
        ):
            one, other = self.random.sample(ADVERSARIES, 2)
            price = self.random.randint(4, 6)
            self._place(market_id, one, Side.BUY, price, 1)
            self._place(market_id, other, Side.SELL, price, 1)
            self.now_s += self.random.choice((0.0, 0.01))

    def _sweep(self) -> None:
        """Place small orders at rising prices, then take all with one order."""
        market_id = self.random.choice(self.markets)
        side = self.random.choice(tuple(Side))
        makers = self.random.randint(5, 14)
        for number in range(makers):
            step = number * 3 // makers
            price = 4 + step if side is Side.SELL else 6 - step
            self._place(market_id, self.random.choice(TRADERS), side, price, 1)
        price = PAYOUT - 1 if side is Side.SELL else 1
        self._place(market_id, self.random.choice(HOT), side.opposite, price, makers)

    def _cancel(self) -> None:
        if self.placed:
            order = self.random.choice(self.placed)
            self._send(books.cancel(order.market_id, order.account_id, order.order_id))

    def _again(self) -> None:
        """Send an old id again, unchanged or with another content."""
        for known in (self.placed, self.moved):
            if known:
                command = self.random.choice(known)
                if self.random.random() < 0.3 and isinstance(command, PlaceOrder):
                    command = replace(command, quantity=Quantity(command.quantity + 1))
                self._send(command)
        if self.random.random() < 0.2:
            self._send(self._market(self.random.choice(self.markets)))

    def _deposit(self) -> None:
        self._transfer(Deposit, self.random.choice(TRADERS), self.random.randint(1, 50))

    def _withdraw(self) -> None:
        who = self.random.choice((*TRADERS, *HOT, *HOT, *ADVERSARIES, AccountId("nobody")))
        self._transfer(Withdraw, who, self.random.choice((1, 10, 100, 100, 500, 20_000)))

    def _bank_run(self) -> None:
        """Spend an account's money in every market at the same time, and withdraw it as well."""
        who = self.random.choice((*TRADERS, *ADVERSARIES))
        amount = 20 if who in ADVERSARIES else self.rich
        for market_id in self.markets:
            self._place(market_id, self.random.choice(HOT), Side.SELL, 4, amount // 10)
            self._place(market_id, who, Side.BUY, 5, amount // 10)
            self.now_s += self.random.choice((0.0, 0.0, 0.02))
            self._transfer(Withdraw, who, self.random.choice((amount // 2, amount // 3)))
        self._transfer(Deposit, who, amount)

    def _crowd(self) -> None:
        """Give many accounts contracts and open orders in a market, then resolve the market."""
        market_id = self.random.choice(self.markets)
        for account_id in TRADERS:
            self._place(market_id, account_id, Side.BUY, PAYOUT - 1, 1)
        self._place(market_id, self.random.choice(HOT), Side.SELL, 1, len(TRADERS))
        for account_id in TRADERS * self.random.randint(1, 3):
            self._place(market_id, account_id, Side.BUY, 1, 1)
        self.now_s += self.random.choice((0.0, 0.1, 1.0))
        self._resolve(market_id)

    def _resolve(self, market_id: MarketId | None = None) -> None:
        market_id = market_id or self.random.choice(self.markets)
        outcome = self.random.choice(tuple(Outcome))
        self._send(books.resolve(market_id, outcome, operator=OPERATOR))

    def _stray(self) -> None:
        """Send an order for an unknown market, and sometimes to a wrong partition."""
        market_id = MarketId(f"nowhere{next(self.numbers)}")
        self._place(market_id, TRADERS[0], Side.BUY, 5, 1)
        wrong = (self._home(market_id) + 1) % self.order_partitions
        self._send(self._market(market_id), partition=wrong)

    def _junk(self) -> None:
        orders = self.random.random() < 0.5
        partitions = self.order_partitions if orders else self.transfer_partitions
        partition, value = self.random.randrange(partitions), self.random.choice(JUNK)
        self.sent.append(Sending(self.now_s, orders, partition, None, value))

    # How they do it.

    def _place(
        self, market_id: MarketId, account_id: AccountId, side: Side, price: int, quantity: int
    ) -> None:
        ioc = self.random.random() < 0.15
        trade = books.buy if side is Side.BUY else books.sell
        order = trade(market_id, account_id, quantity, price, f"o{next(self.numbers)}")
        if ioc:
            order = replace(order, time_in_force=TimeInForce.IOC)
        self.placed.append(order)
        self._send(order)

    def _transfer(
        self, kind: type[Deposit] | type[Withdraw], account_id: AccountId, amount: int
    ) -> None:
        name = TransferId(f"t{next(self.numbers)}")
        command = kind(account_id=account_id, transfer_id=name, amount=Money(amount))
        self.moved.append(command)
        self._send(command)

    def _send(self, command: MarketCommand | TransferCommand, partition: int | None = None) -> None:
        orders = not isinstance(command, Deposit | Withdraw)
        key = command.account_id if isinstance(command, Deposit | Withdraw) else command.market_id
        partitions = self.order_partitions if orders else self.transfer_partitions
        home = ids.partition_of(key, partitions) if partition is None else partition
        self.sent.append(Sending(self.now_s, orders, home, key.encode(), encode(command)))
