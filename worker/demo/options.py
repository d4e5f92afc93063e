"""The options of a demo."""

from dataclasses import dataclass
from typing import Final

REJECTED_PERCENT_MIN: Final = 5
DUPLICATES_PERCENT_MIN: Final = 1
DRAWS_PERCENT_MIN: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One demo. It starts its own servers where ``database_url`` or ``broker`` is None."""

    orders: int = 10_000
    markets: int = 24
    accounts: int = 1_000
    partitions: int = 12
    seed: int = 7
    sweep: int = 600
    batch_rows: int = 2_500
    database_url: str | None = None
    broker: str | None = None
    json: bool = False

    @property
    def deadline_s(self) -> float:
        """Return how many seconds each wait may take."""
        return 90.0 + self.orders / 200
