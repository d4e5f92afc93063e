"""The database in memory, for tests and for the simulation.

`FakeDatabase` is the cluster: tables, snapshots, and at COMMIT the first committer wins, as on
DSQL. `FakeStore`, one lane's connection, is the port. What a batch does is worked out here from the
very parameters that PostgreSQL gets, without a line of the rules in ``worker.domain``; what it may
do is decided by the CHECKs, keys and NOT NULLs of the schema files, tried in the order in which
PostgreSQL comes to them, so that the same guard speaks first.

A transaction reads at one instant, which is its snapshot, and is validated at a later one. There is
no thread, clock or chance here: time passes, and connections break, only in the `Line`.
"""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache, partial
from importlib.resources import files
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeVar

import asyncpg
from typing_extensions import override

from tests.support.books import (
    ORDER_LANES,
    ORDERS,
    TRANSFER_LANES,
    TRANSFERS,
    Desk,
    orders_home,
    transfers_home,
)
from worker.adapters.postgres import rows, statements
from worker.domain import ids
from worker.domain.book import OpenOrder
from worker.domain.plan import Batch
from worker.domain.state import (
    DeadOrder,
    Facts,
    Home,
    Lack,
    Market,
    Page,
    PageRequest,
    Payee,
    StreamKind,
)
from worker.domain.units import AccountId, Lane, MarketId, Money, OrderId, Price, Quantity
from worker.errors import (
    Conflict,
    OutcomeUnknown,
    ParityError,
    Poison,
    Refused,
    StoreError,
    Unavailable,
)
from worker.ports import (
    JOURNAL_ROWS_MAX,
    JournalRow,
    LaneRow,
    Seal,
    Sleep,
    Standing,
    Statement,
    StreamRow,
)

Row = dict[str, Any]
Key = tuple[Any, ...]
T = TypeVar("T")

OPEN, SETTLING, SETTLED = 1, 3, 4
ESCROW, OUTSIDE = -2, -3


# The schema, as its files have it.


class Check(NamedTuple):
    """A CHECK constraint."""

    name: str
    holds: Callable[[Row], bool]


class Table(NamedTuple):
    """A table with all that it refuses. PostgreSQL tries CHECKs in the order of their names."""

    name: str
    columns: dict[str, str]
    required: tuple[str, ...]
    key_name: str
    key: tuple[str, ...]
    checks: tuple[Check, ...]

    def key_of(self, row: Row) -> Key:
        """Return the primary key of a row."""
        return tuple(row[column] for column in self.key)

    def admit(self, row: Row) -> None:
        """Raise Refused if a row may not stand in this table, whatever else stands there."""
        for column in self.required:
            if row[column] is None:
                raise _null(self.name, column)
        for check in self.checks:
            if not check.holds(row):
                raise _refused("23514", check.name)


class _Expression:
    """The SQL of a CHECK, as Python. What a CHECK reads is NOT NULL, so truth has two values."""

    _TOKENS: Final = re.compile(r"'[^']*'|\w+|<>|<=|>=|[=<>()*+,-]")
    _COMPARISONS: Final = {"=": "==", "<>": "!=", "<=": "<=", ">=": ">=", "<": "<", ">": ">"}

    def __init__(self, sql: str) -> None:
        self._left: list[str] = self._TOKENS.findall(sql)

    def compiled(self) -> Callable[[Row], bool]:
        source = self._either()
        assert not self._left, f"not understood: {self._left}"
        check: Callable[[Row], bool] = eval(f"lambda row: {source}", {"len": len})  # noqa: S307
        return check

    def _took(self, *tokens: str) -> str | None:
        return self._left.pop(0) if self._left and self._left[0] in tokens else None

    def _expect(self, token: str) -> None:
        found = self._left.pop(0)
        assert found == token, f"{token} expected, {found} found"

    def _either(self) -> str:
        return self._joined("OR", self._both)

    def _both(self) -> str:
        return self._joined("AND", self._comparison)

    def _joined(self, word: str, part: Callable[[], str]) -> str:
        parts = [part()]
        while self._took(word):
            parts.append(part())
        return f"({f' {word.lower()} '.join(parts)})"

    def _comparison(self) -> str:
        left = self._sum()
        if self._took("BETWEEN"):
            low = self._sum()
            self._expect("AND")
            return f"({low} <= {left} <= {self._sum()})"
        if self._took("IN"):
            return f"({left} in ({', '.join(self._list())},))"
        if sign := self._took(*self._COMPARISONS):
            return f"({left} {self._COMPARISONS[sign]} {self._sum()})"
        return left

    def _list(self) -> list[str]:
        self._expect("(")
        values = [self._sum()]
        while self._took(","):
            values.append(self._sum())
        self._expect(")")
        return values

    def _sum(self) -> str:
        """Return terms and signs as they stand: Python's precedence of + - * is SQL's."""
        text = self._atom()
        while sign := self._took("+", "-", "*"):
            text = f"{text} {sign} {self._atom()}"
        return text

    def _atom(self) -> str:
        token = self._left.pop(0)
        if token == "(":  # noqa: S105
            inner = self._either()
            self._expect(")")
            return inner
        if token == "-":  # noqa: S105
            return f"-{self._atom()}"
        if token == "length":  # noqa: S105
            return f"len({self._list()[0]})"
        return token if token[0] in "'0123456789" else f"row[{token!r}]"


