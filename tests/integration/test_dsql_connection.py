"""A DSQL connection as far as tests can show it without a cluster: address, token, TLS, age, rate.

`tests.support.dsql` checks the token as AWS documents it. Only a cluster can show that it accepts
the token.
"""

import math
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.aws import CredentialServer, credential_server, without_credentials
from tests.support import dsql
from tests.support.books import ORDERS, Books, opened
from tests.support.dsql import DsqlEndpoint
from tests.support.tls_terminator import CA_FILE, tls_terminator
from worker.adapters.postgres import target
from worker.adapters.postgres.books import Books as Onlooker
from worker.adapters.postgres.connect import LANE_SETTINGS, connect
from worker.adapters.postgres.store import PostgresStore
from worker.adapters.postgres.target import (
    AGE_MAX_S,
    CONNECTS_AT_ONCE,
    CONNECTS_PER_SECOND,
    Dsql,
    Turns,
    cluster,
    dsql_address,
)
from worker.adapters.system import sleep
from worker.errors import ConfigError, OutcomeUnknown, Unavailable
from worker.ports import System

HOST = "abc.dsql.us-east-1.on.aws"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    without_credentials(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", dsql.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", dsql.SECRET)


@pytest.fixture
async def endpoint(database_url: str) -> AsyncIterator[DsqlEndpoint]:
    async with DsqlEndpoint.before(database_url) as made:
        yield made
        await cluster(made.url).close()


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with opened(database_url) as found:
        yield found


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CredentialServer]:
    without_credentials(monkeypatch)
    with credential_server() as made:
        made.for_container(monkeypatch)
        yield made


# Addresses.


def test_address_names_cluster_region_and_role() -> None:
    address = dsql_address(f"dsql://{HOST}?role=trader")
    assert (address.host, address.region, address.port) == (HOST, "us-east-1", 5432)
    assert (address.database, address.role) == ("postgres", "trader")
    assert dsql_address(f"dsql://{HOST}/postgres").role == "parity_worker"


def test_private_link_address_is_read() -> None:
    address = dsql_address("dsql://abc123.dsql-fnh4.eu-west-2.on.aws")
    assert address.region == "eu-west-2"


@pytest.mark.parametrize(
    ("wrong", "way_out"),
    [
        ("dsql://", "use dsql://<cluster>.dsql.<region>.on.aws"),
        ("dsql://localhost", "'localhost' is no DSQL endpoint"),
        ("dsql://abc.rds.us-east-1.on.aws", "is no DSQL endpoint"),
        (f"dsql://user:pw@{HOST}", r"use \?role= for the role"),
        (f"dsql://{HOST}?sslmode=disable", r"\?sslmode=: use \?role="),
        (f"dsql://{HOST}?role=", r"\?role= is empty: give it a value"),
        (f"dsql://{HOST}?role=admin&role=trader", r"\?role= is given 2 times: give it once"),
        (f"dsql://{HOST}/exchange", "only the database 'postgres', got 'exchange'"),
    ],
)
def test_impossible_address_is_refused(wrong: str, way_out: str) -> None:
    with pytest.raises(ConfigError, match=f"^PARITY_DATABASE_URL: .*{way_out}"):
        dsql_address(wrong)


async def test_unreadable_certificates_raise_config_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for file in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match=r"PARITY_DATABASE_URL: \?sslrootcert="):
            await connect(f"dsql://{HOST}?sslrootcert={file}", LANE_SETTINGS, timeout_s=10)


# TLS and token.


async def test_connection_begins_with_verified_tls(endpoint: DsqlEndpoint) -> None:
    connection = await connect(endpoint.url, LANE_SETTINGS, timeout_s=10.0)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    assert endpoint.protocols == {"postgresql"}
    assert endpoint.refused == set()


@pytest.mark.shows("F29")
@pytest.mark.parametrize(
    ("certificate", "ca"), [("wrong.pem", True), ("right.pem", False), (None, True)]
)
@pytest.mark.shows("F29")
async def test_wrong_certificate_is_refused(
    database_url: str, certificate: str | None, *, ca: bool
) -> None:
    async with tls_terminator(database_url, certificate) as port:
        trust = f"&sslrootcert={CA_FILE}" if ca else ""
        address = f"dsql://localhost:{port}/postgres?role=postgres&region=us-east-1{trust}"
        with pytest.raises(Unavailable):
            await connect(address, LANE_SETTINGS, timeout_s=10.0)
        await cluster(address).close()


