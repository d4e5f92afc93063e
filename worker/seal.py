"""Plan a step with every fact it needs, and seal the batch that comes of it.

Used by a lane's commits, by the rehearsal of ``parity doctor`` and by the audit's replay.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from worker.decisions import TooLarge
from worker.domain.facts import Facts, Lack, Limits
from worker.domain.plan import AnswerCommands, Batch, Step, plan, shortened
from worker.domain.state import LaneState
from worker.errors import ReadingsExhausted
from worker.ports import Seal, Statement
from worker.wire import facts as facts_text
from worker.wire import journal
from worker.wire import resume as resume_text

STATEMENT_BYTES_MAX: Final = 4 * 1024 * 1024
READINGS_MAX: Final = 8
"""Readings after which a batch is cut, and after which its smallest step is given up."""


async def plan_fully(
    state: LaneState,
    step: Step,
    facts: Facts,
    limits: Limits,
    read: Callable[[Lack], Awaitable[Facts]],
) -> Batch:
    """Plan a step, reading what the plan lacks until it lacks nothing.

    A plan that keeps asking is cut where it first lacks something. Raises ReadingsExhausted if the
    smallest step keeps asking too, and RuleBroken.
    """
    for reading in range(2 * READINGS_MAX):
        planned = plan(state, step, facts, limits)
        if (
            isinstance(planned, Lack)
            and isinstance(step, AnswerCommands)
            and reading >= READINGS_MAX
        ):
            limits = shortened(step, limits, planned)
            planned = plan(state, step, facts, limits)
        if isinstance(planned, Batch):
            return planned
        facts = facts.and_read(await read(planned))
    raise ReadingsExhausted(f"after {2 * READINGS_MAX} readings a plan lacks facts: {step!r:.100}")


def seal(batch: Batch, *, epoch: int, owner: str, published_batch_no: int) -> Seal:
    """Return all that is stored with a batch in addition to its plan."""
    facts = facts_text.encode(
        batch.facts, batch.limits, batch.step, published_batch_no, batch.answers
    )
    return Seal(
        epoch=epoch,
        owner=owner,
        published_batch_no=published_batch_no,
        facts=facts,
        plan_facts=facts_text.without_mark(facts),
        events=journal.encode(batch.draft.entries, batch.draft.state.home.kind),
        resume=resume_text.encode(batch.sweeps, batch.settlements, batch.draft.waiting),
    )


def too_large(statement: Statement) -> TooLarge | None:
    """Return the sizes of a statement that must not be sent."""
    sizes = {
        "bytes": (statement.bytes, STATEMENT_BYTES_MAX),
        "facts_bytes": (statement.facts_bytes, facts_text.BYTES_MAX),
        "resume_bytes": (statement.resume_bytes, resume_text.BYTES_MAX),
    }
    if all(size <= size_max for size, size_max in sizes.values()):
        return None
    return TooLarge({name: f"{size} of {size_max}" for name, (size, size_max) in sizes.items()})
