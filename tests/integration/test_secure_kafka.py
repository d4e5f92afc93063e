"""TLS and bearer tokens with a real broker, for every client, and with sessions that end."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Container, Iterator, Sequence

import pytest
from aiokafka import conn
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import KafkaConnectionError

from producers import load
from producers.client import BrokerUnreachable, Delivery, OrderPublisher, TopicUnfit
from tests.integration.secure_kafka import Issuer, SecureKafka, secure_kafka
from tests.support.books import buy, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.programs import ran
from tests.support.system import SESSION_S, Member, System
from tests.support.tls_terminator import CA_FILE
from worker import app, config
from worker.adapters.iam import NoToken
from worker.adapters.kafka import AiokafkaBroker, Deadlines
from worker.adapters.kafka.settings import Security, encrypted, msk_iam
from worker.errors import BrokerError, ConfigError
from worker.ports import TopicPartition
from worker.topics import find_streams

pytestmark = pytest.mark.integration

SESSION_LIFE_S = 2.0
ROUNDS = 4
REAUTHENTICATION_S = 1.0
SHORT_SESSION_S = 6.0
"""The shortest that brokers allow by default."""
REAUTHENTICATED_ROUNDS = 12
ASKED_IN_VAIN = 8
CONNECTIONS_MAX = 400
"""A round opens some ten. A loop without pauses makes thousands of tries, or of log lines."""
LINES_PER_CONNECTION = 10
BEARER = "auth=Bearer"
"""Prefix of the token on the wire. aiokafka would log only the beginning of a long token."""
IMPATIENT = Deadlines(start_s=20.0, call_s=10.0)


@pytest.fixture(scope="module")
def kafka() -> Iterator[SecureKafka]:
    with secure_kafka() as started:
        yield started


async def _join(
    system: System, kafka: SecureKafka, security: Security, *, session_s: float = SESSION_S
) -> Member:
    """Start a worker that connects to the broker with ``security``."""
    settings = system.settings.model_copy(update={"bootstrap_servers": kafka.bootstrap})
    broker = AiokafkaBroker(
        kafka.bootstrap,
        settings.group_id,
        "secure",
        security=security,
        deadlines=Deadlines(session_s=session_s),
    )
    streams = await find_streams(settings, app.make_broker(system.settings))
    worker = app.Worker(settings, broker, streams)
    task = asyncio.create_task(worker.assignments.run(), name="member")
    system.workers.append(member := Member(worker, broker, task))
    return member


async def test_one_token_opens_every_connection(
    kafka: SecureKafka, database_url: str, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    issuer = Issuer(life_s=3600, reused=True)
    async with System.start(database_url, kafka.plain, topic_prefix) as system:
        await _join(system, kafka, issuer.security())
        publisher = OrderPublisher(
            kafka.bootstrap,
            orders_topic=system.settings.orders_topic,
            transfers_topic=system.settings.transfers_topic,
            security=issuer.security().arguments(),
        )
        market = system.market(0)
        async with publisher:
            await publisher.publish_all([deposit("ann", 1000), deposit("ben", 1000)])
            await publisher.publish_all([open_market(market)])
            await system.answered()
            await publisher.publish_all([buy(market, "ann", 3, 40), sell(market, "ben", 3, 40)])
        await system.check_invariants()
        assert len(await system.events("ORDER_FILLED")) == 1

    assert len(issuer.minted) == 1
    assert BEARER not in caplog.text


@pytest.fixture
def talkative(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Let aiokafka log what it sends, as an engineer who looks for a fault might."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "aiokafka.conn")
    return caplog


@pytest.mark.shows("F28")
async def test_publisher_logs_no_token(
    kafka: SecureKafka, topic_prefix: str, talkative: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(life_s=3600, reused=True)
    publisher = OrderPublisher(
        kafka.bootstrap,
        orders_topic=f"{topic_prefix}none",
        security=issuer.security().arguments(),
    )
    with pytest.raises(TopicUnfit):
        async with publisher:
            pass

    assert len(issuer.minted) == 1
    assert BEARER not in talkative.text


class Nobody:
    """A listener that ignores assignments."""

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        pass

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        pass


class EverySeventh:
    """The numbers of tokens 0, 7, 14, …"""

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and number % 7 == 0


@pytest.mark.shows("F28", "F32", "A28", "A37")
@pytest.mark.parametrize("refused", [(), EverySeventh()], ids=["none", "every seventh"])
async def test_expiring_broker_sessions_cost_only_time(
    kafka: SecureKafka,
    database_url: str,
    topic_prefix: str,
    refused: Container[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Issuer(life_s=SESSION_LIFE_S, reused=False, refused=refused)
    async with System.start(database_url, kafka.plain, topic_prefix) as system:
        await _join(system, kafka, issuer.security())
        for number in range(ROUNDS):
            await system.publish(deposit(f"account-{number}", 100))
            await system.answered()
            # Every client is connected, until a session ends and a new session begins.
            before = len(issuer.minted)
            await eventually(lambda before=before: len(issuer.minted) > before)  # type: ignore[misc]
        await system.check_invariants()
        assert len(await system.events("DEPOSITED")) == ROUNDS
        _require_calm(issuer, caplog)


@pytest.mark.shows("F28", "F32", "A28")
async def test_sessions_ended_by_broker_cost_no_membership(
    database_url: str, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker's `connections.max.reauth.ms` is shorter than a member's session.

    aiokafka does not authenticate again on a connection, so the broker closes each after a second.
    """
    issuer = Issuer(life_s=3_600, reused=False)
    with secure_kafka(connections_max_reauth_ms=str(int(REAUTHENTICATION_S * 1_000))) as kafka:
        async with System.start(database_url, kafka.plain, topic_prefix) as system:
            member = await _join(system, kafka, issuer.security(), session_s=SHORT_SESSION_S)
            await eventually(lambda: member.lanes_ready == 4)
            rebalances = member.metric("rebalances_total")
            for number in range(REAUTHENTICATED_ROUNDS):
                before = len(issuer.minted)
                await system.publish(deposit(f"account-{number}", 100))
                await system.answered(SHORT_SESSION_S)
                await eventually(lambda before=before: len(issuer.minted) > before)  # type: ignore[misc]
            await system.check_invariants()
            assert len(await system.events("DEPOSITED")) == REAUTHENTICATED_ROUNDS
            assert member.metric("rebalances_total") == rebalances
            epochs = await system.database.fetch("SELECT DISTINCT epoch FROM lanes")
            assert [row["epoch"] for row in epochs] == [1]
            _require_calm(issuer, caplog)


