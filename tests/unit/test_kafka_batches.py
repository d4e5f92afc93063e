"""Batches as the compiled parser reads them, and as ours does where the compiled one refuses."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
import zstandard
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import ConsumerRecord, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from producers.encode import encode
from tests.support.books import buy
from worker.adapters.kafka import AiokafkaBroker, batches, unpack
from worker.adapters.kafka.batches import AnyNamesBuilder, Turn, UnreadableBatch
from worker.adapters.kafka.probes import Brokers, Names
from worker.adapters.kafka.unpack import CODECS
from worker.domain.commands import Unreadable
from worker.domain.units import MarketId
from worker.errors import ConfigError
from worker.response import Verdict
from worker.wire.decode import decode_order

ODD: Final = "caf\udce9"
"""A header's name of the bytes ``caf\\xe9``, Latin-1 for café."""
WHERE: Final = TopicPartition("orders", 0)
PRODUCER_ID: Final = 7
ABORT_MARK: Final = b"\x00\x00\x00\x00"
_TRANSACTIONAL, _CONTROL = 0x10, 0x20

Headers = Sequence[tuple[str, bytes | None]]
names = st.binary(max_size=6).map(lambda content: content.decode(errors="surrogateescape"))
contents = st.none() | st.binary(max_size=40)
headers = st.lists(st.tuples(names, contents), max_size=4)
records = st.tuples(st.integers(0, 2**60), contents, contents, headers)


def batch(
    offset: int,
    *items: tuple[int, bytes | None, bytes | None, Headers],
    number: int = 0,
    attributes: int = 0,
) -> bytes:
    """Return a batch as a fetch brings it: records of (time, key, value, headers)."""
    builder = AnyNamesBuilder(10**9, number)
    for time_ms, key, value, named in items:
        builder.append(timestamp=time_ms, key=key, value=value, headers=named)
    builder._set_producer_state(PRODUCER_ID, 0, 0)
    builder._builder._is_transactional = bool(attributes & _TRANSACTIONAL)
    raw = bytearray(builder._build())  # type: ignore[no-untyped-call]
    raw[:8] = offset.to_bytes(8)
    raw[22] |= attributes
    raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4)
    return bytes(raw)


def good(offset: int, count: int = 2, **how: int) -> bytes:
    return batch(offset, *[(n, b"k", b"value" * 20, [("h", b"1")]) for n in range(count)], **how)


def odd(offset: int, count: int = 2, **how: int) -> bytes:
    return batch(offset, *[(n, b"k", b"value" * 20, [(ODD, b"1")]) for n in range(count)], **how)


def fetched(
    raw: bytes,
    position: int = 0,
    aborted: Sequence[tuple[int, int]] = (),
    *,
    marked: bool = True,
) -> tuple[list[Any], int]:
    """Return what a fetch of ``raw`` gives, and the position after it."""
    found = batches._Records(
        WHERE,
        batches._Fetched(raw),
        list(aborted),
        position,
        Turn() if marked else None,
        None,
        check_crcs=True,
        isolation_level=fetcher.READ_COMMITTED,
    )
    return list(found), found.next_fetch_offset


def offsets(found: Sequence[ConsumerRecord[Any, Any]]) -> list[int]:
    return [record.offset for record in found]


@pytest.mark.parametrize("number", [0, *CODECS.values()])
def test_odd_header_names_are_read_in_order(number: int) -> None:
    found, position = fetched(good(0) + good(2) + odd(4, number=number) + good(6))
    assert (offsets(found), position) == ([0, 1, 2, 3, 4, 5, 6, 7], 8)
    assert [record.headers[0][0] for record in found] == ["h"] * 4 + [ODD] * 2 + ["h"] * 2
    assert {record.value for record in found} == {b"value" * 20}


def test_odd_batch_is_read_from_position() -> None:
    found, position = fetched(odd(10, 5), position=13)
    assert (offsets(found), position) == ([13, 14], 15)


