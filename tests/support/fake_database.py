"""The database in memory: tables, snapshots and the batch statement.

A batch is derived here from the parameters that PostgreSQL gets, without a line of the rules in
``worker.domain``. The CHECKs, keys and NOT NULLs of the schema files decide whether it is accepted.
A transaction reads at one instant, its snapshot, and is validated at a later one: the first
committer wins, as on DSQL. Everything happens at once, without I/O, clock or chance.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from tests.support.fake_schema import Key, Row, bigint, poison, records, refused, schema
from tests.support.model import collateral
from worker.adapters.postgres import readings
from worker.adapters.postgres.codes import LedgerKind as Kind
from worker.adapters.postgres.parameters import PARAMETERS, TABLES
from worker.domain import ids
from worker.domain.book import OpenOrder
from worker.domain.commands import Outcome
from worker.domain.facts import Facts, Lack, Page, PageRequest
from worker.domain.state import Home, Market, MarketStatus, StreamKind
from worker.domain.units import ESCROW, OUTSIDE, WALLET, AccountId, LaneId, MarketId, Money
from worker.errors import Conflict
from worker.ports import StreamRow


class FakeDatabase:
    """Tables, and what has been committed to them, in order. Its methods happen at once."""

    def __init__(self) -> None:
        self.rows_max = 10**9
        """The most rows that a transaction may write."""
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
            raise refused("23505", form.key_name)
        self.writes[table, key] = row
        self.inserted.append((table, row))

    def update(self, table: str, before: Row, **after: Any) -> None:  # noqa: ANN401
        """Write a changed row of the snapshot."""
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
    """Sum of a pocket's postings, and the statements of the batch about the pocket."""

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


