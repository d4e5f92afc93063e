"""The answers to HTTP requests, and the tasks that run next to the lanes.

These are the probe of the database, the watchdog, the watch over the topics and the audit.

All of this starts before any lane exists, because broker and database may be down for long.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import generate_latest
from typing_extensions import override

from worker.adapters.http import Answers, HttpServer, Refusal
from worker.adapters.postgres.books import Books
from worker.assignment import Assignments
from worker.audit import Auditor
from worker.config import Settings
from worker.domain.commands import Side
from worker.domain.state import LaneState
from worker.domain.units import MarketId
from worker.health.topic_watch import TopicWatch
from worker.health.watchdog import Probe, Sighting, Watchdog
from worker.lane import LaneStatus
from worker.ports import Check, System, TopicPartition
from worker.telemetry import Metrics, log
from worker.wire.decode import ID_RULE, is_id

READY_S: Final = 10.0
"""How long after its last answer a silent database still counts as up for /readyz."""
BOOK_S: Final = 5.0
"""How long a request for a book waits for the batch in hand."""


def live(stalled: Sequence[Sighting]) -> dict[str, Check]:
    """Return the checks of /livez. An answer at all shows that the event loop runs."""
    names = ", ".join(_name(seen.lane) for seen in stalled)
    return {"lanes": Check(not stalled, f"stalled: {names}" if names else "making progress")}


def ready(
    *,
    joined: bool,
    draining: bool,
    lanes: Mapping[TopicPartition, tuple[LaneStatus, str]],
    unheard: Sequence[TopicPartition],
    topics: Mapping[str, str],
    probe: Probe,
) -> dict[str, Check]:
    """Return the checks of /readyz. A worker without lanes is ready: it is a spare.

    ``topics`` has what is wrong with each topic that does not fit.
    """
    answers = probe.answered_within(READY_S)
    silent = ", ".join(map(_name, sorted(unheard)))
    waiting = [
        f"{_name(lane)} {status}{f': {reason}' if reason else ''}"
        for lane, (status, reason) in sorted(lanes.items())
        if reason or status is not LaneStatus.READY
    ]
    return {
        "group": Check(joined, "joined" if joined else "not joined"),
        "lanes": Check(not waiting, "; ".join(waiting) or f"{len(lanes)} READY"),
        "broker": Check(not silent, f"no answer on {silent}" if silent else "answers"),
        "topics": Check(not topics, _joined(topics) or "fit"),
        "database": Check(answers, "answers" if answers else probe.error or "silent"),
        "draining": Check(not draining, "yes" if draining else "no"),
    }


class WorkerAnswers(Answers):
    """Answers from the lanes, the watchdog and the books of this process."""

    def __init__(  # noqa: PLR0913 - all by keyword: what the answers are made from
        self,
        *,
        assignments: Assignments,
        home_of: Callable[[MarketId], TopicPartition | None],
        probe: Probe,
        watchdog: Watchdog,
        topic_watch: TopicWatch,
        auditor: Auditor,
        metrics: Metrics,
    ) -> None:
        """``home_of`` returns the input partition of a market. None: the topics are not known."""
        self._assignments, self._home_of = assignments, home_of
        self._probe, self._watchdog, self._auditor = probe, watchdog, auditor
        self._topic_watch, self._metrics = topic_watch, metrics

    @override
    def live(self) -> Mapping[str, Check]:
        return live(self._watchdog.stalled)

    @override
    def ready(self) -> Mapping[str, Check]:
        assignments = self._assignments
        return ready(
            joined=assignments.joined,
            draining=assignments.draining,
            lanes={p: (lane.status, lane.trouble) for p, lane in assignments.lanes.items()},
            unheard=self._watchdog.unheard,
            topics=self._topic_watch.problems,
            probe=self._probe,
        )

    @override
    def lanes(self) -> Sequence[Mapping[str, object]]:
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
            for partition, lane in sorted(self._assignments.lanes.items())
        ]

    @override
    def metrics(self) -> bytes:
        return generate_latest(self._metrics.registry)

    @override
    async def proof(self) -> Mapping[str, object]:
        return (await self._auditor.prove()).as_json()

    @override
    async def book(self, market_id: str, levels: int) -> Mapping[str, object]:
        if not is_id(market_id):
            raise Refusal(400, "BAD_REQUEST", f"market {market_id[:20]!r}: {ID_RULE}")
        home = self._home_of(MarketId(market_id))
        if home is None:
            raise Refusal(503, "STARTING", "the worker waits for broker and database")
        place = {"marketId": market_id, "topic": home.topic, "partition": home.partition}
        where = f"partition {home.partition} of {home.topic}"
        lane = self._assignments.lanes.get(home)
        if lane is None:
            text = f"the market lives in {where}, which this worker does not hold"
            raise Refusal(404, "NOT_HELD_HERE", text, **place)
        if lane.status is not LaneStatus.READY:
            text = f"the market lives in {where}, which is {lane.status} {lane.reason}".rstrip()
            raise Refusal(503, "LANE_NOT_READY", text, **place)
        async with asyncio.timeout(BOOK_S):
            found = await lane.look(lambda state: _book_of(state, MarketId(market_id), levels))
        if found is None:
            text = f"there is no such market in {where}, or it is settled"
            raise Refusal(404, "UNKNOWN_MARKET", text, **place)
        return found

    @override
    def bug(self, path: str, error: Exception) -> None:
        log.error("http_bug", path=path, exc_info=error)


@dataclass(slots=True, kw_only=True)
class Health:
    """Everything that runs in a worker process next to its lanes."""

    settings: Settings
    http: HttpServer
    probe: Probe
    watchdog: Watchdog
    topic_watch: TopicWatch
    auditor: Auditor
    books: Books
    metrics: Metrics
    system: System
    port: int = 0
    """Where the server listens, once it does."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Sequence["asyncio.Task[None]"]]:
        """Serve, and yield the tasks that watch. None ends by itself. Raises ConfigError."""
        settings = self.settings
        self.port = await self.http.start(settings.http_host, settings.http_port)
        log.info("http_listening", host=settings.http_host, port=self.port)
        watching = {
            "probe": self.probe.run(),
            "watchdog": self.watchdog.run(),
            "pulse": self.watchdog.pulse(),
            "topics": self.topic_watch.run(),
        }
        if settings.audit_every_s:
            auditing = self.auditor.run(settings.audit_every_s, self.system.sleep, self.metrics)
            watching["audit"] = auditing
        tasks = [asyncio.create_task(work, name=name) for name, work in watching.items()]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.http.close()
            await self.books.close()


def _joined(topics: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {why}" for name, why in sorted(topics.items()))


def _name(lane: TopicPartition) -> str:
    return f"{lane.topic}[{lane.partition}]"


def _book_of(state: LaneState, market_id: MarketId, levels: int) -> Mapping[str, object] | None:
    """Return a market's best prices. None: the lane does not have the market, or it is settled."""
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
