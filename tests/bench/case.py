"""The measured flows of ``producers.flow``, with their topics, markets and accounts.

Both flows trade between rich accounts, and every second order fills whole. Each has its own seed,
so one loaded database serves both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from producers.flow import Flow, FlowSettings, hot, uniform
from worker.domain.commands import PlaceOrder
from worker.domain.units import AccountId, MarketId

PARTITIONS: Final = 12
MARKETS: Final = 24
ACCOUNTS: Final = 1_000
_MAKERS: Final = {"uniform": uniform, "hot": hot}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The measured part of one flow."""

    name: str
    seed: int
    orders: int
    """Orders through the worker end to end. The seed's way gets the first ones of them."""
    paced_orders: int
    """Additional orders at half of the measured load."""
    partitions: int = PARTITIONS

    @property
    def settings(self) -> FlowSettings:
        """Return the settings of the flow, the same for the producer and for the checks."""
        return FlowSettings(
            seed=self.seed,
            markets=MARKETS,
            accounts=ACCOUNTS,
            orders=self.orders + self.paced_orders,
        )

    @property
    def orders_topic(self) -> str:
        return f"{self.name}.orders"

    @property
    def transfers_topic(self) -> str:
        return f"{self.name}.transfers"

    @property
    def events_topic(self) -> str:
        return f"{self.name}.events"

    @property
    def account_ids(self) -> list[AccountId]:
        settings = self.settings
        return [settings.maker, *(settings.trader(n) for n in range(settings.accounts))]

    def markets(self) -> Iterator[tuple[MarketId, int]]:
        """Yield the markets, each with its payout."""
        settings = self.settings
        for index in range(settings.markets):
            yield settings.market(index), settings.payout(index)

    def place_orders(self, first: int, count: int) -> Iterator[PlaceOrder]:
        """Yield ``count`` orders of the flow, from number ``first`` on."""
        flow: Flow = _MAKERS[self.name](self.settings)
        orders = (command for command in flow if isinstance(command, PlaceOrder))
        return islice(orders, first, first + count)


def cases(*, orders: int, paced_orders: int) -> tuple[Case, Case]:
    """Return the two flows."""
    return (
        Case(name="uniform", seed=1, orders=orders, paced_orders=paced_orders),
        Case(name="hot", seed=2, orders=orders, paced_orders=paced_orders),
    )
