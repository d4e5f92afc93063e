"""The pure heart: state x step x facts -> a batch, or the facts that it still lacks.

A step is what a batch does: the commands that arrived, a page of a settlement, or a gathering of
money. The same arguments give the same bytes. The state is left as it was until ``adopt``, apart
from its books, which hold the batch tentatively: every ``Batch`` ends in ``adopt`` or ``discard``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

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
from worker.domain.draft import ROWS_A_FILL, Draft
from worker.domain.events import (
    CancelRejected,
    CommandRejected,
    DeadLetter,
    OrderRejected,
    Reason,
    TransferRejected,
    size_bound,
)
from worker.domain.matching import EVENT_BYTES_A_FILL, crosses, resume
from worker.domain.orders import cancel_order, open_market, place, resolve_refused
from worker.domain.state import (
    Facts,
    Lack,
    LaneState,
    Limits,
    MarketStatus,
    Settlement,
    StreamKind,
    Sweep,
)
from worker.domain.transfers import Gathering, deposit, gather, send_home, withdraw
from worker.domain.units import Lane, MarketId, Money, Offset

ROWS_AN_ORDER = 5
"""What an order with half a fill writes, about: so many fit into a batch."""
ORIGINAL_BYTES_MAX = 96 * 1024
"""Journal bytes of one dead letter, at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the commands that arrived, as many as the budgets hold."""

    commands: Sequence[Received]


@dataclass(frozen=True, slots=True)
class PayPage:
    """Carry a settlement on by one page."""

    market_id: MarketId


@dataclass(frozen=True, slots=True)
class Gather:
    """Move money towards withdrawals that wait for it."""

    gatherings: tuple[Gathering, ...]


@dataclass(frozen=True, slots=True)
class Park:
    """Give up what cannot go on: the sweep and its market, or a settlement's pages."""

    market_id: MarketId | None = None


Step = Answer | PayPage | Gather | Park


@dataclass(frozen=True, slots=True)
class DrawRow:
    """Money moved between two pockets of one account."""

    cause: str
    account: str
    source: Lane
    target: Lane
    amount: Money


@dataclass(frozen=True, slots=True)
class PocketRow:
    """A pocket that the batch moves, named once. ``new``: it has no row yet."""

    account: str
    lane: Lane
    need: Money
    new: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """A planned batch: ``draft`` holds its rows and events, the rest is derived from them."""

    draft: Draft
    facts: Facts
    limits: Limits
    step: Step

    @property
    def batch_no(self) -> int:
        """Return the number that it will have."""
        return self.draft.state.batch_no + 1

    @property
    def answered(self) -> int:
        """Return how many of the step's commands it answers."""
        return self.draft.answered

    @property
    def sweep(self) -> Sweep | None:
        """Return the sweep that it leaves to the next batch."""
        return self.draft.sweep

    @property
    def settlements(self) -> tuple[Settlement, ...]:
        """Return the settlements that it leaves to later batches."""
        return tuple(self.draft.settlements.values())

    def draws(self) -> Iterator[DrawRow]:
        """Yield the movements between pockets, one a source pocket."""
        lane = self.draft.state.home.lane
        for account_id, purse in self.draft.purses.items():
            account = ids.account_key(account_id)
            for source, amount in purse.drawn.items():
                cause = ids.draw_key(lane, self.batch_no, account, source)
                target = purse.drawn_to(source)
                yield DrawRow(cause, account, source, target, amount)

    def pockets(self) -> list[PocketRow]:
        """Return every pocket that moves, in the one order in which all lanes lock them."""
        return sorted(
            (
                PocketRow(ids.account_key(account_id), lane, Money(need), lane in purse.new)
                for account_id, purse in self.draft.purses.items()
                for lane, need in purse.needs.items()
            ),
            key=lambda row: (row.account, row.lane),
        )

    def adopt(self) -> None:
        """Make it the lane's state, after its commit."""
        self.draft.adopt()

    def discard(self) -> None:
        """Leave the lane's state as it was before the plan."""
        self.draft.undo()


