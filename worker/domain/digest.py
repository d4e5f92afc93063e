"""Digest of a plan, by which a batch is recognised in its row and when an audit plans it again.

The digest covers the number of the rules, the answers of a batch, its recorded facts, the rows that
it writes, and what it leaves to later batches. The answers are taken as they are published. Every
row is one line, with the fields listed below and ``|`` between them. Orders, trades and transfers
are in the order of their ``seq``, the lines of any other kind in the order of their text. No table,
statement or parameter has a part in it.

Ids and keys have no ``|``, and a title is quoted as ``ascii()`` does it, so that no two plans have
the same lines. A key covers the names that make it: that of an order covers market, account and id.
"""

from hashlib import sha256
from operator import attrgetter
from typing import Final

from worker.domain.draft import Draft
from worker.domain.plan import Batch

RULES: Final = 4
"""Version of the exchange's rules, stored with every batch.

Version 1 is that of batches from before versions were stored. Their digest had another form.
Increment it with every change of the code that answers an already recorded input differently, or
that changes the form of this digest. An audit plans only batches of the present version again.
`tests/unit/test_rules.py` fails if the number was forgotten.
"""
_by_seq: Final = attrgetter("seq")


def plan_digest(batch: Batch, answers: str, facts: str) -> str:
    """Return the SHA-256 of a plan, hex: the same for every owner and at any time.

    ``answers`` are the events of the batch as they are published, and ``facts`` are its recorded
    facts without the mark of what was published. With other facts the same plan may follow, but
    the record would not be the one of this batch.
    """
    draft = batch.draft
    lines = (
        _place(batch),
        *sorted(f"account|{account_id}" for account_id in draft.new_accounts),
        *_markets(draft),
        *_orders(draft),
        *_trades(draft),
        *_transfers(draft),
        *_payouts(draft),
        *_pockets(draft),
        *_rest(draft),
    )
    digest = sha256("\n".join(lines).encode())
    digest.update(f"{answers}\n{facts}".encode())
    return digest.hexdigest()


def _place(batch: Batch) -> str:
    draft, state = batch.draft, batch.draft.state
    return (
        # The 1 was a version of the form, and stays for the bytes. RULES counts the form's changes.
        f"1|{RULES}|{state.home.lane}|{batch.batch_no}|{state.next_offset}|{draft.next_offset}"
        f"|{state.last_seq}|{draft.seq}|{draft.time_ms}|{draft.last_record_sha}"
    )


def _markets(draft: Draft) -> list[str]:
    opened = (draft.markets[market_id] for market_id in draft.new_markets)
    lines = [
        f"opened|{m.key}|{m.operator_id}|{m.payout}|{m.title!a}|{m.status!s}|{m.opened_seq}"
        for m in opened
    ]
    lines += [
        f"market|{market_id}|{change.events}|{change.status or 0!s}|{change.outcome or ''!s}"
        f"|{change.resolved_seq}"
        for market_id, change in draft.market_changes.items()
    ]
    return sorted(lines)


def _orders(draft: Draft) -> list[str]:
    lines = [
        f"order|{o.key}|{o.side!s}|{o.price}|{o.quantity}|{o.time_in_force!s}|{o.leaves}"
        f"|{o.status!s}|{o.seq}|{o.reason or ''!s}"
        for o in sorted(draft.new_orders.values(), key=_by_seq)
    ]
    return lines + sorted(
        f"change|{key}|{leaves}|{status!s}"
        for key, (leaves, status) in draft.changed_orders.items()
    )


def _trades(draft: Draft) -> list[str]:
    return [
        f"trade|{t.key}|{t.market}|{t.buyer}|{t.seller}|{t.price}|{t.quantity}|{t.seq}"
        for t in sorted(draft.trades, key=_by_seq)
    ]


def _transfers(draft: Draft) -> list[str]:
    return [
        f"transfer|{t.key}|{t.deposit}|{t.amount}|{t.seq}|{t.reason or ''!s}"
        for t in sorted(draft.transfers.values(), key=_by_seq)
    ]


def _payouts(draft: Draft) -> list[str]:
    return sorted(f"payout|{p.market}|{p.account}|{p.outcome!s}" for p in draft.payouts)


def _pockets(draft: Draft) -> list[str]:
    return sorted(
        f"pocket|{account_id}|{lane}|{need}|{lane in purse.new}|{purse.drawn.get(lane, 0)}"
        for account_id, purse in draft.purses.items()
        for lane, need in purse.needs.items()
    )


def _rest(draft: Draft) -> list[str]:
    lines = sorted(
        f"settlement|{market_id}|{s.offset}|{s.index}|{s.cursor}|{s.holders}|{s.paid}|{s.parked}"
        for market_id, s in draft.settlements.items()
    )
    for sweep in draft.unfinished():
        order = sweep.order
        lines.append(
            f"sweep|{order.key}|{order.side!s}|{order.price}|{order.leaves}|{order.seq}"
            f"|{sweep.time_in_force!s}|{sweep.offset}|{sweep.index}"
        )
    lines += [f"waiting|{offset}" for offset in sorted(draft.waiting)]
    return lines
