"""The rules of the tables: rows go in table by table, what does not hold comes out by name. Pure.

``steps`` says which table to carry in next, whole and in the order of its key, in pages of any
size. What is kept is a sum for each pocket, position, side of an account in a market, market and
lane, and nothing for an order, a trade or a posting.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from worker.audit.invariants import Findings
from worker.audit.rows import (
    BUY,
    DEPOSIT,
    OF_A_BATCH,
    PAYOUT,
    PRICE,
    SELL,
    WITHDRAWAL,
    BatchPlace,
    Key,
    LaneRow,
    MarketRow,
    Rows,
)
from worker.domain import ids
from worker.domain.state import MarketStatus, OrderStatus
from worker.domain.units import ESCROW, OUTSIDE, QUANTITY_MAX, WALLET, Lane
from worker.wire import resume as resume_text

Posting = tuple[Key, int, int, int]
"""Account, lane, kind, amount."""
Beside = Mapping[Key, Sequence[Posting]]
"""What stands beside a page: postings by cause, or nothing by the key of a batch that exists."""
Holding = tuple[Key, Key]
"""Market, account."""


class Step(NamedTuple):
    """A table to be carried in. ``beside``: what else of the causes of a page, "" if nothing."""

    table: str
    take: Callable[[Rows, Beside], None]
    beside: str = ""


class Filled:
    """Of an account's orders on one side of a market: filled for sure, perhaps, and by trades."""

    __slots__ = ("perhaps", "sure", "traded")

    def __init__(self) -> None:
        self.sure = self.perhaps = self.traded = 0


