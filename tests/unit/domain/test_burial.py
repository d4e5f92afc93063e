"""What is no command is answered all the same, and kept for the dead letters."""

import pytest

from worker.domain.commands import Received, Unreadable
from worker.domain.events import CommandRejected, DeadLetter, Event, Reason
from worker.domain.plan import Answer, Batch, plan
from worker.domain.state import Facts, Home, LaneState, Limits, StreamKind
from worker.domain.units import CASH_MAX, Lane, Offset

JUNK = Unreadable(detail="value: must be JSON", key=b"k", value=b"{", headers=(("h", b"1"),))


@pytest.mark.shows("W18", "F49")
@pytest.mark.parametrize("kind", StreamKind)
def test_what_is_no_command_is_answered_and_buried_with_the_seq_of_its_answer(
    kind: StreamKind,
) -> None:
    state = LaneState(Home(Lane(0), "stream", 0, 1, kind, CASH_MAX), last_seq=6)
    records = [Received(Offset(n), 1_000 + n, f"sha-{n}", JUNK) for n in range(2)]
    batch = plan(state, Answer(records), Facts(), Limits(2_500))
    assert isinstance(batch, Batch)
    answer, letter, other, last = batch.draft.entries
    assert isinstance(answer, Event)
    assert isinstance(other, Event)
    assert answer.body == CommandRejected(Reason.MALFORMED, detail=JUNK.detail)
    assert letter == DeadLetter(7, Offset(0), 1_000, Reason.MALFORMED, JUNK)
    assert last == DeadLetter(8, Offset(1), 1_001, Reason.MALFORMED, JUNK)
    assert (answer.seq, other.seq, batch.answered) == (7, 8, 2)
