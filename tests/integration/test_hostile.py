"""Every mistake of a client gets its code from a whole worker, and has no other effect.

A valid command that must succeed follows each hostile record in the same partition.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import pytest
from aiokafka import ConsumerRecord

from producers.encode import encode
from tests.support import hostile
from tests.support.books import buy, deposit, open_market, sell
from tests.support.hostile import Hostile
from tests.support.system import Sent, System
from worker.domain import fills, orders
from worker.domain.commands import HEADER_NAME_ERRORS
from worker.domain.draft import Draft
from worker.domain.events import Reason
from worker.domain.matching import Proposal, Taker
from worker.domain.units import CASH_MAX, OPEN_ORDERS_PER_ACCOUNT_MAX, TRANSFER_MAX, MarketId
from worker.ports import TopicPartition
from worker.wire.decode import record_sha

PARTITIONS: Final = 2
PLENTY: Final = 10**9
KEPT_BYTES_MAX: Final = 65_536
"""Size up to which a refused record is kept whole, with a frame of 16 bytes per header."""


class Answered(NamedTuple):
    """A hostile input, its offset, its events, and the events of the next command."""

    given: Hostile
    offset: int
    events: list[dict[str, Any]]
    next_events: list[dict[str, Any]]


@pytest.fixture
def system_options() -> Mapping[str, object]:
    return {"partitions": PARTITIONS}


@pytest.mark.shows(
    "W18", "F48", "F49", "F50", "F51", "F52", "F53", "F54", "F55", "F56", "F57", "F58", "F60"
)
async def test_every_hostile_input_gets_its_code(system: System) -> None:
    corpus = hostile.build(PARTITIONS)
    await system.member()
    await _prepare(system, corpus)

    answered = await _feed(system, corpus.hostile)
    await system.check_invariants()

    assert len(answered) >= 320
    assert not {a.given.name: a.events for a in answered if not _refused(a)}
    assert not {a.given.name: a.next_events for a in answered if not _continued(a)}
    await _check_dead_letters(system, answered)


@pytest.mark.shows("F58")
async def test_codes_that_need_a_history_occur(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await system.member()
    crowded, *broken = (system.market(0, name) for name in ("crowded", "x", "y", "z"))
    rich = system.account(0, "rich")
    await system.publish(*map(open_market, (crowded, *broken)))
    fitting = CASH_MAX // PARTITIONS // TRANSFER_MAX
    await system.publish(*(deposit(rich, TRANSFER_MAX, f"d{n}") for n in range(fitting + 3)))
    await system.answered()
    monkeypatch.setattr(orders, "apply", _breaking_in(set(broken)))

    await system.publish(
        *(buy(crowded, rich, 1, 1) for _ in range(OPEN_ORDERS_PER_ACCOUNT_MAX + 3))
    )
    await system.publish(*(buy(market, rich, 1, 1) for market in broken))
    await system.publish(*(buy(market, rich, 1, 1) for market in broken))
    await system.answered()
    monkeypatch.undo()
    await system.check_invariants()

    seen = Counter(event["reason"] for event in await system.events() if "reason" in event)
    assert seen == {"LIMIT": 3, "OPEN_ORDER_LIMIT": 3, "INTERNAL_REJECT": 3, "MARKET_HALTED": 3}


async def _prepare(system: System, corpus: hostile.Corpus) -> None:
    """Publish the fixture, and in every partition an offer that is large enough for all tests."""
    names = [_giver(system, p) for p in range(PARTITIONS)]
    names += [_taker(system, p) for p in range(PARTITIONS)]
    await system.publish(*(deposit(name, PLENTY) for name in names))
    for kind in ("transfers", "orders"):
        records = [Sent(*sent[1:]) for sent in corpus.fixture if sent.topic_kind == kind]
        await system.send(_topic(system, kind), records)
        await system.answered()
    for partition in range(PARTITIONS):
        market = system.market(partition, "safe")
        await system.publish(open_market(market))
        await system.publish(sell(market, _giver(system, partition), 100_000, 60))
    await system.answered()


async def _feed(system: System, corpus: tuple[Hostile, ...]) -> list[Answered]:
    """Publish every input, each with a valid command after it, and return the events of both."""
    offsets: dict[int, int] = {}
    for kind in ("orders", "transfers"):
        given = [(n, h) for n, h in enumerate(corpus) if h.topic_kind == kind]
        records = [r for n, h in given for r in (_sent(h), _good(system, h, n))]
        sent = await system.send(_topic(system, kind), records)
        offsets |= dict(zip((n for n, _ in given), sent[::2], strict=True))
        assert all(good == bad + 1 for bad, good in zip(sent[::2], sent[1::2], strict=True))
    await system.answered()
    found: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    for event in await system.events():
        kind = "transfers" if event["topic"] == system.settings.transfer_events_topic else "orders"
        found.setdefault((kind, event["partition"], event["offset"]), []).append(event)
    return [
        Answered(
            given,
            offsets[n],
            found[given.topic_kind, given.partition, offsets[n]],
            found[given.topic_kind, given.partition, offsets[n] + 1],
        )
        for n, given in enumerate(corpus)
    ]


def _good(system: System, given: Hostile, number: int) -> Sent:
    """Return a command that succeeds, for the partition of a hostile one."""
    taker = _taker(system, given.partition)
    if given.topic_kind == "transfers":
        command = deposit(taker, 1, f"after-{number}")
        return Sent(given.partition, taker.encode(), encode(command))
    market = system.market(given.partition, "safe")
    order = buy(market, taker, 1, 60, f"after-{number}")
    return Sent(given.partition, market.encode(), encode(order))


def _refused(answered: Answered) -> bool:
    answer, *more = answered.events
    reason = answered.given.expected_reason
    told = answer.get("reason", answer["type"])
    return not more and answer["index"] == 0 and told == reason


def _continued(answered: Answered) -> bool:
    types = [event["type"] for event in answered.next_events]
    filled = ["ORDER_ACCEPTED", "ORDER_FILLED"]
    return types == (filled if answered.given.topic_kind == "orders" else ["DEPOSITED"])


async def _check_dead_letters(system: System, answered: list[Answered]) -> None:
    """Check that the dead letters are exactly the malformed records."""
    records: dict[tuple[str, int, int], ConsumerRecord] = {}
    for partition in range(PARTITIONS):
        where = TopicPartition(system.settings.dead_letters_topic, partition)
        for record in system.log.records[where]:
            ours = dict(record.headers)
            lane = (ours["__dlq.errors.topic"].decode(), int(ours["__dlq.errors.partition"]))
            assert records.setdefault((*lane, int(ours["__dlq.errors.offset"])), record) is record
    malformed = [a for a in answered if a.given.expected_reason is Reason.MALFORMED]
    assert len(records) == len(malformed)
    for a in malformed:
        topic = _topic(system, a.given.topic_kind)
        _check_dead_letter(records[topic, a.given.partition, a.offset], a)


def _check_dead_letter(record: ConsumerRecord, answered: Answered) -> None:
    given, ours = answered.given, dict(record.headers)
    assert ours["parity-dlq-code"] == b"MALFORMED", given.name
    assert int(ours["parity-dlq-seq"]) == answered.events[0]["seq"], given.name
    if not _is_long(given):
        kept = (record.key, record.value, tuple(record.headers)[: len(given.headers)])
        assert kept == (given.key, given.value, tuple(given.headers)), given.name
        assert "parity-dlq-sha256" not in ours, given.name
        return
    sha = record_sha(given.key, given.value, given.headers)
    assert ours["parity-dlq-sha256"].decode() == sha, given.name
    assert int(ours["parity-dlq-truncated-length"]) == sum(_sizes(given)), given.name
    assert (given.value or b"").startswith(record.value or b""), given.name


def _is_long(given: Hostile) -> bool:
    return sum(_sizes(given)) + 16 * len(given.headers) > KEPT_BYTES_MAX


def _sizes(given: Hostile) -> list[int]:
    parts = [given.key or b"", given.value or b""]
    for name, content in given.headers:
        parts += [name.encode(errors=HEADER_NAME_ERRORS), content or b""]
    return [len(part) for part in parts]


def _sent(given: Hostile) -> Sent:
    return Sent(given.partition, given.key, given.value, given.headers)


def _topic(system: System, kind: str) -> str:
    settings = system.settings
    return settings.orders_topic if kind == "orders" else settings.transfers_topic


def _giver(system: System, partition: int) -> str:
    return system.account(partition, "giver")


def _taker(system: System, partition: int) -> str:
    return system.account(partition, "taker")


def _breaking_in(broken: set[MarketId]) -> Callable[[Draft, Taker, Proposal], None]:
    def apply(draft: Draft, taker: Taker, proposal: Proposal) -> None:
        assert taker.market.market_id not in broken, "broken on purpose"
        fills.apply(draft, taker, proposal)

    return apply
