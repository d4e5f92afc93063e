"""What a worker process is beside its lanes: what it serves by HTTP, and its watchdog.

It stands before there are lanes, because broker and database may be long in coming.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import generate_latest

from worker.adapters.http import Answers, Check, HttpServer, Refusal
from worker.adapters.kafka import AiokafkaBroker
from worker.adapters.postgres.books import Books
from worker.adapters.system import sleep, system
from worker.assignment import Assignments
from worker.audit import Auditor
from worker.config import Settings
from worker.domain.commands import Side
from worker.domain.ids import partition_of
from worker.domain.state import LaneState
from worker.domain.units import MarketId
from worker.errors import BrokerError
from worker.lane import LaneStatus
from worker.ports import TopicPartition
from worker.telemetry import Metrics, log
from worker.topics import Streams
from worker.watchdog import Probe, Sighting, Watchdog, live, ready, sight

BOOK_S: Final = 5.0
"""For so long a question for a book waits for the batch in hand."""
WAITING_RECORD_S: Final = 2.0


class Front:
    """Serves and watches; ``end`` ends the process. Lanes come with ``begin``."""

    def __init__(
        self,
        settings: Settings,
        broker: AiokafkaBroker,
        metrics: Metrics | None = None,
        *,
        end: Callable[[], None],
    ) -> None:
        self._settings, self._broker, self._system = settings, broker, system()
        self.metrics = metrics or Metrics()
        self.assignments: Assignments | None = None
        self._streams: Streams | None = None
        self.port = 0
        self._books = Books(
            settings.database_url.get_secret_value(), timeout_s=settings.database_timeout_s
        )
        self.auditor = Auditor(self._books, self._system.clock)
        self.probe = Probe(self._books.probe, self._system, self.metrics)
        self.watchdog = Watchdog(
            self._sightings,
            waits=self._waits,
            probe=self.probe,
            stall_s=settings.stall_s,
            system=self._system,
            metrics=self.metrics,
            end=end,
        )
        self._http = HttpServer(
            Answers(
                live=lambda: live(self.watchdog),
                ready=self._ready,
                lanes=self._lanes,
                metrics=lambda: generate_latest(self.metrics.registry),
                proof=self._proof,
                book=self._book,
                bug=lambda path, error: log.error("http_bug", path=path, exc_info=error),
            )
        )

    def begin(self, assignments: Assignments, streams: Streams) -> None:
        """Serve and watch the lanes, too."""
        self.assignments, self._streams = assignments, streams

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Sequence["asyncio.Task[None]"]]:
        """Serve, and yield the tasks that watch; none ends by itself. Raises ConfigError."""
        settings, tasks = self._settings, []
        self.port = await self._http.start(settings.http_host, settings.http_port)
        log.info("http_listening", host=settings.http_host, port=self.port)
        try:
            tasks = [
                asyncio.create_task(self.probe.run(), name="probe"),
                asyncio.create_task(self.watchdog.run(), name="watchdog"),
                asyncio.create_task(self.watchdog.pulse(), name="pulse"),
            ]
            if settings.audit_every_s:
                auditing = self.auditor.run(settings.audit_every_s, sleep, self.metrics)
                tasks.append(asyncio.create_task(auditing, name="audit"))
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._http.close()
            await self._books.close()

    def _ready(self) -> Mapping[str, Check]:
        assignments = self.assignments
        if assignments is None:
            return ready(joined=False, draining=False, lanes={}, unheard=(), probe=self.probe)
        return ready(
            joined=assignments.joined,
            draining=assignments.draining,
            lanes={p: (lane.status, lane.trouble) for p, lane in assignments.lanes.items()},
            unheard=self.watchdog.unheard,
            probe=self.probe,
        )

    def _lanes(self) -> Sequence[Mapping[str, object]]:
        lanes = self.assignments.lanes if self.assignments else {}
        return [
            {
                "topic": partition.topic,
                "partition": partition.partition,
                "status": lane.status,
                "reason": lane.trouble,
                "queuedRecords": lane.backlog,
                "nextOffset": lane.state and lane.state.next_offset,
                "batchNo": lane.state and lane.state.batch_no,
            }
            for partition, lane in sorted(lanes.items())
        ]

    async def _proof(self) -> Mapping[str, object]:
        return (await self.auditor.prove()).as_json()

    async def _book(self, name: str, levels: int) -> Mapping[str, object]:
        market_id = MarketId(name)
        if self.assignments is None or self._streams is None:
            raise Refusal(503, "STARTING", "the worker waits for broker and database")
        orders = self._streams.orders
        home = TopicPartition(orders.topic, partition_of(market_id, orders.partitions))
        place = {"marketId": name, "topic": home.topic, "partition": home.partition}
        where = f"partition {home.partition} of {home.topic}"
        lane = self.assignments.lanes.get(home)
        if lane is None:
            text = f"the market lives in {where}, which this worker does not hold"
            raise Refusal(404, "NOT_HELD_HERE", text, **place)
        if lane.status is not LaneStatus.READY:
            text = f"the market lives in {where}, which is {lane.status} {lane.reason}".rstrip()
            raise Refusal(503, "LANE_NOT_READY", text, **place)
        async with asyncio.timeout(BOOK_S):
            found = await lane.look(lambda state: _book_of(state, market_id, levels))
        if found is None:
            text = f"there is no such market in {where}, or it is settled"
            raise Refusal(404, "UNKNOWN_MARKET", text, **place)
        return found

    async def _sightings(self) -> Sequence[Sighting]:
        if self.assignments is None:
            return ()
        settings, bounds = self._settings, self.assignments.bounds
        events = dict(zip(settings.inputs, settings.outputs, strict=False))
        return await asyncio.gather(
            *(
                sight(p, lane, TopicPartition(events[p.topic], p.partition), bounds)
                for p, lane in tuple(self.assignments.lanes.items())
            )
        )

    async def _waits(self, partition: TopicPartition, offset: int) -> bool:
        """Whether somebody who comes new gets a record at ``offset`` or behind it."""
        try:
            async with self._broker.reader([partition]) as reader:
                reader.seek(partition, offset)
                return bool((await reader.poll(WAITING_RECORD_S)).get(partition))
        except BrokerError:
            return False


def _book_of(state: LaneState, market_id: MarketId, levels: int) -> Mapping[str, object] | None:
    """Return a market's best prices; None: the lane does not have it, or not any more."""
    market, book = state.markets.get(market_id), state.books.get(market_id)
    if market is None:
        return None

    def side(side: Side) -> Sequence[Mapping[str, int]]:
        depth = book.depth(side, levels) if book is not None else ()
        return [{"price": p, "quantity": q, "orders": n} for p, q, n in depth]

    return {
        "marketId": market_id,
        "title": market.title,
        "status": market.status.name,
        "outcome": market.outcome,
        "payout": market.payout,
        "marketSeq": market.market_seq,
        "seq": state.last_seq,
        "bids": side(Side.BUY),
        "asks": side(Side.SELL),
    }
