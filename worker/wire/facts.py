"""The facts of a batch as text in its journal row: all that a replay needs beside the records.

pydantic writes and reads the domain's own dataclasses, so that a new field cannot be forgotten.
Keys that are tuples are joined by ``/``, which no id contains.
"""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from worker.domain.plan import Gather, Park, PayPage, Step
from worker.domain.state import (
    Facts,
    Limits,
    Market,
    OrderAnswer,
    OrderRef,
    Page,
    TransferAnswer,
    TransferRef,
)
from worker.domain.transfers import Gathering
from worker.domain.units import AccountId, Lane, MarketId, Money, Offset, OrderId, TransferId

BYTES_MAX = 512 * 1024


@dataclass(frozen=True, slots=True)
class Recorded:
    """A batch's facts as they are written. ``step``: None answers commands."""

    accounts: dict[AccountId, dict[Lane, Money] | None]
    positions: dict[str, int]
    markets: dict[MarketId, Market | None]
    orders: dict[str, OrderAnswer | None]
    transfers: dict[str, TransferAnswer | None]
    pages: dict[MarketId, Page]
    exact_draws: list[str]
    no_draws: list[str]
    internal_rejects: list[int]
    halts: list[int]
    limits: Limits
    published_batch_no: int
    page: str | None = None
    park: str | None = None
    gatherings: list[Gathering] | None = None


_ADAPTER: Final = TypeAdapter(Recorded)
_PARK_SWEEP: Final = ""


def encode(facts: Facts, limits: Limits, step: Step, published_batch_no: int) -> str:
    """Return the text of what a plan was given."""
    recorded = Recorded(
        accounts={a: None if p is None else dict(p) for a, p in facts.accounts.items()},
        positions={_join(h): quantity for h, quantity in facts.positions.items()},
        markets=dict(facts.markets),
        orders={_join(ref): answer for ref, answer in facts.orders.items()},
        transfers={_join(ref): answer for ref, answer in facts.transfers.items()},
        pages=dict(facts.pages),
        exact_draws=sorted(facts.exact_draws),
        no_draws=sorted(facts.no_draws),
        internal_rejects=sorted(facts.internal_rejects),
        halts=sorted(facts.halts),
        limits=limits,
        published_batch_no=published_batch_no,
        page=step.market_id if isinstance(step, PayPage) else None,
        park=(step.market_id or _PARK_SWEEP) if isinstance(step, Park) else None,
        gatherings=list(step.gatherings) if isinstance(step, Gather) else None,
    )
    return _ADAPTER.dump_json(recorded, exclude_defaults=True).decode()


def decode(text: str) -> tuple[Facts, Limits, Step | None, int]:
    """Return facts, limits, step (None: the batch answered commands) and published_batch_no."""
    recorded = _ADAPTER.validate_json(text)
    facts = Facts(
        accounts=recorded.accounts,
        positions={_holding(name): quantity for name, quantity in recorded.positions.items()},
        markets=recorded.markets,
        orders={_order(name): answer for name, answer in recorded.orders.items()},
        transfers={_transfer(name): answer for name, answer in recorded.transfers.items()},
        pages=recorded.pages,
        exact_draws=frozenset(AccountId(a) for a in recorded.exact_draws),
        no_draws=frozenset(AccountId(a) for a in recorded.no_draws),
        internal_rejects=frozenset(Offset(o) for o in recorded.internal_rejects),
        halts=frozenset(Offset(o) for o in recorded.halts),
    )
    return facts, recorded.limits, _step(recorded), recorded.published_batch_no


def _step(recorded: Recorded) -> Step | None:
    if recorded.page is not None:
        return PayPage(MarketId(recorded.page))
    if recorded.park is not None:
        return Park(MarketId(recorded.park) if recorded.park != _PARK_SWEEP else None)
    if recorded.gatherings is not None:
        return Gather(tuple(recorded.gatherings))
    return None


def _join(parts: tuple[Any, ...]) -> str:
    return "/".join(parts)


def _holding(name: str) -> tuple[MarketId, AccountId]:
    market_id, account_id = name.split("/")
    return MarketId(market_id), AccountId(account_id)


def _order(name: str) -> OrderRef:
    market_id, account_id, order_id = name.split("/")
    return MarketId(market_id), AccountId(account_id), OrderId(order_id)


def _transfer(name: str) -> TransferRef:
    account_id, transfer_id = name.split("/")
    return AccountId(account_id), TransferId(transfer_id)
