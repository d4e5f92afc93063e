"""The facts of a batch as text in its journal row. A replay needs only them and the records.

pydantic writes and reads the domain's own dataclasses, so that no new field can be forgotten.
Keys that are tuples are joined by ``/``, which no id contains.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from worker.domain.commands import Received
from worker.domain.facts import (
    Facts,
    Limits,
    OrderAnswer,
    OrderRef,
    Page,
    TransferAnswer,
    TransferRef,
)
from worker.domain.plan import AnswerCommands, Gather, Park, PayPage, Step
from worker.domain.state import Market
from worker.domain.transfers import Gathering
from worker.domain.units import AccountId, LaneId, MarketId, Money, Offset, OrderId, TransferId
from worker.wire import runs

BYTES_MAX = 512 * 1024


@dataclass(frozen=True, slots=True)
class Recorded:
    """A batch's facts in their written form.

    A batch without ``page``, ``park``, ``park_sweep`` and ``gatherings`` answered commands.
    """

    accounts: dict[AccountId, dict[LaneId, Money] | None]
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
    park_sweep: str | None = None
    sweep: str | None = None
    """Market of the sweep that went on first."""
    answers: list[int] | None = None
    """Runs of the answered offsets, unless they are those from the cursor on."""
    gatherings: list[Gathering] | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The recorded part of a step that answered commands."""

    sweep: MarketId | None = None
    offsets: tuple[Offset, ...] | None = None


RecordedStep = PayPage | Gather | Park | Answered


_ADAPTER: Final = TypeAdapter(Recorded)
_MARK: Final = re.compile(r'"published_batch_no":\d+')


def encode(
    facts: Facts,
    limits: Limits,
    step: Step,
    published_batch_no: int,
    answers: Sequence[Offset] | None = None,
) -> str:
    """Return the text of everything that a plan was given. ``answers`` are those of a Batch."""
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
        park=step.market_id if isinstance(step, Park) and not step.sweep else None,
        park_sweep=step.market_id if isinstance(step, Park) and step.sweep else None,
        sweep=step.sweep if isinstance(step, AnswerCommands) else None,
        answers=None if answers is None else runs.encode(answers),
        gatherings=list(step.gatherings) if isinstance(step, Gather) else None,
    )
    return _ADAPTER.dump_json(recorded, exclude_defaults=True).decode()


def without_mark(text: str) -> str:
    """Return recorded facts without ``published_batch_no``, on which no plan depends."""
    return _MARK.sub("", text, count=1)


def decode(text: str) -> tuple[Facts, Limits, RecordedStep, int]:
    """Return facts, limits, step and published_batch_no."""
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


def step_of(
    recorded: RecordedStep, inputs: Sequence[Received], first_offset: int, next_offset: int
) -> Step:
    """Return a batch's step. ``inputs`` include all records that the batch answered or passed."""
    if not isinstance(recorded, Answered):
        return recorded
    new = [received for received in inputs if first_offset <= received.offset < next_offset]
    if recorded.offsets is None:
        return AnswerCommands(new, recorded.sweep)
    answered = frozenset(recorded.offsets)
    return AnswerCommands(
        [received for received in inputs if received.offset in answered],
        recorded.sweep,
        [received for received in new if received.offset not in answered],
    )


def _step(recorded: Recorded) -> RecordedStep:
    if recorded.page is not None:
        return PayPage(MarketId(recorded.page))
    if recorded.park is not None:
        return Park(MarketId(recorded.park))
    if recorded.park_sweep is not None:
        return Park(MarketId(recorded.park_sweep), sweep=True)
    if recorded.gatherings is not None:
        return Gather(tuple(recorded.gatherings))
    sweep = None if recorded.sweep is None else MarketId(recorded.sweep)
    if recorded.answers is None:
        return Answered(sweep)
    return Answered(sweep, tuple(runs.decode(recorded.answers)))


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
