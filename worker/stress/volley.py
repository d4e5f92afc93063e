"""One volley: fund, open, fire at once, wait for every answer, and look at the books."""

import asyncio
import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Any, Final

from producers.client import OrderPublisher
from producers.commands import Publishable
from worker.adapters.kafka.reader import AiokafkaReader
from worker.adapters.postgres.evidence import Evidence, Holdings
from worker.adapters.system import system
from worker.domain import ids
from worker.domain.commands import Deposit, OpenMarket, PlaceOrder, Side, TimeInForce
from worker.domain.units import AccountId, MarketId, Money, OrderId, Price, Quantity, TransferId
from worker.errors import ParityError
from worker.ports import Record, TopicPartition

ACCOUNTS: Final = 9
DEPOSIT: Final = Money(3_000)
"""Little against what the orders would cost, so that they fight for it."""
PAYOUT: Final = 100
PRICES: Final = (48, 49, 50, 51, 52)
QUANTITY_MAX: Final = 10
DEADLINE_S: Final = 90.0
POLL_S: Final = 0.1
SYSTEM: Final = system()


class Unanswered(ParityError):
    """The system did not answer by the deadline."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a run calls its things; ``run`` is in no other run's names."""

    run: str
    markets: tuple[MarketId, ...]
    accounts: tuple[AccountId, ...]

    @classmethod
    def of_run(cls, run: str, markets: int) -> "Names":
        """Name everything."""
        return cls(
            run,
            tuple(MarketId(f"stress-{run}.market-{n}") for n in range(markets)),
            tuple(AccountId(f"stress-{run}.account-{n}") for n in range(ACCOUNTS)),
        )


@dataclass(slots=True)
class Heard:
    """What the topics said of a run: commands that were answered, and trades."""

    answered: set[tuple[str, ...]] = field(default_factory=set)
    trades: set[str] = field(default_factory=set)

    def note(self, event: dict[str, Any]) -> None:
        """Note an event of this run. A repeat changes nothing."""
        match event["type"]:
            case "DEPOSITED":
                self.answered.add((event["account_id"],))
            case "MARKET_OPENED":
                self.answered.add((event["market_id"],))
            case "ORDER_FILLED":
                self.trades.add(event["trade_id"])
            case "ORDER_ACCEPTED" | "ORDER_REJECTED":
                self.answered.add((event["market_id"], event["order_id"]))
            case _:
                pass


@dataclass(frozen=True, slots=True)
class Proof:
    """What a run comes to."""

    fired: int
    answered: int
    trades: int
    before: Holdings
    after: Holdings

    @property
    def passed(self) -> bool:
        """Return whether the books are right, and every order was answered."""
        return (
            self.answered == self.fired
            and self.trades > 0
            and self.after.ledger_sum == 0
            and self.after.postings == 2 * self.trades
            and self.after.cash == self.before.cash
            and self.after.negative_balances == 0
        )

    def lines(self) -> Sequence[str]:
        """Return the article's lines."""
        return (
            "=== consistency proof ===",
            f"orders fired: {self.fired}",
            f"trade ledger sum: {self.after.ledger_sum} (must be 0)",
            f"cash before/after: {self.before.cash} / {self.after.cash} (must be equal)",
            f"negative balances: {self.after.negative_balances} (must be 0)",
            "PASS" if self.passed else "FAIL",
        )


def orders_of(names: Names, count: int, random: Random) -> list[PlaceOrder]:
    """Return orders that conflict: any account, any market, the same few prices."""
    return [
        PlaceOrder(
            market_id=names.markets[number % len(names.markets)],
            account_id=random.choice(names.accounts),
            order_id=OrderId(f"o{number}"),
            side=random.choice((Side.BUY, Side.SELL)),
            price=Price(random.choice(PRICES)),
            quantity=Quantity(random.randint(1, QUANTITY_MAX)),
            time_in_force=TimeInForce.GTC,
        )
        for number in range(count)
    ]


class Volley:
    """Fires at a system that is ready."""

    def __init__(
        self,
        names: Names,
        *,
        stream: str,
        evidence: Evidence,
        reader: AiokafkaReader,
        publishers: Sequence[OrderPublisher],
    ) -> None:
        self._names, self._stream, self._evidence = names, stream, evidence
        self._reader, self._publishers = reader, publishers
        self._heard = Heard()
        self._position: dict[TopicPartition, int] = {}

    async def fire(self, count: int) -> Proof:
        """Fund, open, fire ``count`` orders, and compare. Raises ParityError, PublisherError."""
        names = self._names
        self._position = await self._reader.ends()
        for partition, end in self._position.items():
            self._reader.seek(partition, end)
        deposits = [
            Deposit(account_id=name, transfer_id=TransferId("d"), amount=DEPOSIT)
            for name in names.accounts
        ]
        opened = [
            OpenMarket(market_id=name, operator_id=names.accounts[0], payout=PAYOUT, title="stress")
            for name in names.markets
        ]
        await self._publish([*deposits, *opened])
        asked = {(name,) for name in (*names.accounts, *names.markets)}
        await self._until_answered("deposits and markets", asked)
        before = await self._holdings()
        orders = orders_of(names, count, SYSTEM.random)
        await self._publish(orders)
        fired = {(order.market_id, order.order_id) for order in orders}
        await self._until_answered("orders", fired)
        after = await self._holdings()
        heard = self._heard
        return Proof(count, len(heard.answered & fired), len(heard.trades), before, after)

    async def _publish(self, commands: Sequence[Publishable]) -> None:
        """Send all at once, dealt to the publishers."""
        dealt = zip(commands, cycle(self._publishers), strict=False)
        await asyncio.gather(*(publisher.publish(command) for command, publisher in dealt))

    async def _until_answered(self, what: str, asked: AbstractSet[tuple[str, ...]]) -> None:
        """Read on until all are answered, and what stands behind the answers has been read."""
        deadline = SYSTEM.clock() + DEADLINE_S
        while missing := asked - self._heard.answered:
            if SYSTEM.clock() > deadline:
                text = f"waited {DEADLINE_S:g} s for the answers to {what}"
                raise Unanswered(f"{text}, {len(missing)} are missing: does a worker run?")
            await self._read()
        for partition, end in (await self._reader.ends()).items():
            while self._position[partition] < end:
                if SYSTEM.clock() > deadline:
                    raise Unanswered(f"waited {DEADLINE_S:g} s for offset {end} of {partition}")
                await self._read()

    async def _read(self) -> None:
        for partition, records in (await self._reader.poll(POLL_S)).items():
            for record in records:
                self._note(record)
                self._position[partition] = record.offset + 1

    def _note(self, record: Record) -> None:
        event = json.loads(record.value or b"{}")
        mine = {event.get("market_id"), event.get("account_id")}
        if mine & {*self._names.markets, *self._names.accounts}:
            self._heard.note(event)

    async def _holdings(self) -> Holdings:
        names, stream = self._names, self._stream
        accounts = [ids.account_key(name) for name in names.accounts]
        markets = [ids.market_key(stream, name) for name in names.markets]
        return await self._evidence.holdings(accounts, markets, sorted(self._heard.trades))
