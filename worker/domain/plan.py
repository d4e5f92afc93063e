"""The pure core: a state, a step and facts give a batch, or the facts that it still lacks.

A step is the work of one batch, such as the commands that arrived or a page of a settlement. The
same arguments give the same bytes. The state is left as it was until ``adopt``, apart from its
books, which hold the batch tentatively. Every ``Batch`` therefore ends in ``adopt`` or ``discard``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from typing import Final, assert_never

from worker.domain import ids, settlement
from worker.domain.commands import (
    CancelOrder,
    Command,
    Deposit,
    OpenMarket,
    PlaceOrder,
    Received,
    ResolveMarket,
    Unreadable,
    Withdraw,
)
from worker.domain.draft import Draft
from worker.domain.events import (
    CancelRejected,
    CommandRejected,
    DeadLetter,
    OrderRejected,
    Reason,
    TransferRejected,
    size_bound,
)
from worker.domain.facts import Facts, Lack, Limits
from worker.domain.fills import resume
from worker.domain.matching import EVENT_BYTES_PER_FILL, crosses
from worker.domain.orders import cancel_order, open_market, place, resolve_refused, resolves
from worker.domain.rows import (
    ROWS_PER_COMMAND,
    ROWS_PER_FILL,
    ROWS_PER_ORDER,
    ROWS_PER_SOURCE,
    DrawRow,
    PocketRow,
)
from worker.domain.state import LaneState, MarketStatus, Settlement, StreamKind, Sweep
from worker.domain.transfers import Gathering, deposit, gather, send_home, withdraw
from worker.domain.units import MarketId, Money, Offset

_by_pocket: Final = attrgetter("account", "lane")

DEAD_LETTER_BYTES_MAX: Final = 96 * 1024
"""Size of a dead letter, both as a line of the journal and as a published record."""


@dataclass(frozen=True, slots=True)
class AnswerCommands:
    """Answer commands in this order, as many as the budgets hold.

    ``sweep`` is the market of a sweep that goes on first. ``held`` are commands of busy markets.
    Those before an answered command wait, and the lane's cursor passes them.
    """

    commands: Sequence[Received]
    sweep: MarketId | None = None
    held: Sequence[Received] = ()


@dataclass(frozen=True, slots=True)
class PayPage:
    """Continue a settlement by one page."""

    market_id: MarketId


@dataclass(frozen=True, slots=True)
class Gather:
    """Move money towards withdrawals that wait for it."""

    gatherings: tuple[Gathering, ...]


@dataclass(frozen=True, slots=True)
class Park:
    """Give up work that cannot go on: a sweep and its market, or a settlement's pages."""

    market_id: MarketId
    sweep: bool = False


Step = AnswerCommands | PayPage | Gather | Park


@dataclass(frozen=True, slots=True)
class Batch:
    """A planned batch. ``draft`` has its rows and events, and the rest is derived from them."""

    draft: Draft
    facts: Facts
    limits: Limits
    step: Step

    @property
    def batch_no(self) -> int:
        """Return the number that the batch will have."""
        return self.draft.state.batch_no + 1

    @property
    def answered(self) -> int:
        """Return how many of the step's commands the batch answers."""
        return self.draft.answered

    @property
    def answers(self) -> tuple[Offset, ...] | None:
        """Return the offsets that it answers. None: those from the lane's cursor on."""
        if self.draft.waiting == self.draft.state.waiting or not isinstance(
            self.step, AnswerCommands
        ):
            return None
        return tuple(received.offset for received in self.step.commands[: self.answered])

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """Return the sweeps that it leaves to later batches."""
        return self.draft.unfinished()

    @property
    def waiting(self) -> frozenset[Offset]:
        """Return the offsets that it leaves unanswered before its cursor."""
        return frozenset(self.draft.waiting)

    @property
    def settlements(self) -> tuple[Settlement, ...]:
        """Return the settlements that are left to later batches."""
        return tuple(self.draft.settlements.values())

    def draws(self) -> Iterator[DrawRow]:
        """Yield the movements between pockets, one per source pocket."""
        lane = self.draft.state.home.lane
        for account_id, purse in self.draft.purses.items():
            account = ids.account_key(account_id)
            for source, amount in purse.drawn.items():
                cause = ids.draw_key(lane, self.batch_no, account, source)
                target = purse.drawn_to(source)
                yield DrawRow(cause, account, source, target, amount)

    def pockets(self) -> list[PocketRow]:
        """Return every pocket that moves, in the order in which all lanes lock pockets."""
        return sorted(
            (
                PocketRow(ids.account_key(account_id), lane, Money(need), lane in purse.new)
                for account_id, purse in self.draft.purses.items()
                for lane, need in purse.needs.items()
            ),
            key=_by_pocket,
        )

    def adopt(self) -> None:
        """Make the batch the lane's state, after its commit."""
        self.draft.adopt()

    def discard(self) -> None:
        """Leave the lane's state as it was before the plan."""
        self.draft.undo()


