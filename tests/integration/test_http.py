"""What a worker serves over HTTP, on real servers: before, under and after load, and in outages."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.books import buy, deposit, open_market, resolve, sell
from tests.support.eventually import eventually
from tests.support.system import Member, System
from worker import app
from worker.adapters.http import CONNECTIONS_MAX, Answers, HttpServer, Shared
from worker.embedded import EmbeddedKafka, EmbeddedPostgres
from worker.errors import ConfigError
from worker.front import Front
from worker.lane import LaneStatus
from worker.ports import Statement

pytestmark = pytest.mark.integration


@dataclass
class Site:
    """A worker's HTTP side, and somebody who asks."""

    front: Front
    client: aiohttp.ClientSession

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.front.port}"

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.client.get(f"{self.base}{path}") as answer:
            assert answer.content_type == "application/json"
            return answer.status, await answer.json()

    async def code(self, path: str) -> tuple[int, str]:
        status, body = await self.get(path)
        return status, body["error"]["code"]

    async def is_ready(self) -> bool:
        return (await self.get("/readyz"))[0] == 200


@asynccontextmanager
async def opened(
    system: System, member: Member | None, end: Callable[[], None] = pytest.fail
) -> AsyncIterator[Site]:
    """Open a front as a worker process does, with or without its worker."""
    broker = member.broker if member else app.make_broker(system.settings)
    metrics = member.worker.metrics if member else None
    front = Front(system.settings, broker, metrics, end=end)
    if member is not None:
        front.begin(member.worker.assignments, member.worker.streams)
    timeout = aiohttp.ClientTimeout(total=60)
    async with front.open(), aiohttp.ClientSession(timeout=timeout) as client:
        yield Site(front, client)


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[System]:
    async with System.start(
        database_url, kafka_server.bootstrap, topic_prefix, http_port=0
    ) as started:
        yield started


@pytest.fixture
async def site(system: System) -> AsyncIterator[Site]:
    """The site of a worker that is ready."""
    async with opened(system, await system.member()) as found:
        await eventually(found.is_ready)
        yield found


async def test_a_worker_that_holds_its_lanes_is_live_and_ready(site: Site) -> None:
    assert await site.get("/livez") == (
        200,
        {"live": True, "checks": {"lanes": {"ok": True, "says": "getting on"}}},
    )
    status, body = await site.get("/readyz")
    assert (status, body["ready"]) == (200, True)
    assert {name: check["ok"] for name, check in body["checks"].items()} == dict.fromkeys(
        ("group", "lanes", "broker", "database", "draining"), True
    )
    assert "lanes" not in body


async def test_verbose_health_shows_every_lane(site: Site, system: System) -> None:
    _, body = await site.get("/readyz?verbose")

    shown = {(lane["topic"], lane["partition"], lane["status"]) for lane in body["lanes"]}
    topics = (system.settings.orders_topic, system.settings.transfers_topic)
    assert shown == {(t, p, "READY") for t in topics for p in range(system.partitions)}


async def test_before_it_has_found_its_topics_a_worker_is_live_and_not_ready(
    system: System,
) -> None:
    async with opened(system, None) as site:
        assert (await site.get("/livez"))[0] == 200
        status, body = await site.get("/readyz")
        assert status == 503
        assert not body["checks"]["group"]["ok"]
        assert await site.code("/api/markets/m/book") == (503, "STARTING")


async def test_a_worker_that_drains_is_not_ready(system: System) -> None:
    member = await system.member()
    async with opened(system, member) as site:
        await eventually(site.is_ready)

        member.worker.assignments.stop()

        status, body = await site.get("/readyz")
        assert (status, body["checks"]["draining"]["ok"]) == (503, False)
        assert (await site.get("/livez"))[0] == 200


async def test_metrics_are_prometheus_and_one_series_a_lane(site: Site, system: System) -> None:
    async def found() -> dict[str, list[dict[str, str]]]:
        async with site.client.get(f"{site.base}/metrics") as answer:
            assert answer.status == 200
            text = await answer.text()
        families = text_string_to_metric_families(text)
        return {f.name: [sample.labels for sample in f.samples] for f in families}

    async def behind() -> bool:
        return len((await found())["parity_lane_behind_records"]) == 2 * system.partitions

    await eventually(behind)
    names = await found()
    assert len(names["parity_lane_ready"]) == 2 * system.partitions
    assert {"parity_event_loop_lag_seconds", "parity_stalled_lanes"} <= set(names)


async def test_the_proof_holds_before_and_after_load(site: Site, system: System) -> None:
    status, before = await site.get("/api/proof")
    assert (status, before["consistent"], before["trades"]) == (200, True, 0)

    await _trade(system)

    status, after = await site.get("/api/proof")
    assert (status, after["consistent"], after["cashConserved"]) == (200, True, True)
    assert after["trades"] == 20
    assert after["cashIn"] == after["cashInPockets"] + after["escrow"] == 20_000
    assert after["markets"] == {"open": 1, "halted": 0, "settling": 0, "settled": 1}
    assert after["journalGaps"] == 0
    assert (after["backend"].split()[0], after["lastAudit"]) == ("PostgreSQL", None)