def fence_holds(lane: Row, given: Row) -> bool:
    """Return whether a batch is the next one of its lane, under the epoch that owns it."""
    return bool(
        lane["epoch"] == given["epoch"]
        and lane["batch_no"] == given["batch_no"] - 1
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
        names = (parameter.name for parameter in PARAMETERS)
        self._given: Row = dict(zip(names, parameters, strict=True))
        self._stated = {name: records(name, self._given[name]) for name in TABLES}
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
            self.transaction.insert("postings", row)
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
            raise poison("54000", "too many rows in one transaction")
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
            after = bigint(before + delta)
            row = {"market": market, "account": account, "quantity": after}
            if held:
                self.transaction.update("positions", held, quantity=after)
            else:
                self.transaction.insert("positions", row)
            of_market = self.transaction.get("markets", market)
            if of_market:
                locked = collateral(of_market["payout"], before, after)
                self._locked[market, account] = bigint(locked)
                self._opened[market, account] = max(after, 0) - max(before, 0)

    def _pay(self) -> None:
        for row in self._stated["payees"]:
            market = self.transaction.get("markets", row["market"])
            held = self.transaction.get("positions", row["market"], row["account"])
            if market and held and self._decided(market, row["outcome"]):
                sign = {1: 1, 2: -1}.get(row["outcome"])
                quantity = None if sign is None else sign * held["quantity"]
                amount = None if quantity is None else bigint(quantity * market["payout"])
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
            amount, market = bigint(trade["price"] * trade["quantity"]), trade["market"]
            yield _posting(trade["trade"], (trade["buyer"], lane), market, Kind.PRICE, -amount)
            yield _posting(trade["trade"], (trade["seller"], lane), market, Kind.PRICE, amount)
        escrows: Counter[str] = Counter()
        for (market, account), amount in self._locked.items():
            escrows[market] += amount
            if amount:
                yield _posting(batch, (account, lane), market, Kind.COLLATERAL, -amount)
        for market, amount in escrows.items():
            if amount:
                yield _posting(batch, (market, ESCROW), market, Kind.COLLATERAL, bigint(amount))
        dues: Counter[str] = Counter()
        for row in self._paid:
            dues[row["market"]] += row["amount"]
            yield _posting(batch, (row["account"], lane), row["market"], Kind.PAYOUT, row["amount"])
        for market, amount in dues.items():
            yield _posting(batch, (market, ESCROW), market, Kind.PAYOUT, bigint(-amount))
        yield from self._stated_postings(lane)

    def _stated_postings(self, lane: int) -> Iterator[Row]:
        """Yield both rows of every draw, deposit and withdrawal."""
        for draw in self._stated["draws"]:
            numbers = (draw["amount"], draw["source"], draw["target"])
            legal = None not in numbers and numbers[0] > 0 and min(numbers[1:]) >= -1
            for side, sign in (("source", -1), ("target", 1)):
                amount = sign * draw["amount"] if legal else None
                pocket = (draw["account"], draw[side])
                yield _posting(draw["cause"], pocket, ids.NO_MARKET, Kind.DRAW, amount)
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
            ledger_sum=bigint(lane["ledger_sum"] + self._ledger_sum),
            cash_in=bigint(lane["cash_in"] + moved[True]),
            cash_out=bigint(lane["cash_out"] + moved[False]),
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
                balance = bigint(held["balance"] + change.amount)
                self.transaction.update("pockets", held, balance=balance)
                missed -= 1
        for account, lane in pockets:
            change = self._changes[account, lane]
            if change.fresh == 1 and change.need == 0:
                row = {"account": account, "lane": lane, "balance": bigint(change.amount)}
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
                escrow=bigint(market["escrow"] + change.escrow),
                open_interest=bigint(market["open_interest"] + change.opened),
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
                market is None or market["status"] != MarketStatus.OPEN for _, market in trades
            ),
            "resolved_and_traded": len({trade["market"] for trade, _ in trades} & ended),
            "payees_missed": len(self._stated["payees"]) - len(self._paid),
            "ledger_sum": self._ledger_sum,
        }

    # The rest.

    def _insert_batch(self, guards: dict[str, int]) -> None:
        form = schema()["batches"]
        stated = {**form.defaults, **guards, **self._given}
        row = {name: stated.get(name) for name in form.columns}
        self.transaction.insert("batches", row)

    def _insert_orders(self) -> None:
        for row in self._stated["orders"]:
            self.transaction.insert("orders", {**row, "lane": self._given["lane"]})

    def _insert_markets(self) -> None:
        zero = dict.fromkeys(("outcome", "escrow", "open_interest", "resolved_seq"), 0)
        for row in self._stated["markets"]:
            self.transaction.insert("markets", {**row, **zero, "lane": self._given["lane"]})


def _posting(
    cause: str, pocket: tuple[str, int], market: str, kind: Kind, amount: int | None
) -> Row:
    account, lane = pocket
    return {
        "cause": cause,
        "account": account,
        "lane": lane,
        "market": market,
        "kind": int(kind),
        "amount": amount,
    }


def _kind(transfer: Row) -> Kind:
    return Kind.DEPOSIT if transfer["deposit"] else Kind.WITHDRAWAL


def _into(transfer: Row) -> int:
    """Return by how much a transfer moves the account's pocket."""
    amount: int = transfer["amount"]
    return amount if transfer["deposit"] else -amount


def _greatest(one: int | None, other: int | None) -> int | None:
    given = [value for value in (one, other) if value is not None]
    return max(given, default=None)


# What is read.


