"""One volley: fund, open, fire everything at once, wait for every answer, compare the books."""

import asyncio
import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Any, Final

from producers.client import OrderPublisher
from producers.encode import Publishable
from worker.adapters.kafka.reader import AiokafkaReader
from worker.adapters.postgres.evidence import Evidence, Holdings
from worker.domain import ids
from worker.domain.commands import Deposit, OpenMarket, PlaceOrder, Side, TimeInForce
from worker.domain.units import AccountId, MarketId, Money, OrderId, Price, Quantity, TransferId
from worker.errors import ConfigError
from worker.ports import Record, TopicPartition
from worker.stage.program import SYSTEM, Deadline
from worker.stage.show import Line, Show, equal, least, zero

ACCOUNTS: Final = 9
DEPOSIT: Final = Money(3_000)
"""Much less than the orders would cost, so that they compete for the money."""
PAYOUT: Final = 100
PRICES: Final = (48, 49, 50, 51, 52)
QUANTITY_MAX: Final = 10
DEADLINE_S: Final = 90.0
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Names:
    """The ids of one run. No other run has ``run`` in its ids."""

    run: str
    markets: tuple[MarketId, ...]
    accounts: tuple[AccountId, ...]

    @classmethod
    def of_run(cls, run: str, markets: int) -> "Names":
        """Return the ids of a run."""
        return cls(
            run,
            tuple(MarketId(f"stress-{run}.market-{n}") for n in range(markets)),
            tuple(AccountId(f"stress-{run}.account-{n}") for n in range(ACCOUNTS)),
        )


@dataclass(slots=True)
class AnswerCounts:
    """The answers to a run's commands and the trades between its orders, each counted once."""

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
            case "ORDER_ACCEPTED" | "ORDER_REJECTED" | "ID_CONFLICT":
                self.answered.add((event["market_id"], event["order_id"]))
            case _:
                pass


@dataclass(frozen=True, slots=True)
class StressReport:
    """The result of a run."""

    fired: int
    answered: int
    trades: int
    before: Holdings
    after: Holdings

    @property
    def passed(self) -> bool:
        """Return whether the books are right and every order was answered."""
        return all(line.ok for line in self.proof())

    def proof(self) -> Sequence[Line]:
        """Return every condition of a pass."""
        return (
            equal("orders fired / answered", self.fired, self.answered),
            least("trades", self.trades, 1),
            zero("trade ledger sum", self.after.ledger_sum),
            equal("trade postings / two per trade", self.after.postings, 2 * self.trades),
            equal("cash before / after", self.before.cash, self.after.cash),
            zero("negative balances", self.after.negative_balances),
        )

    def lines(self) -> Sequence[str]:
        """Return the report in the words of the article."""
        return (
            "=== consistency proof ===",
            f"orders fired: {self.fired}",
            f"trade ledger sum: {self.after.ledger_sum} (must be 0)",
            f"cash before/after: {self.before.cash} / {self.after.cash} (must be equal)",
            f"negative balances: {self.after.negative_balances} (must be 0)",
            "PASS" if self.passed else "FAIL",
        )


def orders_of(names: Names, count: int, random: Random) -> list[PlaceOrder]:
    """Return orders that conflict: every account, every market, the same few prices."""
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


def require_stream(record: Record, streams: tuple[str, str]) -> None:
    """Raise ConfigError if the event is of other streams than the settings name.

    The keys of markets contain their stream, so the books would be looked for in vain.
    """
    named = dict(record.headers).get("ce_source") or b""
    source = named.decode(errors="replace").removeprefix("/")
    if source not in streams:
        raise ConfigError(
            f"the workers answer in stream {source}, and the settings name {' and '.join(streams)}:"
            " set PARITY_INCARNATION as for the workers"
        )


class Volley:
    """Fires at a system that is running."""

    def __init__(
        self,
        names: Names,
        *,
        streams: tuple[str, str],
        evidence: Evidence,
        reader: AiokafkaReader,
        publishers: Sequence[OrderPublisher],
        show: Show,
    ) -> None:
        self._names, self._streams, self._evidence = names, streams, evidence
        self._reader, self._publishers, self._show = reader, publishers, show
        self._counts = AnswerCounts()
        self._position: dict[TopicPartition, int] = {}

    async def fire(self, count: int) -> StressReport:
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
        await self._until_answered("setup", asked)
        before = await self._holdings()
        orders = orders_of(names, count, SYSTEM.random)
        await self._publish(orders)
        fired = {(order.market_id, order.order_id) for order in orders}
        await self._until_answered("orders", fired)
        after = await self._holdings()
        counts = self._counts
        return StressReport(count, len(counts.answered & fired), len(counts.trades), before, after)

    async def _publish(self, commands: Sequence[Publishable]) -> None:
        """Send all at once, dealt to the publishers."""
        dealt = zip(commands, cycle(self._publishers), strict=False)
        await asyncio.gather(*(publisher.publish(command) for command, publisher in dealt))

    async def _until_answered(self, what: str, asked: AbstractSet[tuple[str, ...]]) -> None:
        """Read until all are answered, and then up to the present end of every topic."""
        deadline = Deadline(f"the answers to {what}", DEADLINE_S)
        while missing := asked - self._counts.answered:
            deadline.require(f"{len(missing)} are missing: does a worker run?")
            await self._read()
            self._show.bar(what, len(asked & self._counts.answered), len(asked), "answered")
        # An order's trades may come after its first answer.
        for partition, end in (await self._reader.ends()).items():
            while self._position[partition] < end:
                deadline.require(f"{partition} does not reach offset {end}")
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
            require_stream(record, self._streams)
            self._counts.note(event)

    async def _holdings(self) -> Holdings:
        names, (stream, _) = self._names, self._streams
        accounts = [ids.account_key(name) for name in names.accounts]
        markets = [ids.market_key(stream, name) for name in names.markets]
        return await self._evidence.holdings(accounts, markets, sorted(self._counts.trades))
