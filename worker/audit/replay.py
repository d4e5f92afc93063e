"""Replay: plan every batch of the present rules again from its records and its facts. Pure.

A batch must come out the same to the byte. Its plan digest covers everything that it wrote. Batches
of other rules are counted. After them the state is restored from their events.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from typing_extensions import override

from worker.audit.event_log import LaneHistory
from worker.audit.invariants import Findings
from worker.audit.records import StoredBatch
from worker.audit.restore import restored
from worker.domain.commands import Received
from worker.domain.digest import RULES, plan_digest
from worker.domain.plan import Batch, plan
from worker.domain.state import Home, LaneState
from worker.domain.units import CASH_MAX, LaneId, Money
from worker.seal import seal
from worker.wire import facts as facts_text
from worker.wire import resume as resume_text

_by_offset: Final = attrgetter("offset")


@dataclass(frozen=True, slots=True)
class Replayed:
    """Numbers of batches that were planned again, and that have other rules and were not."""

    planned: int = 0
    other_rules: int = 0

    def __add__(self, other: "Replayed") -> "Replayed":
        """Return the sums."""
        return Replayed(self.planned + other.planned, self.other_rules + other.other_rules)

    @override
    def __str__(self) -> str:
        """Return both numbers in words."""
        left = f", other rules {self.other_rules:,} not re-planned" if self.other_rules else ""
        return f"re-planned {self.planned:,}{left}"


def replay(lane: LaneHistory, findings: Findings) -> Replayed:
    """Plan every batch of the present rules again, and compare the state at the end with the row.

    Stops at the first batch that differs, because later ones build on it.
    """
    state: LaneState | None = LaneState(_home(lane))
    planned = others = 0
    for number, stored in enumerate(lane.batches):
        if stored.rules != RULES:
            state, others = None, others + 1
            continue
        try:
            state = state or restored(_home(lane), lane, lane.batches[:number])
            differing = list(_differing(state, lane, stored))
        except Exception as bug:  # noqa: BLE001 - facts or records that no plan could have had
            differing = [repr(bug)]
        planned += 1
        text = "lane {} batch {}: {} differ"
        of = (lane.row.lane, stored.batch_no, differing)
        findings.require(not differing, "replay_differs", text, *of)
        if differing:
            return Replayed(planned, others)
    if state is not None:
        _compare_end(state, lane, findings)
    return Replayed(planned, others)


def _home(lane: LaneHistory) -> Home:
    row = lane.row
    share = Money(CASH_MAX // row.partitions)
    return Home(LaneId(row.lane), row.stream, row.partition, row.partitions, lane.kind, share)


def _compare_end(state: LaneState, lane: LaneHistory, findings: Findings) -> None:
    row = lane.row
    end = (state.last_record_sha, state.lane_time_ms)
    resume = resume_text.encode(state.sweeps, state.settlements, state.waiting)
    right = (*end, resume) == (row.last_record_sha, row.lane_time_ms, row.resume)
    findings.require(right, "replay_differs", "{} ends at {} {}", row, end, resume)


def _differing(state: LaneState, lane: LaneHistory, stored: StoredBatch) -> Iterator[str]:
    """Plan one batch again and adopt it; yield what comes out differently."""
    facts, limits, recorded, published_batch_no = facts_text.decode(stored.facts)
    inputs = _passed(lane.inputs, state, stored)
    step = facts_text.step_of(recorded, inputs, stored.first_offset, stored.next_offset)
    batch = plan(state, step, facts, limits)
    if not isinstance(batch, Batch):
        yield f"facts, which lack {batch}"
        return
    sealed = seal(
        batch, epoch=stored.epoch, owner=stored.owner, published_batch_no=published_batch_no
    )
    plan_hash = plan_digest(batch, sealed.events, sealed.plan_facts)
    again = {"facts": sealed.facts, "events": sealed.events, "plan_hash": plan_hash}
    yield from (name for name, value in again.items() if value != getattr(stored, name))
    batch.adopt()


def _passed(
    inputs: Sequence[Received], state: LaneState, stored: StoredBatch
) -> Sequence[Received]:
    """Return the records that waited before a batch, and those that its cursor passed."""
    first = min(state.waiting, default=stored.first_offset)
    at = bisect_left(inputs, first, key=_by_offset)
    return inputs[at : bisect_left(inputs, stored.next_offset, key=_by_offset)]
