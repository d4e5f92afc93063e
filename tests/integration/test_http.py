"""The HTTP endpoints of a worker on real servers, before and after load, and in outages."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from tests.support.books import buy, deposit, open_market, resolve, sell
from tests.support.eventually import eventually
from tests.support.system import Member, System
from worker import app
from worker.adapters.http import CONNECTIONS_MAX, REQUESTS_MAX, Shared
from worker.domain import ids
from worker.domain.state import LaneState
from worker.embedded import EmbeddedKafka, EmbeddedPostgres
from worker.errors import ConfigError, StoreError
from worker.health.serve import Health
from worker.lane import Lane, LaneStatus
from worker.ports import Statement, TopicPartition


@dataclass
class Site:
    """A worker's HTTP endpoints, and a client."""

    worker: app.Worker
    health: Health
    client: aiohttp.ClientSession

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.health.port}"

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.client.get(f"{self.base}{path}") as answer:
            assert answer.content_type == "application/json"
            return answer.status, await answer.json()

    async def proof(self) -> dict[str, Any]:
        """Return a proof of the books as they are now, not one that was kept."""
        asked_s = time.monotonic()

        async def later() -> dict[str, Any] | None:
            # The worker answers later than this, so the proof is at least this much younger.
            sent_s = time.monotonic()
            status, found = await self.get("/api/proof")
            assert status == 200
            return found if found["ageSeconds"] <= sent_s - asked_s else None

        found: dict[str, Any] | None = await eventually(later)
        assert found is not None
        return found

    async def code(self, path: str) -> tuple[int, str]:
        status, body = await self.get(path)
        return status, body["error"]["code"]

    async def is_ready(self) -> bool:
        return (await self.get("/readyz"))[0] == 200


@asynccontextmanager
async def opened(
    system: System, member: Member | None, end: Callable[[], None] = pytest.fail
) -> AsyncIterator[Site]:
    """Serve as a worker process does. ``member`` None: it has not found its topics yet."""
    settings = system.settings
    worker = member.worker if member else app.Worker(settings, app.make_broker(settings))
    health = app.make_health(worker, end=end)
    timeout = aiohttp.ClientTimeout(total=60)
    async with health.open(), aiohttp.ClientSession(timeout=timeout) as client:
        yield Site(worker, health, client)


@pytest.fixture
def system_options() -> Mapping[str, object]:
    return {"http_port": 0}


@pytest.fixture
async def site(system: System) -> AsyncIterator[Site]:
    """Return the site of a worker that is ready."""
    async with opened(system, await system.member()) as found:
        await eventually(found.is_ready)
        yield found


async def test_worker_with_lanes_is_ready(site: Site) -> None:
    assert await site.get("/livez") == (
        200,
        {"live": True, "checks": {"lanes": {"ok": True, "says": "making progress"}}},
    )
    status, body = await site.get("/readyz")
    assert (status, body["ready"]) == (200, True)
    assert {name: check["ok"] for name, check in body["checks"].items()} == dict.fromkeys(
        ("group", "lanes", "topics", "broker", "database", "draining"), True
    )
    assert "lanes" not in body


async def test_verbose_health_shows_every_lane(site: Site, system: System) -> None:
    _, body = await site.get("/readyz?verbose")

    shown = {(lane["topic"], lane["partition"], lane["status"]) for lane in body["lanes"]}
    topics = (system.settings.orders_topic, system.settings.transfers_topic)
    assert shown == {(t, p, "READY") for t in topics for p in range(system.partitions)}


async def test_worker_without_topics_is_only_live(
    system: System,
) -> None:
    async with opened(system, None) as site:
        assert (await site.get("/livez"))[0] == 200
        status, body = await site.get("/readyz")
        assert status == 503
        assert not body["checks"]["group"]["ok"]
        assert await site.code("/api/markets/m/book") == (503, "STARTING")


async def test_draining_worker_is_not_ready(system: System) -> None:
    member = await system.member()
    async with opened(system, member) as site:
        await eventually(site.is_ready)

        member.worker.assignments.stop()

        status, body = await site.get("/readyz")
        assert (status, body["checks"]["draining"]["ok"]) == (503, False)
        assert (await site.get("/livez"))[0] == 200


async def test_metrics_have_a_series_per_lane(site: Site, system: System) -> None:
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