class Recount:
    """Everything counted again. ``external`` is the account of money from outside, as a key."""

    def __init__(self, findings: Findings, external: Key = UUID(ids.EXTERNAL)) -> None:  # noqa: B008
        self._require = findings.require
        self._external = external
        self.lanes: dict[int, LaneRow] = {}
        self.markets: dict[Key, MarketRow] = {}
        self._swept: set[str] = set()
        self._settling: set[tuple[int, str]] = set()
        self._held: list[Sequence[Any]] = []
        self._accounts: set[Key] = set()
        self._balances: defaultdict[tuple[Key, int], int] = defaultdict(int)
        self._paid: defaultdict[Holding, int] = defaultdict(int)
        self._kinds: Counter[int] = Counter()
        self._positions: defaultdict[Holding, int] = defaultdict(int)
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

    def steps(self) -> Iterator[Step]:
        """Yield what to carry in, one after another; what they say together is judged between."""
        yield Step("lanes", self._lane_rows)
        yield Step("markets", self._market_rows)
        yield Step("ledger", self._ledger, "batches")
        self._causes(self._held, {})
        yield Step("accounts", self._account_rows)
        yield Step("pockets", self._pockets)
        self._without_pocket()
        yield Step("trades", self._trade_rows, "postings")
        yield Step("transfers", self._transfers, "postings")
        self._unfounded()
        yield Step("orders", self._orders)
        self._unfilled()
        self._crossed()
        yield Step("positions", self._position_rows)
        self._without_position()
        yield Step("payouts", self._payouts)
        self._without_payout()
        self._markets_again()
        yield Step("balances", self._balances_view)
        yield Step("batch_keys", self._batch_keys)
        yield Step("batches", self._journal)
        self._journal_ends()
        self._lanes_again()

    # Lanes and markets.

    def _lane_rows(self, rows: Rows, _: Beside) -> None:
        for values in rows:
            row = LaneRow(*values)
            self.lanes[row.lane] = row
            try:
                sweep, settlements = resume_text.decode(row.resume)
            except (ValueError, KeyError, TypeError) as error:
                self._require(False, "row_unfounded", "lane {}: resume {!r}", row.lane, error)
                continue
            if sweep is not None:
                self._swept.add(sweep.order.key)
            self._settling |= {(row.lane, s.market_id) for s in settlements}

    def _market_rows(self, rows: Rows, _: Beside) -> None:
        """Each market must stand under its key, in its home, and be settled or on its way."""
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

    def _ledger(self, rows: Rows, batches: Beside) -> None:
        """Hand on whole causes: what a page ends with waits for the next one."""
        held = [*self._held, *rows]
        begins = len(held) - 1
        while begins > 0 and held[begins - 1][0] == held[-1][0]:
            begins -= 1
        for row in rows:
            if row[4] in OF_A_BATCH:
                self._require(row[0] in batches, "row_unfounded", "no batch {}: {}", row[0], row)
        self._causes(held[: max(begins, 0)], batches)
        self._held = held[max(begins, 0) :]

    def _causes(self, rows: Rows, _: Beside) -> None:
        """Each cause must sum to zero in each market, kind by kind."""
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

    def _account_rows(self, rows: Rows, _: Beside) -> None:
        """Each account must stand under its key."""
        for account, account_id in rows:
            self._accounts.add(account)
            named = str(account) == ids.account_key(account_id)
            self._require(named, "key_differs", "account {}: {}", account, account_id)

    def _pockets(self, rows: Rows, _: Beside) -> None:
        """Each pocket must be the sum of its postings, and somebody's."""
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
        """Whatever was posted to a pocket that does not exist."""
        self._accounts.clear()
        for (account, lane), posted in self._balances.items():
            text = "account {} lane {}: no pocket, postings {}"
            known = lane < WALLET or posted == 0
            self._require(known, "pocket_differs", text, account, lane, posted)

    def _trade_rows(self, rows: Rows, postings: Beside) -> None:
        """Each trade must have its two price postings, and no other."""
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

    def _transfers(self, rows: Rows, postings: Beside) -> None:
        """Each transfer that was carried out must have its two postings, and no other any."""
        for transfer, account, transfer_id, lane, deposit, amount, seq, reason in rows:
            expected: list[Posting] = []
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
        self, cause: Key, postings: Beside, expected: Sequence[Posting], rule: str
    ) -> None:
        found = sorted(postings.get(cause, ()))
        self._require(found == sorted(expected), rule, "{}: {}, not {}", cause, found, expected)

    def _caused(self, lane: int, seq: int, what: str, key: Key) -> None:
        """Whatever an event tells must be one that the lane has written."""
        row = self.lanes.get(lane)
        written = row is not None and 0 < seq <= row.last_seq
        self._require(written, "row_unfounded", "{} {}: seq {} of lane {}", what, key, seq, lane)

    def _unfounded(self) -> None:
        """Postings of trades and transfers that there are not; cash that nobody brought."""
        prices, trades = self._kinds[PRICE], self._trades.total()
        text = "{} price postings, {} trades"
        self._require(prices == 2 * trades, "posting_unfounded", text, prices, trades)
        moved = self._kinds[DEPOSIT] + self._kinds[WITHDRAWAL]
        text, transfers = "{} postings of transfers, {} transfers", self._carried_out
        self._require(moved == 2 * transfers, "posting_unfounded", text, moved, transfers)
        held = self._cash + sum(row.escrow for row in self.markets.values())
        came = self._cash_in.total() - self._cash_out.total()
        self._require(held == came, "cash_differs", "{} is held, {} came in", held, came)

    # Orders.

    def _orders(self, rows: Rows, _: Beside) -> None:
        """Each order must fit its market, and be dead in a settled one."""
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
            # How much of it was filled before is not kept.
            filled.perhaps += quantity
        else:
            filled.sure += quantity - leaves

    def _unfilled(self) -> None:
        """Trades and orders must agree, for each account and side."""
        text = "market {} account {} side {}: traded {}, orders filled {} to {}"
        for (market, account, side), filled in self._filled.items():
            most = filled.sure + filled.perhaps
            agree = filled.sure <= filled.traded <= most
            of = (market, account, side, filled.traded, filled.sure, most)
            self._require(agree, "order_fills", text, *of)

    def _crossed(self) -> None:
        """No bid may meet an ask. A halted market may hold the rest of what could not go on."""
        for market in self.markets:
            bid, ask = self._bids.get(market), self._asks.get(market)
            apart = bid is None or ask is None or bid < ask
            self._require(apart, "book_crossed", "market {}: bid {}, ask {}", market, bid, ask)

    # Positions.

    def _position_rows(self, rows: Rows, _: Beside) -> None:
        """Each position must be the sum of its trades; a winner of a settled market is paid."""
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
        """Trades of a position that does not exist; positions that do not sum to zero."""
        for (market, account), traded in self._positions.items():
            text = "market {} account {}: no position, trades {}"
            self._require(traded == 0, "position_differs", text, market, account, traded)
        for market, net in self._net.items():
            self._require(net == 0, "positions_unbalanced", "market {}: sum {}", market, net)

    def _payouts(self, rows: Rows, _: Beside) -> None:
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
            text = "market {} account {}: {} contracts, {}"
            self._require(right, "payout_wrong", text, market, account, quantity, amount)
            text = "market {} account {}: paid {}, postings {}"
            of = (market, account, amount, posted)
            self._require(posted == amount, "payout_postings", text, *of)

    def _without_payout(self) -> None:
        """Whatever was posted for a payout that does not exist."""
        for (market, account), posted in self._paid.items():
            text = "market {} account {}: no payout, postings {}"
            self._require(posted == 0, "payout_postings", text, market, account, posted)

    def _markets_again(self) -> None:
        """Each market's escrow and open interest must be what trades and payouts make them."""
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
            text, told = "market {}: open interest {}, held {}", row.open_interest
            self._require(told == held, "open_interest", text, market, told, held)
            if row.status == MarketStatus.SETTLING:
                self._owed += held * row.payout
        for (account, lane), posted in self._balances.items():
            stray = lane == ESCROW and posted != 0
            self._require(not stray, "escrow_differs", "{}: no market, {}", account, posted)

    def _balances_view(self, rows: Rows, _: Beside) -> None:
        """What all accounts are told to have must be what is there for them."""
        for (told,) in rows:
            text = "{} told, {} there"
            self._require(told == self._owed, "balances_differ", text, told, self._owed)

    # The journal.

    def _batch_keys(self, rows: Rows, _: Beside) -> None:
        """Each batch must stand under the key of its lane and number."""
        for key, lane, batch_no in rows:
            self._batches[lane] += 1
            named = str(key) == ids.batch_key(Lane(lane), batch_no)
            self._require(named, "journal_stray", "batch {}: lane {} {}", key, lane, batch_no)

    def _journal(self, rows: Rows, _: Beside) -> None:
        """Each batch must begin where the one before it ended."""
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
        """Each lane's last batch must be where its row says."""
        for lane, row in self.lanes.items():
            last = self._last.get(lane, BatchPlace(0, 0, 0, 0, 0, 0))
            of = ("lane {}: {}, journal {}", lane, row, last)
            self._require(last.batch_no == row.batch_no, "journal_gap", *of)
            self._require(last.next_offset == row.next_offset, "journal_offsets", *of)
            self._require(last.last_seq == row.last_seq, "journal_seqs", *of)
            self._require(last.epoch <= row.epoch, "journal_epochs", *of)
            stray = self._batches[lane] > row.batch_no
            self._require(not stray, "journal_stray", "{} batches of {}", self._batches[lane], row)
            # The mark rides in the batch after the one it tells of.
            behind = 0 <= row.published_batch_no <= max(row.batch_no - 1, 0)
            self._require(behind, "published_ahead", "lane {}: {}", lane, row)

    def _lanes_again(self) -> None:
        """The lanes' running totals must be what was counted."""
        trades: Counter[int] = Counter()
        for market, count in self._trades.items():
            if market in self.markets:
                trades[self.markets[market].lane] += count
        for lane, row in self.lanes.items():
            counted = (trades[lane], self._cash_in[lane], self._cash_out[lane], 0)
            told = (row.trades, row.cash_in, row.cash_out, row.ledger_sum)
            text = "lane {}: trades, cash in, cash out, ledger sum {}, counted {}"
            self._require(told == counted, "lane_totals", text, lane, told, counted)


def recount(
    tables: Mapping[str, Rows], findings: Findings, external: Key = ids.EXTERNAL
) -> Recount:
    """Recount tables that are at hand: rows by table, with the columns of ``rows.COLUMNS``."""
    postings: defaultdict[Key, list[Posting]] = defaultdict(list)
    for cause, account, lane, _, kind, amount in tables["ledger"]:
        postings[cause].append((account, lane, kind, amount))
    beside: Mapping[str, Beside] = {
        "": {},
        "postings": postings,
        "batches": {row[0]: () for row in tables["batch_keys"]},
    }
    counted = Recount(findings, external)
    for step in counted.steps():
        step.take(tables.get(step.table, ()), beside[step.beside])
    return counted


def causes(step: Step, rows: Iterable[Sequence[Any]]) -> list[Key]:
    """Return the causes of a page of which ``step`` wants to know what stands beside."""
    if step.beside == "batches":
        return list({row[0] for row in rows if row[4] in OF_A_BATCH})
    return [row[0] for row in rows]