def test_batch_cut_by_fetch_is_left() -> None:
    found, position = fetched(odd(0) + odd(2)[:-1])
    assert (offsets(found), position) == ([0, 1], 2)


def test_aborted_odd_batch_is_passed_over() -> None:
    aborted = odd(2, attributes=_TRANSACTIONAL)
    mark = batch(4, (0, ABORT_MARK, b"", ()), attributes=_TRANSACTIONAL | _CONTROL)
    kept = odd(5, attributes=_TRANSACTIONAL)
    found, position = fetched(odd(0) + aborted + mark + kept, 0, [(PRODUCER_ID, 2)])
    assert (offsets(found), position) == ([0, 1, 5, 6], 7)


def test_transaction_marker_is_no_record() -> None:
    mark = batch(2, (0, b"\x00\x00\x00\x01", b"", ()), attributes=_TRANSACTIONAL | _CONTROL)
    found, position = fetched(odd(0, attributes=_TRANSACTIONAL) + mark)
    assert (offsets(found), position) == ([0, 1], 3)


def test_compacted_gap_moves_the_position() -> None:
    raw = bytearray(odd(0, 3))
    raw[26] = 9
    raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4)
    found, position = fetched(bytes(raw))
    assert (offsets(found), position) == ([0, 1, 2], 10)


@pytest.mark.parametrize("at", [17, -1])
def test_damaged_batch_ends_fetch_at_its_offset(at: int) -> None:
    damaged = bytearray(good(2))
    damaged[at] ^= 1
    found, position = fetched(good(0) + bytes(damaged) + good(4))
    assert offsets(found) == [0, 1, 2]
    assert isinstance(found[-1], UnreadableBatch)
    assert "CRC" in repr(found[-1].error)
    assert position == 2


def test_unmarked_consumers_are_unchanged() -> None:
    with pytest.raises(UnicodeDecodeError):
        fetched(odd(0), marked=False)


def test_unknown_codec_makes_batch_unreadable() -> None:
    raw = bytearray(good(0))
    raw[22] |= 7
    raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4)
    ((found,), position) = fetched(bytes(raw))
    assert isinstance(found, UnreadableBatch)
    assert "codec 7 is unknown" in repr(found.error)
    assert position == 0


def test_memory_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> bytes:
        raise MemoryError

    raw = odd(0, number=CODECS["gzip"])
    monkeypatch.setitem(unpack._UNPACK, 1, full)
    with pytest.raises(MemoryError):
        fetched(raw)


@given(st.lists(records, min_size=1, max_size=8), st.sampled_from([0, *CODECS.values()]))
def test_any_records_are_read_back(items: list[Any], number: int) -> None:
    found, position = fetched(batch(5, *items, number=number), position=5)
    expected = [(key, value, tuple(named)) for _, key, value, named in items]
    assert [(r.key, r.value, r.headers) for r in found] == expected
    assert [r.timestamp for r in found] == [time_ms for time_ms, *_ in items]
    assert position == 5 + len(items)


@given(st.lists(records, min_size=1, max_size=8), st.sampled_from([0, *CODECS.values()]))
def test_both_parsers_agree(items: list[Any], number: int) -> None:
    named = [(t, k, v, [(f"h{n}", c) for n, (_, c) in enumerate(h)]) for t, k, v, h in items]
    raw = batch(5, *named, number=number)
    (known,) = batches._batches(raw)
    assert isinstance(known, batches._Batch)
    pieces = unpack.unpacked(known.compression_type, raw[61:])
    ours = [item for item in batches._walk(pieces, known) if not isinstance(item, int)]
    assert [_parts(record) for record in ours] == [
        _parts(record) for record in DefaultRecordBatch(raw)
    ]


def _parts(record: Any) -> object:  # noqa: ANN401 - of two classes
    stamp = record.offset, record.timestamp, record.timestamp_type
    return (*stamp, record.key, record.value, list(record.headers))