async def test_proof_holds_before_and_after_load(site: Site, system: System) -> None:
    status, before = await site.get("/api/proof")
    assert (status, before["consistent"], before["trades"]) == (200, True, 0)

    await _trade(system)

    after = await site.proof()
    assert (after["consistent"], after["cashConserved"]) == (True, True)
    assert after["trades"] == 20
    assert after["cashIn"] == after["cashInPockets"] + after["escrow"] == 20_000
    assert after["markets"] == {"open": 1, "halted": 0, "settling": 0, "settled": 1}
    assert after["journalGaps"] == 0
    assert (after["backend"].split()[0], after["lastAudit"]) == ("PostgreSQL", None)


async def test_proof_shows_last_full_audit(site: Site, system: System) -> None:
    await _trade(system)
    result = await site.health.auditor.audit()

    proof = await site.proof()

    assert result.violations == ()
    assert proof["lastAudit"] == {
        "ageSeconds": pytest.approx(0, abs=10),
        "consistent": True,
        "violations": 0,
    }


async def test_corrupted_row_is_inconsistent_and_200(site: Site, system: System) -> None:
    await system.publish(deposit("alice", 1_000))
    await system.answered()
    await system.database.execute("UPDATE pockets SET balance = balance + 1")

    proof = await site.proof()

    assert (proof["consistent"], proof["cashConserved"]) == (False, False)


