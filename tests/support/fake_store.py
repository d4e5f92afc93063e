"""The store in memory, for tests and for the simulation.

`FakeStore` is the port of one lane's connection over a `FakeDatabase`. Time passes, and connections
break, only in the `Line`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

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
from tests.support.fake_database import BatchStatement, FakeDatabase, Reading, Transaction
from worker.adapters.postgres import parameters
from worker.domain import ids
from worker.domain.facts import Facts, Lack, Page
from worker.domain.plan import Batch
from worker.domain.state import Home, Market, StreamKind
from worker.domain.units import LaneId, MarketId
from worker.errors import (
    Conflict,
    OutcomeUnknown,
    ParityError,
    SchemaChanged,
    StoreError,
    Unavailable,
)
from worker.ports import (
    JOURNAL_ROWS_MAX,
    JournalRow,
    LaneRow,
    OpenOrders,
    OrderCursor,
    Seal,
    Sleep,
    Standing,
    Statement,
)

T = TypeVar("T")

LOADED_ORDERS_PER_PAGE = 3


class Fate(Enum):
    """Fate of one call."""

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
    """Connection between a store and the database."""

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
        self._database, self._reading = database, Reading(database)
        self._line = line or CalmLine()
        self._sleep = sleep
        self._connected = False
        self._busy = False

    async def take_over(self, stream: str, partition: int, owner: str) -> LaneRow:
        return await self._write("take_over", lambda: self._take_over(stream, partition, owner))

    async def markets(self, lane: LaneId) -> Sequence[Market]:
        return await self._look("markets", lambda: self._reading.markets(lane))

    async def open_orders(self, lane: LaneId, after: OrderCursor) -> OpenOrders:
        return await self._look("open_orders", lambda: self._page(lane, after))

    def _page(self, lane: LaneId, after: OrderCursor) -> OpenOrders:
        places = sorted((m, o.key, o) for m, o in self._reading.open_orders(lane))
        rest = [place for place in places if place[:2] > after]
        page = rest[:LOADED_ORDERS_PER_PAGE]
        orders = [(market_id, order) for market_id, _, order in page]
        return OpenOrders(orders, page[-1][:2] if len(rest) > len(page) else None)

    async def read(self, home: Home, lack: Lack) -> Facts:
        pages: dict[MarketId, Page] = {}
        for market_id, request in lack.pages.items():
            look_at = partial(self._reading.page, home.lane, request)
            pages[market_id] = await self._look("read", look_at)
        return await self._look("read", lambda: self._reading.rows(home, lack, pages))

    def statement(self, batch: Batch, seal: Seal) -> Statement:
        return parameters.statement(batch, seal)

    async def commit(self, statement: Statement) -> None:
        def run() -> Work[None]:
            return Work(BatchStatement(self._database, statement.parameters).execute(), None)

        await self._write("commit", run)

    async def standing(self, lane: LaneId, batch_no: int) -> Standing:
        def look() -> Standing:
            row = self._database.get("lanes", lane)
            assert row is not None, "a lane's row is never deleted"
            batch = self._database.get("batches", ids.batch_key(lane, batch_no))
            won = None if batch is None else batch["plan_hash"]
            return Standing(row["epoch"], row["batch_no"], won)

        return await self._look("standing", look)

    async def journal(self, lane: LaneId, first: int, last: int) -> Sequence[JournalRow]:
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
        async with self._called(call) as fate:
            if fate in {Fate.COMMIT_LATE, Fate.ARRIVES_LATE}:
                await self._sleep(self._line.limbo_s()[0])
            found = look()
            await self._travel(call)
            if fate is not Fate.DONE:
                raise self._unknown(call, fate)
        return found

    async def _write(self, call: StoreCall, run: Callable[[], Work[T]]) -> T:
        """Run a transaction. The server ends what it has begun, whatever becomes of the caller."""
        async with self._called(call) as fate:
            if fate in {Fate.COMMIT_LATE, Fate.ARRIVES_LATE}:
                await self._limbo(fate, run)
                raise self._unknown(call, fate)
            work = run()
            await self._committed(work.transaction, self._line.latency_s(call))
            await self._travel(call)
            if fate is Fate.LOST_AFTER:
                raise self._unknown(call, fate)
        return work.answer

    @asynccontextmanager
    async def _called(self, call: StoreCall) -> AsyncIterator[Fate]:
        """Connect if necessary, and bring the call to the server, which nothing else may use."""
        assert not self._busy, "another operation is in progress on this connection"
        self._busy = True
        try:
            if not self._connected:
                await self._connect()
            fate = self._line.fate(call)
            await self._travel(call)
            self._may_fail(call, fate)
            yield fate
        except asyncio.CancelledError:
            self._connected = False
            raise
        finally:
            self._busy = False

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
            raise SchemaChanged(f"40001 (OC001) {call}", sqlstate="40001")

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

    # Taking over.

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
            lane=LaneId(row["lane"]),
            epoch=row["epoch"] + 1,
            **{name: row[name] for name in names},
            published_batch_no=row["published_batch_no"],
            lane_time_ms=row["lane_time_ms"],
            cash_in_net=row["cash_in"] - row["cash_out"],
        )
        return Work(transaction, found)


# What the tests of the books ask for.


@dataclass
class FakeBooks:
    """Books as `tests.support.books.Books`, without a server."""

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