async def test_doctor_tries_every_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    brokers = Brokers(AiokafkaBroker("localhost:1", "group", "client"), Names({}, "dead"))
    assert (await brokers.codecs()).verdict is Verdict.OK
    monkeypatch.setattr(codec, "cramjam", None)
    answer = await brokers.codecs()
    assert (answer.verdict, answer.text) == (
        Verdict.MISSING,
        "batches in snappy, lz4, zstd cannot be read",
    )


@pytest.mark.parametrize(
    ("library", "lacking"),
    [("cramjam", ["snappy", "lz4"]), ("zstandard", ["zstd"])],
)
def test_each_library_is_needed(
    monkeypatch: pytest.MonkeyPatch, library: str, lacking: list[str]
) -> None:
    monkeypatch.setattr(unpack, library, None)
    assert [name for name in CODECS if not batches.reads(name)] == lacking


def test_missing_codecs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    batches.require_codecs()
    monkeypatch.setattr(codec, "cramjam", None)
    with pytest.raises(ConfigError, match=r"snappy, lz4, zstd.*pip install"):
        batches.require_codecs()


# Batches that unpack to more than is held.

LIMIT: Final = batches.UNPACKED_AT_ONCE
BIG: Final = LIMIT + 1


def large(number: int, *sizes: int, filler: bytes = b"\0", headers: int = 0) -> bytes:
    """Return a batch of records with values of ``sizes``, compressed with codec ``number``."""
    named = [("", None)] * headers
    return batch(
        0, *[(n, b"k", filler * size, named) for n, size in enumerate(sizes)], number=number
    )


@pytest.mark.parametrize("number", CODECS.values())
def test_large_batch_is_read_record_by_record(number: int) -> None:
    sizes = [300_000, 0, 900_000, 5, 700_000]
    found, position = fetched(large(number, *sizes) + good(5))
    assert [len(record.value) for record in found[:5]] == sizes
    assert (offsets(found), position) == ([*range(7)], 7)


@pytest.mark.parametrize("number", CODECS.values())
@pytest.mark.parametrize("size", [BIG, 20 * LIMIT], ids=["a little", "much"])
def test_record_beyond_limit_is_cut(number: int, size: int) -> None:
    found, position = fetched(large(number, 5, size, 7))
    assert (offsets(found), position) == ([0, 1, 2], 3)
    assert LIMIT - 100 < len(found[1].value) <= LIMIT
    assert (found[1].key, found[1].headers) == (b"k", ())
    assert [len(found[n].value) for n in (0, 2)] == [5, 7]
    assert isinstance(decode_order(b"k", found[1].value, ()), Unreadable)


@pytest.mark.parametrize("part", ["key", "headers"])
def test_record_of_enormous_key_is_no_command(part: str) -> None:
    order = encode(buy(MarketId("m"), "a", 1, 10))
    key = bytes(3 * LIMIT) if part == "key" else b"m"
    named = [("", None)] * LIMIT if part == "headers" else []
    ((record,), _) = fetched(batch(0, (0, key, order, named), number=CODECS["zstd"]))
    assert isinstance(decode_order(record.key, record.value, record.headers), Unreadable)


@pytest.mark.parametrize("number", CODECS.values())
def test_damaged_end_keeps_whole_records(number: int) -> None:
    """Only what the records need is unpacked, as in the brokers."""
    raw = bytearray(large(number, 700_000, 700_000))
    raw[57:61] = (1).to_bytes(4)
    raw += b"garbage"
    raw[8:12] = (len(raw) - 12).to_bytes(4)
    raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4)
    found, _ = fetched(bytes(raw))
    assert offsets(found[:1]) == [0]
    assert not isinstance(found[-1], UnreadableBatch)


def test_missing_records_make_batch_unreadable() -> None:
    raw = bytearray(large(CODECS["gzip"], 700_000, 700_000))
    raw[57:61] = (3).to_bytes(4)
    raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4)
    found, position = fetched(bytes(raw))
    assert offsets(found[:2]) == [0, 1]
    assert "too few records" in repr(found[2].error)
    assert position == 2


