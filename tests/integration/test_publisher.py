"""OrderPublisher on a real broker, in order per key, at least once, in bounded time."""

import asyncio
import json
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from producers import (
    BrokerUnreachable,
    Delivery,
    FlowSettings,
    InvalidCommand,
    NotDelivered,
    OpenMarket,
    OrderPublisher,
    PlaceOrder,
    Publishable,
    TopicUnfit,
    flow,
    uniform,
)
from producers.encode import check, encode
from tests.support import consumers
from tests.support.books import cancel, deposit, open_market, place
from tests.support.eventually import eventually
from tests.support.listener import Listener
from tests.support.topics import administrator, create
from worker.domain.commands import Unreadable
from worker.domain.units import AccountId, MarketId, Price, Quantity
from worker.embedded import EmbeddedKafka

REPOSITORY = Path(__file__).parents[2]
PARTITIONS = 6
SETTINGS = FlowSettings(seed=5, markets=20, accounts=50, orders=2_000)
IMPATIENT = Delivery(timeout_s=30, attempt_timeout_s=0.7, attempts_max=1_000, backoff_cap_s=0.2)


@dataclass(frozen=True)
class Topics:
    bootstrap: str
    orders: str
    transfers: str

    def publisher(
        self, delivery: Delivery | None = None, orders_partitions: int | None = None
    ) -> OrderPublisher:
        return OrderPublisher(
            self.bootstrap,
            orders_topic=self.orders,
            transfers_topic=self.transfers,
            orders_partitions=orders_partitions,
            delivery=delivery,
        )


@dataclass(frozen=True)
class Written:
    partition: int
    offset: int
    key: str
    value: bytes


async def topics(kafka: EmbeddedKafka, prefix: str, bytes_max: int = 1_048_576) -> Topics:
    made = Topics(kafka.bootstrap, f"{prefix}orders", f"{prefix}transfers")
    async with administrator(kafka.bootstrap) as admin:
        for name in (made.orders, made.transfers):
            await create(admin, name, PARTITIONS, max_message_bytes=str(bytes_max))
    return made


@pytest.fixture
async def shared(kafka_server: EmbeddedKafka, topic_prefix: str) -> Topics:
    return await topics(kafka_server, topic_prefix)


@pytest.fixture
def own_kafka() -> Iterator[EmbeddedKafka]:
    """A broker that the test may kill."""
    with EmbeddedKafka.start() as kafka:
        yield kafka