async def test_concurrent_proofs_share_one_computation() -> None:
    runs, now_s, release = 0, 0.0, asyncio.Event()

    async def compute() -> int:
        nonlocal runs
        runs += 1
        await release.wait()
        return runs

    shared = Shared(compute, kept_s=1.0, clock=lambda: now_s)
    asking = [asyncio.create_task(shared()) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    release.set()

    assert await asyncio.gather(*asking[1:]) == [(1, 0.0)] * 4
    now_s = 1.0
    assert await shared() == (1, 1.0)
    now_s = 1.5
    assert await shared() == (2, 0.0)


async def test_failed_computation_is_not_kept() -> None:
    runs = 0

    async def compute() -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise StoreError("the database is down")
        return runs

    shared = Shared(compute, kept_s=1.0, clock=lambda: 0.0)
    with pytest.raises(StoreError):
        await shared()
    assert await shared() == (2, 0.0)


async def test_proof_is_at_most_one_second_old(site: Site) -> None:
    """A proof that is shown again says when it was begun, and another client gets the same."""
    proofs = await asyncio.gather(*(site.get("/api/proof") for _ in range(4)))

    assert {status for status, _ in proofs} == {200}
    began_s = time.monotonic()
    later = await site.proof()
    assert 0 <= later["ageSeconds"] <= time.monotonic() - began_s


async def test_book_shows_best_prices(site: Site, system: System) -> None:
    (market,) = await system.open(0, accounts=["alice", "bob"])
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


async def test_book_shows_only_committed_orders(
    site: Site, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    (market,) = await system.open(0, accounts=["alice"])
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


async def test_unknown_market_is_404_with_its_home(site: Site, system: System) -> None:
    market = system.market(1, "nobody")

    status, body = await site.get(f"/api/markets/{market}/book")

    assert (status, body["error"]["code"]) == (404, "UNKNOWN_MARKET")
    assert (body["error"]["topic"], body["error"]["partition"]) == (
        system.settings.orders_topic,
        1,
    )


async def test_market_held_elsewhere_is_404(site: Site, system: System) -> None:
    market = system.market(1)
    home, lanes = TopicPartition(system.settings.orders_topic, 1), site.worker.assignments.lanes
    elsewhere = lanes.pop(home)

    status, body = await site.get(f"/api/markets/{market}/book")

    lanes[home] = elsewhere
    assert (status, body["error"]["code"]) == (404, "NOT_HELD_HERE")
    assert body["error"]["partition"] == 1
    assert "partition 1" in body["error"]["message"]


async def test_halted_lane_shows_its_reason(site: Site, system: System) -> None:
    lane = _lane(site, system, system.market(0))
    lane.halt("an operator must look")
    await eventually(lambda: lane.status is LaneStatus.HALTED)

    status, body = await site.get("/readyz")

    assert status == 503
    assert "an operator must look" in body["checks"]["lanes"]["says"]
    assert await site.code(f"/api/markets/{system.market(0)}/book") == (503, "LANE_NOT_READY")
    assert (await site.get("/livez"))[0] == 200


async def test_errors_are_json(site: Site) -> None:
    many_zeros = "0" * 4_400
    odd = ("", "01", "+1", "%201", "1%0a", "%EF%BC%91", "1&levels=2", f"000000001{many_zeros}")
    for levels in ("0", "-1", "1001", "x", "1e3", "9" * 5_000, *odd):
        code = await site.code(f"/api/markets/m/book?levels={levels}")
        assert code == (400, "BAD_REQUEST"), levels

    status, body = await site.get("/nowhere")
    assert (status, body["error"]["code"]) == (404, "NOT_FOUND")
    assert "/api/proof" in body["error"]["paths"]

    async with site.client.post(f"{site.base}/api/proof") as answer:
        assert answer.status == 405
        assert (await answer.json())["error"]["code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize(
    "name",
    ["x" * 65, pytest.param("x" * 8_000, id="x8000"), "%1b]0;owned%07", "%00", "a%2fb", "%ff"],
)
async def test_invalid_market_name_is_400(site: Site, name: str) -> None:
    assert await site.code(f"/api/markets/{name}/book") == (400, "BAD_REQUEST")


async def test_names_asked_for_enter_no_cache(site: Site) -> None:
    """Lanes that are taken over meanwhile may add names of their own, but not so many."""
    asked = 50
    before = [cache.cache_info().misses for cache in (ids.partition_of, ids.market_key)]

    for number in range(asked):
        status, _ = await site.get(f"/api/markets/invented-{number}/book")
        assert status == 404

    after = [cache.cache_info().misses for cache in (ids.partition_of, ids.market_key)]
    assert max(now - then for now, then in zip(after, before, strict=True)) < asked


async def test_surplus_requests_are_busy(
    site: Site, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests beyond the bound are refused at once, and health is still answered."""
    market, release = system.market(0), asyncio.Event()
    waiting = 0

    async def look(_view: Callable[[LaneState], object]) -> object:
        nonlocal waiting
        waiting += 1
        await release.wait()
        return None

    monkeypatch.setattr(_lane(site, system, market), "look", look)
    path = f"/api/markets/{market}/book"
    asking = [asyncio.create_task(site.get(path)) for _ in range(REQUESTS_MAX)]
    await eventually(lambda: waiting == REQUESTS_MAX)

    async with site.client.get(f"{site.base}{path}") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await answer.json())["error"]["code"] == "BUSY"
    assert (await site.get("/livez"))[0] == 200

    release.set()
    assert {status for status, _ in await asyncio.gather(*asking)} == {404}
    assert (await site.get(path))[0] == 404


async def test_surplus_connections_are_busy(site: Site) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            _, writer = await asyncio.open_connection("127.0.0.1", site.health.port)
            stack.callback(writer.close)
        await asyncio.sleep(0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.health.port)
        stack.callback(writer.close)

        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), 60)).partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in head
        assert json.loads(body)["error"]["code"] == "BUSY"

    async def is_back() -> bool:
        return (await site.get("/livez"))[0] == 200

    await eventually(is_back)


async def test_taken_port_is_a_config_error(system: System) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = system.settings.model_copy(update={"http_port": port})
        worker = app.Worker(settings, app.make_broker(settings))
        health = app.make_health(worker, end=pytest.fail)

        with pytest.raises(ConfigError, match=f"PARITY_HTTP_PORT='{port}'"):
            async with health.open():
                pass


async def test_bug_is_logged_and_answered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.worker.metrics, "registry", None)

    with capture_logs() as lines:
        found = await site.code("/metrics")

    assert found == (500, "INTERNAL")
    assert [(n["event"], n["path"]) for n in lines if n["log_level"] == "error"] == [
        ("http_bug", "/metrics")
    ]


@pytest.mark.shows("F23")
async def test_database_outage_makes_worker_unready(
    kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    ended: list[None] = []
    # The outage lasts longer than the stall timeout, and /livez stays 200.
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


async def test_stalled_lane_is_not_live(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
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


def _lane(site: Site, system: System, market: str) -> Lane:
    partition = next(p for p in range(system.partitions) if system.market(p) == market)
    return site.worker.assignments.lanes[TopicPartition(system.settings.orders_topic, partition)]


async def _trade(system: System) -> None:
    """Trade twenty times in two markets, and resolve one of them."""
    markets = [system.market(p) for p in range(2)]
    await system.publish(
        deposit("alice", 10_000), deposit("bob", 10_000), *(open_market(m) for m in markets)
    )
    await system.answered()
    await system.publish(*(buy(m, "alice", 1, 50) for m in markets for _ in range(10)))
    await system.publish(*(sell(m, "bob", 1, 50) for m in markets for _ in range(10)))
    await system.publish(resolve(markets[0]))
    await system.answered()
