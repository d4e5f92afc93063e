"""Topics that an operator set up or changed in a way that would lose, repeat or stop something."""

import asyncio

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from structlog.testing import capture_logs

from producers.encode import encode
from tests.support.books import buy, deposit, open_market, sell
from tests.support.eventually import eventually
from tests.support.programs import Result, ran
from tests.support.system import Member, Sent, System
from tests.support.topics import configure, create
from worker import app
from worker.adapters.kafka.probes import Brokers, Names
from worker.errors import ConfigError
from worker.health.topic_watch import TopicWatch
from worker.lane import Lane, LaneStatus
from worker.ports import TopicPartition
from worker.response import Verdict
from worker.topics import event_topics, make_topics

RICH = 10**9
FAR_MS = 2**62
USAGE = 2
OF_THE_TOPIC = 1
"""Kafka's number of a setting that the topic itself has."""


def watch_of(member: Member) -> TopicWatch:
    return app.make_topic_watch(member.worker)


async def noticed(watch: TopicWatch, topic: str) -> str:
    """Return what the watch finds wrong with a topic, once the broker knows of the change."""

    async def found() -> str:
        await watch.look()
        return watch.problems.get(topic, "")

    return await eventually(found)


async def fits(watch: TopicWatch) -> None:
    async def fit() -> bool:
        await watch.look()
        return not watch.problems

    await eventually(fit)


# Settings that are refused before anything is read.

WRONG = [
    ("orders_topic", "cleanup.policy", "compact", "cleanup.policy=compact: set delete"),
    ("orders_topic", "cleanup.policy", "compact,delete", "commands that wait"),
    ("transfers_topic", "cleanup.policy", "compact", "commands that wait"),
    ("events_topic", "cleanup.policy", "compact", "events that consumers need"),
    ("events_topic", "message.timestamp.type", "LogAppendTime", "set CreateTime"),
    ("events_topic", "max.message.bytes", "4096", "max.message.bytes=4096: set 1048588"),
    ("dead_letters_topic", "max.message.bytes", "4096", "up to 524288 bytes"),
    ("events_topic", "message.timestamp.before.max.ms", "60000", "remove it"),
    ("events_topic", "message.timestamp.after.max.ms", "1000", "set 3600000"),
    ("events_topic", "min.insync.replicas", "2", "has 1 replicas and min.insync.replicas=2"),
    ("orders_topic", "retention.ms", "60000", "set at least 3600000, or it removes commands"),
    ("orders_topic", "min.insync.replicas", "3", "nothing can be written: set at most 1"),
]


@pytest.mark.parametrize(("setting", "name", "value", "text"), WRONG)
async def test_unsuitable_topic_is_refused_everywhere(
    system: System, admin: AIOKafkaAdminClient, setting: str, name: str, value: str, text: str
) -> None:
    """`topics`, `run` and `doctor` give the same reason."""
    topic = f"{system.prefix}unsuitable"
    is_input = setting in {"orders_topic", "transfers_topic"}
    stamps = {"message.timestamp.type": "LogAppendTime" if is_input else "CreateTime"}
    configs = {key.replace(".", "_"): v for key, v in {**stamps, name: value}.items()}
    await create(admin, topic, 2, **configs)
    settings = system.settings.model_copy(update={setting: topic})
    broker = app.make_broker(settings)

    (found,) = [t for t in await make_topics(settings, broker, 2) if t.name == topic]
    with pytest.raises(ConfigError) as refused:
        await system.member(**{setting: topic})
    brokers = Brokers(broker, Names(event_topics(settings), settings.dead_letters_topic))
    await brokers.answer()
    examined = await brokers.topic(topic, None)

    assert text in found.problem
    assert f"topic {topic}: " in str(refused.value)
    assert text in str(refused.value)
    assert (examined.verdict, text in examined.text) == (Verdict.MISSING, True)


async def test_topics_are_created_with_their_settings(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """The brokers' own defaults may be others."""
    names = ("orders", "transfers", "events", "transfer_events", "dead_letters")
    fresh = {f"{name}_topic": f"{system.prefix}fresh-{name}" for name in names}
    settings = system.settings.model_copy(update=fresh)
    made = await make_topics(settings, app.make_broker(settings), 2)
    (answer,) = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, fresh["events_topic"])]
    )
    entries = answer.to_object()["resources"][0]["config_entries"]
    own = {entry["config_names"] for entry in entries if entry["config_source"] == OF_THE_TOPIC}

    assert [(topic.existed, topic.problem) for topic in made] == [(False, "")] * 5
    assert own == {"message.timestamp.type", "cleanup.policy", "max.message.bytes"}


async def test_exchanged_input_topics_are_refused(system: System) -> None:
    await system.member()
    settings = system.settings
    with pytest.raises(ConfigError, match=r"registered for transfers, and .* exchange PARITY_ORD"):
        await system.member(
            orders_topic=settings.transfers_topic,
            transfers_topic=settings.orders_topic,
            events_topic=settings.transfer_events_topic,
            transfer_events_topic=settings.events_topic,
        )


