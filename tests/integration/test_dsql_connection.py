"""A DSQL connection as far as it can be shown without a cluster: tokens, TLS, address.

What is behind the terminator is PostgreSQL, which asks for no password: that DSQL takes the token
waits for a cluster.
"""

import asyncio
import time
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.support.tls_terminator import CA_FILE, tls_terminator
from worker.adapters.postgres.connect import LANE_SETTINGS, connect
from worker.adapters.postgres.target import cluster, dsql_address
from worker.adapters.postgres.tokens import REUSED_SHARE, TOKEN_LIFE_S, DsqlTokens
from worker.errors import ConfigError, Unavailable

HOST = "abc.dsql.us-east-1.on.aws"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-canary")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def url(port: int, *, ca: bool = True, database: str = "/postgres") -> str:
    trust = f"&sslrootcert={CA_FILE}" if ca else ""
    return f"dsql://localhost:{port}{database}?role=postgres&region=us-east-1{trust}"


async def isolate_as_dsql_does(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    name = urlsplit(database_url).path.strip("/")
    await connection.execute(
        f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'"
    )
    await connection.close()


def test_an_address_names_cluster_region_and_role() -> None:
    address = dsql_address(f"dsql://{HOST}?role=trader")
    assert (address.host, address.region, address.port) == (HOST, "us-east-1", 5432)
    assert (address.database, address.role) == ("postgres", "trader")
    assert dsql_address(f"dsql://{HOST}").role == "parity_worker"


@pytest.mark.parametrize(
    "wrong",
    ["dsql://", "dsql://localhost", f"dsql://user:pw@{HOST}", f"dsql://{HOST}?sslmode=disable"],
)
def test_an_address_that_dsql_does_not_have_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="PARITY_DATABASE_URL"):
        dsql_address(wrong)


async def test_a_token_is_kept_for_most_of_its_life_and_then_minted_anew() -> None:
    now = [0.0]
    tokens = DsqlTokens(HOST, "us-east-1", admin=False, clock=lambda: now[0])
    first = await tokens.token()
    now[0] = REUSED_SHARE * TOKEN_LIFE_S - 1
    assert await tokens.token() == first
    assert "Action=DbConnect&" in first
    await asyncio.to_thread(time.sleep, 1.1)  # a presigned URL carries the second it was made in
    now[0] += 2
    assert await tokens.token() != first
    await tokens.close()


async def test_the_admin_role_mints_the_admin_token() -> None:
    tokens = DsqlTokens(HOST, "us-east-1", admin=True, clock=time.monotonic)
    assert "Action=DbConnectAdmin&" in await tokens.token()
    await tokens.close()


async def test_missing_credentials_are_unavailable_and_name_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    tokens = DsqlTokens(HOST, "us-east-1", admin=False, clock=time.monotonic)
    with pytest.raises(Unavailable, match="no IAM token"):
        await tokens.token()
    await tokens.close()


@pytest.mark.integration
async def test_tls_is_spoken_from_the_first_byte_and_verified(database_url: str) -> None:
    await isolate_as_dsql_does(database_url)
    async with tls_terminator(database_url, "right.pem") as port:
        address = url(port, database=urlsplit(database_url).path)
        connection = await connect(address, LANE_SETTINGS, timeout_s=5.0)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        await cluster(address).close()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("certificate", "ca"), [("wrong.pem", True), ("right.pem", False), (None, True)]
)
@pytest.mark.shows("F29")
async def test_a_wrong_certificate_or_none_is_refused(
    database_url: str, certificate: str | None, *, ca: bool
) -> None:
    async with tls_terminator(database_url, certificate) as port:
        with pytest.raises(Unavailable):
            await connect(url(port, ca=ca), LANE_SETTINGS, timeout_s=5.0)
        await cluster(url(port, ca=ca)).close()
