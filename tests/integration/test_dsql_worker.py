"""A whole worker on a ``dsql://`` address: it sends nothing that DSQL refuses, and its conflicts
are told apart. Before PostgreSQL stands `tests.support.dsql`.
"""

import time
from collections.abc import AsyncIterator

import pytest

from tests.support.aws import without_credentials
from tests.support.books import buy, cancel, deposit, open_market, resolve, sell, withdraw
from tests.support.dsql import KEY_ID, OC000, OC001, SECRET, DsqlEndpoint
from tests.support.dsql_lint import complaints
from tests.support.system import System
from worker.adapters.postgres.books import Books
from worker.adapters.postgres.target import cluster
from worker.audit import full_audit
from worker.audit.proof import prove
from worker.embedded import EmbeddedKafka

pytestmark = pytest.mark.integration

RICH = 10**9
ANSWERED_S = 60


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    without_credentials(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
async def system(
    database_url: str, kafka_server: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[System]:
    async with System.start(database_url, kafka_server.bootstrap, topic_prefix) as made:
        yield made


@pytest.fixture
async def endpoint(database_url: str) -> AsyncIterator[DsqlEndpoint]:
    async with DsqlEndpoint.before(database_url) as made:
        yield made


async def _everything(system: System) -> None:
    """Make the worker do whatever it can: draws, sweeps, cancels, withdrawals, settlements."""
    names = [f"trader-{n}" for n in range(30)]
    markets = [system.market(0), system.market(1, "n")]
    await system.publish(*(deposit(name, RICH) for name in names), *map(open_market, markets))
    await system.answered(ANSWERED_S)
    for market in markets:
        await system.publish(*(sell(market, name, 10, 40 + n) for n, name in enumerate(names[1:])))
        await system.publish(buy(market, names[0], 200, 60, "sweep"))
        await system.publish(sell(market, names[0], 5, 90, "rest"), sell(market, names[0], 5, 0))
        await system.publish(cancel(market, names[0], "rest"), cancel(market, "nobody", "rest"))
    await system.answered(ANSWERED_S)
    await system.publish(withdraw(names[0], RICH // 2), withdraw(names[1], 2 * RICH))
    await system.publish(*map(resolve, markets))
    await system.answered(ANSWERED_S)


@pytest.mark.parametrize("commit_mode", ["statement", "steps"])
async def test_a_worker_sends_nothing_that_dsql_refuses(
    system: System, endpoint: DsqlEndpoint, commit_mode: str
) -> None:
    worker = await system.process(database_url=endpoint.url, commit_mode=commit_mode)
    await _everything(system)
    worker.process.terminate()
    await worker.ended()
    books = Books(endpoint.url, timeout_s=10)
    await books.probe()
    proof = await prove(books)
    audit = await full_audit(books, time.monotonic)
    await books.close()
    await cluster(endpoint.url).close()

    assert endpoint.refused == set()
    assert complaints(endpoint.sent) == {}
    assert endpoint.cancels == 0
    assert endpoint.protocols == {"postgresql"}
    batches = {text for text in endpoint.sent if "INSERT INTO batches" in text}
    assert {"INSERT INTO trades" in text for text in batches} == {commit_mode == "statement"}
    assert proof.backend == "Aurora DSQL"
    assert proof.consistent
    assert audit.violations == ()
    assert worker.process.returncode == 0
    assert len(await system.events("MARKET_SETTLED")) == 2
    await system.check_invariants()


@pytest.mark.shows("F19", "F20", "F22")
@pytest.mark.parametrize("commit_mode", ["statement", "steps"])
async def test_conflicts_with_data_and_with_the_schema_are_told_apart(
    system: System, endpoint: DsqlEndpoint, commit_mode: str
) -> None:
    worker = await system.member(database_url=endpoint.url, commit_mode=commit_mode)
    endpoint.conflicts.extend([OC000, OC001, OC000, OC000, OC001])
    await _everything(system)
    await cluster(endpoint.url).close()

    assert not endpoint.conflicts
    # Lanes may lose races to each other besides.
    assert worker.metric("commit_outcomes_total", outcome="Conflict") >= 3
    assert worker.metric("commit_outcomes_total", outcome="SchemaChanged") == 2
    assert worker.metric("commit_outcomes_total", outcome="OutcomeUnknown") == 0
    assert endpoint.refused == set()
    assert worker.metric("alarms_total") == 0
    await system.check_invariants()
