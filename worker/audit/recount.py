"""The full audit's rules: rows go in table by table, what does not hold comes out by name. Pure.

Contract: the methods are called in the order in which they stand here, each with all rows of its
table, in the order of their key. What is kept is a sum for each pocket, position, side of an
account in a market, market and lane, and nothing for an order, a trade or a posting.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

from worker.domain import ids
from worker.domain.state import MarketStatus, OrderStatus
from worker.domain.units import ESCROW, OUTSIDE, WALLET, Lane

EXAMPLES_MAX: Final = 5
PRICE, PAYOUT, DEPOSIT, WITHDRAWAL = 1, 3, 5, 6
"""Kinds of ledger rows."""
BUY, SELL = 1, 2
YES, NO = 1, 2
EXTERNAL: Final = UUID(ids.EXTERNAL)

Rows = Iterable[Sequence[Any]]
Posting = tuple[UUID, int, int, int]
"""Account, lane, kind, amount."""
Holding = tuple[UUID, UUID]
"""Market, account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule of the books that does not hold: how often, and where, for instance."""

    name: str
    count: int
    examples: tuple[str, ...]


class Findings:
    """Violations by name, in the order of their first appearance."""

    def __init__(self) -> None:
        self._examples: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()

    def require(self, holds: bool, name: str, example: str) -> None:
        """Note a violation of the rule ``name`` unless it holds."""
        if not holds:
            self._counts[name] += 1
            examples = self._examples.setdefault(name, [])
            if len(examples) < EXAMPLES_MAX:
                examples.append(example)

    def violations(self) -> tuple[Violation, ...]:
        """Return what was noted."""
        return tuple(
            Violation(name=name, count=self._counts[name], examples=tuple(examples))
            for name, examples in self._examples.items()
        )


class MarketRow(NamedTuple):
    """A market as its row has it."""

    lane: int
    payout: int
    status: int
    outcome: int
    escrow: int
    open_interest: int

    def winning(self, position: int) -> int:
        """Return how many contracts of a position are to be paid."""
        return max({YES: position, NO: -position}.get(self.outcome, 0), 0)


class LaneTotals(NamedTuple):
    """A lane as its row has it."""

    batch_no: int
    next_offset: int
    last_seq: int
    epoch: int
    trades: int
    ledger_sum: int
    cash_in: int
    cash_out: int


class JournalRow(NamedTuple):
    """A batch's place in its lane."""

    batch_no: int
    first_offset: int
    next_offset: int
    first_seq: int
    last_seq: int
    epoch: int


@dataclass(slots=True)
class Filled:
    """Of an account's orders on one side of a market: filled for sure, perhaps, and by trades."""

    sure: int = 0
    perhaps: int = 0
    traded: int = 0