@pytest.mark.shows("F28")
async def test_worker_waits_for_credentials(
    kafka: SecureKafka, database_url: str, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(life_s=SESSION_LIFE_S, reused=False)
    async with System.start(database_url, kafka.plain, topic_prefix) as system:
        await _join(system, kafka, issuer.security())
        await system.publish(deposit("ann", 100))
        await system.answered()
        issuer.failing = True
        await system.publish(deposit("ben", 100))
        await eventually(lambda: issuer.asked_in_vain >= ASKED_IN_VAIN)
        issuer.failing = False
        await system.check_invariants()
        assert len(await system.events("DEPOSITED")) == 2
        _require_calm(issuer, caplog)


def _require_calm(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """Check that no client retried without pauses."""
    tries = len(issuer.minted) + issuer.asked_in_vain
    assert tries < CONNECTIONS_MAX
    assert len(caplog.records) < tries * LINES_PER_CONNECTION


@pytest.mark.shows("F28", "A37")
async def test_refused_token_is_not_shared(kafka: SecureKafka) -> None:
    issuer = Issuer(life_s=3600, reused=True, refused={0})
    broker = AiokafkaBroker(
        kafka.bootstrap, "group", "client", security=issuer.security(), deadlines=IMPATIENT
    )
    with pytest.raises(BrokerError, match="Unable to bootstrap"):
        await broker.producer()
    await (await broker.producer()).close()

    assert len(issuer.minted) == 2


@pytest.mark.shows("A37")
async def test_a37_refused_client_has_no_brokers(
    kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    security = Issuer(life_s=3600, reused=True, refused={0}).security()
    monkeypatch.setattr(conn, "OAuthAuthenticator", OAuthAuthenticator)
    client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap, **security.arguments())
    await client.bootstrap()
    assert not client.cluster.brokers()
    await client.close()


async def reads(broker: AiokafkaBroker) -> None:
    await broker.tail(TopicPartition("topic", 0), 1)


async def joins(broker: AiokafkaBroker) -> None:
    await (await broker.consumer(["topic"], Nobody())).start()


async def produces(broker: AiokafkaBroker) -> None:
    await broker.producer()


@pytest.mark.shows("A37")
@pytest.mark.parametrize("start", [reads, joins, produces])
async def test_a37_client_without_brokers_does_not_start(
    kafka: SecureKafka,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    start: Callable[[AiokafkaBroker], Awaitable[None]],
) -> None:
    """The start fails at once, before its deadline. Callers retry with growing pauses."""
    issuer = Issuer(life_s=3600, reused=True, refused={0})
    broker = AiokafkaBroker(
        kafka.bootstrap, "group", "client", security=issuer.security(), deadlines=IMPATIENT
    )
    monkeypatch.setattr(conn, "OAuthAuthenticator", OAuthAuthenticator)
    with pytest.raises(BrokerError, match="lists no brokers"):
        await start(broker)
    assert len(caplog.records) < LINES_PER_CONNECTION


@pytest.mark.shows("F29")
async def test_broker_with_untrusted_certificate_is_refused(kafka: SecureKafka) -> None:
    issuer = Issuer(life_s=3600, reused=True)
    unvouched = encrypted("").ssl_context
    security = issuer.security()
    arguments = {**security.arguments(), "ssl_context": unvouched}
    broker = AiokafkaBroker(
        kafka.bootstrap,
        "group",
        "client",
        security=Security(
            protocol="SASL_SSL",
            ssl_context=unvouched,
            mechanism="OAUTHBEARER",
            token_provider=issuer.tokens,
        ),
        deadlines=IMPATIENT,
    )
    with pytest.raises(BrokerError):
        await broker.describe(["topic"])
    with pytest.raises(BrokerUnreachable):
        async with OrderPublisher(
            kafka.bootstrap, delivery=Delivery(timeout_s=2), security=arguments
        ):
            pass
    assert issuer.minted == []


@pytest.mark.shows("F63")
async def test_token_refusal_raises_broker_error_at_once(
    kafka: SecureKafka, caplog: pytest.LogCaptureFixture
) -> None:
    expired = Issuer(life_s=-60, reused=True)
    broker = AiokafkaBroker(
        kafka.bootstrap, "group", "client", security=expired.security(), deadlines=IMPATIENT
    )
    consumer = await broker.consumer(["topic"], Nobody())
    for call in (broker.describe(["topic"]), broker.producer(), consumer.start()):
        with pytest.raises(BrokerError, match="Unable to bootstrap"):
            await call
    assert len(expired.minted) == 3
    _require_calm(expired, caplog)


async def test_clients_without_a_token_raise_broker_error(
    kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = Issuer(life_s=60, reused=True)

    async def none() -> str:
        raise NoToken("no IAM token for a test: NoCredentialsError")

    monkeypatch.setattr(issuer.tokens._cache, "token", none)
    with pytest.raises(KafkaConnectionError):
        await issuer.tokens.token()
    broker = AiokafkaBroker(
        kafka.bootstrap, "group", "client", security=issuer.security(), deadlines=IMPATIENT
    )
    with pytest.raises(BrokerError):
        await broker.describe(["topic"])
    with pytest.raises(BrokerError):
        await broker.producer()


async def test_load_generator_uses_the_workers_settings(
    kafka: SecureKafka, database_url: str, topic_prefix: str
) -> None:
    async with System.start(database_url, kafka.plain, topic_prefix) as system:
        environment = system.environment(
            bootstrap_servers=kafka.encrypted, kafka_security="SSL", kafka_ca_file=str(CA_FILE)
        )
        command = ("worker", "load", "--orders", "20", "--report-json", "-")
        done = await asyncio.to_thread(ran, *command, env=environment)
        ends = await system.log.ends()

    report = json.loads(done.out.splitlines()[-1])
    assert (done.code, report["event"]) == (0, "done")
    assert sum(ends.values()) == report["acknowledged"] > 20


def test_load_generator_presents_its_token(kafka: SecureKafka, topic_prefix: str) -> None:
    issuer = Issuer(life_s=3600, reused=True)
    names = [f"{topic_prefix}orders", f"{topic_prefix}transfers"]
    plain = AiokafkaBroker(kafka.plain, "group", "client")
    asyncio.run(plain.create_topics(dict.fromkeys(names, 2), replication_factor=1))
    where = ["--bootstrap", kafka.bootstrap, "--orders-topic", names[0]]
    security = issuer.security().arguments()

    load.run([*where, "--transfers-topic", names[1], "--orders", "20"], security=security)

    assert len(issuer.minted) == 1


# Settings.


def _security(**settings: object) -> Security:
    return app.make_security(config.load(**settings))


def test_default_setting_encrypts_nothing() -> None:
    assert _security().arguments()["security_protocol"] == "PLAINTEXT"


def test_tls_verifies_certificate_and_name() -> None:
    security = _security(kafka_security="SSL", kafka_ca_file=str(CA_FILE))
    assert security.protocol == "SSL"
    assert security.ssl_context is not None
    assert security.ssl_context.check_hostname
    assert security.token_provider is None


def test_msk_region_comes_from_brokers_or_setting() -> None:
    brokers = "boot-abc.c1.kafka-serverless.eu-west-3.amazonaws.com:9098"
    for security in (
        _security(kafka_security="SASL_SSL_MSK_IAM", bootstrap_servers=brokers),
        _security(kafka_security="SASL_SSL_MSK_IAM", kafka_region="eu-west-3"),
        msk_iam("k:9098", region="eu-west-3", ca_file="", clock=lambda: 0.0),
    ):
        arguments = security.arguments()
        assert arguments["security_protocol"] == "SASL_SSL"
        assert arguments["sasl_mechanism"] == "OAUTHBEARER"
        assert arguments["sasl_oauth_token_provider"] is not None
        assert "token" not in repr(security.password)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"kafka_security": "SASL_SSL_MSK_IAM"}, "set PARITY_KAFKA_REGION"),
        ({"kafka_security": "SSL", "kafka_ca_file": "/nowhere.pem"}, "PARITY_KAFKA_CA_FILE='/now"),
        ({"kafka_security": "SASL"}, "PARITY_KAFKA_SECURITY='SASL'"),
        ({"kafka_region": "EU WEST"}, "PARITY_KAFKA_REGION='EU WEST'"),
    ],
)
def test_impossible_settings_raise_config_error(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        _security(**settings)
