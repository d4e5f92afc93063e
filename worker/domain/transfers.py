"""Deposits and withdrawals, and the gathering of money that is spread over lanes.

A deposit goes to the wallet, and the first deposit creates the account. A withdrawal draws like an
order. If it lost a race, its money is gathered first. Batches that answer nothing move one further
pocket at a time into the account's pocket of this lane, from which no other lane draws. Then the
withdrawal is answered without draws. It is paid, or everything goes back to the wallet.
"""

from dataclasses import dataclass

from worker.domain import ids
from worker.domain.commands import Deposit, Withdraw
from worker.domain.draft import Draft
from worker.domain.events import (
    REMEMBERED,
    Deposited,
    Duplicate,
    EventType,
    First,
    IdConflict,
    Reason,
    TransferRejected,
    Withdrawn,
)
from worker.domain.facts import TransferAnswer
from worker.domain.orders import at_home
from worker.domain.rows import ROWS_PER_SOURCE, ROWS_PER_WITHDRAWAL, TransferRow
from worker.domain.state import StreamKind
from worker.domain.units import TRANSFER_MAX, WALLET, AccountId, LaneId, Money


@dataclass(frozen=True, slots=True)
class Gathering:
    """Move up to ``amount`` from one pocket of an account into its pocket of this lane."""

    account_id: AccountId
    source: LaneId
    amount: Money


def deposit(draft: Draft, command: Deposit) -> None:
    """Answer a DEPOSIT."""
    if _answered(draft, command):
        return
    purse = draft.purse(command.account_id)
    if draft.cash_in_net + command.amount > draft.state.home.cash_share:
        _reject(draft, command, Reason.LIMIT)
        return
    if not purse.exists:
        draft.refresh(command.account_id, purse)
        draft.new_accounts.append(command.account_id)
        purse.exists = True
    purse.move(WALLET, command.amount)
    draft.cash_in_net += command.amount
    body = Deposited(command.transfer_id, command.amount)
    _remember(draft, command, draft.emit(command.account_id, body, None), None)


def withdraw(draft: Draft, command: Withdraw) -> None:
    """Answer a WITHDRAW."""
    if _answered(draft, command):
        return
    purse = draft.purse(command.account_id)
    if not purse.exists:
        _reject(draft, command, Reason.UNKNOWN_ACCOUNT)
    elif command.amount <= purse.spendable:
        # Draw only what goes out, since no other lane could draw a remainder from here.
        purse.exact_draws = True
        draws = purse.draws(command.amount, purse.own, purse.pockets)
        draws_max = (draft.limits.rows - draft.rows() - ROWS_PER_WITHDRAWAL) // ROWS_PER_SOURCE
        if len(draws) > draws_max:
            # The first of its batch: any other would have begun the next one. What is drawn now
            # goes on to the wallet, and later batches draw the rest.
            purse.pay(0, draws[: max(1, draws_max)])
            draft.cut = True
            return
        purse.pay(command.amount, draws)
        draft.cash_in_net -= command.amount
        body = Withdrawn(command.transfer_id, command.amount)
        _remember(draft, command, draft.emit(command.account_id, body, None), None)
    elif draft.refresh(command.account_id, purse):
        enough = command.amount <= purse.total
        _reject(draft, command, Reason.FUNDS_IN_USE if enough else Reason.INSUFFICIENT_FUNDS)


def send_home(draft: Draft) -> None:
    """Put cash that no withdrawal took back into the wallets. No lane draws from this one."""
    if draft.state.home.kind is StreamKind.TRANSFERS:
        for purse in draft.purses.values():
            if purse.known and purse.own:
                purse.take(purse.home, purse.own, WALLET)


def gather(draft: Draft, gatherings: tuple[Gathering, ...]) -> None:
    """Move the amount of each gathering, as far as its source has it. Answers nothing."""
    for gathering in gatherings:
        purse = draft.purse(gathering.account_id)
        if draft.refresh(gathering.account_id, purse):
            amount = min(gathering.amount, purse.pockets.get(gathering.source, 0))
            if amount:
                purse.take(gathering.source, Money(amount), purse.home)


def _answered(draft: Draft, command: Deposit | Withdraw) -> bool:
    """Answer a transfer whose answer does not depend on money. Return whether it was answered."""
    if not at_home(draft, command.account_id):
        _reject(draft, command, Reason.WRONG_PARTITION)
        return True
    known = _answer_of(draft, command)
    if known is not None:
        same = known.deposit is isinstance(command, Deposit) and known.amount == command.amount
        body = (Duplicate if same else IdConflict)(known.first, transfer_id=command.transfer_id)
        draft.emit(command.account_id, body, None)
        return True
    if not 0 < command.amount <= TRANSFER_MAX:
        _reject(draft, command, Reason.BAD_AMOUNT)
        return True
    return False


def _answer_of(draft: Draft, command: Deposit | Withdraw) -> TransferAnswer | None:
    row = draft.transfers.get(_key(command))
    if row is None:
        return draft.facts.transfers.get((command.account_id, command.transfer_id))
    done = EventType.DEPOSITED if row.deposit else EventType.WITHDRAWN
    kind = EventType.TRANSFER_REJECTED if row.reason else done
    return TransferAnswer(row.deposit, row.amount, First(kind, row.seq, row.reason))


def _reject(draft: Draft, command: Deposit | Withdraw, reason: Reason) -> None:
    """Refuse a transfer. If the refusal is not remembered, make sure first that the id is new."""
    ref = (command.account_id, command.transfer_id)
    elsewhere = reason is Reason.WRONG_PARTITION
    if reason not in REMEMBERED and not elsewhere and ref not in draft.facts.transfers:
        draft.lacking().transfers.add(ref)
    body = TransferRejected(command.transfer_id, command.amount, reason)
    seq = draft.emit(command.account_id, body, None)
    if reason in REMEMBERED:
        _remember(draft, command, seq, reason)


def _remember(draft: Draft, command: Deposit | Withdraw, seq: int, reason: Reason | None) -> None:
    row = TransferRow(
        key=_key(command),
        account=ids.account_key(command.account_id),
        transfer_id=command.transfer_id,
        deposit=isinstance(command, Deposit),
        amount=command.amount,
        seq=seq,
        reason=reason,
        ref=(command.account_id, command.transfer_id),
    )
    draft.transfers[row.key] = row


def _key(command: Deposit | Withdraw) -> str:
    return ids.transfer_key(ids.account_key(command.account_id), command.transfer_id)
