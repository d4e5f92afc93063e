"""Commands made from a seed, in publishing order. Pure, so the same seed gives the same bytes.

``flow`` is a crowd that uses every command, with crossing orders, cancels, resends, poor accounts
and one sweep. ``uniform`` and ``hot`` are for measurements, since every second order fills. All of
them open the markets, fund the accounts and then trade. ``resolutions`` ends the markets. Ids begin
with the seed, so flows of different seeds can share a database, and a flow that runs twice changes
nothing.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from enum import StrEnum
from itertools import accumulate, chain, count, cycle, islice
from typing import Final, Self

from producers.encode import Publishable
from producers.language import (
    PAYOUT_MAX,
    PAYOUT_MIN,
    TRANSFER_MAX,
    AccountId,
    CancelOrder,
    Deposit,
    MarketId,
    Money,
    OpenMarket,
    OrderId,
    Outcome,
    PlaceOrder,
    Price,
    Quantity,
    ResolveMarket,
    Side,
    TimeInForce,
    TransferId,
    Withdraw,
)


class Kind(StrEnum):
    """The purpose of a command. The exchange may answer otherwise, except those of REFUSED."""

    OPEN = "open"
    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    QUOTE = "quote"
    CROSS = "cross"
    REST = "rest"
    SELF_TRADE = "self_trade"
    SWEPT = "swept"
    SWEEP = "sweep"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    POOR = "poor"
    BAD_PRICE = "bad_price"
    BAD_QUANTITY = "bad_quantity"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_MARKET = "unknown_market"
    CANCEL = "cancel"
    CANCEL_UNKNOWN = "cancel_unknown"
    CANCEL_TERMINAL = "cancel_terminal"


REFUSED: Final = frozenset(
    {
        Kind.CONFLICT,
        Kind.POOR,
        Kind.BAD_PRICE,
        Kind.BAD_QUANTITY,
        Kind.UNKNOWN_ACCOUNT,
        Kind.UNKNOWN_MARKET,
    }
)
"""Orders that are always rejected if the deposits were answered before."""

ORDERS: Final = REFUSED | {
    Kind.QUOTE,
    Kind.CROSS,
    Kind.REST,
    Kind.SELF_TRADE,
    Kind.SWEPT,
    Kind.SWEEP,
    Kind.DUPLICATE,
}
"""The kinds of PLACE_ORDER commands."""

Marked = tuple[Kind, Publishable]

# Number of steps of each kind in a round of the crowd. Each round shuffles them. A quote and a
# self-trade are two orders each.
_ROUND: Final[Mapping[Kind, int]] = {
    Kind.QUOTE: 20,
    Kind.CROSS: 40,
    Kind.REST: 8,
    Kind.SELF_TRADE: 1,
    Kind.DUPLICATE: 3,
    Kind.CONFLICT: 1,
    Kind.POOR: 4,
    Kind.BAD_PRICE: 1,
    Kind.BAD_QUANTITY: 1,
    Kind.UNKNOWN_ACCOUNT: 1,
    Kind.UNKNOWN_MARKET: 1,
    Kind.CANCEL: 3,
    Kind.CANCEL_UNKNOWN: 1,
    Kind.CANCEL_TERMINAL: 1,
    Kind.WITHDRAW: 1,
}

RICH: Final = Money(10**9)
"""Money that is never used up, for market makers, the whale and the flows for measurements."""
POOR: Final = Money(10)
"""Money of a poor account, less than any of its orders costs."""
STAKE_MIN: Final = 2_000
STAKE_MAX: Final = 40_000
TICKS: Final = 100
"""Steps of the price between 0 and the payout, where the payout has so many."""
QUOTES_KEPT: Final = 10
"""Pairs of quotes that a market maker keeps in a market, far below the 1,000 of an account."""
WHALE_QUANTITY: Final = 20_000
"""Contracts of the sweep's taker, more than all orders above the sweep's makers."""
MEASURED_QUANTITY: Final = Quantity(10)

_TITLES: Final = (
    "Will it rain in London on day {}?",
    "Will the home side win match {}?",
    "Will ticket {} be closed this week?",
    "Will train {} arrive on time?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """Settings of a flow.

    ``orders`` counts PLACE_ORDER records, including resends and refused ones, but no cancels and
    transfers. ``sweep`` is the number of single-contract orders that one taker sweeps, at most a
    quarter of ``orders``. ``payouts`` are given to the markets in turn.
    """

    seed: int = 1
    markets: int = 24
    accounts: int = 1_000
    orders: int = 10_000
    sweep: int = 600
    payouts: tuple[int, ...] = (100, 100, 1_000, 100, 10_000)
    market_skew: float = 1.0
    account_skew: float = 0.7

    def __post_init__(self) -> None:
        for name, least in (
            ("seed", 0),
            ("markets", 1),
            ("accounts", 4),
            ("orders", 0),
            ("sweep", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: use {least} or more")
        if not self.payouts or not all(PAYOUT_MIN <= one <= PAYOUT_MAX for one in self.payouts):
            raise ValueError(f"payouts are {self.payouts}: use {PAYOUT_MIN} to {PAYOUT_MAX}")

    @property
    def operator(self) -> AccountId:
        """The account that opens and resolves every market."""
        return AccountId(f"s{self.seed}.operator")

    @property
    def maker(self) -> AccountId:
        """The market maker."""
        return AccountId(f"s{self.seed}.maker")

    @property
    def whale(self) -> AccountId:
        """The taker of the sweep."""
        return AccountId(f"s{self.seed}.whale")

    def market(self, index: int) -> MarketId:
        return MarketId(f"s{self.seed}.market-{index:03}")

    def trader(self, index: int) -> AccountId:
        return AccountId(f"s{self.seed}.trader-{index:05}")

    def poor(self, index: int) -> AccountId:
        return AccountId(f"s{self.seed}.poor-{index:05}")

    def payout(self, index: int) -> int:
        return self.payouts[index % len(self.payouts)]


class Flow:
    """The commands of a flow. ``summary`` counts those taken so far by their kind."""

    def __init__(self, marked: Iterator[Marked]) -> None:
        self._marked = marked
        self.summary: Counter[Kind] = Counter()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Publishable:
        kind, command = next(self._marked)
        self.summary[kind] += 1
        return command

    @property
    def orders(self) -> int:
        """Number of PLACE_ORDER records taken so far."""
        return sum(self.summary[kind] for kind in ORDERS)

    @property
    def refused(self) -> int:
        """Number of orders taken so far that are always rejected."""
        return sum(self.summary[kind] for kind in REFUSED)


def flow(settings: FlowSettings, rng: random.Random | None = None) -> Flow:
    """Return the commands of the crowd. It trades and withdraws after markets and deposits."""
    rng = rng or _rng("crowd", settings)
    crowd = _Crowd(settings, rng)
    return Flow(chain(_opened(settings), crowd.funded(), crowd.trading(), crowd.leaving()))


def uniform(settings: FlowSettings, rng: random.Random | None = None) -> Flow:
    """Return orders of rich accounts, all equally busy. Every second order fills."""
    rng = rng or _rng("uniform", settings)
    traders = [settings.trader(index) for index in range(settings.accounts)]
    pairs = _pairs(settings, rng, lambda: (rng.choice(traders), rng.choice(traders)))
    return Flow(chain(_opened(settings), _rich(traders), pairs))


def hot(settings: FlowSettings, rng: random.Random | None = None) -> Flow:
    """Return orders like `uniform`, with few busy accounts and one maker on half of the fills."""
    rng = rng or _rng("hot", settings)
    traders = [settings.trader(index) for index in range(settings.accounts)]
    busy = _Skewed(traders, 1.0, rng)

    def two_accounts() -> tuple[AccountId, AccountId]:
        resting = settings.maker if rng.random() < 1 / 2 else busy.draw()
        return resting, busy.draw()

    pairs = _pairs(settings, rng, two_accounts)
    return Flow(chain(_opened(settings), _rich([settings.maker, *traders]), pairs))


def resolutions(
    settings: FlowSettings, rng: random.Random | None = None
) -> Iterator[ResolveMarket]:
    """Yield the resolution of every market of the seed's flows. The outcome is random."""
    rng = rng or _rng("outcomes", settings)
    for index in range(settings.markets):
        yield ResolveMarket(
            market_id=settings.market(index),
            operator_id=settings.operator,
            outcome=rng.choice((Outcome.YES, Outcome.NO)),
        )