# Settings that change at work.


async def test_senders_stamps_do_not_move_lane_time(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """The topic is switched to CreateTime for a while, and somebody stamps 2^62."""
    member, topic = await system.member(), system.settings.orders_topic
    watch, market = watch_of(member), system.market(0)
    await system.publish(deposit("a", RICH), deposit("b", RICH), open_market(market))
    await system.check_invariants()
    await watch.look()
    before = await _lane_time(system)

    # Kafka's default refuses stamps of more than an hour from now. Brokers before 3.6 do not.
    anything = {"message_timestamp_after_max_ms": str(2**63 - 1)}
    await configure(admin, topic, message_timestamp_type="CreateTime", **anything)
    why = await noticed(watch, topic)
    key = market.encode()
    orders = [buy(market, "a", 1, 10, "early"), sell(market, "b", 1, 50, "odd")]
    await system.send(topic, [Sent(0, key, encode(o), (), FAR_MS) for o in orders])
    await system.check_invariants()
    meanwhile = await _lane_time(system)
    await configure(admin, topic, message_timestamp_type="LogAppendTime")
    await fits(watch)
    await system.publish(buy(market, "a", 1, 50, "goes-on"))
    await system.check_invariants()

    assert "set LogAppendTime" in why
    assert meanwhile == before
    assert before < await _lane_time(system) < FAR_MS
    assert len(await system.events("ORDER_FILLED")) == 1
    assert member.metric("alarms_total", alarm="topic_misconfigured") == 1


async def _lane_time(system: System) -> int:
    return int(
        await system.database.fetchval(
            "SELECT lane_time_ms FROM lanes WHERE stream = $1 AND partition = 0",
            system.settings.orders_topic,
        )
    )


async def test_small_event_batches_are_reported_and_waited_for(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    member, topic = await system.member(kafka_timeout_s=2.0), system.settings.events_topic
    watch, market = watch_of(member), system.market(0)
    await system.publish(deposit("a", RICH), open_market(market))
    await system.check_invariants()

    await configure(admin, topic, message_timestamp_type="CreateTime", max_message_bytes="2048")
    why = await noticed(watch, topic)
    await system.publish(*(buy(market, "a", 1, 10) for _ in range(30)))
    await eventually(lambda: member.metric("publish_failures_total") >= 1)
    await configure(admin, topic, message_timestamp_type="CreateTime")
    await fits(watch)
    await system.check_invariants()

    assert "max.message.bytes=2048: set 1048588" in why
    assert len(await system.events("ORDER_ACCEPTED")) == 30


# Records that are there before the first start.


async def test_first_start_begins_at_first_available_record(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """Retention has removed the beginning, and nothing was ever answered."""
    market = system.market(0)
    await system.publish(*(open_market(market) for _ in range(3)))
    await _forget(admin, system.settings.orders_topic, {0: 2})

    with capture_logs() as lines:
        member = await system.member()
        await system.publish(deposit("a", RICH))
        await eventually(lambda: system.events("DEPOSITED"))
        await system.publish(buy(market, "a", 1, 10, "first"))
        await eventually(lambda: system.events("ORDER_ACCEPTED", order_id="first"))
    (opened,) = await system.events("MARKET_OPENED")

    assert opened["offset"] == 2
    assert member.lanes_ready == 4
    assert "lane_begins_late" in [line["event"] for line in lines]


async def test_late_beginning_counts_as_no_lag(system: System, admin: AIOKafkaAdminClient) -> None:
    await system.publish(*(open_market(system.market(0)) for _ in range(3)))
    await _forget(admin, system.settings.orders_topic, {0: 3})
    member = await system.member()
    lane = await _ready(system, member, 0)
    lane.note_end(3)
    assert member.metric("lane_behind_records", partition="0") == 0


async def _forget(admin: AIOKafkaAdminClient, topic: str, before: dict[int, int]) -> None:
    await admin.delete_records(
        {KafkaPartition(topic, p): RecordsToDelete(offset) for p, offset in before.items()}
    )


# Another stream on the same records.


async def test_new_incarnation_over_answered_records_is_refused(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """Once those records are deleted it begins after them, and the old stream may not go on."""
    await system.member()
    market = system.market(0)
    await system.publish(deposit("a", RICH), open_market(market), buy(market, "a", 1, 10, "old"))
    await system.check_invariants()
    await system.stop()
    with pytest.raises(ConfigError, match=r"would execute again what .*orders has answered"):
        await system.member(incarnation=2)

    for topic in (system.settings.orders_topic, system.settings.transfers_topic):
        ends = {p.partition: end for p, end in (await system.log.ends()).items() if p[0] == topic}
        await _forget(admin, topic, ends)
    member = await system.member(incarnation=2)
    await system.publish(open_market(market))
    await eventually(lambda: member.metric("commands_total") == 1)
    await system.stop()

    with pytest.raises(ConfigError, match=r"again what .*orders@2 has answered"):
        await system.member()


# Another topic of the same name.


@pytest.mark.shows("W14", "F45")
async def test_refilled_topic_halts_working_lanes(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """Only the id of the topic distinguishes the new records from those that the lanes wait for."""
    member, topic = await system.member(), system.settings.orders_topic
    watch, markets = watch_of(member), [system.market(p) for p in range(system.partitions)]
    await system.publish(deposit("a", RICH), *map(open_market, markets))
    await system.check_invariants()
    consumer = member.worker.assignments._consumer
    assert consumer is not None
    # The lanes cannot notice the gap between the two topics.
    for partition in range(system.partitions):
        consumer.pause(TopicPartition(topic, partition))
        await consumer.bounds(TopicPartition(topic, partition))

    await admin.delete_topics([topic])
    await create(admin, topic, message_timestamp_type="LogAppendTime")
    for partition, market in enumerate(markets):
        refill = Sent(partition, market.encode(), encode(buy(market, "a", 1, 10)))
        await system.send(topic, [refill] * 9)
    await watch.look()
    lanes = [await system.halted(member, partition) for partition in range(system.partitions)]
    await system.publish(deposit("c", 5))
    await eventually(lambda: system.events("DEPOSITED", account_id="c"))

    assert all(lane.reason.startswith("foreign history: topic") for lane in lanes)
    assert member.metric("alarms_total", alarm="lane_halted") == system.partitions
    assert not await system.events("ORDER_ACCEPTED")


@pytest.mark.shows("W14", "F45")
async def test_refilled_topic_halts_at_take_over(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """The record before the cursor is missing, so that only the id shows the change."""
    await system.member()
    topic, market = system.settings.orders_topic, system.market(0)
    await system.publish(deposit("a", RICH), open_market(market))
    await system.check_invariants()
    await system.stop()

    await admin.delete_topics([topic])
    await create(admin, topic, message_timestamp_type="LogAppendTime")
    await system.send(topic, [Sent(0, None, b"")])
    await _forget(admin, topic, {0: 1})
    member = await system.member()
    lane = await system.halted(member, 0)
    await system.stop()
    adopted = await _parity(system, "topics", "--adopt")
    again = await _ready(system, await system.member(), 0)

    assert "foreign history" in lane.reason
    assert adopted[0] == 0, adopted
    assert f"stream {topic} goes on with topic {topic}" in adopted[1]
    assert again.status is LaneStatus.READY


async def test_topic_short_of_cursors_is_not_adopted(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    await system.member()
    topic, market = system.settings.orders_topic, system.market(0)
    await system.publish(deposit("a", RICH), open_market(market))
    await system.check_invariants()
    await system.stop()
    await admin.delete_topics([topic])
    await create(admin, topic, message_timestamp_type="LogAppendTime")

    code, _, err = await _parity(system, "topics", "--adopt")

    assert code == USAGE
    assert "holds offsets 0 to 0 and its lane's next offset is 1" in err


async def test_unchanged_topics_need_no_adoption(system: System) -> None:
    await system.member()
    code, out, err = await _parity(system, "topics", "--adopt")
    assert (code, out) == (0, "nothing to adopt\n"), err


@pytest.mark.shows("F45")
async def test_refilled_topic_halts_worker_process(
    system: System, admin: AIOKafkaAdminClient
) -> None:
    """The worker is a process, which looks at its topics by itself.

    A consumer that sees the topic gone looks for it every 30 s. Its lanes halt when they begin.
    """
    topic, market = system.settings.orders_topic, system.market(0)
    process = await system.process()
    await system.publish(deposit("a", RICH), open_market(market))
    await system.check_invariants()

    await admin.delete_topics([topic])
    await create(admin, topic, message_timestamp_type="LogAppendTime")
    refill = Sent(0, market.encode(), encode(buy(market, "a", 1, 10)))
    await system.send(topic, [refill] * 9)
    await eventually(lambda: "foreign history" in process.log.read_text(encoding="utf-8"), 150)
    await system.publish(deposit("c", 5))
    await eventually(lambda: system.events("DEPOSITED", account_id="c"))


# Helpers.


async def _ready(system: System, member: Member, partition: int) -> Lane:
    where = TopicPartition(system.settings.orders_topic, partition)

    def ready() -> Lane | None:
        system.raise_failures()
        lane = member.lanes.get(where)
        return lane if lane is not None and lane.status is LaneStatus.READY else None

    lane = await eventually(ready)
    assert lane is not None
    return lane


async def _parity(system: System, *words: str) -> Result:
    return await asyncio.to_thread(ran, "worker", *words, env=system.environment())
