"""The values between ``worker.commit``, which acts, and ``worker.decide``, which decides. Pure.

A result and an attempt go in, a decision comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from worker.domain.facts import Facts, Lack, Limits
from worker.domain.plan import Batch, RuleBroken, Step
from worker.domain.state import StreamKind
from worker.domain.units import AccountId, LaneId, Money
from worker.errors import (
    Conflict,
    Misconfigured,
    OutcomeUnknown,
    ParityError,
    Poison,
    ReadingsExhausted,
    Refused,
    StoreError,
    Unavailable,
)
from worker.ports import Standing, Statement

# What is decided upon.


@dataclass(frozen=True, slots=True)
class Committed:
    """The database committed the statement."""


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The statement exceeds a limit of size and was not sent."""

    sizes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LaneRead:
    """The lane's row, read after a constraint refused the batch."""

    refused: Refused
    standing: Standing


@dataclass(frozen=True, slots=True)
class PursesRead:
    """The accounts of the batch, read after a lost race."""

    facts: Facts


Failed = Conflict | Refused | Poison | Misconfigured | Unavailable | OutcomeUnknown
"""Errors that a commit may end with."""
Unplanned = RuleBroken | ReadingsExhausted
"""Errors that planning may end with."""
Result = Committed | TooLarge | LaneRead | PursesRead | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that stays the same while one step is carried out."""

    lane: LaneId
    kind: StreamKind
    epoch: int
    batch_no: int
    """Number of the last adopted batch."""
    sweeping: bool
    """Whether the step begins with the rest of a sweep."""
    step: Step
    limits: Limits
    facts: Facts
    """Facts that the first plan begins with."""

    @property
    def alone(self) -> int:
        """Return the commands in the smallest batch of answers: none next to a sweep."""
        return 0 if self.sweeping else 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """The plan to make next, and what became of those before it."""

    situation: Situation
    step: Step
    limits: Limits
    facts: Facts
    lost_races: int = 0
    tries: int = 0
    unknowns: int = 0
    """Tries of the present statement whose outcome is unknown."""
    refused: tuple[object, ...] | None = None
    """Rows of the last refused statement."""

    @classmethod
    def first(cls, situation: Situation) -> Self:
        """Return the first attempt at a step."""
        return cls(situation, situation.step, situation.limits, situation.facts)

    def knowing(self, read: Facts) -> Self:
        """Return the attempt with facts of a later reading."""
        return replace(self, facts=self.facts.and_read(read))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The batch of the result, as far as decisions depend on it."""

    batch_no: int = 0
    plan_hash: str = ""
    rows: tuple[object, ...] = ()
    answered: int = 0
    makers: int = 0
    page_rows: int = 0
    """Holders paid and orders closed by a settlement's page."""
    draws: Mapping[AccountId, Mapping[LaneId, Money]] = field(default_factory=dict)
    """Pockets drawn from, by known account, with the balance that each must have."""
    named: Lack = field(default_factory=Lack)
    """All rows that a unique key may have refused: ids chosen by clients, and their accounts."""

    @classmethod
    def of(cls, batch: Batch, statement: Statement) -> Self:
        """Describe a batch and its statement."""
        draft = batch.draft
        purses = {account_id: p for account_id, p in draft.purses.items() if p.known}
        page_rows = len(draft.payouts) + len(draft.changed_orders)
        return cls(
            batch_no=batch.batch_no,
            plan_hash=statement.plan_hash,
            rows=statement.rows,
            answered=batch.answered,
            makers=draft.makers,
            page_rows=page_rows if batch.facts.pages else 0,
            draws={a: {lane: Money(p.needs[lane]) for lane in p.drawn} for a, p in purses.items()},
            named=Lack(
                accounts=set(purses),
                markets=set(draft.new_markets),
                orders={row.ref for row in draft.new_orders.values()},
                transfers={row.ref for row in draft.transfers.values()},
            ),
        )


UNDESCRIBED: Final = Tried()
"""Describes no batch: enough for the result of most commits, which is Committed."""


# Decisions.


@dataclass(frozen=True, slots=True)
class Alarm:
    """A message for an operator."""

    name: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Pause:
    """A random pause that grows with ``tries`` up to ``cap_s``."""

    tries: int
    cap_s: float


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make the batch the lane's state."""


@dataclass(frozen=True, slots=True)
class Resend:
    """Send the same statement again."""

    attempt: Attempt
    pause: Pause


@dataclass(frozen=True, slots=True)
class LookAtLane:
    """Read the lane's row and decide upon it."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class Refetch:
    """Discard the batch, read its accounts again and decide upon them."""

    lack: Lack


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """Discard the batch, raise the alarms and remember the losers of the race."""

    alarms: tuple[Alarm, ...] = ()
    losers: frozenset[AccountId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replan(Discard):
    """Read ``read``, pause, and plan ``attempt``."""

    attempt: Attempt
    read: Lack = field(default_factory=Lack)
    pause: Pause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(Replan):
    """Answer one command INTERNAL_REJECT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkStep(Replan):
    """Park the sweep with its market, or the settlement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOver(Replan):
    """Report that the database refuses everything, and begin the step again."""

    refused: StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherFirst(Discard):
    """Gather the money of the losers' withdrawals before the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave(Discard):
    """Give the step up with an error."""

    error: type[ParityError]
    reason: str


GiveUp = Replan | GatherFirst | Leave
"""Decisions that discard the batch."""
Decision = Adopt | Resend | LookAtLane | Refetch | GiveUp