@dataclass(slots=True)
class _Market:
    """A market as the crowd sees it. ``mid`` is the price that it assumes."""

    market_id: MarketId
    payout: int
    percent: InitVar[int]
    mid: int = field(init=False)
    quotes: deque[PlaceOrder] = field(default_factory=deque)

    def __post_init__(self, percent: int) -> None:
        self.mid = max(1, self.payout * percent // 100)

    @property
    def tick(self) -> int:
        return max(1, self.payout // TICKS)

    def price(self, wanted: int) -> Price:
        """Return the nearest price that the market allows."""
        return Price(min(max(wanted, 1), self.payout - 1))

    def contracts(self, money: int) -> Quantity:
        """Return about as many contracts as ``money`` buys at an even price."""
        return Quantity(max(1, 2 * money // self.payout))


@dataclass(slots=True)
class _Trader:
    """A trader. ``stake`` is roughly its money, ``held`` the position that it reverses next."""

    account_id: AccountId
    deposit: int
    stake: int = field(init=False)
    held: tuple[_Market, Side, Quantity] | None = None

    def __post_init__(self) -> None:
        self.stake = self.deposit


class _Skewed:
    """Random draws from a sequence. Item n has the weight 1/n**skew (Zipf)."""

    def __init__(self, items: Sequence[AccountId], skew: float, rng: random.Random) -> None:
        self._items = items
        self._weights = _zipf(len(items), skew)
        self._rng = rng

    def draw(self) -> AccountId:
        return self._rng.choices(self._items, cum_weights=self._weights)[0]


class _Crowd:
    """Traders whose money is in one market and needed in the next.

    A trader takes a position with a good part of its stake and reverses it later. Its cash is then
    in that market's lane, and its next position in another lane has to draw the cash from there.
    """

    def __init__(self, settings: FlowSettings, rng: random.Random) -> None:
        self._settings, self._rng = settings, rng
        poor = max(1, settings.accounts // 20)
        self._poor = [settings.poor(index) for index in range(poor)]
        self._traders = [
            _Trader(settings.trader(index), rng.randint(STAKE_MIN, STAKE_MAX))
            for index in range(settings.accounts - poor)
        ]
        self._markets = [
            _Market(settings.market(index), settings.payout(index), rng.randint(35, 65))
            for index in range(settings.markets)
        ]
        self._trader_weights = _zipf(len(self._traders), settings.account_skew)
        self._market_weights = _zipf(len(self._markets), settings.market_skew)
        self._numbers = count()
        self._recent: deque[PlaceOrder] = deque(maxlen=256)
        self._resting: deque[PlaceOrder] = deque(maxlen=256)
        self._terminal: deque[PlaceOrder] = deque(maxlen=64)
        self._steps: Mapping[Kind, Callable[[], Iterator[Marked]]] = {
            Kind.QUOTE: self._quote,
            Kind.CROSS: self._cross,
            Kind.REST: self._rest,
            Kind.SELF_TRADE: self._self_trade,
            Kind.DUPLICATE: self._duplicate,
            Kind.CONFLICT: self._conflict,
            Kind.POOR: self._poor_order,
            Kind.BAD_PRICE: self._bad_price,
            Kind.BAD_QUANTITY: self._bad_quantity,
            Kind.UNKNOWN_ACCOUNT: self._unknown_account,
            Kind.UNKNOWN_MARKET: self._unknown_market,
            Kind.CANCEL: self._cancel,
            Kind.CANCEL_UNKNOWN: self._cancel_unknown,
            Kind.CANCEL_TERMINAL: self._cancel_terminal,
            Kind.WITHDRAW: self._withdraw,
        }

    def funded(self) -> Iterator[Marked]:
        """Yield the first deposits."""
        rich = [self._settings.maker, self._settings.whale]
        yield from _rich(rich)
        for trader in self._traders:
            yield _deposit(trader.account_id, "d0", trader.deposit)
        for account_id in self._poor:
            yield _deposit(account_id, "d0", POOR)

    def trading(self) -> Iterator[Marked]:
        """Yield exactly ``orders`` PLACE_ORDERs, with cancels and transfers among them."""
        wanted = self._settings.orders
        sweep = min(self._settings.sweep, wanted // 4)
        before = (wanted - sweep) * 6 // 10 if sweep else wanted
        steps = self._rounds()
        yield from _orders_up_to(before, steps)
        if sweep:
            yield from self._sweep(sweep)
            yield from _orders_up_to(wanted - before - sweep - 1, steps)

    def leaving(self) -> Iterator[Marked]:
        """Yield the last withdrawals, some of them too large."""
        for trader in self._traders[:: max(1, len(self._traders) // 20)]:
            amount = trader.stake // 2 if self._rng.random() < 3 / 4 else 100 * trader.deposit
            yield Kind.WITHDRAW, self._withdrawal(trader, amount)

    def _rounds(self) -> Iterator[Marked]:
        cards = [kind for kind, times in _ROUND.items() for _ in range(times)]
        while True:
            self._rng.shuffle(cards)
            for kind in cards:
                yield from self._steps[kind]()

    def _quote(self) -> Iterator[Marked]:
        """Quote both sides around a wandering price, and cancel old quotes."""
        market = self._some_market()
        wandered = market.mid + self._rng.choice((-1, 0, 0, 0, 1)) * market.tick
        market.mid = min(max(wandered, market.payout // 4), market.payout * 3 // 4)
        quantity = market.contracts(self._rng.randint(10_000, 40_000))
        for side, price in (
            (Side.BUY, market.mid - 2 * market.tick),
            (Side.SELL, market.mid + 2 * market.tick),
        ):
            order = self._order(market, self._settings.maker, side, price, quantity)
            market.quotes.append(order)
            yield Kind.QUOTE, order
        while len(market.quotes) > 2 * QUOTES_KEPT:
            yield Kind.CANCEL, _cancellation(market.quotes.popleft())

    def _cross(self) -> Iterator[Marked]:
        """Take a position or reverse the last one. Deposit more after great losses."""
        trader = self._some_trader()
        if trader.held is not None:
            market, side, quantity = trader.held
            trader.held = None
            trader.stake = trader.stake * 96 // 100
        else:
            if 2 * trader.stake < trader.deposit:
                trader.stake += trader.deposit
                yield _deposit(trader.account_id, f"d{next(self._numbers)}", trader.deposit)
            market = self._some_market()
            side = Side.BUY if self._rng.random() < 2 / 3 else Side.SELL
            reach = trader.stake * self._rng.randint(30, 80) // 100
            # The exchange checks the funds at the order's limit, not at an even price.
            quantity = Quantity(max(1, reach // self._cost(market, side)))
            trader.held = (market, side.opposite, quantity)
        price = self._crossing(market, side)
        immediate = self._rng.random() < 2 / 3
        order = self._order(market, trader.account_id, side, price, quantity, immediate=immediate)
        if immediate:
            self._terminal.append(order)
        yield Kind.CROSS, order

    def _rest(self) -> Iterator[Marked]:
        trader, market = self._some_trader(), self._some_market()
        side = self._some_side()
        away = self._rng.randint(2, 6) * market.tick
        price = market.mid - away if side is Side.BUY else market.mid + away
        quantity = market.contracts(trader.stake // 5)
        order = self._order(market, trader.account_id, side, price, quantity)
        self._resting.append(order)
        yield Kind.REST, order

    def _self_trade(self) -> Iterator[Marked]:
        """Offer inside the quotes, then buy at the same price."""
        market, trader = self._some_market(), self._some_trader()
        price, one = market.mid + market.tick, Quantity(1)
        yield Kind.SELF_TRADE, self._order(market, trader.account_id, Side.SELL, price, one)
        yield Kind.SELF_TRADE, self._order(market, trader.account_id, Side.BUY, price, one)

    def _sweep(self, makers: int) -> Iterator[Marked]:
        """Rest many orders of one contract, then buy all of them with one order."""
        market = min(reversed(self._markets), key=lambda one: one.payout)
        sellers = list(self._traders)
        self._rng.shuffle(sellers)
        for number, seller in enumerate(islice(cycle(sellers), makers)):
            # The price is far above the market, so none of them fills before.
            price = market.payout * (85 + number % 5) // 100
            order = self._order(market, seller.account_id, Side.SELL, price, Quantity(1))
            yield Kind.SWEPT, order
        price = market.payout * 90 // 100
        whale, quantity = self._settings.whale, Quantity(WHALE_QUANTITY)
        yield (
            Kind.SWEEP,
            self._order(market, whale, Side.BUY, price, quantity, immediate=True),
        )

    def _duplicate(self) -> Iterator[Marked]:
        if self._recent:
            yield Kind.DUPLICATE, self._rng.choice(self._recent)

    def _conflict(self) -> Iterator[Marked]:
        if self._recent:
            order = self._rng.choice(self._recent)
            yield Kind.CONFLICT, replace(order, quantity=Quantity(order.quantity + 1))

    def _poor_order(self) -> Iterator[Marked]:
        account_id = self._rng.choice(self._poor)
        yield Kind.POOR, self._refusable(account_id, Quantity(POOR + self._rng.randint(1, 20)))

    def _bad_price(self) -> Iterator[Marked]:
        order = self._refusable(self._some_trader().account_id, Quantity(1))
        yield Kind.BAD_PRICE, replace(order, price=Price(self._rng.choice((0, -5, PAYOUT_MAX))))

    def _bad_quantity(self) -> Iterator[Marked]:
        quantity = Quantity(self._rng.choice((0, -1, 10**9 + 1)))
        yield Kind.BAD_QUANTITY, self._refusable(self._some_trader().account_id, quantity)

    def _unknown_account(self) -> Iterator[Marked]:
        stranger = AccountId(f"s{self._settings.seed}.stranger-{next(self._numbers)}")
        yield Kind.UNKNOWN_ACCOUNT, self._refusable(stranger, Quantity(1))

    def _unknown_market(self) -> Iterator[Marked]:
        order = self._refusable(self._some_trader().account_id, Quantity(1))
        nowhere = MarketId(f"s{self._settings.seed}.nowhere-{next(self._numbers)}")
        yield Kind.UNKNOWN_MARKET, replace(order, market_id=nowhere)

    def _cancel(self) -> Iterator[Marked]:
        if self._resting:
            self._resting.rotate(self._rng.randrange(len(self._resting)))
            order = self._resting.popleft()
            self._terminal.append(order)
            yield Kind.CANCEL, _cancellation(order)

    def _cancel_unknown(self) -> Iterator[Marked]:
        order = self._refusable(self._some_trader().account_id, Quantity(1))
        yield Kind.CANCEL_UNKNOWN, _cancellation(order)

    def _cancel_terminal(self) -> Iterator[Marked]:
        if self._terminal:
            yield Kind.CANCEL_TERMINAL, _cancellation(self._rng.choice(self._terminal))

    def _withdraw(self) -> Iterator[Marked]:
        trader = self._some_trader()
        amount = max(1, trader.stake // 10)
        trader.stake -= amount
        yield Kind.WITHDRAW, self._withdrawal(trader, amount)

    def _withdrawal(self, trader: _Trader, amount: int) -> Withdraw:
        return Withdraw(
            account_id=trader.account_id,
            transfer_id=TransferId(f"w{next(self._numbers)}"),
            amount=Money(max(1, amount)),
        )

    def _order(
        self,
        market: _Market,
        account_id: AccountId,
        side: Side,
        price: int,
        quantity: Quantity,
        *,
        immediate: bool = False,
    ) -> PlaceOrder:
        order = PlaceOrder(
            market_id=market.market_id,
            account_id=account_id,
            order_id=OrderId(f"o{next(self._numbers)}"),
            side=side,
            price=market.price(price),
            quantity=quantity,
            time_in_force=TimeInForce.IOC if immediate else TimeInForce.GTC,
        )
        self._recent.append(order)
        return order

    def _refusable(self, account_id: AccountId, quantity: Quantity) -> PlaceOrder:
        """Return an order that is never resent, as a resend would not be answered DUPLICATE."""
        market = self._some_market()
        return PlaceOrder(
            market_id=market.market_id,
            account_id=account_id,
            order_id=OrderId(f"o{next(self._numbers)}"),
            side=self._some_side(),
            price=market.price(market.mid),
            quantity=quantity,
            time_in_force=TimeInForce.GTC,
        )

    def _crossing(self, market: _Market, side: Side) -> int:
        away = 6 * market.tick
        return market.mid + away if side is Side.BUY else market.mid - away

    def _cost(self, market: _Market, side: Side) -> int:
        price = market.price(self._crossing(market, side))
        return price if side is Side.BUY else market.payout - price

    def _some_market(self) -> _Market:
        return self._rng.choices(self._markets, cum_weights=self._market_weights)[0]

    def _some_trader(self) -> _Trader:
        return self._rng.choices(self._traders, cum_weights=self._trader_weights)[0]

    def _some_side(self) -> Side:
        return self._rng.choice((Side.BUY, Side.SELL))


def _rng(what: str, settings: FlowSettings) -> random.Random:
    return random.Random(f"{what}/{settings.seed}")  # noqa: S311 -- a seed, not a secret


def _zipf(size: int, skew: float) -> list[float]:
    return list(accumulate(1 / rank**skew for rank in range(1, size + 1)))


def _opened(settings: FlowSettings) -> Iterator[Marked]:
    for index in range(settings.markets):
        yield (
            Kind.OPEN,
            OpenMarket(
                market_id=settings.market(index),
                operator_id=settings.operator,
                payout=settings.payout(index),
                title=_TITLES[index % len(_TITLES)].format(index + 1),
            ),
        )


def _rich(accounts: Sequence[AccountId]) -> Iterator[Marked]:
    return (_deposit(account_id, "d0", RICH) for account_id in accounts)


def _deposit(account_id: AccountId, transfer_id: str, amount: int) -> Marked:
    return Kind.DEPOSIT, Deposit(
        account_id=account_id,
        transfer_id=TransferId(transfer_id),
        amount=Money(min(amount, TRANSFER_MAX)),
    )


def _cancellation(order: PlaceOrder) -> CancelOrder:
    return CancelOrder(
        market_id=order.market_id, account_id=order.account_id, order_id=order.order_id
    )


def _orders_up_to(wanted: int, steps: Iterator[Marked]) -> Iterator[Marked]:
    """Yield from ``steps`` until ``wanted`` orders are among them."""
    orders = 0
    while orders < wanted:
        kind, command = next(steps)
        orders += kind in ORDERS
        yield kind, command


def _pairs(
    settings: FlowSettings,
    rng: random.Random,
    two_accounts: Callable[[], tuple[AccountId, AccountId]],
) -> Iterator[Marked]:
    """Yield orders of which every second in a market fills the one before it."""
    waiting: dict[int, tuple[Side, AccountId]] = {}
    for number in range(settings.orders):
        index = rng.randrange(settings.markets)
        payout = settings.payout(index)
        if index in waiting:
            kind, (side, account_id) = Kind.CROSS, waiting.pop(index)
        else:
            resting, taking = two_accounts()
            while taking == resting:
                resting, taking = two_accounts()
            kind, side, account_id = Kind.REST, rng.choice((Side.BUY, Side.SELL)), resting
            waiting[index] = (side.opposite, taking)
        yield (
            kind,
            PlaceOrder(
                market_id=settings.market(index),
                account_id=account_id,
                order_id=OrderId(f"o{number}"),
                side=side,
                price=Price(payout // 2),
                quantity=MEASURED_QUANTITY,
                time_in_force=TimeInForce.GTC,
            ),
        )