class RuleBroken(Exception):
    """A bug of ours met at ``offset``; the state is as it was. ``answering``: by a new command."""

    def __init__(self, offset: Offset, *, answering: bool) -> None:
        super().__init__(f"the rules broke at offset {offset}")
        self.offset = offset
        self.answering = answering


def foresee(state: LaneState, step: Step, limits: Limits) -> Lack:
    """Return what the step's first orders are sure to lack, so that it is read before planning.

    Nothing depends on it but time: what is not foreseen, the plan asks for.
    """
    lack = Lack()
    commands = step.commands if isinstance(step, Answer) else ()
    for received in commands[: min(limits.commands, limits.rows // ROWS_AN_ORDER)]:
        command = received.command
        if isinstance(command, PlaceOrder) and command.market_id in state.markets:
            if command.account_id not in state.accounts:
                lack.accounts.add(command.account_id)
            if (command.market_id, command.account_id) not in state.positions:
                lack.positions.add((command.market_id, command.account_id))
    return lack


def plan(state: LaneState, step: Step, facts: Facts, limits: Limits) -> Batch | Lack:
    """Plan one step. Raises RuleBroken, with the state as it was, on a bug."""
    draft = Draft.over(state, facts, limits)
    try:
        _run(draft, step)
    except MemoryError:
        # The process's own end, and no command's fault: another owner plans it again.
        raise
    except Exception as error:
        draft.undo()
        answering = draft.offset >= state.next_offset and isinstance(step, Answer)
        raise RuleBroken(draft.offset, answering=answering) from error
    if draft.lack:
        draft.undo()
        return draft.lack
    return Batch(draft, facts, limits, step)


def _run(draft: Draft, step: Step) -> None:
    match step:
        case Answer():
            _answer_all(draft, step.commands)
            send_home(draft)
        case PayPage():
            settlement.page(draft, step.market_id)
        case Gather():
            gather(draft, step.gatherings)
        case Park():
            _park(draft, step.market_id)
        case _ as never:
            assert_never(never)


def _answer_all(draft: Draft, commands: Sequence[Received]) -> None:
    if draft.sweep is not None:
        market = draft.market(draft.sweep.market_id)
        assert market is not None, "the market of a sweep is in memory"
        resume(draft, draft.sweep, market)
    for received in commands[: draft.limits.commands]:
        if draft.sweep is not None or not _may_follow(draft, received.command):
            return
        _answer(draft, received)
        if isinstance(received.command, ResolveMarket):
            return


def _may_follow(draft: Draft, command: Command) -> bool:
    """Return whether the command may join this batch, or must begin the next.

    One statement reads one snapshot: it cannot see a market or an order of its own.
    """
    if not draft.answered and not draft.entries:
        return True
    if isinstance(command, ResolveMarket):
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
    extra = ORIGINAL_BYTES_MAX if isinstance(command, Unreadable) else EVENT_BYTES_A_FILL
    sources = draft.pockets_of(command.account_id) if isinstance(command, Withdraw) else 0
    return draft.room(ROWS_A_FILL + 2 + 3 * sources, extra)


def _answer(draft: Draft, received: Received) -> None:
    draft.begin(received)
    command = received.command
    if draft.offset in draft.facts.internal_rejects:
        _reject_internally(draft, command)
    else:
        _carry_out(draft, command)
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
    """Answer what is no command, and keep its bytes for the dead letters."""
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
    """Answer a command that met a bug of ours; halt its market if the bug was in the rules."""
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


def _park(draft: Draft, market_id: MarketId | None) -> None:
    """Halt the market of a sweep, its rest in the book; or shelve a settlement."""
    if market_id is not None:
        draft.settlements[market_id] = replace(draft.settlements[market_id], parked=True)
        return
    sweep = draft.sweep
    assert sweep is not None, "only a sweep or a settlement is parked"
    draft.sweep = None
    draft.book(sweep.market_id).add(sweep.order)
    _halt(draft, sweep.market_id)
