"""IAM tokens for DSQL and for MSK, by botocore's credential chain, against local endpoints."""

import asyncio
import base64
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiokafka.errors import KafkaConnectionError

from tests.integration.aws import (
    SECRET,
    SESSION,
    CredentialServer,
    credential_server,
    without_credentials,
)
from tests.support.eventually import eventually
from worker.adapters import iam
from worker.adapters.kafka import iam as msk_iam
from worker.adapters.kafka.iam import BearerTokens, msk_tokens, region_of
from worker.adapters.postgres.target import ADMIN_ROLE, DEFAULT_ROLE, Dsql, dsql_address
from worker.adapters.postgres.tokens import DsqlTokens
from worker.adapters.system import system
from worker.errors import ConfigError, Unavailable
from worker.ports import System
from worker.telemetry import configure_logging

HOST = "abc.dsql.us-east-1.on.aws"
TURNS = 100
"""Turns of the event loop that must happen while the credential chain waits."""

Mint = Callable[[], Coroutine[Any, Any, str]]


@asynccontextmanager
async def dsql(clock: Callable[[], float]) -> AsyncIterator[Mint]:
    tokens = DsqlTokens(HOST, "us-east-1", admin=False, clock=clock)
    yield tokens.token
    await tokens.close()


@asynccontextmanager
async def msk(clock: Callable[[], float]) -> AsyncIterator[Mint]:
    yield msk_tokens("us-east-1", clock).token


Open = Callable[[Callable[[], float]], AbstractAsyncContextManager[Mint]]


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    without_credentials(monkeypatch)


@pytest.fixture
def server() -> Iterator[CredentialServer]:
    with credential_server() as made:
        yield made