async def test_the_proof_tells_of_a_full_audit(site: Site, system: System) -> None:
    await _trade(system)
    result = await site.front.auditor.audit()

    _, proof = await site.get("/api/proof")

    assert result.violations == ()
    assert proof["lastAudit"] == {
        "ageSeconds": pytest.approx(0, abs=10),
        "consistent": True,
        "violations": 0,
    }


async def test_a_corrupted_row_is_inconsistent_and_still_200(site: Site, system: System) -> None:
    await system.publish(deposit("alice", 1_000))
    await system.answered()
    await system.database.execute("UPDATE pockets SET balance = balance + 1")

    status, proof = await site.get("/api/proof")

    assert status == 200
    assert (proof["consistent"], proof["cashConserved"]) == (False, False)


async def test_proofs_asked_for_at_once_share_one_computation() -> None:
    runs, release = 0, asyncio.Event()

    async def compute() -> int:
        nonlocal runs
        runs += 1
        await release.wait()
        return runs

    shared = Shared(compute)
    asking = [asyncio.create_task(shared()) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    release.set()

    assert await asyncio.gather(*asking[1:]) == [1, 1, 1, 1]
    assert await shared() == 2


async def test_a_book_shows_its_best_prices(site: Site, system: System) -> None:
    market = system.market(0)
    await system.publish(deposit("alice", 10_000), deposit("bob", 10_000), open_market(market))
    await system.answered()
    await system.publish(
        buy(market, "alice", 3, 40), buy(market, "bob", 2, 40), buy(market, "bob", 1, 39)
    )
    await system.publish(sell(market, "alice", 5, 60))
    await system.answered()

    status, book = await site.get(f"/api/markets/{market}/book?levels=1")

    assert status == 200
    assert (book["marketId"], book["status"], book["payout"]) == (market, "OPEN", 100)
    assert book["bids"] == [{"price": 40, "quantity": 5, "orders": 2}]
    assert book["asks"] == [{"price": 60, "quantity": 5, "orders": 1}]


async def test_a_book_never_shows_what_is_not_committed(
    site: Site, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = system.market(0)
    await system.publish(deposit("alice", 10_000), open_market(market))
    await system.answered()
    held, release = asyncio.Event(), asyncio.Event()
    store = _lane(site, system, market)._store
    committing = store.commit

    async def commit(statement: Statement) -> None:
        held.set()
        await release.wait()
        await committing(statement)

    monkeypatch.setattr(store, "commit", commit)
    await system.publish(buy(market, "alice", 3, 40))
    await held.wait()

    asking = asyncio.create_task(site.get(f"/api/markets/{market}/book"))
    await asyncio.wait({asking}, timeout=0.3)
    assert not asking.done()
    release.set()

    _, book = await asking
    assert book["bids"] == [{"price": 40, "quantity": 3, "orders": 1}]


async def test_a_market_that_is_not_there_says_where_it_would_live(
    site: Site, system: System
) -> None:
    market = system.market(1, "nobody")

    status, body = await site.get(f"/api/markets/{market}/book")

    assert (status, body["error"]["code"]) == (404, "UNKNOWN_MARKET")
    assert (body["error"]["topic"], body["error"]["partition"]) == (
        system.settings.orders_topic,
        1,
    )


async def test_a_market_of_a_lane_that_is_held_elsewhere_says_which(
    site: Site, system: System
) -> None:
    market = system.market(1)
    assert site.front.assignments is not None
    lanes = site.front.assignments.lanes
    home = next(p for p in lanes if p == (system.settings.orders_topic, 1))
    elsewhere = lanes.pop(home)

    status, body = await site.get(f"/api/markets/{market}/book")

    lanes[home] = elsewhere
    assert (status, body["error"]["code"]) == (404, "NOT_HELD_HERE")
    assert body["error"]["partition"] == 1
    assert "partition 1" in body["error"]["message"]


async def test_a_halted_lane_says_why(site: Site, system: System) -> None:
    lane = _lane(site, system, system.market(0))
    lane.halt("an operator must look")
    await eventually(lambda: lane.status is LaneStatus.HALTED)

    status, body = await site.get("/readyz")

    assert status == 503
    assert "an operator must look" in body["checks"]["lanes"]["says"]
    assert await site.code(f"/api/markets/{system.market(0)}/book") == (503, "LANE_NOT_READY")
    assert (await site.get("/livez"))[0] == 200


async def test_errors_are_json_too(site: Site) -> None:
    for levels in ("0", "-1", "1001", "x", "1e3", "9" * 5_000):
        code = await site.code(f"/api/markets/m/book?levels={levels}")
        assert code == (400, "BAD_REQUEST"), levels

    status, body = await site.get("/nowhere")
    assert (status, body["error"]["code"]) == (404, "NOT_FOUND")
    assert "/api/proof" in body["error"]["paths"]

    async with site.client.post(f"{site.base}/api/proof") as answer:
        assert answer.status == 405
        assert (await answer.json())["error"]["code"] == "METHOD_NOT_ALLOWED"


async def test_no_more_than_so_many_connections(site: Site) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            _, writer = await asyncio.open_connection("127.0.0.1", site.front.port)
            stack.callback(writer.close)
        await asyncio.sleep(0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.front.port)
        stack.callback(writer.close)

        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), 60)).partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 503 ")
        assert json.loads(body)["error"]["code"] == "BUSY"

    async def is_back() -> bool:
        return (await site.get("/livez"))[0] == 200

    await eventually(is_back)


