"""The first thing a lane's owner does: raise the epoch, load, publish what the last owner left.

    published_seq ──► raise_epoch ──► load ──► publish_rest ──► Intake.seek

Contract: once the epoch is raised, the database refuses every batch of an earlier owner. Reading
the topic before that is safe, because whatever was published was committed first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Final

from worker.domain.book import Book, OpenOrder
from worker.domain.state import Home, LaneState
from worker.domain.units import CASH_MAX, Money, Offset
from worker.errors import LaneHalted
from worker.ports import (
    BEFORE_ORDERS,
    JOURNAL_ROWS_MAX,
    LaneRow,
    OrderCursor,
    Store,
    StreamRow,
    System,
)
from worker.publisher import Publisher
from worker.telemetry import LaneMetrics
from worker.wire import resume as resume_text

ORDERS_PER_TURN: Final = 1_000
"""Orders that enter a book before the event loop has its turn, which takes 5 ms."""
_by_seq: Final = attrgetter("seq")


@dataclass(slots=True)
class TakeOver:
    """Takes one lane over from its last owner, once."""

    stream: StreamRow
    partition: int
    owner: str
    store: Store
    publisher: Publisher
    metrics: LaneMetrics
    system: System
    _published_seq: int | None = field(default=None, init=False)
    """The last event in the topic before the epoch was raised. None: all events have expired."""

    async def raise_epoch(self) -> LaneRow:
        """Become the lane's only writer; return its row.

        Raises LaneHalted if the topic has events that the database does not have.
        """
        self._published_seq = await self.publisher.published_seq()
        seen_seq = self.publisher.seen_seq
        row = await self.store.take_over(self.stream.stream, self.partition, self.owner)
        if seen_seq > row.last_seq:
            raise LaneHalted(
                f"event {seen_seq} is published and the database ends at {row.last_seq}:"
                " it was restored from an older time"
            )
        return row

    async def load(self, row: LaneRow) -> LaneState:
        """Return the lane's state as the tables have it."""
        return await load(self.store, self.stream, self.partition, row, self.system)

    async def publish_rest(self, row: LaneRow) -> None:
        """Queue every committed batch that the topic lacks."""
        self.publisher.published_batch_no = row.published_batch_no
        first = await self._first_unpublished(row)
        while first <= row.batch_no:
            for journal_row in await self.store.journal(row.lane, first, row.batch_no):
                await self.publisher.put(journal_row)
            first += JOURNAL_ROWS_MAX

    async def _first_unpublished(self, row: LaneRow) -> int:
        """Return the first batch to publish, usually the one after the last noted as published.

        It is an earlier one if the brokers lost events that they had acknowledged.
        """
        first = await self._first_lacking(row, self._published_seq)
        if first <= row.published_batch_no:
            # The last owner may have published between our look at the topic and the new epoch.
            self._published_seq = await self.publisher.published_seq()
            first = await self._first_lacking(row, self._published_seq)
        if first <= row.published_batch_no:
            self.metrics.alarm("published_again", batch_no=first, published_seq=self._published_seq)
        return first

    async def _first_lacking(self, row: LaneRow, published_seq: int | None) -> int:
        """Return the first batch after ``published_seq``, going back through the journal."""
        first = unread = row.published_batch_no + 1
        # One row first: usually the last noted batch is in the topic.
        count = 1
        while published_seq is not None and unread > 1:
            found = await self.store.journal(row.lane, max(1, unread - count), unread - 1)
            for journal_row in reversed(found):
                # A row may have half a megabyte, and there may be many.
                await self.system.turn()
                seq = self.publisher.last_seq(journal_row)
                if 0 < seq <= published_seq:
                    return first
                first = journal_row.batch_no if seq else first
            if not found:
                break
            unread, count = found[0].batch_no, JOURNAL_ROWS_MAX
        return first


async def load(
    store: Store, stream: StreamRow, partition: int, row: LaneRow, system: System
) -> LaneState:
    """Return what a lane's owner keeps in memory, from the lane's row and the tables."""
    share = Money(CASH_MAX // stream.partitions)
    home = Home(row.lane, stream.stream, partition, stream.partitions, stream.kind, share)
    sweeps, settlements, waiting = resume_text.decode(row.resume)
    state = LaneState(
        home,
        batch_no=row.batch_no,
        next_offset=Offset(row.next_offset),
        last_seq=row.last_seq,
        lane_time_ms=row.lane_time_ms,
        last_record_sha=row.last_record_sha,
        cash_in_net=row.cash_in_net,
        sweeps=sweeps,
        settlements=settlements,
        waiting=waiting,
    )
    for market in await store.markets(row.lane):
        state.markets[market.market_id] = market
    await _load_books(store, state, system)
    return state


async def _load_books(store: Store, state: LaneState, system: System) -> None:
    """Fill the books with the lane's open orders, market by market."""
    # A sweeping order rests in no book before its sweep is over.
    sweeping = {sweep.order.key for sweep in state.sweeps}
    market, runs = None, list[list[OpenOrder]]()
    after: OrderCursor | None = BEFORE_ORDERS
    while after is not None:
        page = await store.open_orders(state.home.lane, after)
        for market_id, entries in groupby(page.orders, key=itemgetter(0)):
            if market is not None and market_id != market:
                await _fill(state.book(market), runs, system)
                runs = []
            market = market_id
            orders = (order for _, order in entries if order.key not in sweeping)
            runs.append(sorted(orders, key=_by_seq))
        after = page.last
    if market is not None:
        await _fill(state.book(market), runs, system)


async def _fill(book: Book, runs: Sequence[Sequence[OpenOrder]], system: System) -> None:
    """Put a market's orders into its book, oldest first. Each run is sorted.

    One market may have a million orders. The event loop gets its turn again and again, so that the
    consumer sends its heartbeats and other lanes work. Sorting all at once would block the loop.
    """
    for number, order in enumerate(merge(*runs, key=_by_seq), start=1):
        book.add(order)
        if number % ORDERS_PER_TURN == 0:
            book.keep()
            await system.turn()
    book.keep()
    await system.turn()
