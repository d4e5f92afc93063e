"""What is measured: a flow of ``producers.flow``, its topics, its markets, its accounts.

Both flows trade between rich accounts, every second order fills whole. They have a seed each, so
one loaded database serves both.
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
    """One flow, as far as it is measured."""

    name: str
    seed: int
    orders: int
    """How many go through the worker end to end; the seed's way takes the first of the same."""
    paced_orders: int
    """How many more follow at half of the measured load."""
    partitions: int = PARTITIONS

    @property
    def settings(self) -> FlowSettings:
        """Return what the flow is made from, for the producer as for us."""
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
        """Yield (market, payout)."""
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