async def test_a_port_that_is_taken_is_named_by_its_variable(system: System) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = system.settings.model_copy(update={"http_port": port})
        front = Front(settings, app.make_broker(settings), end=pytest.fail)

        with pytest.raises(ConfigError, match=f"PARITY_HTTP_PORT='{port}'"):
            async with front.open():
                pass


async def test_a_bug_is_told_and_answered(site: Site) -> None:
    told: list[str] = []

    def broken() -> bytes:
        raise ZeroDivisionError

    answers = Answers(
        live=dict,
        ready=dict,
        lanes=list,
        metrics=broken,
        proof=_nothing,
        book=lambda _market, _levels: _nothing(),
        bug=lambda path, error: told.append(f"{path} {type(error).__name__}"),
    )
    server = HttpServer(answers)
    port = await server.start("127.0.0.1", 0)
    async with site.client.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (500, "INTERNAL")
    await server.close()
    assert told == ["/metrics ZeroDivisionError"]


@pytest.mark.shows("F23")
async def test_an_outage_of_the_database_makes_it_unready_and_leaves_it_alive(
    kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    ended: list[None] = []
    # The outage lasts longer than a lane may stand still.
    impatient = {"http_port": 0, "database_timeout_s": 2, "stall_s": 10}
    with EmbeddedPostgres.start() as postgres:
        async with (
            System.start(postgres.url, kafka_server.bootstrap, topic_prefix, **impatient) as system,
            opened(system, await system.member(), lambda: ended.append(None)) as site,
        ):
            await eventually(site.is_ready)

            await asyncio.to_thread(postgres.kill)
            await system.publish(deposit("alice", 7))

            async def is_unready() -> bool:
                return not await site.is_ready()

            await eventually(is_unready)
            _, body = await site.get("/readyz")
            assert body["checks"]["group"]["ok"]
            assert not body["checks"]["database"]["ok"]
            assert (await site.get("/livez"))[0] == 200
            assert await site.code("/api/proof") == (503, "UNAVAILABLE")

            await asyncio.to_thread(postgres.restart)

            async def is_answered() -> bool:
                status, proof = await site.get("/api/proof")
                return status == 200 and proof["cashIn"] == 7

            await eventually(is_answered)
            await eventually(site.is_ready)
            assert ended == []
            with contextlib.suppress(asyncpg.PostgresError, OSError):
                await system.database.close()


async def test_a_lane_that_stands_still_is_not_live(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()
    system.settings = system.settings.model_copy(update={"stall_s": 3.0})
    market = system.market(0)
    async with opened(system, await system.member(), ended.set) as site:
        await eventually(site.is_ready)

        async def commit(_statement: Statement) -> None:
            await asyncio.sleep(3_600)

        monkeypatch.setattr(_lane(site, system, market)._store, "commit", commit)
        await system.publish(open_market(market))

        await asyncio.wait_for(ended.wait(), 60)
        status, body = await site.get("/livez")

    assert status == 503
    assert system.settings.orders_topic in body["checks"]["lanes"]["says"]


async def _nothing() -> dict[str, object]:
    return {}


def _lane(site: Site, system: System, market: str) -> Any:  # noqa: ANN401 - its inside is used
    assert site.front.assignments is not None
    partition = next(p for p in range(system.partitions) if system.market(p) == market)
    lanes = site.front.assignments.lanes
    return next(lane for p, lane in lanes.items() if p == (system.settings.orders_topic, partition))


async def _trade(system: System) -> None:
    """Two markets, twenty trades, one of the markets resolved."""
    markets = [system.market(p) for p in range(2)]
    await system.publish(
        deposit("alice", 10_000), deposit("bob", 10_000), *(open_market(m) for m in markets)
    )
    await system.answered()
    await system.publish(*(buy(m, "alice", 1, 50) for m in markets for _ in range(10)))
    await system.publish(*(sell(m, "bob", 1, 50) for m in markets for _ in range(10)))
    await system.publish(resolve(markets[0]))
    await system.answered()