class Reading:
    """Readings of the database at one instant, as a lane makes them."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    def facts(self, home: Home, lack: Lack) -> Facts:
        """Return everything that a plan lacks, in one snapshot."""
        return self.rows(home, lack, {m: self.page(home.lane, r) for m, r in lack.pages.items()})

    def rows(self, home: Home, lack: Lack, pages: dict[MarketId, Page]) -> Facts:
        """Return what is lacking but the pages, which are read apart."""
        account, get = ids.account_key, self._database.get

        def market(market_id: MarketId) -> str:
            return ids.market_key(home.stream, market_id)

        def held(m: MarketId, a: AccountId) -> int:
            row = get("positions", market(m), account(a))
            return row["quantity"] if row else 0

        markets = {m: get("markets", market(m)) for m in sorted(lack.markets)}
        orders = {
            (m, a, o): get("orders", ids.order_key(market(m), account(a), o))
            for m, a, o in sorted(lack.orders)
        }
        transfers = {
            (a, t): get("transfers", ids.transfer_key(account(a), t))
            for a, t in sorted(lack.transfers)
        }
        return Facts(
            accounts={a: self._pockets(home, account(a)) for a in sorted(lack.accounts)},
            positions={holding: held(*holding) for holding in sorted(lack.positions)},
            markets={m: readings.market_of(row) if row else None for m, row in markets.items()},
            orders={
                ref: readings.order_answer(_ORDER(row)) if row else None
                for ref, row in orders.items()
            },
            transfers={
                ref: readings.transfer_answer(_TRANSFER(row)) if row else None
                for ref, row in transfers.items()
            },
            pages=pages,
        )

    def _pockets(self, home: Home, account: str) -> dict[LaneId, Money] | None:
        """Return an account's pockets, of those in transfers lanes only the reader's own."""
        if self._database.get("accounts", account) is None:
            return None
        lanes = self._database.tables["lanes"]
        return {
            LaneId(lane): Money(balance)
            for lane, balance in sorted(self._database.pockets_of(account).items())
            if lane in (WALLET, home.lane) or lanes[lane,]["kind"] != StreamKind.TRANSFERS
        }

    def page(self, lane: LaneId, request: PageRequest) -> Page:
        """Return the next dead orders and payees of a resolved market."""
        sign = 1 if request.outcome is Outcome.YES else -1
        orders = [row for row in self._open_rows(lane) if row["market"] == request.market]
        payees = [
            self._named(row) | self._due(row, lane)
            for row in self._database.rows("positions")
            if row["market"] == request.market
            and row["account"] > request.after
            and sign * row["quantity"] > 0
        ]
        orders.sort(key=itemgetter("order_key"))
        payees.sort(key=itemgetter("account"))
        return readings.page_of(request, orders, payees)

    def _due(self, position: Row, lane: LaneId) -> Row:
        pocket = self._database.get("pockets", position["account"], lane)
        balance = pocket["balance"] if pocket else None
        return {"quantity": abs(position["quantity"]), "balance": balance}

    def _named(self, row: Row) -> Row:
        account = self._database.tables["accounts"][row["account"],]
        return row | {"account_id": account["account_id"]}

    def _open_rows(self, lane: LaneId) -> list[Row]:
        found = (row for row in self._database.rows("orders") if row["leaves"] > 0)
        return [self._named(row) for row in found if row["lane"] == lane]

    def markets(self, lane: LaneId) -> list[Market]:
        """Return a lane's markets that are not settled."""
        found = [row for row in self._database.rows("markets") if row["lane"] == lane]
        ours = [row for row in found if row["status"] < MarketStatus.SETTLED]
        return [readings.market_of(row) for row in sorted(ours, key=itemgetter("market"))]

    def open_orders(self, lane: LaneId) -> list[tuple[MarketId, OpenOrder]]:
        """Return a lane's open orders of markets that are not resolved, oldest first."""
        markets = self._database.tables["markets"]
        found = [
            (MarketId(market["market_id"]), readings.open_order_of(row))
            for row in self._open_rows(lane)
            if (market := markets[row["market"],])["status"] < MarketStatus.SETTLING
        ]
        return sorted(found, key=lambda entry: entry[1].seq)


_ORDER: Final = itemgetter("side", "price", "quantity", "time_in_force", "seq", "reason")
_TRANSFER: Final = itemgetter("deposit", "amount", "seq", "reason")
