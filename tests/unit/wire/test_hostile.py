import re
from collections import Counter

import pytest

from tests.support.hostile import FIXTURE, Corpus, Hostile, build
from worker.domain.commands import Command, Unreadable
from worker.domain.events import Reason
from worker.domain.ids import partition_of
from worker.domain.units import MarketId
from worker.wire import journal
from worker.wire.decode import decode_order, decode_transfer

PARTITIONS = 6
CORPUS: Corpus = build(PARTITIONS)
MALFORMED = [item for item in CORPUS.hostile if item.expected_reason is Reason.MALFORMED]
REFUSED = [item for item in CORPUS.hostile if item.expected_reason is not Reason.MALFORMED]
FIELD = re.compile("[A-Z_]+ ([a-z_]+) is (?!called)")
# Reasons that a client cannot cause alone, or not with a few records.
OUT_OF_REACH = {
    Reason.INTERNAL_REJECT,
    Reason.MARKET_HALTED,
    Reason.FUNDS_IN_USE,
    Reason.OPEN_ORDER_LIMIT,
    Reason.LANE_ORDER_LIMIT,
    Reason.MARKET_BUSY,
    Reason.LIMIT,
}


def decoded(item: Hostile) -> Command:
    decode = decode_order if item.topic_kind == "orders" else decode_transfer
    return decode(item.key, item.value, item.headers)


@pytest.mark.parametrize("item", MALFORMED, ids=lambda item: item.name)
def test_malformed_input_is_unreadable_with_a_detail(item: Hostile) -> None:
    found = decoded(item)
    assert isinstance(found, Unreadable)
    assert (found.key, found.value, found.headers) == (item.key, item.value, item.headers)
    assert len(found.detail) <= 128
    assert found.detail.isascii()
    assert found.detail.isprintable()


@pytest.mark.parametrize("item", REFUSED, ids=lambda item: item.name)
def test_input_refused_by_rules_is_a_command(item: Hostile) -> None:
    assert not isinstance(decoded(item), Unreadable)


def test_details_name_the_wrong_field() -> None:
    named = [(found, item) for item in MALFORMED if (found := FIELD.match(item.name))]
    assert len(named) > 400
    for found, item in named:
        fault = decoded(item)
        assert isinstance(fault, Unreadable)
        assert fault.detail.startswith(f"{found[1]}: "), item.name


def test_details_differ() -> None:
    details = {found.detail for found in map(decoded, MALFORMED) if isinstance(found, Unreadable)}
    assert len(details) >= 60


def test_hostile_inputs_are_many_and_distinct() -> None:
    assert len(CORPUS.hostile) >= 320
    assert len({item.name for item in CORPUS.hostile}) == len(CORPUS.hostile)
    records = {item[1:6] for item in CORPUS.hostile}
    assert len(records) == len(CORPUS.hostile)


def test_every_reachable_reason_occurs_three_times() -> None:
    times = Counter(item.expected_reason for item in CORPUS.hostile)
    assert {reason for reason in Reason if times[reason] < 3} == OUT_OF_REACH


def test_only_wrong_partition_inputs_are_misplaced() -> None:
    for item in REFUSED:
        command = decoded(item)
        assert not isinstance(command, Unreadable)
        subject = getattr(command, "market_id", None) or getattr(command, "account_id", "")
        astray = item.expected_reason is Reason.WRONG_PARTITION
        assert (partition_of(subject, PARTITIONS) != item.partition) is astray, item.name


def test_fixture_goes_to_right_partitions_transfers_first() -> None:
    assert len(CORPUS.fixture) == len(FIXTURE)
    for sent, command in zip(CORPUS.fixture, FIXTURE, strict=True):
        decode = decode_order if sent.topic_kind == "orders" else decode_transfer
        assert decode(sent.key, sent.value, ()) == command
        assert sent.partition == partition_of(sent.key.decode(), PARTITIONS)
    kinds = [sent.topic_kind for sent in CORPUS.fixture]
    assert kinds == sorted(kinds, reverse=True)


def test_one_partition_is_refused() -> None:
    with pytest.raises(ValueError, match="one partition"):
        build(1)


def test_records_fit_a_broker_and_the_journal() -> None:
    for item in MALFORMED:
        headers = sum(len(name) + len(content or b"") + 10 for name, content in item.headers)
        assert len(item.key or b"") + len(item.value or b"") + headers < 1_000_000
        found = decoded(item)
        assert isinstance(found, Unreadable)
        key, value, kept = journal._kept(found.key, found.value, found.headers)
        assert len(key or b"") + len(value or b"") + len(kept) <= journal.ORIGINAL_BYTES_MAX


def test_readable_market_is_kept() -> None:
    by_name = {item.name: decoded(item) for item in MALFORMED}
    found = by_name["PLACE_ORDER price is 5,000 digits"]
    assert isinstance(found, Unreadable)
    assert found.market_id == MarketId("hostile-open")
    assert found.account_id == "rich"
