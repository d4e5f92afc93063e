"""The rules of the tables, which read the rows of each table and note every violation. Pure.

``steps`` yields the table to read next, whole and in the order of its key, in pages of any size. A
recount keeps a sum for each pocket, position, side of an account in a market, market and lane. It
keeps nothing for an order, a trade or a posting.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from worker.audit.invariants import Findings
from worker.audit.records import (
    BATCH_KINDS,
    BUY,
    DEPOSIT,
    PAYOUT,
    PRICE,
    SELL,
    WITHDRAWAL,
    AuditedLane,
    BatchPlace,
    Key,
    MarketRow,
    Rows,
)
from worker.domain import ids
from worker.domain.state import MarketStatus, OrderStatus
from worker.domain.units import ESCROW, OUTSIDE, QUANTITY_MAX, WALLET, LaneId
from worker.wire import resume as resume_text

PostingRow = tuple[Key, int, int, int]
"""Account, lane, kind and amount of a ledger row."""
ByCause = Mapping[Key, Sequence[PostingRow]]
"""Postings by cause, or an empty sequence for each cause that is the key of a batch."""
PositionKey = tuple[Key, Key]
"""Market and account."""


class LedgerStep(NamedTuple):
    """A table to read. ``needs`` names the rows to read with it by cause, or is empty."""

    table: str
    take: Callable[[Rows, ByCause], None]
    needs: str = ""


class Filled:
    """Contracts filled on one side of an account in a market: surely, perhaps, and by trades."""

    __slots__ = ("perhaps", "sure", "traded")

    def __init__(self) -> None:
        self.sure = self.perhaps = self.traded = 0


class Recount:
    """A count of everything. ``external`` is the key of the account of money from outside.

    Has more than 15 attributes, one for each sum that a later table is compared with. Parts of this
    class would have to pass each other lanes, markets, balances, trades and counts.
    """

    def __init__(self, findings: Findings, external: Key = UUID(ids.EXTERNAL)) -> None:  # noqa: B008
        self._require = findings.require
        self._external = external
        self.lanes: dict[int, AuditedLane] = {}
        self.markets: dict[Key, MarketRow] = {}
        self._swept: set[str] = set()
        self._settling: set[tuple[int, str]] = set()
        self._held: list[Sequence[Any]] = []
        self._accounts: set[Key] = set()
        self._balances: defaultdict[tuple[Key, int], int] = defaultdict(int)
        self._paid: defaultdict[PositionKey, int] = defaultdict(int)
        self._kinds: Counter[int] = Counter()
        self._positions: defaultdict[PositionKey, int] = defaultdict(int)
        self._filled: defaultdict[tuple[Key, Key, int], Filled] = defaultdict(Filled)
        self._trades: Counter[Key] = Counter()
        self._carried_out = self._cash = self._owed = 0
        self._bids: dict[Key, int] = {}
        self._asks: dict[Key, int] = {}
        self._longs: Counter[Key] = Counter()
        self._net: Counter[Key] = Counter()
        self._unpaid: Counter[Key] = Counter()
        self._cash_in: Counter[int] = Counter()
        self._cash_out: Counter[int] = Counter()
        self._batches: Counter[int] = Counter()
        self._last: dict[int, BatchPlace] = {}

    def steps(self) -> Iterator[LedgerStep]:
        """Yield the tables in order, and compare them with each other in between."""
        yield LedgerStep("lanes", self._lane_rows)
        yield LedgerStep("markets", self._market_rows)
        yield LedgerStep("ledger", self._ledger, "batches")
        self._causes(self._held, {})
        yield LedgerStep("accounts", self._account_rows)
        yield LedgerStep("pockets", self._pockets)
        self._without_pocket()
        yield LedgerStep("trades", self._trade_rows, "postings")
        yield LedgerStep("transfers", self._transfers, "postings")
        self._unfounded()
        yield LedgerStep("orders", self._orders)
        self._unfilled()
        self._crossed()
        yield LedgerStep("positions", self._position_rows)
        self._without_position()
        yield LedgerStep("payouts", self._payouts)
        self._without_payout()
        self._markets_again()
        yield LedgerStep("balances", self._balances_view)
        yield LedgerStep("batch_keys", self._batch_keys)
        yield LedgerStep("batches", self._journal)
        self._journal_ends()
        self._lanes_again()

    # Lanes and markets.

    def _lane_rows(self, rows: Rows, _: ByCause) -> None:
        for values in rows:
            row = AuditedLane(*values)
            self.lanes[row.lane] = row
            try:
                sweeps, settlements, _waiting = resume_text.decode(row.resume)
            except (ValueError, KeyError, TypeError) as error:
                self._require(False, "row_unfounded", "lane {}: resume {!r}", row.lane, error)
                continue
            self._swept |= {sweep.order.key for sweep in sweeps}
            self._settling |= {(row.lane, s.market_id) for s in settlements}

    def _market_rows(self, rows: Rows, _: ByCause) -> None:
        """Check each market's key and home, and that its lane's row names it while it settles."""
        for key, *values in rows:
            row = self.markets[key] = MarketRow(*values)
            named = str(key) == ids.market_key(row.stream, row.market_id)
            self._require(named, "key_differs", "market {}: {}", key, row)
            lane = self.lanes.get(row.lane)
            home = lane and lane.first_lane + ids.partition_of(row.market_id, lane.partitions)
            at_home = lane is not None and (lane.stream, home) == (row.stream, row.lane)
            self._require(at_home, "market_astray", "market {}: lane {}", row.market_id, row.lane)
            settling = row.status == MarketStatus.SETTLING
            on_its_way = (row.lane, row.market_id) in self._settling
            self._require(settling == on_its_way, "unsettled", "market {}", row)

    # Money.

    def _ledger(self, rows: Rows, batches: ByCause) -> None:
        """Pass on whole causes. The last cause waits, since the next page may continue it."""
        held = [*self._held, *rows]
        begins = len(held) - 1
        while begins > 0 and held[begins - 1][0] == held[-1][0]:
            begins -= 1
        for row in rows:
            if row[4] in BATCH_KINDS:
                self._require(row[0] in batches, "row_unfounded", "no batch {}: {}", row[0], row)
        self._causes(held[: max(begins, 0)], batches)
        self._held = held[max(begins, 0) :]

    def _causes(self, rows: Rows, _: ByCause) -> None:
        """Check that each cause sums to zero in each market, for each kind."""
        for cause, postings in groupby(rows, key=itemgetter(0)):
            sums: defaultdict[tuple[Key, int], int] = defaultdict(int)
            for _, account, lane, market, kind, amount in postings:
                sums[market, kind] += amount
                self._balances[account, lane] += amount
                self._kinds[kind] += 1
                if kind == PAYOUT and lane >= WALLET:
                    self._paid[market, account] += amount
            for (market, kind), total in sums.items():
                text = "cause {} market {} kind {}: sum {}"
                self._require(total == 0, "ledger_unbalanced", text, cause, market, kind, total)

    def _account_rows(self, rows: Rows, _: ByCause) -> None:
        """Check the key of each account."""
        for account, account_id in rows:
            self._accounts.add(account)
            named = str(account) == ids.account_key(account_id)
            self._require(named, "key_differs", "account {}: {}", account, account_id)

    def _pockets(self, rows: Rows, _: ByCause) -> None:
        """Check that each pocket has an account and is the sum of its postings."""
        for account, lane, balance in rows:
            posted = self._balances.pop((account, lane), 0)
            of = (account, lane, balance, posted)
            text = "account {} lane {}: balance {}, postings {}"
            self._require(posted == balance, "pocket_differs", text, *of)
            self._require(balance >= 0, "pocket_negative", text, *of)
            owned = account in self._accounts
            self._require(owned, "pocket_ownerless", "account {} lane {}", account, lane)
            self._cash += balance
            self._owed += balance

    def _without_pocket(self) -> None:
        """Check that nothing is posted to a pocket that does not exist."""
        self._accounts.clear()
        for (account, lane), posted in self._balances.items():
            text = "account {} lane {}: no pocket, postings {}"
            known = lane < WALLET or posted == 0
            self._require(known, "pocket_differs", text, account, lane, posted)

    def _trade_rows(self, rows: Rows, postings: ByCause) -> None:
        """Check that each trade has its two price postings and no other posting."""
        for trade, market, buyer, seller, price, quantity, seq in rows:
            self._trades[market] += 1
            self._positions[market, buyer] += quantity
            self._positions[market, seller] -= quantity
            self._filled[market, buyer, BUY].traded += quantity
            self._filled[market, seller, SELL].traded += quantity
            row = self.markets.get(market)
            self._require(row is not None, "market_missing", "trade {} market {}", trade, market)
            lane, payout = (OUTSIDE, price + 1) if row is None else (row.lane, row.payout)
            fits = 0 < price < payout and 0 < quantity <= QUANTITY_MAX and buyer != seller
            self._require(fits, "trade_unfit", "trade {}: {} at {}", trade, quantity, price)
            expected = [(buyer, lane, PRICE, -price * quantity)]
            expected += [(seller, lane, PRICE, price * quantity)]
            self._founded(trade, postings, expected, "trade_postings")
            self._caused(lane, seq, "trade", trade)

    def _transfers(self, rows: Rows, postings: ByCause) -> None:
        """Check that each successful transfer has its two postings, and a refused one has none."""
        for transfer, account, transfer_id, lane, deposit, amount, seq, reason in rows:
            expected: list[PostingRow] = []
            if not reason:
                self._carried_out += 1
                (self._cash_in if deposit else self._cash_out)[lane] += amount
                kind, sign = (DEPOSIT, 1) if deposit else (WITHDRAWAL, -1)
                expected = [(account, WALLET if deposit else lane, kind, sign * amount)]
                expected += [(self._external, OUTSIDE, kind, -sign * amount)]
            self._founded(transfer, postings, expected, "transfer_postings")
            named = str(transfer) == ids.transfer_key(str(account), transfer_id)
            self._require(named, "key_differs", "transfer {}: {}", transfer, transfer_id)
            self._caused(lane, seq, "transfer", transfer)

    def _founded(
        self, cause: Key, postings: ByCause, expected: Sequence[PostingRow], rule: str
    ) -> None:
        found = sorted(postings.get(cause, ()))
        self._require(found == sorted(expected), rule, "{}: {}, not {}", cause, found, expected)

    def _caused(self, lane: int, seq: int, what: str, key: Key) -> None:
        """Check that the row belongs to an event that its lane has written."""
        row = self.lanes.get(lane)
        written = row is not None and 0 < seq <= row.last_seq
        self._require(written, "row_unfounded", "{} {}: seq {} of lane {}", what, key, seq, lane)

    def _unfounded(self) -> None:
        """Check that no posting lacks its trade or transfer, and that cash came from outside."""
        prices, trades = self._kinds[PRICE], self._trades.total()
        text = "{} price postings, {} trades"
        self._require(prices == 2 * trades, "posting_unfounded", text, prices, trades)
        moved = self._kinds[DEPOSIT] + self._kinds[WITHDRAWAL]
        text, transfers = "{} postings of transfers, {} transfers", self._carried_out
        self._require(moved == 2 * transfers, "posting_unfounded", text, moved, transfers)
        held = self._cash + sum(row.escrow for row in self.markets.values())
        came = self._cash_in.total() - self._cash_out.total()
        self._require(held == came, "cash_differs", "cash held {}, net cash in {}", held, came)

    # Orders.

    def _orders(self, rows: Rows, _: ByCause) -> None:
        """Check that each order fits its market, and is not open in a settled market."""
        for key, market, account, lane, order_id, *values, seq, _ in rows:
            side, price, quantity, _, leaves, status = values
            row = self.markets.get(market)
            named = str(key) == ids.order_key(str(market), str(account), order_id)
            self._require(named, "key_differs", "order {}: {}", key, order_id)
            self._caused(lane if row is None else row.lane, seq, "order", key)
            at_home = row is not None and row.lane == lane
            self._require(at_home, "order_astray", "order {}: lane {}", key, lane)
            open_ = leaves > 0
            right = 0 <= leaves <= quantity and open_ == (status == OrderStatus.OPEN)
            self._require(right, "order_leaves", "order {}: {} of {}", key, leaves, quantity)
            if status != OrderStatus.REJECTED and row is not None:
                fits = 0 < price < row.payout and 0 < quantity <= QUANTITY_MAX
                self._require(fits, "order_unfit", "order {}: {} at {}", key, quantity, price)
                dead = not (open_ and row.status == MarketStatus.SETTLED)
                self._require(dead, "settled_order_open", "order {}: {} open", key, leaves)
                if open_ and row.status == MarketStatus.OPEN and str(key) not in self._swept:
                    self._rest(market, side, price)
                self._fill(self._filled[market, account, side], status, quantity, leaves)

    def _rest(self, market: Key, side: int, price: int) -> None:
        if side == BUY:
            self._bids[market] = max(price, self._bids.get(market, price))
        else:
            self._asks[market] = min(price, self._asks.get(market, price))

    def _fill(self, filled: Filled, status: int, quantity: int, leaves: int) -> None:
        if status == OrderStatus.CANCELLED:
            # Its row does not say how much of it was filled before.
            filled.perhaps += quantity
        else:
            filled.sure += quantity - leaves

    def _unfilled(self) -> None:
        """Compare trades with orders, for each account and side."""
        text = "market {} account {} side {}: traded {}, orders filled {} to {}"
        for (market, account, side), filled in self._filled.items():
            most = filled.sure + filled.perhaps
            agree = filled.sure <= filled.traded <= most
            of = (market, account, side, filled.traded, filled.sure, most)
            self._require(agree, "order_fills", text, *of)

    def _crossed(self) -> None:
        """Check that no bid meets an ask. Halted markets and suspended sweeps are left out."""
        for market in self.markets:
            bid, ask = self._bids.get(market), self._asks.get(market)
            apart = bid is None or ask is None or bid < ask
            self._require(apart, "book_crossed", "market {}: bid {}, ask {}", market, bid, ask)

    # Positions.

    def _position_rows(self, rows: Rows, _: ByCause) -> None:
        """Check that a position is the sum of its trades, and that a settled market paid it."""
        for market, account, quantity, paid in rows:
            traded = self._positions.pop((market, account), 0)
            text = "market {} account {}: position {}, trades {}"
            of = (market, account, quantity, traded)
            self._require(quantity == traded, "position_differs", text, *of)
            self._longs[market] += max(quantity, 0)
            self._net[market] += quantity
            row = self.markets.get(market)
            won = 0 if row is None or paid is not None else row.winning(quantity)
            self._unpaid[market] += won
            paid_out = row is None or row.status != MarketStatus.SETTLED or not won
            text = "market {} account {}: {} winning contracts"
            self._require(paid_out, "winner_unpaid", text, market, account, won)

    def _without_position(self) -> None:
        """Check that no position is missing, and that the positions of a market sum to zero."""
        for (market, account), traded in self._positions.items():
            text = "market {} account {}: no position, trades {}"
            self._require(traded == 0, "position_differs", text, market, account, traded)
        for market, net in self._net.items():
            self._require(net == 0, "positions_unbalanced", "market {}: sum {}", market, net)

    def _payouts(self, rows: Rows, _: ByCause) -> None:
        """Check that each payout matches its position, the market's outcome and its postings."""
        for market, account, outcome, quantity, amount, held in rows:
            row = self.markets.get(market)
            posted = self._paid.pop((market, account), 0)
            right = (
                row is not None
                and row.outcome == outcome
                and row.winning(held or 0) == quantity
                and quantity * row.payout == amount
            )
            text = "market {} account {}: {} contracts, {}"
            self._require(right, "payout_wrong", text, market, account, quantity, amount)
            text = "market {} account {}: paid {}, postings {}"
            of = (market, account, amount, posted)
            self._require(posted == amount, "payout_postings", text, *of)

    def _without_payout(self) -> None:
        """Check that nothing is posted for a payout that does not exist."""
        for (market, account), posted in self._paid.items():
            text = "market {} account {}: no payout, postings {}"
            self._require(posted == 0, "payout_postings", text, market, account, posted)

    def _markets_again(self) -> None:
        """Compare each market's escrow and open interest with its trades and payouts."""
        for market, row in self.markets.items():
            posted = self._balances.pop((market, int(ESCROW)), 0)
            text, of = "market {}: {}, postings {}", (market, row, posted)
            self._require(row.escrow == posted, "escrow_differs", text, *of)
            covers = row.escrow == row.payout * row.open_interest
            self._require(covers, "escrow_not_covering", "market {}: {}", market, row)
            owes = row.status == MarketStatus.SETTLED and (row.escrow or row.open_interest)
            self._require(not owes, "settled_owes", "market {}: {}", market, row)
            resolved = row.status >= MarketStatus.SETTLING
            held = (self._unpaid if resolved else self._longs)[market]
            text, stated = "market {}: open interest {}, held {}", row.open_interest
            self._require(stated == held, "open_interest", text, market, stated, held)
            if row.status == MarketStatus.SETTLING:
                self._owed += held * row.payout
        for (account, lane), posted in self._balances.items():
            stray = lane == ESCROW and posted != 0
            self._require(not stray, "escrow_differs", "{}: no market, {}", account, posted)

    def _balances_view(self, rows: Rows, _: ByCause) -> None:
        """Compare the balances shown to all accounts with the cash that is there for them."""
        for (shown,) in rows:
            text = "balances shown {}, cash for them {}"
            self._require(shown == self._owed, "balances_differ", text, shown, self._owed)

    # The journal.

    def _batch_keys(self, rows: Rows, _: ByCause) -> None:
        """Check the key of each batch, made of its lane and number."""
        for key, lane, batch_no in rows:
            self._batches[lane] += 1
            named = str(key) == ids.batch_key(LaneId(lane), batch_no)
            self._require(named, "journal_stray", "batch {}: lane {} {}", key, lane, batch_no)

    def _journal(self, rows: Rows, _: ByCause) -> None:
        """Check that each batch begins where the batch before it ended."""
        require = self._require
        for lane, *values in rows:
            row, last = BatchPlace(*values), self._last.get(lane, BatchPlace(0, 0, 0, 0, 0, 0))
            of = ("lane {}: {} after {}", lane, row, last)
            require(row.batch_no == last.batch_no + 1, "journal_gap", *of)
            require(last.next_offset == row.first_offset <= row.next_offset, "journal_offsets", *of)
            seqs = last.last_seq + 1 == row.first_seq <= row.last_seq + 1
            require(seqs, "journal_seqs", *of)
            require(row.epoch >= last.epoch, "journal_epochs", *of)
            self._last[lane] = row

    def _journal_ends(self) -> None:
        """Compare each lane's last batch with the lane's row."""
        for lane, row in self.lanes.items():
            last = self._last.get(lane, BatchPlace(0, 0, 0, 0, 0, 0))
            of = ("lane {}: {}, journal {}", lane, row, last)
            self._require(last.batch_no == row.batch_no, "journal_gap", *of)
            self._require(last.next_offset == row.next_offset, "journal_offsets", *of)
            self._require(last.last_seq == row.last_seq, "journal_seqs", *of)
            self._require(last.epoch <= row.epoch, "journal_epochs", *of)
            stray = self._batches[lane] > row.batch_no
            self._require(not stray, "journal_stray", "{} batches of {}", self._batches[lane], row)
            # A batch carries the published mark of an earlier batch.
            earlier = 0 <= row.published_batch_no <= max(row.batch_no - 1, 0)
            self._require(earlier, "published_ahead", "lane {}: {}", lane, row)

    def _lanes_again(self) -> None:
        """Compare the lanes' running totals with the count."""
        trades: Counter[int] = Counter()
        for market, count in self._trades.items():
            if market in self.markets:
                trades[self.markets[market].lane] += count
        for lane, row in self.lanes.items():
            counted = (trades[lane], self._cash_in[lane], self._cash_out[lane], 0)
            stated = (row.trades, row.cash_in, row.cash_out, row.ledger_sum)
            text = "lane {}: trades, cash in, cash out, ledger sum {}, counted {}"
            self._require(stated == counted, "lane_totals", text, lane, stated, counted)


def recount(
    tables: Mapping[str, Rows], findings: Findings, external: Key = ids.EXTERNAL
) -> Recount:
    """Recount tables in memory, given with the columns of ``records.COLUMNS``."""
    postings: defaultdict[Key, list[PostingRow]] = defaultdict(list)
    for cause, account, lane, _, kind, amount in tables["ledger"]:
        postings[cause].append((account, lane, kind, amount))
    needed: Mapping[str, ByCause] = {
        "": {},
        "postings": postings,
        "batches": {row[0]: () for row in tables["batch_keys"]},
    }
    counted = Recount(findings, external)
    for step in counted.steps():
        step.take(tables.get(step.table, ()), needed[step.needs])
    return counted


def causes(step: LedgerStep, rows: Iterable[Sequence[Any]]) -> list[Key]:
    """Return the causes of a page whose other rows ``step`` needs."""
    if step.needs == "batches":
        return list({row[0] for row in rows if row[4] in BATCH_KINDS})
    return [row[0] for row in rows]
