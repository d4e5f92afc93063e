"""Turns: the next step of a lane, so that no market's long work holds up the others.

Answers alternate with long work: a batch of a sweep, a page of a settlement, or a resolution.
Commands of a busy market wait until it is free. The lane's cursor passes them as soon as a later
command is answered, and they keep their order within their market. A turn decides only what comes
first. What a batch answered is recorded with it, so a replay needs no turns.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from worker.domain.commands import Command, MarketCommand, Received, ResolveMarket
from worker.domain.orders import resolves
from worker.domain.plan import AnswerCommands, PayPage, Step
from worker.domain.state import WAITING_MAX, LaneState
from worker.domain.units import MarketId

SETTLEMENTS_MAX: Final = 64
"""Resolved markets that may wait for their pages. Above it a RESOLVE_MARKET waits."""


class Turns:
    """The memory of whose turn it was. A new owner may begin with any turn."""

    def __init__(self) -> None:
        self._answered_last = False
        self._last_market = ""

    def next(self, state: LaneState, taken: Sequence[Received]) -> Step | None:
        """Return the next step; None if there is nothing to do.

        ``taken`` are all unanswered commands at hand, in the order of their offsets.
        """
        answers = answering(state, taken)
        if self._answered_last or not answers.commands:
            self._answered_last = False
            if work := long_work(state, taken):
                later = [market_id for market_id in work if market_id > self._last_market]
                self._last_market = min(later or work)
                return work[self._last_market]
        if answers.commands:
            self._answered_last = True
            return answers
        return None


def answering(
    state: LaneState, taken: Sequence[Received], sweep: MarketId | None = None
) -> AnswerCommands:
    """Return the step that answers commands of all markets that are free.

    The market of ``sweep`` counts as free. Its commands are answered if the sweep ends. Commands
    of other swept markets are held, as many as may wait. The plan refuses those beyond.
    """
    swept = {unfinished.market_id for unfinished in state.sweeps} - {sweep}
    busy: set[MarketId | None] = {*swept}
    if not busy and not any(_resolves(state, received) for received in taken):
        return AnswerCommands(taken, sweep)
    commands: list[Received] = []
    held: list[Received] = []
    passed, room = 0, _room(state)
    for received in taken:
        market_id, is_new = _market_of(received.command), received.offset >= state.next_offset
        if market_id in swept and is_new and len(held) >= room:
            # No more may wait. The plan refuses this command, and the cursor passes those held.
            passed = len(held)
            commands.append(received)
        elif market_id in busy or _resolves(state, received):
            busy.add(market_id)
            held += [received] if is_new else []
        elif is_new and len(held) > room:
            break
        else:
            passed = len(held)
            commands.append(received)
    return AnswerCommands(commands, sweep, held[:passed])


def long_work(state: LaneState, taken: Sequence[Received]) -> dict[MarketId, Step]:
    """Return the long work that can go on, at most one step per market."""
    work: dict[MarketId, Step] = {
        settlement.market_id: PayPage(settlement.market_id)
        for settlement in state.settlements
        if not settlement.parked
    }
    if len(work) < SETTLEMENTS_MAX:
        work.update(_resolutions(state, taken))
    for sweep in state.sweeps:
        work[sweep.market_id] = answering(state, taken, sweep.market_id)
    return work


def _resolutions(
    state: LaneState, taken: Sequence[Received]
) -> Iterator[tuple[MarketId, AnswerCommands]]:
    """Yield the resolutions whose turn may come: all that wait, and a new one that is the first."""
    busy: set[MarketId | None] = {unfinished.market_id for unfinished in state.sweeps}
    held: list[Received] = []
    for received in taken:
        command, is_new = received.command, received.offset >= state.next_offset
        if _market_of(command) in busy:
            held += [received] if is_new else []
        elif isinstance(command, ResolveMarket) and _resolves(state, received):
            if len(held) <= _room(state):
                yield command.market_id, AnswerCommands([received], held=held)
            if is_new:
                return
            busy.add(command.market_id)
        elif is_new:
            return
        else:
            # It waited, and its market is free now: what follows it there waits for its answer.
            busy.add(_market_of(command))


def _room(state: LaneState) -> int:
    """Return how many more commands may wait."""
    return max(0, WAITING_MAX - len(state.waiting))


def _market_of(command: Command) -> MarketId | None:
    """Return the market in which the command keeps its turn."""
    return command.market_id if isinstance(command, MarketCommand) else None


def _resolves(state: LaneState, received: Received) -> bool:
    command = received.command
    return isinstance(command, ResolveMarket) and resolves(
        state.markets.get(command.market_id), command
    )