@cache
def schema() -> dict[str, Table]:
    """Return the tables of worker/adapters/postgres/schema."""
    folder = files("worker.adapters.postgres") / "schema"
    found = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        sql = re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8"))
        if create := re.search(r"CREATE TABLE (\w+) \((.*)\);", sql, re.DOTALL):
            found[create[1]] = _table(create[1], list(_entries(create[2])))
    return found


def _entries(body: str) -> Iterator[str]:
    """Yield what stands between the commas of a CREATE TABLE."""
    depth, entry = 0, ""
    for character in body:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and not depth:
            yield entry.strip()
            entry = ""
        else:
            entry += character
    yield entry.strip()


def _table(name: str, entries: list[str]) -> Table:
    columns, required, checks = {}, [], []
    key_name, key = "", ()
    for entry in entries:
        if of_key := re.fullmatch(r"CONSTRAINT (\w+) PRIMARY KEY \((.*)\)", entry):
            key_name, key = of_key[1], tuple(of_key[2].split(", "))
        elif of_check := re.fullmatch(r"CONSTRAINT (\w+) CHECK \((.*)\)", entry, re.DOTALL):
            checks.append(Check(of_check[1], _Expression(of_check[2]).compiled()))
        else:
            column, kind, *rest = entry.split()
            columns[column] = kind
            required += [column] * (rest == ["NOT", "NULL"])
    assert key, f"{name} has no key"
    return Table(name, columns, tuple(required), key_name, key, tuple(sorted(checks)))


def _refused(sqlstate: str, constraint: str) -> Refused:
    return Refused(f"{sqlstate} {constraint}", sqlstate=sqlstate, constraint=constraint)


def _null(table: str, column: str) -> Refused:
    cause = asyncpg.NotNullViolationError(f"{table}.{column} is null")
    cause.table_name, cause.column_name = table, column
    refused = Refused(f"23502 {table}.{column}", sqlstate="23502")
    refused.__cause__ = cause
    return refused


def _poison(sqlstate: str, text: str) -> Poison:
    return Poison(f"{sqlstate} {text}", sqlstate=sqlstate)


# The parameters, as ``json_to_recordset`` reads them.

_INTEGERS: Final = {"bigint": 2**63, "int": 2**31, "integer": 2**31, "smallint": 2**15}


@cache
def record_columns() -> dict[int, dict[str, str]]:
    """Return name and type of every column that commit_batch.sql takes from each JSON parameter."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    pattern = r"json_to_recordset\(\$(\d+)::json\)\s+AS\s+\w+\(([^)]*)\)"
    for number, columns in re.findall(pattern, statements.COMMIT_BATCH):
        for column in columns.split(","):
            name, kind = column.split()
            found[int(number)].setdefault(name, kind)
    return dict(found)


def _records(number: int, text: str) -> list[Row]:
    columns = record_columns()[number].items()
    return [
        {name: _cast(given.get(name), kind) for name, kind in columns} for given in json.loads(text)
    ]


def _cast(value: Any, kind: str) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON value as SQL casts its text to a column's type."""
    if value is None or (type(value) is str and kind in {"uuid", "text"}):
        return value
    if kind in _INTEGERS:
        if type(value) is not int:
            raise _poison("22P02", f"{value!r} is no {kind}")
        if not -_INTEGERS[kind] <= value < _INTEGERS[kind]:
            raise _poison("22003", f"{value} is out of range for {kind}")
    elif kind == "boolean" and type(value) is not bool:
        raise _poison("22P02", f"{value!r} is no boolean")
    return value


