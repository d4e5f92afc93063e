"""A whole worker with a ``dsql://`` address.

It sends only what DSQL accepts, and it distinguishes conflicts with data and with the schema. The
database is PostgreSQL with `tests.support.dsql` in front.
"""

import time
from collections.abc import AsyncIterator

import pytest

from tests.integration.aws import without_credentials
from tests.support.books import buy, cancel, deposit, open_market, resolve, sell, withdraw
from tests.support.dsql import KEY_ID, OC000, OC001, SECRET, DsqlEndpoint
from tests.support.dsql_lint import complaints
from tests.support.system import System
from worker.adapters.postgres.books import Books
from worker.adapters.postgres.target import cluster
from worker.audit import full_audit
from worker.audit.proof import prove

RICH = 10**9
ANSWERED_S = 60


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    without_credentials(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
async def endpoint(database_url: str) -> AsyncIterator[DsqlEndpoint]:
    async with DsqlEndpoint.before(database_url) as made:
        yield made


async def _everything(system: System) -> None:
    """Make the worker use every feature, such as draws, sweeps, cancels and settlements."""
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
async def test_worker_sends_only_what_dsql_accepts(
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
async def test_data_and_schema_conflicts_are_distinguished(
    system: System, endpoint: DsqlEndpoint, commit_mode: str
) -> None:
    worker = await system.member(database_url=endpoint.url, commit_mode=commit_mode)
    endpoint.conflicts.extend([OC000, OC001, OC000, OC000, OC001])
    await _everything(system)
    await cluster(endpoint.url).close()

    assert not endpoint.conflicts
    # Lanes may also lose races to each other.
    assert worker.metric("commit_outcomes_total", outcome="Conflict") >= 3
    assert worker.metric("commit_outcomes_total", outcome="SchemaChanged") == 2
    assert worker.metric("commit_outcomes_total", outcome="OutcomeUnknown") == 0
    assert endpoint.refused == set()
    assert worker.metric("alarms_total") == 0
    await system.check_invariants()
