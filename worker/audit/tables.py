"""The part of the tables that events show, by the names that clients know. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final

from worker.adapters.postgres.codes import OUTCOME_OF, TIME_IN_FORCE_OF
from worker.audit.invariants import Findings
from worker.audit.records import BUY, Key, MarketRow, Rows
from worker.domain.state import MarketStatus, OrderStatus

Named = Mapping[str, Mapping[Any, Any]]
"""Rows by table and name, of balances, positions, orders, trades, transfers, markets, payouts."""
SHOWN_MAX: Final = 3
_TIMES_IN_FORCE: Final = {number: word.value for number, word in TIME_IN_FORCE_OF.items()}
_OUTCOMES: Final = {number: word.value if word else "" for number, word in OUTCOME_OF.items()}


class Tables:
    """Rows of the tables, by name. Holds every row, for histories that fit into memory."""

    def __init__(self) -> None:
        self._rows: defaultdict[str, list[Any]] = defaultdict(list)

    @classmethod
    def of(cls, tables: Mapping[str, Rows]) -> "Tables":
        """Return the tables of ``tables``, which are in memory."""
        made = cls()
        for table, rows in tables.items():
            made.take(table, rows)
        return made

    def take(self, table: str, rows: Rows) -> None:
        """Add a page of a table."""
        if table in _KEPT:
            self._rows[table].extend(rows)

    def named(self) -> Named:
        """Return the rows by name. Call after the last page."""
        names = _Names(self._rows["accounts"])
        markets = {row[0]: MarketRow(*row[1:]) for row in self._rows["markets"]}
        titles = _Names((key, row.market_id) for key, row in markets.items())
        balances: Counter[str] = Counter()
        for account, _, balance in self._rows["pockets"]:
            balances[names[account]] += balance
        return {
            "balances": +balances,
            "positions": {(titles[m], names[a]): q for m, a, q, _ in self._rows["positions"]},
            "orders": dict(_order(row, titles, names) for row in self._rows["orders"]),
            "trades": {
                str(trade): (titles[m], names[buyer], names[seller], price, quantity, seq)
                for trade, m, buyer, seller, price, quantity, seq in self._rows["trades"]
            },
            "transfers": dict(_transfer(row, names) for row in self._rows["transfers"]),
            "markets": {row.market_id: _market(row) for row in markets.values()},
            "payouts": {
                (titles[market], names[account]): (quantity, amount)
                for market, account, _, quantity, amount, _ in self._rows["payouts"]
            },
        }

    def halted(self) -> frozenset[str]:
        """Return the ids of the halted markets."""
        rows = (MarketRow(*row[1:]) for row in self._rows["markets"])
        return frozenset(row.market_id for row in rows if row.status == MarketStatus.HALTED)


class _Names(dict[Key, str]):
    """Names by key. A key without a name is its own name."""

    def __missing__(self, key: Key) -> str:
        return str(key)


_KEPT: Final = frozenset(
    {"accounts", "markets", "pockets", "positions", "orders", "trades", "transfers", "payouts"}
)


def compare(stored: Named, shown: Named, findings: Findings) -> None:
    """Compare every row with the events, and the events with every row."""
    for table, rows in stored.items():
        others = shown[table]
        differing = rows.items() ^ others.items() if rows != others else ()
        keys = sorted({key for key, _ in differing})
        examples = [(key, rows.get(key), others.get(key)) for key in keys[:SHOWN_MAX]]
        findings.require(not keys, f"{table}_told", "name, table, events: {}", examples)


def _order(
    row: Any,  # noqa: ANN401 - a row
    markets: Mapping[Key, str],
    names: Mapping[Key, str],
) -> tuple[object, object]:
    _, market, account, _, order_id, side, price, quantity, time_in_force, *others = row
    leaves, status, seq, reason = others
    name = (markets[market], names[account], order_id)
    if status == OrderStatus.REJECTED:
        # Its event does not repeat what the command asked for.
        return name, (int(status), seq, reason)
    asked = ("BUY" if side == BUY else "SELL", price, quantity, _TIMES_IN_FORCE[time_in_force])
    return name, (int(status), seq, *asked, leaves)


def _transfer(row: Any, names: Mapping[Key, str]) -> tuple[object, object]:  # noqa: ANN401
    _, account, transfer_id, _, deposit, amount, seq, reason = row
    done = "DEPOSITED" if deposit else "WITHDRAWN"
    kind = "TRANSFER_REJECTED" if reason else done
    return (names[account], transfer_id), (kind, amount, seq, reason)


def _market(row: MarketRow) -> object:
    return (
        row.payout,
        _OUTCOMES[row.outcome],
        row.status == MarketStatus.SETTLED,
        row.escrow,
        row.market_seq,
        row.opened_seq,
        row.resolved_seq,
    )