@dataclass(slots=True)
class Recount:
    """Everything counted again."""

    lanes: Mapping[int, LaneTotals]
    markets: Mapping[UUID, MarketRow]
    findings: Findings = field(default_factory=Findings)
    _balances: defaultdict[tuple[UUID, int], int] = field(default_factory=lambda: defaultdict(int))
    _paid: defaultdict[Holding, int] = field(default_factory=lambda: defaultdict(int))
    _kinds: Counter[int] = field(default_factory=Counter)
    _positions: defaultdict[Holding, int] = field(default_factory=lambda: defaultdict(int))
    _filled: defaultdict[tuple[UUID, UUID, int], Filled] = field(
        default_factory=lambda: defaultdict(Filled)
    )
    _trades: Counter[UUID] = field(default_factory=Counter)
    _carried_out: int = 0
    _longs: Counter[UUID] = field(default_factory=Counter)
    _unpaid: Counter[UUID] = field(default_factory=Counter)
    _cash_in: Counter[int] = field(default_factory=Counter)
    _cash_out: Counter[int] = field(default_factory=Counter)
    _batches: Counter[int] = field(default_factory=Counter)

    def ledger(self, rows: Rows) -> None:
        """Take whole causes: each must sum to zero in each market, kind by kind."""
        for cause, postings in groupby(rows, key=itemgetter(0)):
            sums: defaultdict[tuple[UUID, int], int] = defaultdict(int)
            for _, account, lane, market, kind, amount in postings:
                sums[market, kind] += amount
                self._balances[account, lane] += amount
                self._kinds[kind] += 1
                if kind == PAYOUT and lane >= WALLET:
                    self._paid[market, account] += amount
            for (market, kind), total in sums.items():
                text = f"cause {cause} market {market} kind {kind}: sum {total}"
                self.findings.require(total == 0, "ledger_unbalanced", text)

    def pockets(self, rows: Rows) -> None:
        """Each pocket must be the sum of its postings."""
        for account, lane, balance in rows:
            posted = self._balances.pop((account, lane), 0)
            text = f"account {account} lane {lane}: balance {balance}, postings {posted}"
            self.findings.require(posted == balance, "pocket_differs", text)
            self.findings.require(balance >= 0, "pocket_negative", text)

    def without_pocket(self) -> None:
        """What was posted to a pocket that does not exist. Call after the last pocket."""
        for (account, lane), posted in self._balances.items():
            text = f"account {account} lane {lane}: no pocket, postings {posted}"
            self.findings.require(lane < WALLET or posted == 0, "pocket_differs", text)

    def trades(self, rows: Rows, postings: Mapping[UUID, Sequence[Posting]]) -> None:
        """Each trade must have its two price postings, and no other."""
        for trade, market, buyer, seller, price, quantity in rows:
            self._trades[market] += 1
            self._positions[market, buyer] += quantity
            self._positions[market, seller] -= quantity
            self._filled[market, buyer, BUY].traded += quantity
            self._filled[market, seller, SELL].traded += quantity
            row = self.markets.get(market)
            text = f"trade {trade} market {market}"
            self.findings.require(row is not None, "market_missing", text)
            lane = OUTSIDE if row is None else row.lane
            expected: list[Posting] = [(buyer, lane, PRICE, -price * quantity)]
            expected += [(seller, lane, PRICE, price * quantity)]
            found = postings.get(trade, ())
            self.findings.require(_same(found, expected), "trade_postings", text)

    def transfers(self, rows: Rows, postings: Mapping[UUID, Sequence[Posting]]) -> None:
        """Each transfer that was carried out must have its two postings, and no other any."""
        for transfer, account, lane, deposit, amount, reason in rows:
            expected: list[Posting] = []
            if not reason:
                self._carried_out += 1
                (self._cash_in if deposit else self._cash_out)[lane] += amount
                kind, sign = (DEPOSIT, 1) if deposit else (WITHDRAWAL, -1)
                expected = [(account, WALLET if deposit else lane, kind, sign * amount)]
                expected += [(EXTERNAL, OUTSIDE, kind, -sign * amount)]
            found = postings.get(transfer, ())
            text = f"transfer {transfer} account {account}"
            self.findings.require(_same(found, expected), "transfer_postings", text)

    def unfounded(self) -> None:
        """Postings of trades and transfers that there are not. Call after the last of both."""
        prices, trades = self._kinds[PRICE], self._trades.total()
        text = f"{prices} price postings, {trades} trades"
        self.findings.require(prices == 2 * trades, "posting_unfounded", text)
        moved = self._kinds[DEPOSIT] + self._kinds[WITHDRAWAL]
        text = f"{moved} postings of transfers, {self._carried_out} transfers"
        self.findings.require(moved == 2 * self._carried_out, "posting_unfounded", text)

    def orders(self, rows: Rows) -> None:
        """Each order must fit its market, and be dead in a settled one."""
        for key, market, account, lane, side, price, quantity, leaves, status in rows:
            if status == OrderStatus.REJECTED:
                continue
            row = self.markets.get(market)
            text = f"order {key} market {market}"
            fits = row is not None and row.lane == lane and 0 < price < row.payout
            self.findings.require(fits, "order_unfit", text)
            settled = row is not None and row.status == MarketStatus.SETTLED
            self.findings.require(not (settled and leaves), "settled_order_open", text)
            self.findings.require(
                0 <= leaves <= quantity and (leaves > 0) == (status == OrderStatus.OPEN),
                "order_leaves",
                text,
            )
            filled = self._filled[market, account, side]
            if status == OrderStatus.CANCELLED:
                # How much of it was filled before is not kept.
                filled.perhaps += quantity
            else:
                filled.sure += quantity - leaves

    def unfilled(self) -> None:
        """Trades and orders must agree, for each account and side. Call after the last order."""
        for (market, account, side), filled in self._filled.items():
            text = (
                f"market {market} account {account} side {side}: traded {filled.traded},"
                f" orders filled {filled.sure} to {filled.sure + filled.perhaps}"
            )
            agree = filled.sure <= filled.traded <= filled.sure + filled.perhaps
            self.findings.require(agree, "order_fills", text)

    def positions(self, rows: Rows) -> None:
        """Each position must be the sum of its trades; a winner of a settled market is paid."""
        for market, account, quantity, paid in rows:
            traded = self._positions.pop((market, account), 0)
            text = f"market {market} account {account}: position {quantity}, trades {traded}"
            self.findings.require(quantity == traded, "position_differs", text)
            self._longs[market] += max(quantity, 0)
            row = self.markets.get(market)
            won = 0 if row is None or paid is not None else row.winning(quantity)
            self._unpaid[market] += won
            settled = row is not None and row.status == MarketStatus.SETTLED
            text = f"market {market} account {account}: {won} winning contracts"
            self.findings.require(not (settled and won), "winner_unpaid", text)

    def without_position(self) -> None:
        """Trades of a position that does not exist. Call after the last position."""
        for (market, account), traded in self._positions.items():
            text = f"market {market} account {account}: no position, trades {traded}"
            self.findings.require(traded == 0, "position_differs", text)

    def payouts(self, rows: Rows) -> None:
        """Each payout must be its position's, at the market's outcome, and posted."""
        for market, account, outcome, quantity, amount, held in rows:
            row = self.markets.get(market)
            posted = self._paid.pop((market, account), 0)
            right = (
                row is not None
                and row.outcome == outcome
                and row.winning(held or 0) == quantity
                and quantity * row.payout == amount
            )
            text = f"market {market} account {account}: {quantity} contracts, {amount}"
            self.findings.require(right, "payout_wrong", text)
            text = f"market {market} account {account}: paid {amount}, postings {posted}"
            self.findings.require(posted == amount, "payout_postings", text)

    def without_payout(self) -> None:
        """What was posted for a payout that does not exist. Call after the last payout."""
        for (market, account), posted in self._paid.items():
            text = f"market {market} account {account}: no payout, postings {posted}"
            self.findings.require(posted == 0, "payout_postings", text)

    def market_rows(self) -> None:
        """Each market's escrow and open interest must be what trades and payouts make them."""
        for market, row in self.markets.items():
            posted = self._balances.pop((market, int(ESCROW)), 0)
            text = f"market {market}: escrow {row.escrow}, postings {posted}"
            self.findings.require(row.escrow == posted, "escrow_differs", text)
            due = row.payout * row.open_interest
            text = f"market {market}: escrow {row.escrow}, open contracts {due}"
            self.findings.require(row.escrow == due, "escrow_not_covering", text)
            resolved = row.status >= MarketStatus.SETTLING
            open_interest = (self._unpaid if resolved else self._longs)[market]
            text = f"market {market}: open interest {row.open_interest}, held {open_interest}"
            self.findings.require(row.open_interest == open_interest, "open_interest", text)
        for (account, lane), posted in self._balances.items():
            stray = lane == ESCROW and posted != 0
            self.findings.require(not stray, "escrow_differs", f"{account}: no market, {posted}")

    def batch_keys(self, rows: Rows) -> None:
        """Each batch must stand under the key of its lane and number."""
        for key, lane, batch_no in rows:
            self._batches[lane] += 1
            named = str(key) == ids.batch_key(Lane(lane), batch_no)
            text = f"batch {key}: lane {lane} batch {batch_no}"
            self.findings.require(named, "journal_stray", text)

    def journal(self, lane: int, rows: Rows, last: JournalRow) -> JournalRow:
        """Take the lane's batches after ``last``, in order; return the last of them."""
        for _, *values in rows:
            row = JournalRow(*values)
            text = f"lane {lane} batch {row.batch_no}"
            require = self.findings.require
            require(row.batch_no == last.batch_no + 1, "journal_gap", text)
            require(row.first_offset == last.next_offset, "journal_offsets", text)
            require(row.next_offset >= row.first_offset, "journal_offsets", text)
            require(row.first_seq == last.last_seq + 1, "journal_seqs", text)
            require(row.last_seq >= row.first_seq - 1, "journal_seqs", text)
            require(row.epoch >= last.epoch, "journal_epochs", text)
            last = row
        return last

    def journal_end(self, lane: int, last: JournalRow) -> None:
        """The lane's last batch must be where its row says."""
        row = self.lanes[lane]
        text = f"lane {lane}: row {row}, journal {last}"
        self.findings.require(last.batch_no == row.batch_no, "journal_gap", text)
        self.findings.require(last.next_offset == row.next_offset, "journal_offsets", text)
        self.findings.require(last.last_seq == row.last_seq, "journal_seqs", text)
        self.findings.require(last.epoch <= row.epoch, "journal_epochs", text)
        text = f"lane {lane}: {self._batches[lane]} batches of {row.batch_no}"
        self.findings.require(self._batches[lane] <= row.batch_no, "journal_stray", text)

    def lane_rows(self) -> None:
        """The lanes' running totals must be what was counted."""
        trades: Counter[int] = Counter()
        for market, count in self._trades.items():
            if market in self.markets:
                trades[self.markets[market].lane] += count
        for lane, row in self.lanes.items():
            counted = (trades[lane], self._cash_in[lane], self._cash_out[lane])
            told = (row.trades, row.cash_in, row.cash_out)
            text = f"lane {lane}: trades, cash in, cash out {told}, counted {counted}"
            self.findings.require(told == counted, "lane_totals", text)
            text = f"lane {lane}: ledger sum {row.ledger_sum}"
            self.findings.require(row.ledger_sum == 0, "lane_totals", text)


def _same(found: Iterable[Posting], expected: Iterable[Posting]) -> bool:
    return sorted(found) == sorted(expected)
