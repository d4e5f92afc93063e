"""The same again: every batch planned anew from its records and its recorded facts. Pure.

It must come out the same to the byte, events and plan hash, which covers all that it wrote.
"""

from collections.abc import Iterator, Sequence

from worker.adapters.postgres import rows
from worker.audit.invariants import Findings
from worker.audit.topics import LaneHistory, StoredBatch
from worker.domain.commands import Received
from worker.domain.plan import Answer, Batch, plan
from worker.domain.state import Home, LaneState
from worker.domain.units import CASH_MAX, Lane, Money
from worker.ports import Seal
from worker.wire import facts as facts_text
from worker.wire import journal
from worker.wire import resume as resume_text


def replay(lane: LaneHistory, findings: Findings) -> None:
    """Plan every batch again, and compare where the lane then stands."""
    row = lane.row
    share = Money(CASH_MAX // row.partitions)
    home = Home(Lane(row.lane), row.stream, row.partition, row.partitions, lane.kind, share)
    state = LaneState(home)
    for stored in lane.batches:
        try:
            differing = list(_differing(state, lane, stored))
        except Exception as bug:  # noqa: BLE001 - facts or records that no plan could have had
            differing = [repr(bug)]
        text = "lane {} batch {}: {} differ"
        of = (row.lane, stored.batch_no, differing)
        findings.require(not differing, "replay_differs", text, *of)
        if differing:
            # What follows stands on what went before.
            return
    stands = (state.last_record_sha, state.lane_time_ms)
    resume = resume_text.encode(state.sweep, state.settlements)
    right = (*stands, resume) == (row.last_record_sha, row.lane_time_ms, row.resume)
    findings.require(right, "replay_differs", "{} stands at {} {}", row, stands, resume)


def _differing(state: LaneState, lane: LaneHistory, stored: StoredBatch) -> Iterator[str]:
    """Plan one batch again and adopt it; yield what comes out differently."""
    facts, limits, step, published_batch_no = facts_text.decode(stored.facts)
    step = step or Answer(_taken(lane.inputs, stored))
    batch = plan(state, step, facts, limits)
    if not isinstance(batch, Batch):
        yield f"facts, which lack {batch}"
        return
    seal = Seal(
        epoch=stored.epoch,
        owner=stored.owner,
        published_batch_no=published_batch_no,
        facts=facts_text.encode(facts, limits, step, published_batch_no),
        events=journal.encode(batch.draft.entries, lane.kind),
        resume=resume_text.encode(batch.sweep, batch.settlements),
    )
    plan_hash = rows.statement(batch, seal).plan_hash
    again = {"facts": seal.facts, "events": seal.events, "plan_hash": plan_hash}
    yield from (name for name, value in again.items() if value != getattr(stored, name))
    batch.adopt()


def _taken(inputs: Sequence[Received], stored: StoredBatch) -> list[Received]:
    """Return the records that a batch answered."""
    some = inputs[stored.first_offset : stored.next_offset]
    if [record.offset for record in some] == list(range(stored.first_offset, stored.next_offset)):
        return list(some)
    asked = range(stored.first_offset, stored.next_offset)
    return [record for record in inputs if record.offset in asked]
