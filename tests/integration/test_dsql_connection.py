"""A DSQL connection as far as it can be shown without a cluster: tokens, TLS, address.

What is behind the terminator is PostgreSQL, which asks for no password: that DSQL takes the token
waits for a cluster.
"""

from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.support.tls_terminator import CA_FILE, tls_terminator
from worker.adapters.postgres.connect import LANE_SETTINGS, connect
from worker.adapters.postgres.target import cluster, dsql_address
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
async def test_a_wrong_certificate_or_none_is_refused(
    database_url: str, certificate: str | None, *, ca: bool
) -> None:
    async with tls_terminator(database_url, certificate) as port:
        with pytest.raises(Unavailable):
            await connect(url(port, ca=ca), LANE_SETTINGS, timeout_s=5.0)
        await cluster(url(port, ca=ca)).close()