def _bigint(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise _poison("22003", "bigint out of range")
    return value


# The cluster.


class FakeDatabase:
    """Tables, and what has been committed to them, in order. Its methods happen at once."""

    def __init__(self) -> None:
        self.rows_max = 10**9
        """So many rows a transaction may write."""
        self.tables: dict[str, dict[Key, Row]] = {name: {} for name in schema()}
        self.commits: list[Transaction] = []
        self._versions: dict[tuple[str, Key], int] = {}
        self._pockets: defaultdict[str, list[int]] = defaultdict(list)

    def register(self, stream: str, topic: str, kind: StreamKind, partitions: int) -> StreamRow:
        """Register a stream with its lanes, numbered after all others."""
        streams = self.tables["streams"].values()
        first = max((row["first_lane"] + row["partitions"] for row in streams), default=0)
        transaction = Transaction(self)
        row = {"stream": stream, "topic": topic, "kind": str(kind), "partitions": partitions}
        transaction.insert("streams", {**row, "first_lane": first})
        empty: Row = {
            name: "" if kind == "text" else 0 for name, kind in schema()["lanes"].columns.items()
        }
        for number in range(partitions):
            lane = {"lane": first + number, "stream": stream, "kind": str(kind)}
            transaction.insert("lanes", {**empty, **lane, "partition": number})
        transaction.commit()
        return StreamRow(stream, topic, kind, partitions, first)

    def get(self, table: str, *key: Any) -> Row | None:  # noqa: ANN401
        """Return the row with that key."""
        return self.tables[table].get(key)

    def rows(self, table: str) -> list[Row]:
        """Return all rows of a table, in no order."""
        return list(self.tables[table].values())

    def pockets_of(self, account: str) -> dict[int, int]:
        """Return an account's balance in each lane where it has a pocket."""
        pockets = self.tables["pockets"]
        return {lane: pockets[account, lane]["balance"] for lane in self._pockets[account]}

    def version(self, table: str, key: Key) -> int:
        """Return the number of the commit that wrote a row last."""
        return self._versions.get((table, key), 0)

    def apply(self, transaction: "Transaction") -> None:
        """Make what a validated transaction wrote visible."""
        self.commits.append(transaction)
        version = len(self.commits)
        for (table, key), row in transaction.writes.items():
            if table == "pockets" and key not in self.tables[table]:
                self._pockets[key[0]].append(key[1])
            self.tables[table][key] = row
            self._versions[table, key] = version

    def restored(self, commits: int) -> "FakeDatabase":
        """Return a database as this one was after so many commits, as a backup gives it back."""
        found = FakeDatabase()
        found.rows_max = self.rows_max
        for transaction in self.commits[:commits]:
            found.apply(transaction)
        return found

    def dump(self) -> dict[str, list[str]]:
        """Return every row of every table, as text, sorted."""
        return {name: sorted(map(repr, table.values())) for name, table in self.tables.items()}


class Transaction:
    """Reads the database as it is when this is made, writes aside, and is validated at the end."""

    unchecked_keys: frozenset[str] = frozenset()
    """Tables whose keys are not held unique. For broken variants only."""

    def __init__(self, database: FakeDatabase) -> None:
        self.writes: dict[tuple[str, Key], Row] = {}
        self.inserted: list[tuple[str, Row]] = []
        self._database = database
        self._snapshot = len(database.commits)

    def get(self, table: str, *key: Any) -> Row | None:  # noqa: ANN401
        """Return a row of the snapshot: a statement does not see what it writes itself."""
        return self._database.tables[table].get(key)

    def insert(self, table: str, row: Row) -> None:
        """Write a new row."""
        form = schema()[table]
        form.admit(row)
        key = form.key_of(row)
        taken = (table, key) in self.writes or key in self._database.tables[table]
        if taken and table not in self.unchecked_keys:
            raise _refused("23505", form.key_name)
        self.writes[table, key] = row
        self.inserted.append((table, row))

    def update(self, table: str, before: Row, **after: Any) -> None:  # noqa: ANN401
        """Write a row of the snapshot anew."""
        form, row = schema()[table], {**before, **after}
        form.admit(row)
        self.writes[table, form.key_of(row)] = row

    def commit(self) -> None:
        """Make it all visible, unless somebody else wrote one of these rows since the snapshot."""
        version = self._database.version
        for table, key in self.writes:
            if version(table, key) > self._snapshot:
                raise Conflict(f"40001 (OC000) {table} {key}", sqlstate="40001")
        self._database.apply(self)


# The statement.


@dataclass(slots=True)
class Change:
    """What a pocket's ledger rows add up to, and what the batch says of the pocket."""

    amount: int = 0
    need: int | None = None
    fresh: int | None = None


@dataclass(slots=True)
class MarketChange:
    """All that changes of one market's row. None: stated as null, and nothing else was stated."""

    escrow: int = 0
    opened: int = 0
    events: int = 0
    status: int | None = None
    outcome: int | None = None
    resolved_seq: int | None = None


_SCALARS: Final = (
    "lane",
    "epoch",
    "batch_no",
    "next_offset",
    "last_seq",
    "lane_time_ms",
    "last_record_sha",
    "resume",
    "published_batch_no",
    "batch_id",
    "first_offset",
    "first_seq",
    "owner",
    "plan_hash",
    "facts",
    "events",
)
_JSON: Final = (
    "accounts",
    "markets",
    "market_changes",
    "orders",
    "order_changes",
    "trades",
    "draws",
    "transfers",
    "payees",
    "pockets",
)
PRICE, COLLATERAL, PAYOUT, DRAW, DEPOSIT, WITHDRAWAL = 1, 2, 3, 4, 5, 6


def fence_holds(lane: Row, given: Row) -> bool:
    """Return whether a batch is the next one of its lane, under the epoch that owns it."""
    return bool(
        lane["epoch"] == given["epoch"]
        and lane["batch_no"] == given["batch_no"]
        and lane["next_offset"] == given["first_offset"]
        and lane["last_seq"] + 1 == given["first_seq"]
        and lane["lane_time_ms"] <= given["lane_time_ms"]
    )


class BatchStatement:
    """commit_batch.sql, from its parameters to a transaction that waits for its COMMIT."""

    fence: Callable[[Row, Row], bool] = staticmethod(fence_holds)

    def __init__(self, database: FakeDatabase, parameters: Sequence[Any]) -> None:
        self.transaction = Transaction(database)
        self._rows_max = database.rows_max
        self._given: Row = dict(zip(_SCALARS, parameters, strict=False))
        self._stated = {
            name: _records(17 + number, parameters[16 + number])
            for number, name in enumerate(_JSON)
        }
        self._legs: Counter[tuple[str, str]] = Counter()
        self._locked: dict[tuple[str, str], int] = {}
        self._opened: dict[tuple[str, str], int] = {}
        self._paid: list[Row] = []
        self._changes: defaultdict[tuple[str, int], Change] = defaultdict(Change)
        self._ledger_sum = 0

    def execute(self) -> Transaction:
        """Write everything aside. Raises Refused or Poison."""
        self._insert_trades()
        self._turn_positions()
        self._pay()
        self._insert_transfers()
        for row in self._postings():
            self.transaction.insert("ledger", row)
            self._ledger_sum += row["amount"]
            self._changes[row["account"], row["lane"]].amount += row["amount"]
        lane_rows = self._pass_fence()
        guards = {
            "lane_rows": lane_rows,
            "pockets_missed": self._move_pockets(),
            "markets_missed": self._change_markets(),
            "orders_missed": self._change_orders(),
            **self._guards(),
        }
        self._insert_batch(guards)
        self._insert_orders()
        self._insert_markets()
        for row in self._stated["accounts"]:
            self.transaction.insert("accounts", row)
        if len(self.transaction.writes) > self._rows_max:
            raise _poison("54000", "too many rows in one transaction")
        return self.transaction

    # What was traded, and what follows from it.

    def _insert_trades(self) -> None:
        for row in self._stated["trades"]:
            self.transaction.insert("trades", row)
            self._legs[row["market"], row["buyer"]] += row["quantity"]
            self._legs[row["market"], row["seller"]] -= row["quantity"]

    def _turn_positions(self) -> None:
        for (market, account), delta in self._legs.items():
            held = self.transaction.get("positions", market, account)
            before = held["quantity"] if held else 0
            after = _bigint(before + delta)
            row = {"market": market, "account": account, "quantity": after}
            if held:
                self.transaction.update("positions", held, quantity=after)
            else:
                self.transaction.insert("positions", row)
            of_market = self.transaction.get("markets", market)
            if of_market:
                shorts = max(-after, 0) - max(-before, 0)
                self._locked[market, account] = _bigint(of_market["payout"] * shorts)
                self._opened[market, account] = max(after, 0) - max(before, 0)

    def _pay(self) -> None:
        for row in self._stated["payees"]:
            market = self.transaction.get("markets", row["market"])
            held = self.transaction.get("positions", row["market"], row["account"])
            if market and held and self._decided(market, row["outcome"]):
                sign = {1: 1, 2: -1}.get(row["outcome"])
                quantity = None if sign is None else sign * held["quantity"]
                amount = None if quantity is None else _bigint(quantity * market["payout"])
                self.transaction.insert("payouts", {**row, "quantity": quantity, "amount": amount})
                self._paid.append({**row, "quantity": quantity, "amount": amount})

    def _decided(self, market: Row, outcome: int | None) -> bool:
        """Return whether a market has this outcome, or gets it in this statement."""
        if market["outcome"] == outcome:
            return True
        flips = (f for f in self._stated["market_changes"] if f["market"] == market["market"])
        flipped = max((f["outcome"] for f in flips if f["outcome"] is not None), default=None)
        return bool(market["outcome"] == 0 and outcome is not None and outcome == flipped)

    def _insert_transfers(self) -> None:
        for row in self._stated["transfers"]:
            self.transaction.insert("transfers", {**row, "lane": self._given["lane"]})

    # The ledger.

    def _postings(self) -> Iterator[Row]:
        lane, batch = self._given["lane"], self._given["batch_id"]
        for trade in self._stated["trades"]:
            amount, market = _bigint(trade["price"] * trade["quantity"]), trade["market"]
            yield _posting(trade["trade"], (trade["buyer"], lane), market, PRICE, -amount)
            yield _posting(trade["trade"], (trade["seller"], lane), market, PRICE, amount)
        escrows: Counter[str] = Counter()
        for (market, account), amount in self._locked.items():
            escrows[market] += amount
            if amount:
                yield _posting(batch, (account, lane), market, COLLATERAL, -amount)
        for market, amount in escrows.items():
            if amount:
                yield _posting(batch, (market, ESCROW), market, COLLATERAL, _bigint(amount))
        dues: Counter[str] = Counter()
        for row in self._paid:
            dues[row["market"]] += row["amount"]
            yield _posting(batch, (row["account"], lane), row["market"], PAYOUT, row["amount"])
        for market, amount in dues.items():
            yield _posting(batch, (market, ESCROW), market, PAYOUT, _bigint(-amount))
        yield from self._stated_postings(lane)

    def _stated_postings(self, lane: int) -> Iterator[Row]:
        """Yield both rows of every draw, deposit and withdrawal."""
        for draw in self._stated["draws"]:
            numbers = (draw["amount"], draw["source"], draw["target"])
            legal = None not in numbers and numbers[0] > 0 and min(numbers[1:]) >= -1
            for side, sign in (("source", -1), ("target", 1)):
                amount = sign * draw["amount"] if legal else None
                pocket = (draw["account"], draw[side])
                yield _posting(draw["cause"], pocket, ids.NO_MARKET, DRAW, amount)
        done = [row for row in self._stated["transfers"] if row["reason"] == ""]
        for row in done:
            pocket = (row["account"], -1 if row["deposit"] else lane)
            yield _posting(row["transfer"], pocket, ids.NO_MARKET, _kind(row), _into(row))
        for row in done:
            outside = (ids.EXTERNAL, OUTSIDE)
            yield _posting(row["transfer"], outside, ids.NO_MARKET, _kind(row), -_into(row))

    # What the guards count.

    def _pass_fence(self) -> int:
        given, lane = self._given, self.transaction.get("lanes", self._given["lane"])
        if lane is None or not type(self).fence(lane, given):
            return 0
        moved: Counter[bool] = Counter()
        for row in self._stated["transfers"]:
            moved[row["deposit"]] += row["amount"] * (row["reason"] == "")
        same = ("next_offset", "last_seq", "lane_time_ms", "last_record_sha", "resume")
        self.transaction.update(
            "lanes",
            lane,
            **{name: given[name] for name in same},
            batch_no=lane["batch_no"] + 1,
            published_batch_no=max(lane["published_batch_no"], given["published_batch_no"]),
            trades=lane["trades"] + len(self._stated["trades"]),
            ledger_sum=_bigint(lane["ledger_sum"] + self._ledger_sum),
            cash_in=_bigint(lane["cash_in"] + moved[True]),
            cash_out=_bigint(lane["cash_out"] + moved[False]),
        )
        return 1

    def _move_pockets(self) -> int:
        """Move every pocket that holds what the batch needs; return how many do not."""
        for row in self._stated["pockets"]:
            change = self._changes[row["account"], row["lane"]]
            change.need = _greatest(change.need, row["need"])
            change.fresh = _greatest(change.fresh, row["fresh"])
        pockets = [pocket for pocket in sorted(self._changes) if pocket[1] >= -1]
        missed = len(pockets)
        for account, lane in pockets:
            change = self._changes[account, lane]
            held = self.transaction.get("pockets", account, lane)
            need = change.need if change.fresh == 0 else None
            if held and need is not None and held["balance"] >= need:
                balance = _bigint(held["balance"] + change.amount)
                self.transaction.update("pockets", held, balance=balance)
                missed -= 1
        for account, lane in pockets:
            change = self._changes[account, lane]
            if change.fresh == 1 and change.need == 0:
                row = {"account": account, "lane": lane, "balance": _bigint(change.amount)}
                self.transaction.insert("pockets", row)
                missed -= 1
        return missed

    def _change_markets(self) -> int:
        """Write each changed market's row once; return how many could not be written."""
        changes = self._market_changes()
        missed = len(changes)
        for key, change in changes.items():
            market = self.transaction.get("markets", key)
            if market is None or market["lane"] != self._given["lane"]:
                continue
            status, outcome, seq = change.status, change.outcome, change.resolved_seq
            if status is None or not (status == 0 or status > market["status"]):
                continue
            if outcome is None or not (outcome == 0 or market["outcome"] == 0):
                continue
            self.transaction.update(
                "markets",
                market,
                escrow=_bigint(market["escrow"] + change.escrow),
                open_interest=_bigint(market["open_interest"] + change.opened),
                market_seq=market["market_seq"] + change.events,
                status=max(market["status"], status),
                outcome=max(market["outcome"], outcome),
                resolved_seq=max(market["resolved_seq"], seq or 0),
            )
            missed -= 1
        return missed

    def _market_changes(self) -> dict[str, MarketChange]:
        found: defaultdict[str, MarketChange] = defaultdict(MarketChange)
        traded = {row["market"]: 0 for row in (*self._stated["trades"], *self._paid)}
        escrows = {a: c.amount for (a, lane), c in self._changes.items() if lane == ESCROW}
        for market in {**escrows, **traded}:
            change = found[market]
            change.escrow = escrows.get(market, 0)
            change.status = change.outcome = change.resolved_seq = 0
        for (market, _), opened in self._opened.items():
            found[market].opened += opened
        for row in self._paid:
            found[row["market"]].opened -= row["quantity"]
        for row in self._stated["market_changes"]:
            numbers = (row["events"], row["status"], row["outcome"], row["resolved_seq"])
            legal = None not in numbers and min(numbers) >= 0
            change = found[row["market"] if legal else ""]
            change.events += row["events"] or 0
            change.status = _greatest(change.status, row["status"])
            change.outcome = _greatest(change.outcome, row["outcome"])
            change.resolved_seq = _greatest(change.resolved_seq, row["resolved_seq"])
        return found

    def _change_orders(self) -> int:
        """Lower leaves, each order once; return how many changes found no order to change."""
        changed: set[str] = set()
        for row in self._stated["order_changes"]:
            order, leaves = self.transaction.get("orders", row["order_key"]), row["leaves"]
            ours = order is not None and order["lane"] == self._given["lane"]
            if not ours or order is None or leaves is None or row["order_key"] in changed:
                continue
            if order["leaves"] > 0 and order["leaves"] >= leaves:
                changed.add(row["order_key"])
                self.transaction.update("orders", order, leaves=leaves, status=row["status"])
        return len(self._stated["order_changes"]) - len(changed)

    def _guards(self) -> dict[str, int]:
        trades = [
            (row, self.transaction.get("markets", row["market"])) for row in self._stated["trades"]
        ]
        ended = {row["market"] for row in self._paid}
        ended |= {row["market"] for row in self._stated["market_changes"] if row["outcome"]}
        return {
            "trades_mispriced": sum(
                market is not None and trade["price"] >= market["payout"]
                for trade, market in trades
            ),
            "trades_not_open": sum(
                market is None or market["status"] != OPEN for _, market in trades
            ),
            "resolved_and_traded": len({trade["market"] for trade, _ in trades} & ended),
            "payees_missed": len(self._stated["payees"]) - len(self._paid),
            "ledger_sum": self._ledger_sum,
        }

    # The rest.

    def _insert_batch(self, guards: dict[str, int]) -> None:
        names = schema()["batches"].columns
        row = {name: self._given.get(name, guards.get(name)) for name in names}
        self.transaction.insert("batches", {**row, "batch_no": self._given["batch_no"] + 1})

    def _insert_orders(self) -> None:
        for row in self._stated["orders"]:
            self.transaction.insert("orders", {**row, "lane": self._given["lane"]})

    def _insert_markets(self) -> None:
        zero = dict.fromkeys(("outcome", "escrow", "open_interest", "resolved_seq"), 0)
        for row in self._stated["markets"]:
            self.transaction.insert("markets", {**row, **zero, "lane": self._given["lane"]})


def _posting(
    cause: str, pocket: tuple[str, int], market: str, kind: int, amount: int | None
) -> Row:
    account, lane = pocket
    return {
        "cause": cause,
        "account": account,
        "lane": lane,
        "market": market,
        "kind": kind,
        "amount": amount,
    }


def _kind(transfer: Row) -> int:
    return DEPOSIT if transfer["deposit"] else WITHDRAWAL


def _into(transfer: Row) -> int:
    """Return by how much a transfer moves the account's pocket."""
    amount: int = transfer["amount"]
    return amount if transfer["deposit"] else -amount


def _greatest(one: int | None, other: int | None) -> int | None:
    given = [value for value in (one, other) if value is not None]
    return max(given, default=None)


# The connection.


class Fate(Enum):
    """What becomes of one call."""

    DONE = auto()
    UNAVAILABLE = auto()
    """No connection can be made."""
    LOST_BEFORE = auto()
    """The connection breaks before the server has heard of it."""
    LOST_AFTER = auto()
    """The server does it, and the connection breaks before the answer."""
    COMMIT_LATE = auto()
    """The server has run the statement; its COMMIT lands once the caller has given up."""
    ARRIVES_LATE = auto()
    """The statement itself reaches the server once the caller has given up."""
    CONFLICT = auto()
    """Somebody else wrote the same row."""
    SCHEMA_CHANGED = auto()
    """OC001, and the connection is no longer good."""


StoreCall = Literal[
    "connect",
    "take_over",
    "markets",
    "open_orders",
    "read",
    "commit",
    "standing",
    "journal",
    "disconnect",
]


class Line(Protocol):
    """What lies between a store and the database."""

    def fate(self, call: StoreCall) -> Fate:
        """Return what becomes of this call."""

    def latency_s(self, call: StoreCall) -> float:
        """Return how long one way takes, or a COMMIT."""

    def limbo_s(self) -> tuple[float, float]:
        """Return when the caller gives up, and how much later the late part lands."""


class CalmLine:
    """Nothing takes time and nothing breaks."""

    def fate(self, call: StoreCall) -> Fate:  # noqa: ARG002
        return Fate.DONE

    def latency_s(self, call: StoreCall) -> float:  # noqa: ARG002
        return 0.0

    def limbo_s(self) -> tuple[float, float]:
        return 0.0, 0.0


class DistantLine(CalmLine):
    """Nothing breaks, and everything takes a moment."""

    @override
    def latency_s(self, call: StoreCall) -> float:
        return 0.001


@dataclass(slots=True)
class Work(Generic[T]):
    """A transaction that has run, and what its caller hears once it is committed."""

    transaction: Transaction
    answer: T


class FakeStore:
    """Implements `ports.Store`."""

    def __init__(
        self, database: FakeDatabase, line: Line | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._database = database
        self._line = line or CalmLine()
        self._sleep = sleep
        self._connected = False
        self._busy = False

    async def take_over(self, stream: str, partition: int, owner: str) -> LaneRow:
        return await self._write("take_over", lambda: self._take_over(stream, partition, owner))

    async def markets(self, lane: Lane) -> Sequence[Market]:
        return await self._look("markets", lambda: self._markets(lane))

    async def open_orders(self, lane: Lane) -> Sequence[tuple[MarketId, OpenOrder]]:
        return await self._look("open_orders", lambda: self._open_orders(lane))

    async def read(self, home: Home, lack: Lack) -> Facts:
        def look() -> Facts:
            names = Reading(self._database, home)
            return names.facts(lack, pages)

        pages: dict[MarketId, Page] = {}
        for market_id, request in lack.pages.items():
            look_at = partial(self._page, home.lane, request)
            pages[market_id] = await self._look("read", look_at)
        return await self._look("read", look)

    def statement(self, batch: Batch, seal: Seal) -> Statement:
        return rows.statement(batch, seal)

    async def commit(self, statement: Statement) -> None:
        def run() -> Work[None]:
            return Work(BatchStatement(self._database, statement.parameters).execute(), None)

        await self._write("commit", run)

    async def standing(self, lane: Lane, batch_no: int) -> Standing:
        def look() -> Standing:
            row = self._database.get("lanes", lane)
            assert row is not None, "a lane's row is never deleted"
            batch = self._database.get("batches", ids.batch_key(lane, batch_no))
            won = None if batch is None else batch["plan_hash"]
            return Standing(row["epoch"], row["batch_no"], won)

        return await self._look("standing", look)

    async def journal(self, lane: Lane, first: int, last: int) -> Sequence[JournalRow]:
        def look() -> list[JournalRow]:
            numbers = range(first, min(last, first + JOURNAL_ROWS_MAX - 1) + 1)
            keys = [ids.batch_key(lane, number) for number in numbers]
            found = [row for key in keys if (row := self._database.get("batches", key))]
            return [JournalRow(row["batch_no"], row["events"]) for row in found]

        return await self._look("journal", look)

    async def close(self) -> None:
        if self._connected:
            self._connected = False
            await self._travel("disconnect")

    # What travels.

    async def _look(self, call: StoreCall, look: Callable[[], T]) -> T:
        """Read in one snapshot."""
        fate = await self._begin(call)
        try:
            await self._travel(call)
            self._may_fail(call, fate)
            if fate in {Fate.COMMIT_LATE, Fate.ARRIVES_LATE}:
                await self._sleep(self._line.limbo_s()[0])
            found = look()
            await self._travel(call)
            if fate is not Fate.DONE:
                raise self._unknown(call, fate)
        except asyncio.CancelledError:
            self._connected = False
            raise
        finally:
            self._busy = False
        return found

    async def _write(self, call: StoreCall, run: Callable[[], Work[T]]) -> T:
        """Run a transaction. The server ends what it has begun, whatever becomes of the caller."""
        fate = await self._begin(call)
        try:
            await self._travel(call)
            self._may_fail(call, fate)
            if fate in {Fate.COMMIT_LATE, Fate.ARRIVES_LATE}:
                await self._limbo(fate, run)
                raise self._unknown(call, fate)
            work = run()
            await self._committed(work.transaction, self._line.latency_s(call))
            await self._travel(call)
            if fate is Fate.LOST_AFTER:
                raise self._unknown(call, fate)
        except asyncio.CancelledError:
            self._connected = False
            raise
        finally:
            self._busy = False
        return work.answer

    async def _begin(self, call: StoreCall) -> Fate:
        assert not self._busy, "another operation is in progress on this connection"
        self._busy = True
        try:
            if not self._connected:
                await self._connect()
        except BaseException:
            self._busy = False
            raise
        return self._line.fate(call)

    async def _connect(self) -> None:
        fate = self._line.fate("connect")
        await self._travel("connect")
        if fate is not Fate.DONE:
            raise Unavailable(f"connect: {fate.name}")
        self._connected = True

    def _may_fail(self, call: StoreCall, fate: Fate) -> None:
        """Raise what is heard of a call that the server never ran, or ran in vain."""
        if fate is Fate.LOST_BEFORE:
            raise self._unknown(call, fate)
        if fate is Fate.CONFLICT:
            raise Conflict(f"40001 (OC000) {call}", sqlstate="40001")
        if fate is Fate.SCHEMA_CHANGED:
            self._connected = False
            raise Conflict(f"40001 (OC001) {call}", sqlstate="40001")

    async def _limbo(self, fate: Fate, run: Callable[[], Work[T]]) -> None:
        """Let the caller give up, and the statement or its COMMIT land afterwards."""
        gives_up_s, later_s = self._line.limbo_s()
        begun = run() if fate is Fate.COMMIT_LATE else None

        def land() -> None:
            try:
                (begun or run()).transaction.commit()
            except StoreError as error:
                self.landed(error)
            else:
                self.landed(None)

        asyncio.get_running_loop().call_later(gives_up_s + later_s, land)
        await self._sleep(gives_up_s)

    def landed(self, error: StoreError | None) -> None:
        """Hear what became of what had been in limbo. For those who count."""

    async def _committed(self, transaction: Transaction, latency_s: float) -> None:
        if not latency_s:
            transaction.commit()
            return
        done: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            error: StoreError | None = None
            try:
                transaction.commit()
            except StoreError as lost:
                error = lost
            if not done.done():
                done.set_result(error)

        asyncio.get_running_loop().call_later(latency_s, end)
        if (error := await done) is not None:
            raise error

    async def _travel(self, call: StoreCall) -> None:
        latency_s = self._line.latency_s(call)
        if latency_s:
            await self._sleep(latency_s)

    def _unknown(self, call: StoreCall, fate: Fate) -> OutcomeUnknown:
        self._connected = False
        return OutcomeUnknown(f"{call}: {fate.name}")

    # What is read and written beside the batch.

    def _take_over(self, stream: str, partition: int, owner: str) -> Work[LaneRow]:
        for row in self._database.rows("lanes"):
            if (row["stream"], row["partition"]) == (stream, partition):
                break
        else:
            raise ParityError(f"stream {stream!r} has no partition {partition}: not registered")
        transaction = Transaction(self._database)
        transaction.update("lanes", row, epoch=row["epoch"] + 1, owner=owner)
        names = ("batch_no", "next_offset", "last_record_sha", "resume", "last_seq")
        found = LaneRow(
            lane=Lane(row["lane"]),
            epoch=row["epoch"] + 1,
            **{name: row[name] for name in names},
            published_batch_no=row["published_batch_no"],
            lane_time_ms=row["lane_time_ms"],
            cash_in_net=row["cash_in"] - row["cash_out"],
        )
        return Work(transaction, found)

    def _markets(self, lane: Lane) -> list[Market]:
        found = [row for row in self._database.rows("markets") if row["lane"] == lane]
        ours = [row for row in found if row["status"] < SETTLED]
        return [rows.market_of(row) for row in sorted(ours, key=lambda row: str(row["market"]))]

    def _open_orders(self, lane: Lane) -> list[tuple[MarketId, OpenOrder]]:
        found = []
        for order in self._database.rows("orders"):
            if order["lane"] == lane and order["leaves"] > 0:
                market = self._database.tables["markets"][order["market"],]
                if market["status"] < SETTLING:
                    found.append((MarketId(market["market_id"]), self._open_order(order)))
        return sorted(found, key=lambda entry: entry[1].seq)

    def _open_order(self, order: Row) -> OpenOrder:
        return OpenOrder(
            order["order_key"],
            self._name(order["account"]),
            OrderId(order["order_id"]),
            rows.side_of(order["side"]),
            Price(order["price"]),
            Quantity(order["leaves"]),
            order["seq"],
        )

    def _name(self, account: str) -> AccountId:
        return AccountId(self._database.tables["accounts"][account,]["account_id"])

    def _page(self, lane: Lane, request: PageRequest) -> Page:
        """Return dead orders first; payees take what is left of the page."""
        orders = sorted(
            (
                row
                for row in self._database.rows("orders")
                if row["lane"] == lane and row["market"] == request.market and row["leaves"] > 0
            ),
            key=lambda row: str(row["order_key"]),
        )
        left = max(request.rows_max - len(orders), 0)
        payees = sorted(self._winners(request), key=lambda row: str(row["account"]))
        return Page(
            orders=tuple(
                DeadOrder(
                    row["order_key"],
                    self._name(row["account"]),
                    OrderId(row["order_id"]),
                    Quantity(row["leaves"]),
                )
                for row in orders[: request.rows_max]
            ),
            payees=tuple(self._payee(lane, row) for row in payees[:left]),
            last=len(orders) <= request.rows_max and len(payees) <= left,
        )

    def _winners(self, request: PageRequest) -> Iterable[Row]:
        sign = 1 if rows.OUTCOMES[request.outcome] == 1 else -1
        for row in self._database.rows("positions"):
            next_ones = row["market"] == request.market and row["account"] > request.after
            if next_ones and sign * row["quantity"] > 0:
                yield row

    def _payee(self, lane: Lane, position: Row) -> Payee:
        account = position["account"]
        pocket = self._database.get("pockets", account, lane)
        return Payee(
            account,
            self._name(account),
            Quantity(abs(position["quantity"])),
            None if pocket is None else Money(pocket["balance"]),
        )


class Reading:
    """The facts that a plan lacks, all from one instant."""

    def __init__(self, database: FakeDatabase, home: Home) -> None:
        self._database, self._home = database, home

    def facts(self, lack: Lack, pages: dict[MarketId, Page]) -> Facts:
        market, account = self._market, ids.account_key
        return Facts(
            accounts={a: self._pockets(a) for a in sorted(lack.accounts)},
            positions={
                (m, a): self._quantity(market(m), account(a)) for m, a in sorted(lack.positions)
            },
            markets={
                m: rows.market_of(row) if (row := self._row("markets", market(m))) else None
                for m in sorted(lack.markets)
            },
            orders={
                (m, a, o): rows.order_answer(row[name] for name in _ORDER_COLUMNS)
                if (row := self._row("orders", ids.order_key(market(m), account(a), o)))
                else None
                for m, a, o in sorted(lack.orders)
            },
            transfers={
                (a, t): rows.transfer_answer(row[name] for name in _TRANSFER_COLUMNS)
                if (row := self._row("transfers", ids.transfer_key(account(a), t)))
                else None
                for a, t in sorted(lack.transfers)
            },
            pages=pages,
        )

    def _market(self, market_id: MarketId) -> str:
        return ids.market_key(self._home.stream, market_id)

    def _row(self, table: str, key: str) -> Row | None:
        return self._database.get(table, key)

    def _quantity(self, market: str, account: str) -> int:
        row = self._database.get("positions", market, account)
        return row["quantity"] if row else 0

    def _pockets(self, account_id: AccountId) -> dict[Lane, Money] | None:
        """Return an account's pockets; of those in lanes of transfers only the reader's own."""
        account = ids.account_key(account_id)
        if self._database.get("accounts", account) is None:
            return None
        lanes = self._database.tables["lanes"]
        return {
            Lane(lane): Money(balance)
            for lane, balance in self._database.pockets_of(account).items()
            if lane in (-1, self._home.lane) or lanes[lane,]["kind"] != StreamKind.TRANSFERS
        }


_ORDER_COLUMNS: Final = ("side", "price", "quantity", "time_in_force", "seq", "reason")
_TRANSFER_COLUMNS: Final = ("deposit", "amount", "seq", "reason")


# What the tests of the books ask for.


@dataclass
class FakeBooks:
    """Stands where `tests.support.books.Books` does, without a server."""

    database: FakeDatabase = field(default_factory=FakeDatabase)
    line: Line = field(default_factory=CalmLine)
    in_steps: bool = False

    @classmethod
    def opened(cls, line: Line | None = None) -> "FakeBooks":
        """Return books with the streams that `tests.support.books.opened` registers."""
        books = cls(line=line or CalmLine())
        books.database.register(ORDERS, f"parity.{ORDERS}", StreamKind.ORDERS, ORDER_LANES)
        books.database.register(
            TRANSFERS, f"parity.{TRANSFERS}", StreamKind.TRANSFERS, TRANSFER_LANES
        )
        return books

    async def orders(self, partition: int = 0) -> Desk:
        """Open a desk for a lane of the orders stream."""
        return await Desk.open(self.store(), orders_home(partition))

    async def transfers(self) -> Desk:
        """Open a desk for the lane of the transfers stream."""
        return await Desk.open(self.store(), transfers_home())

    def store(self) -> FakeStore:
        """Return a new store."""
        return FakeStore(self.database, self.line)

    async def dump(self) -> dict[str, list[str]]:
        """Return every row of every table, as text, sorted."""
        return self.database.dump()
