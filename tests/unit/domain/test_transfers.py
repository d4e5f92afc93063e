"""A transfer id is answered once. The same id with other contents is refused."""

import pytest

from tests.support.books import deposit, received, withdraw
from worker.domain.commands import Command
from worker.domain.events import Event, EventType, First
from worker.domain.facts import Facts, Limits, TransferAnswer
from worker.domain.plan import AnswerCommands, Batch, plan
from worker.domain.state import Home, LaneState, StreamKind
from worker.domain.units import CASH_MAX, WALLET, AccountId, LaneId, Money, Offset, TransferId

ANN, ID = AccountId("ann"), TransferId("t-1")
KNOWN = TransferAnswer(deposit=True, amount=Money(5), first=First(EventType.DEPOSITED, 3))


def _answers(facts: Facts, *commands: Command) -> list[str]:
    state = LaneState(Home(LaneId(1), "transfers", 0, 1, StreamKind.TRANSFERS, CASH_MAX))
    step = AnswerCommands([received(Offset(n), command) for n, command in enumerate(commands)])
    batch = plan(state, step, facts, Limits(2_500))
    assert isinstance(batch, Batch)
    return [
        str(getattr(entry.body, "reason", type(entry.body).__name__))
        for entry in batch.draft.entries
        if isinstance(entry, Event)
    ]


SENT_AGAIN = pytest.mark.parametrize(
    ("again", "answer"),
    [
        (deposit(ANN, 5, ID), "Duplicate"),
        (deposit(ANN, 6, ID), "IdConflict"),
        (withdraw(ANN, 5, ID), "IdConflict"),
    ],
    ids=["the same", "another amount", "the other way"],
)


@pytest.mark.shows("W19", "F59")
@SENT_AGAIN
def test_repeat_in_a_later_batch_is_recognised(again: Command, answer: str) -> None:
    facts = Facts(transfers={(ANN, ID): KNOWN}, accounts={ANN: {WALLET: Money(100)}})
    assert _answers(facts, again) == [answer]


@SENT_AGAIN
def test_repeat_in_the_same_batch_is_recognised(again: Command, answer: str) -> None:
    facts = Facts(accounts={ANN: {WALLET: Money(100)}})
    assert _answers(facts, deposit(ANN, 5, ID), again) == ["Deposited", answer]