async def read(bootstrap: str, *names: str) -> list[Written]:
    """Return all records of the topics, each partition in its order."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(name, n) for name in names for n in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[Written] = []
        while sum(ends.values()) > len(found):
            for fetched in (await consumer.getmany(timeout_ms=200)).values():
                found += [
                    Written(record.partition, record.offset, record.key.decode(), record.value)
                    for record in fetched
                    if record.key is not None and record.value is not None
                ]
        return found
    finally:
        await consumers.stop(consumer)


def key_of(command: Publishable) -> str:
    return command.account_id if not hasattr(command, "market_id") else command.market_id


def first_per_key(pairs: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """Return the commands of each key without repeats."""
    seen: dict[str, dict[bytes, None]] = defaultdict(dict)
    for key, value in pairs:
        seen[key].setdefault(value)
    return {key: list(values) for key, values in seen.items()}


def sent(commands: Iterable[Publishable]) -> dict[str, list[bytes]]:
    return first_per_key((key_of(command), encode(command)) for command in commands)


def received(written: Sequence[Written]) -> dict[str, list[bytes]]:
    return first_per_key((record.key, record.value) for record in written)


def buy(number: int = 1, market: str = "m") -> PlaceOrder:
    return place(market, "a", f"o{number}", price=55)


async def _never_answer(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(4_096):
        pass


def wrong(**given: object) -> PlaceOrder:
    return replace(buy(), **given)  # type: ignore[arg-type]


async def test_commands_arrive_in_order_per_key(
    shared: Topics,
) -> None:
    commands = list(flow(SETTINGS))
    async with shared.publisher() as publisher:
        assert await publisher.publish_all(commands) == len(commands)

    written = await read(shared.bootstrap, shared.orders, shared.transfers)

    assert len(written) == len(commands)
    assert received(written) == sent(commands)
    everywhere = list(range(PARTITIONS))
    for record in written:
        kafkas = DefaultPartitioner()(record.key.encode(), everywhere, everywhere)
        assert record.partition == kafkas


async def test_acknowledgement_has_place_of_command(shared: Topics) -> None:
    async with shared.publisher() as publisher:
        acks = await asyncio.gather(*(publisher.publish(buy(number)) for number in range(100)))

    written = await read(shared.bootstrap, shared.orders)

    lies = {(record.partition, record.offset): record.value for record in written}
    assert [lies[ack.partition, ack.offset] for ack in acks] == [encode(buy(n)) for n in range(100)]
    assert {ack.topic for ack in acks} == {shared.orders}
    assert all(ack.timestamp_ms > 1_700_000_000_000 for ack in acks)


async def test_commands_in_flight_are_bounded(shared: Topics) -> None:
    in_flight: list[int] = []
    async with shared.publisher() as publisher:

        async def counted() -> AsyncIterator[Publishable]:
            for number, command in enumerate(uniform(SETTINGS)):
                in_flight.append(number + 1 - publisher.acknowledged)
                yield command

        await publisher.publish_all(counted(), in_flight_max=50)

    # A batch is acknowledged as a whole, perhaps before the oldest commands are awaited.
    assert max(in_flight) <= 50


async def test_missing_topic_is_named(shared: Topics) -> None:
    other = rf"'nowhere' does not exist, but {shared.transfers} does: create.*PARITY_ORDERS_TOPIC"
    with pytest.raises(TopicUnfit, match=other):
        async with replace(shared, orders="nowhere").publisher():
            pass
    with pytest.raises(TopicUnfit, match=r"'no-such' does not exist.*PARITY_TRANSFERS_TOPIC"):
        async with replace(shared, transfers="no-such").publisher():
            pass
    with pytest.raises(TopicUnfit, match=r"'nowhere' does not exist: create it"):
        async with replace(shared, orders="nowhere", transfers="no-such").publisher():
            pass

    assert not await exists(shared.bootstrap, "nowhere")


async def exists(bootstrap: str, topic: str) -> bool:
    async with administrator(bootstrap) as admin:
        return topic in await admin.list_topics()


async def test_grown_topic_keeps_partitions_of_stream(shared: Topics) -> None:
    async with shared.publisher(orders_partitions=2) as publisher:
        acks = [await publisher.publish(buy(market=f"market-{n}")) for n in range(20)]

    both = [0, 1]
    assert [ack.partition for ack in acks] == [
        DefaultPartitioner()(f"market-{n}".encode(), both, both) for n in range(20)
    ]


async def test_topic_smaller_than_its_stream_is_refused(shared: Topics) -> None:
    with pytest.raises(TopicUnfit, match=r"has 6 partitions, its stream 7"):
        async with shared.publisher(orders_partitions=7):
            pass


@pytest.mark.integration
async def test_missing_broker_is_reported_by_deadline() -> None:
    begun_at = asyncio.get_running_loop().time()
    text = r"no answer from 127\.0\.0\.1:1 \(PARITY_BOOTSTRAP_SERVERS\) within 1 s: start"
    with pytest.raises(BrokerUnreachable, match=text):
        async with Topics("127.0.0.1:1", "a", "b").publisher(Delivery(timeout_s=1)):
            pass

    assert asyncio.get_running_loop().time() - begun_at < 60


async def test_silent_broker_is_passed_over_in_one_attempt(shared: Topics) -> None:
    """A frozen broker accepts connections and never answers. The client may choose it first."""
    silent = Listener(_never_answer)
    servers = f"127.0.0.1:{await silent.up()},{shared.bootstrap}"
    once = Delivery(timeout_s=60, attempt_timeout_s=9, attempts_max=1)
    try:
        # The client shuffles the servers: six times the right one first is a chance of 1 in 64.
        for _ in range(6):
            async with replace(shared, bootstrap=servers).publisher(once) as publisher:
                await publisher.publish(buy())
    finally:
        await silent.down()


@pytest.mark.integration
async def test_killed_broker_loses_nothing(own_kafka: EmbeddedKafka, topic_prefix: str) -> None:
    made = await topics(own_kafka, topic_prefix)
    commands = list(uniform(replace(SETTINGS, orders=60_000)))
    async with made.publisher(IMPATIENT) as publisher:
        publishing = asyncio.create_task(publisher.publish_all(commands))
        await eventually(lambda: publisher.acknowledged > 2_000)
        await asyncio.to_thread(own_kafka.kill)
        assert publisher.acknowledged < len(commands)
        await asyncio.to_thread(own_kafka.restart)

        assert await publishing == len(commands)

    assert received(await read(made.bootstrap, made.orders, made.transfers)) == sent(commands)


@pytest.mark.integration
async def test_requests_of_discarded_producer_are_repeats(
    own_kafka: EmbeddedKafka, topic_prefix: str
) -> None:
    made = await topics(own_kafka, topic_prefix)
    commands = list(uniform(replace(SETTINGS, orders=40_000)))
    async with made.publisher(IMPATIENT) as publisher:
        publishing = asyncio.create_task(publisher.publish_all(commands))
        for wanted in (2_000, 4_000, 6_000):
            await freeze_until_abandoned(own_kafka, publisher, wanted)
        assert await publishing == len(commands)

    assert received(await read(made.bootstrap, made.orders, made.transfers)) == sent(commands)


async def freeze_until_abandoned(
    kafka: EmbeddedKafka, publisher: OrderPublisher, acknowledged: int
) -> None:
    # On a busy machine attempts time out, and then there is no connection for a moment.
    link = publisher._link
    await eventually(
        lambda: publisher.acknowledged > acknowledged and link._connection, within_s=60.0
    )
    kafka.pause()
    first = link._connection
    await eventually(lambda: link._connection is not first)
    kafka.resume()


@pytest.mark.integration
async def test_dead_broker_is_reported_with_unsent_commands(
    own_kafka: EmbeddedKafka, topic_prefix: str
) -> None:
    made = await topics(own_kafka, topic_prefix)
    commands = list(islice(uniform(SETTINGS), 1_000))
    loop = asyncio.get_running_loop()
    async with made.publisher(replace(IMPATIENT, timeout_s=8)) as publisher:
        await publisher.publish_all(commands[:300])
        await asyncio.to_thread(own_kafka.kill)
        begun_at = loop.time()
        rest = iter(commands[300:])
        with pytest.raises(NotDelivered, match="same id") as caught:
            await publisher.publish_all(rest, in_flight_max=200)
        assert loop.time() - begun_at > 7.9
        await asyncio.to_thread(own_kafka.restart)
        again = [*caught.value.commands, *rest]
        assert again == commands[300:]
        assert await publisher.publish_all(again) == 700

    assert received(await read(made.bootstrap, made.orders, made.transfers)) == sent(commands)


@pytest.mark.integration
async def test_later_command_never_overtakes_lost_one(
    own_kafka: EmbeddedKafka, topic_prefix: str
) -> None:
    made = await topics(own_kafka, topic_prefix)
    async with made.publisher(replace(IMPATIENT, timeout_s=5)) as publisher:
        await asyncio.to_thread(own_kafka.kill)

        async def slow() -> AsyncIterator[Publishable]:
            yield buy(1)
            await eventually(lambda: publisher._losses)
            await asyncio.to_thread(own_kafka.restart)
            yield buy(2)

        with pytest.raises(NotDelivered) as caught:
            await publisher.publish_all(slow())

    assert caught.value.commands == (buy(1), buy(2))
    assert await read(made.bootstrap, made.orders) == []


async def test_commands_after_lost_one_are_given_up(
    kafka_server: EmbeddedKafka, topic_prefix: str
) -> None:
    made = await topics(kafka_server, topic_prefix, bytes_max=300)
    large = OpenMarket(
        market_id=MarketId("m"), operator_id=AccountId("o"), payout=100, title="x" * 200
    )
    async with made.publisher() as publisher:
        outcomes = await asyncio.gather(
            publisher.publish(large), publisher.publish(buy()), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [NotDelivered, NotDelivered]
        await publisher.publish(buy())

    assert len(await read(made.bootstrap, made.orders)) == 1


@pytest.mark.integration
async def test_number_of_attempts_is_bounded(own_kafka: EmbeddedKafka, topic_prefix: str) -> None:
    made = await topics(own_kafka, topic_prefix)
    async with made.publisher(
        Delivery(timeout_s=60, attempt_timeout_s=5, attempts_max=3)
    ) as publisher:
        await publisher.publish(buy())
        await asyncio.to_thread(own_kafka.kill)

        with pytest.raises(NotDelivered, match="attempt 3 failed") as caught:
            await publisher.publish(buy(2))

        assert caught.value.commands == (buy(2),)


@pytest.mark.integration
async def test_exit_with_dead_broker_is_bounded(
    own_kafka: EmbeddedKafka, topic_prefix: str
) -> None:
    made = await topics(own_kafka, topic_prefix)
    loop = asyncio.get_running_loop()
    async with made.publisher(replace(IMPATIENT, timeout_s=5)) as publisher:
        await publisher.publish(buy())
        own_kafka.pause()
        broker = psutil.Process(own_kafka.pids[0])
        await eventually(lambda: broker.status() == psutil.STATUS_STOPPED)
        waiting = asyncio.create_task(publisher.publish(buy(2)))
        await eventually(lambda: publisher._waiting == 1)
        begun_at = loop.time()

    # The library itself would wait without end.
    assert loop.time() - begun_at < 60
    with pytest.raises(NotDelivered):
        await waiting


async def test_closed_publisher_refuses_commands(shared: Topics) -> None:
    publisher = shared.publisher()
    with pytest.raises(RuntimeError, match="async with"):
        await publisher.publish(buy())


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (wrong(market_id=""), "market_id is ''.*1 to 64.*choose another"),
        (wrong(order_id="a/b"), "order_id is 'a/b'"),
        (wrong(order_id="a\n"), "order_id"),
        (wrong(account_id="a" * 65), "account_id"),
        (wrong(price="55"), "price is the str '55': must be an int; convert it"),
        (wrong(price=True), "price is the bool True.*an int"),
        (wrong(price=1.0), "price is the float 1.0.*without loss"),
        (wrong(quantity=2**53), "quantity is 9007199254740992: must be within.*split"),
        (wrong(side="BUY"), "side is 'BUY'.*BUY or SELL.*Side"),
        (
            open_market("m", title="\ud800"),
            "title",
        ),
        (deposit("$escrow", 1), "account_id"),
        (Unreadable(detail="", key=None, value=None, headers=()), "Unreadable.*no command"),
    ],
)
def test_malformed_command_is_refused_before_sending(command: object, text: str) -> None:
    with pytest.raises(InvalidCommand, match=text):
        check(command)


def test_prices_and_quantities_are_not_checked() -> None:
    check(replace(buy(), price=Price(0), quantity=Quantity(-1)))
    check(cancel("m", "a", "o"))


async def test_load_publishes_flow_and_reports(shared: Topics) -> None:
    load = await start_load(shared, "--orders", "500", "--seed", "9", "--resolve")

    output, _ = await load.communicate()

    report = json.loads(output.splitlines()[-1])
    settings = FlowSettings(seed=9, orders=500)
    assert load.returncode == 0
    assert (report["event"], report["orders"], report["resolved"]) == ("done", 500, 24)
    written = await read(shared.bootstrap, shared.orders, shared.transfers)
    assert len(written) == report["acknowledged"] == len(list(flow(settings))) + 24


async def test_load_in_phases_is_same_flow(shared: Topics) -> None:
    for phase in ("fund", "trade"):
        load = await start_load(shared, "--orders", "300", "--phase", phase)
        await load.communicate()

    written = await read(shared.bootstrap, shared.orders, shared.transfers)

    assert received(written) == sent(flow(FlowSettings(orders=300)))


async def test_load_ends_at_sigterm_after_acknowledgements(shared: Topics) -> None:
    load = await start_load(shared, "--rate", "500", "--progress", "0.1")
    assert load.stdout is not None
    assert json.loads(await load.stdout.readline())["event"] == "progress"

    load.send_signal(signal.SIGTERM)
    output, _ = await load.communicate()

    report = json.loads(output.splitlines()[-1])
    assert load.returncode == 0
    assert report["event"] == "stopped"
    written = await read(shared.bootstrap, shared.orders, shared.transfers)
    assert 0 < len(written) == report["acknowledged"] < 10_000


async def test_load_fails_without_topic(shared: Topics) -> None:
    load = await start_load(replace(shared, orders="nowhere"))

    _, errors = await load.communicate()

    assert load.returncode == 1
    assert b"TopicUnfit" in errors


async def start_load(made: Topics, *options: str) -> asyncio.subprocess.Process:
    where = ["--bootstrap", made.bootstrap, "--report-json", "-"]
    names = ["--orders-topic", made.orders, "--transfers-topic", made.transfers]
    command = [sys.executable, "-m", "producers.load", *where, *names, *options]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, cwd=REPOSITORY)