@pytest.fixture(params=["environment", "container", "web identity"])
def key_id(
    request: pytest.FixtureRequest,
    server: CredentialServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> str:
    """Set up one source of credentials, and return its key id."""
    if request.param == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        return "AKIAENVIRONMENT"
    if request.param == "container":
        server.for_container(monkeypatch)
        return "ASIACONTAINER1"
    server.for_web_identity(monkeypatch, tmp_path / "identity")
    return "ASIAWEB1"


def read(token: str) -> Mapping[str, str]:
    """Return the parameters and the host of the URL in a token."""
    if "?" not in token:
        token = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    parts = urlsplit(token if "://" in token else f"https://{token}")
    found = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return {**found, "host": parts.hostname or ""}


@pytest.mark.parametrize("service", [dsql, msk])
async def test_every_credential_source_signs(
    service: Open, key_id: str, server: CredentialServer
) -> None:
    async with service(time.monotonic) as mint:
        said = read(await mint())

    assert said["X-Amz-Credential"].startswith(f"{key_id}/")
    assert said.get("X-Amz-Security-Token") == (None if "ENV" in key_id else SESSION)
    assert said["X-Amz-SignedHeaders"] == "host"
    assert server.identities == (["web-identity"] if "WEB" in key_id else [])


async def test_msk_token_is_a_presigned_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    token = await msk_tokens("eu-west-1", time.monotonic).token()

    said = read(token)
    assert said["host"] == "kafka.eu-west-1.amazonaws.com"
    assert said["Action"] == "kafka-cluster:Connect"
    assert said["X-Amz-Credential"].endswith("/eu-west-1/kafka-cluster/aws4_request")
    assert int(said["X-Amz-Expires"]) == iam.TOKEN_LIFE_S
    assert said["User-Agent"] == "parity"
    assert set(token).isdisjoint("=+/")


@pytest.mark.parametrize(
    ("brokers", "region"),
    [
        ("boot-abc.c1.kafka-serverless.us-east-1.amazonaws.com:9098", "us-east-1"),
        ("b-1.x.abc.c2.kafka.eu-central-1.amazonaws.com:9098,b-2.x:9098", "eu-central-1"),
    ],
)
def test_msk_region_is_read_from_broker_names(brokers: str, region: str) -> None:
    assert region_of(brokers) == region


def test_broker_names_without_region_name_the_variable() -> None:
    with pytest.raises(ConfigError, match=r"PARITY_BOOTSTRAP_SERVERS='k:9098'.*PARITY_KAFKA_REG"):
        region_of("k:9098")


@pytest.mark.shows("F12")
@pytest.mark.parametrize("key_id", ["container", "web identity"], indirect=True)
@pytest.mark.parametrize("service", [dsql, msk])
async def test_slow_credentials_do_not_block_the_loop(
    service: Open, key_id: str, server: CredentialServer
) -> None:
    server.may_answer.clear()
    async with service(time.monotonic) as mint:
        minting = asyncio.create_task(mint())
        await eventually(server.asked.is_set)
        # The endpoint gives up if the loop cannot make these turns.
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert not minting.done()
        server.may_answer.set()

        assert read(await minting)["X-Amz-Credential"].startswith(f"{key_id}/")


_watched: list[int] = []
_opened: list[str] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _watched and threading.get_ident() == _watched[0]:
        if event == "open" and "botocore" in str(arguments[0]):
            _opened.append(str(arguments[0]))
        elif event == "socket.getaddrinfo":
            _opened.append(f"name {arguments[0]}")


@pytest.mark.shows("F12")
@pytest.mark.parametrize("service", [dsql, msk])
async def test_event_loop_loads_no_model_or_name(service: Open, key_id: str) -> None:
    """botocore loads its models before the first signature, which takes 200 ms."""
    sys.addaudithook(_note)
    _opened.clear()
    async with service(time.monotonic) as mint:
        _watched[:] = [threading.get_ident()]
        try:
            said = read(await mint())
        finally:
            _watched.clear()

    assert said["X-Amz-Credential"].startswith(f"{key_id}/")
    assert _opened == []


@pytest.mark.parametrize("service", [dsql, msk])
async def test_concurrent_connections_share_one_token(
    service: Open, server: CredentialServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.for_container(monkeypatch)
    async with service(time.monotonic) as mint:
        tokens = await asyncio.gather(*(mint() for _ in range(50)))

    assert len(set(tokens)) == 1
    assert server.answers == 1


@pytest.mark.parametrize("service", [dsql, msk])
async def test_token_is_replaced_before_it_expires(
    service: Open, server: CredentialServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.for_container(monkeypatch)
    # So short-lived that botocore renews the credentials for every token, and tokens differ.
    server.life_s = 60
    now_s = [0.0]
    async with service(lambda: now_s[0]) as mint:
        first = await mint()
        now_s[0] = iam.REUSED_S - 1
        kept = await mint()
        now_s[0] = iam.REUSED_S
        renewed = await mint()

    assert kept == first
    assert read(renewed)["X-Amz-Credential"] != read(first)["X-Amz-Credential"]


@pytest.mark.shows("F28")
def test_token_never_outlives_its_credentials() -> None:
    renewed_s = AioRefreshableCredentials._mandatory_refresh_timeout
    assert renewed_s == iam.CREDENTIALS_LEFT_S, "botocore renews at another time"
    assert pytest.approx(0.8 * min(renewed_s, iam.TOKEN_LIFE_S)) == iam.REUSED_S


@pytest.mark.shows("F28")
async def test_refused_token_is_not_reused(
    server: CredentialServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.for_container(monkeypatch)
    server.life_s = 60
    tokens = DsqlTokens(HOST, "us-east-1", admin=False, clock=time.monotonic)
    first, client = await tokens.token(), tokens._client
    tokens.forget()

    assert await tokens.token() != first
    assert tokens._client is client, "one client must create every token"
    await tokens.close()


@pytest.mark.shows("F28")
async def test_missing_credentials_raise_each_ports_error() -> None:
    tokens = DsqlTokens(HOST, "us-east-1", admin=False, clock=time.monotonic)
    with pytest.raises(Unavailable, match=f"no IAM token for {HOST}: NoCredentialsError"):
        await tokens.token()
    await tokens.close()
    # aiokafka retries after this error, as after a failed connection.
    with pytest.raises(KafkaConnectionError, match="no IAM token for MSK in us-east-1"):
        await msk_tokens("us-east-1", time.monotonic).token()


@pytest.mark.shows("F28")
async def test_retries_against_msk_have_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses_s: list[float] = []

    async def pause(seconds: float) -> None:
        pauses_s.append(seconds)

    monkeypatch.setattr(msk_iam, "_SYSTEM", System(time.monotonic, pause, Random(7)))
    tokens = msk_tokens("us-east-1", time.monotonic)
    for _ in range(10):
        with pytest.raises(KafkaConnectionError):
            await tokens.token()
        await tokens.refused()

    assert len(set(pauses_s)) == 20
    assert all(0.5 <= pause_s / msk_iam.PAUSE_S <= 1.5 for pause_s in pauses_s)


async def test_silent_credential_endpoint_is_given_up(
    server: CredentialServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.for_container(monkeypatch)
    server.may_answer.clear()
    monkeypatch.setattr(iam, "MINT_TIMEOUT_S", 0.2)
    tokens = msk_tokens("us-east-1", time.monotonic)
    with pytest.raises(KafkaConnectionError, match="TimeoutError"):
        await tokens.token()
    server.may_answer.set()
    monkeypatch.undo()
    server.for_container(monkeypatch)

    assert read(await tokens.token())["X-Amz-Security-Token"] == SESSION


async def test_admin_role_gets_the_admin_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    for role, action in ((ADMIN_ROLE, "DbConnectAdmin"), (DEFAULT_ROLE, "DbConnect")):
        cluster = Dsql(dsql_address(f"dsql://{HOST}?role={role}"), system())
        assert read(await cluster._tokens.token())["Action"] == action
        await cluster.close()


@pytest.fixture
def loggers_as_they_were() -> Iterator[None]:
    names = ("", "aiokafka", "aiobotocore", "botocore")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.shows("F28")
@pytest.mark.usefixtures("loggers_as_they_were")
@pytest.mark.parametrize("service", [dsql, msk])
async def test_tokens_and_credentials_are_never_logged(
    service: Open,
    server: CredentialServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    configure_logging("DEBUG", as_json=True)
    server.for_container(monkeypatch)
    async with service(time.monotonic) as mint:
        token = await mint()

    signature = read(token)["X-Amz-Signature"]
    assert not [secret for secret in (SECRET, SESSION, token, signature) if secret in caplog.text]


async def test_cache_serves_callers_that_wait() -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    minted = []

    async def mint() -> str:
        started.set()
        await go_on.wait()
        minted.append(1)
        return f"token-{len(minted)}"

    provider = BearerTokens(iam.TokenCache("a test", mint, time.monotonic))
    asking = [asyncio.create_task(provider.token()) for _ in range(3)]
    await started.wait()
    # The caller that created the token is cancelled. The others must not wait without end.
    asking[0].cancel()
    go_on.set()

    assert {await asking[1], await asking[2]} == {"token-1"}