@pytest.mark.shows("F28")
async def test_refused_token_is_replaced_at_once(
    endpoint: DsqlEndpoint, server: CredentialServer
) -> None:
    """Connections that are open already continue."""
    # So short-lived that botocore fetches credentials for every token.
    server.life_s, server.secret = 60, dsql.SECRET
    old = await connect(endpoint.url, LANE_SETTINGS, timeout_s=10.0)
    cluster(endpoint.url)._tokens.forget()
    server.secret = "revoked"  # noqa: S105
    with pytest.raises(Unavailable, match="access denied") as refused:
        await connect(endpoint.url, LANE_SETTINGS, timeout_s=10.0)
    assert refused.value.sqlstate == "28000"
    assert "revoked" not in str(refused.value)
    assert await old.fetchval("SELECT 1") == 1

    server.secret = dsql.SECRET
    new = await connect(endpoint.url, LANE_SETTINGS, timeout_s=10.0)
    assert await new.fetchval("SELECT 1") == 1
    old.terminate()
    new.terminate()


# Age, rate, silence.


class Clock:
    """A clock that moves only by a pause or by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.system = System(lambda: self.now_s, self.pause, random.Random(7))

    async def pause(self, seconds: float) -> None:
        self.now_s += seconds
        await sleep(0)


@pytest.mark.usefixtures("books")
async def test_lane_renews_its_connection_before_dsql_ends_it(endpoint: DsqlEndpoint) -> None:
    clock = Clock()
    store = PostgresStore(endpoint.url, timeout_s=10, system=clock.system)
    await store.take_over(ORDERS, 0, "me")
    clock.now_s += 0.8 * AGE_MAX_S - 1
    await store.take_over(ORDERS, 0, "me")
    assert endpoint.connections == 1

    clock.now_s += 0.2 * AGE_MAX_S + 1
    assert (await store.take_over(ORDERS, 0, "me")).epoch == 3
    assert endpoint.connections == 2
    await store.close()


async def test_probe_renews_its_connection(
    endpoint: DsqlEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "AGE_MAX_S", 0.0)
    onlooker = Onlooker(endpoint.url, timeout_s=10)
    await onlooker.probe()
    await onlooker.probe()
    assert endpoint.connections == 2
    await onlooker.close()


def test_connections_expire_within_the_hour_with_jitter() -> None:
    system = Clock().system
    ages_s = [target.age_s(f"dsql://{HOST}", system) for _ in range(100)]
    assert max(ages_s) < 50 * 60
    assert max(ages_s) - min(ages_s) > 5 * 60
    assert target.age_s("postgresql://localhost/d", system) == math.inf


@pytest.mark.shows("F26")
async def test_turns_keep_to_the_rate() -> None:
    clock = Clock()
    turns = Turns(CONNECTS_PER_SECOND, CONNECTS_AT_ONCE, clock.system)
    began_s, taken_s = clock.now_s, []
    for _ in range(CONNECTS_AT_ONCE + 200):
        await turns.take()
        taken_s.append(clock.now_s - began_s)
    assert taken_s[CONNECTS_AT_ONCE - 1] == 0
    for start in range(len(taken_s)):
        for end in range(start, len(taken_s)):
            bound = CONNECTS_AT_ONCE + CONNECTS_PER_SECOND * (taken_s[end] - taken_s[start])
            assert end - start + 1 <= bound + 1e-6
    # No turns are saved up beyond the first burst.
    clock.now_s += 3_600
    before_s = clock.now_s
    for _ in range(CONNECTS_AT_ONCE + 1):
        await turns.take()
    assert clock.now_s > before_s


@pytest.mark.shows("F26")
async def test_every_connection_waits_for_its_turn(
    endpoint: DsqlEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "CONNECTS_AT_ONCE", 1)
    clock = Clock()
    began_s = clock.now_s
    dsql_cluster = Dsql(dsql_address(endpoint.url), clock.system)
    for number in range(3):
        (await dsql_cluster.connect(LANE_SETTINGS, timeout_s=10)).terminate()
        assert clock.now_s - began_s == pytest.approx(number / CONNECTS_PER_SECOND)
    await dsql_cluster.close()


@pytest.mark.shows("F18")
@pytest.mark.usefixtures("books")
async def test_silent_endpoint_leaves_an_unknown_outcome(endpoint: DsqlEndpoint) -> None:
    """The next call uses a new connection."""
    # The first token takes longest, and the test does not measure it.
    await cluster(endpoint.url)._tokens.token()
    store = PostgresStore(endpoint.url, timeout_s=6)
    await store.take_over(ORDERS, 0, "me")
    endpoint.silent = True
    with pytest.raises(OutcomeUnknown):
        await store.take_over(ORDERS, 0, "me")
    endpoint.silent = False
    assert (await store.take_over(ORDERS, 0, "me")).epoch == 2
    assert endpoint.connections == 2
    await store.close()