@pytest.mark.parametrize("length", [-1, 0, 3, 40])
def test_impossible_length_makes_batch_unreadable(length: int) -> None:
    raw = bytearray(good(0))
    raw[8:12] = length.to_bytes(4, signed=True)
    ((found,), position) = fetched(bytes(raw))
    assert isinstance(found, UnreadableBatch)
    assert position == 0


# Shares of a poll.


def reading(raw: bytes, turn: Turn) -> batches._Records:
    fetch = batches._Fetched(raw)
    return batches._Records(WHERE, fetch, [], 0, turn, None, True, fetcher.READ_COMMITTED)


def _bytes_of(found: Sequence[Any]) -> int:
    return sum(len(record.value) for record in found)


def test_poll_returns_a_share_of_large_batch() -> None:
    turn = Turn()
    found = reading(large(CODECS["zstd"], *[100_000] * 300), turn)
    lengths = []
    while not found.is_over:
        turn.begin()
        lengths.append(_bytes_of(found.take(turn)))
        assert turn.unfinished != found.is_over
    assert sum(lengths) == 300 * 100_000
    assert max(lengths) <= batches.SHARE_BYTES + 100_000


def test_all_partitions_share_one_turn() -> None:
    turn, raw = Turn(), large(0, *[200_000] * 30)
    taken = [reading(raw, turn).take(turn) for _ in range(40)]
    assert sum(map(_bytes_of, taken)) < 2 * batches.TURN_BYTES
    assert not taken[-1]


def test_skipping_a_record_counts_as_work() -> None:
    turn = Turn()
    found = reading(large(CODECS["zstd"], 40 * LIMIT), turn)
    polls = 0
    while not found.is_over:
        turn.begin()
        found.take(turn)
        polls += 1
    assert polls > 40


def wide(number_of_records: int = 30) -> bytes:
    """Return a zstd batch whose window needs 64 MiB."""
    raw = large(0, *[100_000] * number_of_records)
    parameters = zstandard.ZstdCompressionParameters(window_log=26)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    made = bytearray(raw[:61] + stream.compress(raw[61:]) + stream.flush())
    made[8:12] = (len(made) - 12).to_bytes(4)
    made[22] |= CODECS["zstd"]
    made[17:21] = calc_crc32c(bytes(made[21:])).to_bytes(4)
    return bytes(made)


def test_one_partition_has_a_large_decompressor() -> None:
    turn = Turn()
    first, second = reading(wide(), turn), reading(wide(), turn)
    for _ in range(3):
        turn.begin()
        first.take(turn)
        assert not second.take(turn)
    for _ in first:
        pass
    turn.begin()
    assert second.take(turn)


def test_new_assignment_frees_the_large_decompressor() -> None:
    turn = Turn()
    first, second = reading(wide(), turn), reading(wide(), turn)
    for found in (first, second):
        for _ in range(4):
            turn.begin()
            found.take(turn)
    assert not turn.is_held_by(second)
    turn.release()
    turn.begin()
    assert second.take(turn)


async def test_paused_rest_of_batch_is_kept() -> None:
    """Otherwise each pause would fetch and unpack a large batch again, from its first byte on."""
    turn = Turn()
    found = reading(large(CODECS["zstd"], *[100_000] * 30), turn)
    assignment = Assignment([WHERE])
    state = assignment.state_value(WHERE)
    state.seek(0)
    result: Any = batches._Result(  # type: ignore[no-untyped-call]
        WHERE, assignment=assignment, partition_records=found, backoff=0
    )
    first: list[Any] = []
    while not first:
        turn.begin()
        first = result.getall()
    state.pause()
    assert result.getall() == []
    assert result.has_more()
    state.resume()
    turn.begin()
    assert offsets(result.getall())[0] == offsets(first)[-1] + 1
    state.pause()
    state.seek(0)
    assert result.getall() == []
    assert not result.has_more(), "another position was sought"