class RuleBroken(Exception):
    """An internal error while planning at ``offset``, after which the state is as it was.

    ``answering`` if the offset is that of a new command, and not of a sweep or settlement.
    """

    def __init__(self, offset: Offset, *, answering: bool) -> None:
        super().__init__(f"the rules broke at offset {offset}")
        self.offset = offset
        self.answering = answering


def foresee(state: LaneState, step: Step, limits: Limits) -> Lack:
    """Return the facts that the step's first orders are sure to lack, to read them before planning.

    Foresight only saves time, since the plan asks for every fact that was not foreseen.
    """
    lack = Lack()
    commands = step.commands if isinstance(step, AnswerCommands) else ()
    if isinstance(step, AnswerCommands) and step.sweep is not None:
        (sweep,) = (each for each in state.sweeps if each.market_id == step.sweep)
        if not _ends_soon(state, sweep, limits):
            return lack
    for received in commands[: min(limits.commands, limits.rows // ROWS_PER_ORDER)]:
        command = received.command
        if isinstance(command, PlaceOrder) and command.market_id in state.markets:
            if command.account_id not in state.accounts:
                lack.accounts.add(command.account_id)
            if (command.market_id, command.account_id) not in state.positions:
                lack.positions.add((command.market_id, command.account_id))
    return lack


def _ends_soon(state: LaneState, sweep: Sweep, limits: Limits) -> bool:
    """Return whether the sweep may end in one batch, so that commands can follow it."""
    order, leaves = sweep.order, int(sweep.order.leaves)
    makers = state.book(sweep.market_id).priority(order.side.opposite)
    for maker in islice(makers, limits.rows // ROWS_PER_FILL):
        leaves -= maker.leaves
        if leaves <= 0 or not crosses(order.side, order.price, maker):
            return True
    return False


def shortened(step: AnswerCommands, limits: Limits, lack: Lack) -> Limits:
    """Return limits that end an answering batch where its plan first lacked something.

    Up to there the plan lacks nothing, so that the batch needs no further reading. If the plan
    lacks something from the start, the limits admit the smallest possible step. That is the sweep's
    next maker, or the first command, whose own sweep then ends before the maker that is lacking.
    """
    if lack.commands:
        return replace(limits, commands=lack.commands)
    if step.sweep is not None:
        return replace(limits, commands=0, makers=max(1, lack.makers))
    return replace(limits, commands=1, makers=lack.makers)


def plan(state: LaneState, step: Step, facts: Facts, limits: Limits) -> Batch | Lack:
    """Plan one step. Raises RuleBroken on an internal error, and leaves the state as it was."""
    draft = Draft.over(state, facts, limits)
    try:
        _run(draft, step)
    except MemoryError:
        # The process is out of memory, which is no command's fault. Another owner plans again.
        raise
    except Exception as error:
        draft.undo()
        answering = isinstance(step, AnswerCommands) and any(
            received.offset == draft.offset for received in step.commands
        )
        raise RuleBroken(draft.offset, answering=answering) from error
    if draft.lack:
        draft.undo()
        return draft.lack
    return Batch(draft, facts, limits, step)


def _run(draft: Draft, step: Step) -> None:
    match step:
        case AnswerCommands():
            _answer_all(draft, step)
            send_home(draft)
        case PayPage():
            settlement.page(draft, step.market_id)
        case Gather():
            gather(draft, step.gatherings)
        case Park():
            _park(draft, step)
        case _ as never:
            assert_never(never)


def _answer_all(draft: Draft, step: AnswerCommands) -> None:
    if step.sweep is not None:
        market = draft.market(step.sweep)
        assert market is not None, "the market of a sweep is in memory"
        resume(draft, draft.sweeps[step.sweep], market)
        if step.sweep in draft.sweeps:
            return
    sweeps, held = len(draft.sweeps), iter(step.held)
    passed = next(held, None)
    for received in step.commands[: draft.limits.commands]:
        if not _may_follow(draft, received.command):
            return
        alone = _must_be_alone(draft, received.command)
        _answer(draft, received)
        if draft.cut:
            return
        while passed is not None and passed.offset < received.offset:
            draft.waiting.add(passed.offset)
            passed = next(held, None)
        if alone or len(draft.sweeps) > sweeps:
            return


def _may_follow(draft: Draft, command: Command) -> bool:
    """Return whether the command may join this batch. Otherwise it begins the next one.

    The statement of a batch reads one snapshot, so it cannot see a market or an order of its own.
    """
    if not draft.answered and not draft.entries:
        return True
    if _must_be_alone(draft, command):
        return False
    if (
        isinstance(command, PlaceOrder)
        and command.market_id in draft.new_markets
        and crosses(
            command.side,
            command.price,
            draft.book(command.market_id).best(command.side.opposite),
        )
    ):
        return False
    extra = DEAD_LETTER_BYTES_MAX if isinstance(command, Unreadable) else EVENT_BYTES_PER_FILL
    sources = draft.pockets_of(command.account_id) if isinstance(command, Withdraw) else 0
    return draft.room(ROWS_PER_COMMAND + ROWS_PER_SOURCE * sources, extra)


def _must_be_alone(draft: Draft, command: Command) -> bool:
    """Return whether the command resolves a market, which no batch may trade in as well."""
    if not isinstance(command, ResolveMarket) or command.market_id in draft.sweeps:
        return False
    market_id = command.market_id
    return resolves(draft.markets.get(market_id) or draft.state.markets.get(market_id), command)


def _answer(draft: Draft, received: Received) -> None:
    """Answer a command, unless the draft is cut before it."""
    time_ms = draft.time_ms
    draft.begin(received)
    command = received.command
    if draft.offset in draft.facts.internal_rejects:
        _reject_internally(draft, command)
    else:
        _carry_out(draft, command)
    if draft.cut:
        draft.time_ms = time_ms
    else:
        draft.end(received)


def _carry_out(draft: Draft, command: Command) -> None:
    match command:
        case PlaceOrder():
            place(draft, command)
        case CancelOrder():
            cancel_order(draft, command)
        case OpenMarket():
            open_market(draft, command)
        case ResolveMarket():
            _resolve(draft, command)
        case Deposit():
            deposit(draft, command)
        case Withdraw():
            withdraw(draft, command)
        case Unreadable():
            _bury(draft, command)
        case _ as never:
            assert_never(never)


def _resolve(draft: Draft, command: ResolveMarket) -> None:
    if not resolve_refused(draft, command):
        market = draft.market(command.market_id)
        assert market is not None, "only a known market is resolved"
        settlement.flip(draft, command, market)


def _bury(draft: Draft, command: Unreadable) -> None:
    """Answer a record that is no command, and keep its bytes for the dead letters."""
    transfers = draft.state.home.kind is StreamKind.TRANSFERS
    subject = command.account_id if transfers else command.market_id
    body = CommandRejected(
        Reason.MALFORMED,
        detail=command.detail,
        account_id=None if transfers else command.account_id,
    )
    seq = draft.emit(subject, body, None)
    letter = DeadLetter(seq, draft.offset, draft.time_ms, Reason.MALFORMED, command)
    draft.entries.append(letter)
    draft.event_bytes += size_bound(letter)


def _reject_internally(draft: Draft, command: Command) -> None:
    """Answer a command that met an internal error. Halt its market if the facts require it."""
    reason = Reason.INTERNAL_REJECT
    match command:
        case PlaceOrder():
            body = OrderRejected(command.account_id, command.order_id, reason)
            draft.emit(command.market_id, body, None)
        case CancelOrder():
            draft.emit(
                command.market_id,
                CancelRejected(command.account_id, command.order_id, reason),
                None,
            )
        case OpenMarket() | ResolveMarket():
            body_ = CommandRejected(reason, operator_id=command.operator_id)
            draft.emit(command.market_id, body_, None)
        case Deposit() | Withdraw():
            rejected = TransferRejected(command.transfer_id, command.amount, reason)
            draft.emit(command.account_id, rejected, None)
        case Unreadable():
            draft.emit(None, CommandRejected(reason), None)
        case _ as never:
            assert_never(never)
    if draft.offset in draft.facts.halts and isinstance(command, PlaceOrder | CancelOrder):
        _halt(draft, command.market_id)


def _halt(draft: Draft, market_id: MarketId) -> None:
    market = draft.market(market_id)
    if market is not None and market.status is MarketStatus.OPEN:
        draft.markets[market_id] = replace(market, status=MarketStatus.HALTED)
        draft.change(market_id).status = MarketStatus.HALTED


def _park(draft: Draft, step: Park) -> None:
    """Put a sweep's remainder into the book and halt its market, or mark a settlement as parked."""
    market_id = step.market_id
    if not step.sweep:
        draft.settlements[market_id] = replace(draft.settlements[market_id], parked=True)
        return
    sweep = draft.sweeps.pop(market_id)
    draft.book(market_id).add(sweep.order)
    _halt(draft, market_id)
