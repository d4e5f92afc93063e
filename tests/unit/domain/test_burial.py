"""A record that is no command is answered all the same, and kept for the dead letters."""

import pytest

from worker.domain.commands import Received, Unreadable
from worker.domain.events import CommandRejected, DeadLetter, Event, Reason
from worker.domain.facts import Facts, Limits
from worker.domain.plan import AnswerCommands, Batch, plan
from worker.domain.state import Home, LaneState, StreamKind
from worker.domain.units import CASH_MAX, LaneId, Offset

JUNK = Unreadable(detail="value: must be JSON", key=b"k", value=b"{", headers=(("h", b"1"),))


@pytest.mark.shows("W18", "F49")
@pytest.mark.parametrize("kind", StreamKind)
def test_unreadable_record_is_answered_and_kept(kind: StreamKind) -> None:
    """The dead letter has the seq of the answer."""
    state = LaneState(Home(LaneId(0), "stream", 0, 1, kind, CASH_MAX), last_seq=6)
    records = [Received(Offset(n), 1_000 + n, f"sha-{n}", JUNK) for n in range(2)]
    batch = plan(state, AnswerCommands(records), Facts(), Limits(2_500))
    assert isinstance(batch, Batch)
    answer, letter, other, last = batch.draft.entries
    assert isinstance(answer, Event)
    assert isinstance(other, Event)
    assert answer.body == CommandRejected(Reason.MALFORMED, detail=JUNK.detail)
    assert letter == DeadLetter(7, Offset(0), 1_000, Reason.MALFORMED, JUNK)
    assert last == DeadLetter(8, Offset(1), 1_001, Reason.MALFORMED, JUNK)
    assert (answer.seq, other.seq, batch.answered) == (7, 8, 2)
