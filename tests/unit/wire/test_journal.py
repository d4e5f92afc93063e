import pytest

from worker.domain.commands import Unreadable
from worker.domain.events import (
    CommandRejected,
    DeadLetter,
    Deposited,
    Event,
    MarketSettled,
    Reason,
)
from worker.domain.plan import DEAD_LETTER_BYTES_MAX
from worker.domain.state import StreamKind
from worker.domain.units import AccountId, MarketId, Money, Offset, TransferId
from worker.ports import Outgoing
from worker.wire import events
from worker.wire.decode import Headers, record_sha
from worker.wire.journal import (
    HEADERS_BYTES_MAX,
    KEY_BYTES_MAX,
    ORIGINAL_BYTES_MAX,
    Route,
    decode,
    encode,
    seq_of,
)

ROUTE = Route(
    stream="parity.orders.v1",
    topic="orders-in",
    partition=5,
    events_topic="events-out",
    dead_letters_topic="dead",
    dead_letter_partitions=3,
)
SETTLED = Event(7, Offset(40), 2, 1_700_000_000_000, MarketId("m-1"), 9, MarketSettled(1, Money(5)))
OURS: Headers = (
    ("parity-dlq-code", b"MALFORMED"),
    ("parity-dlq-seq", b"8"),
    ("__dlq.errors.topic", b"orders-in"),
    ("__dlq.errors.partition", b"5"),
    ("__dlq.errors.offset", b"41"),
)


def refusal(subject: MarketId | None = None) -> Event:
    body = CommandRejected(Reason.MALFORMED, detail="value: must be JSON")
    return Event(8, Offset(41), 0, 1_700_000_000_001, subject, None, body)


def letter(
    key: bytes | None = b"m-1", value: bytes | None = b"{", headers: Headers = ()
) -> DeadLetter:
    original = Unreadable(detail="value: must be JSON", key=key, value=value, headers=headers)
    return DeadLetter(8, Offset(41), 1_700_000_000_001, Reason.MALFORMED, original)


def buried(given: DeadLetter) -> Outgoing:
    text = encode([given], StreamKind.ORDERS)
    assert len(text) <= DEAD_LETTER_BYTES_MAX
    (record,) = decode(text, ROUTE)
    assert record.topic == "dead"
    assert record.timestamp_ms == 1_700_000_000_001
    return record


def size(record: Outgoing) -> int:
    parts = (record.key, record.value, *(part for header in record.headers for part in header))
    return sum(len(part) for part in parts if part)


def test_line_is_key_tab_value() -> None:
    text = encode([SETTLED], StreamKind.ORDERS)
    assert text == f"m-1\t{events.text(SETTLED, StreamKind.ORDERS)}\n"


def test_event_is_published_with_partition_time_and_id() -> None:
    assert decode(encode([SETTLED], StreamKind.ORDERS), ROUTE) == [
        Outgoing(
            topic="events-out",
            partition=5,
            key=b"m-1",
            value=events.encode(SETTLED, StreamKind.ORDERS),
            headers=events.headers("parity.orders.v1", 5, 7, "MARKET_SETTLED", 1_700_000_000_000),
            timestamp_ms=1_700_000_000_000,
        )
    ]


def test_transfer_events_are_keyed_by_account() -> None:
    body = Deposited(TransferId("t"), Money(5))
    event = Event(1, Offset(0), 0, 5, AccountId("alice"), None, body)
    (record,) = decode(encode([event], StreamKind.TRANSFERS), ROUTE)
    assert record.key == b"alice"
    assert record.value == events.encode(event, StreamKind.TRANSFERS)


def test_records_keep_their_order() -> None:
    text = encode([SETTLED, refusal(), letter()], StreamKind.ORDERS)
    assert [record.topic for record in decode(text, ROUTE)] == ["events-out", "events-out", "dead"]


def test_no_items_are_an_empty_text() -> None:
    assert encode([], StreamKind.ORDERS) == ""
    assert decode("", ROUTE) == []


@pytest.mark.parametrize(
    ("key", "written"),
    [
        (None, ""),
        (b"", "~"),
        (b"m-1", "m-1"),
        (b"a" * 64, "a" * 64),
        (b"!x", "~IXg="),
        (b"~", "~fg=="),
        (b"a\tb\n", "~YQliCg=="),
        (b"\xff\x00", "~/wA="),
        ("caf\u00e9".encode(), "~Y2Fmw6k="),
    ],
)
def test_answer_without_subject_has_the_records_key(key: bytes | None, written: str) -> None:
    text = encode([refusal(), letter(key)], StreamKind.ORDERS)
    assert text.split("\t")[0] == written
    assert decode(text, ROUTE)[0].key == key


def test_answer_with_subject_has_its_id_as_key() -> None:
    text = encode([refusal(MarketId("m-2")), letter(b"other")], StreamKind.ORDERS)
    assert decode(text, ROUTE)[0].key == b"m-2"


def test_large_key_is_cut() -> None:
    text = encode([refusal(), letter(b"k" * 100_000)], StreamKind.ORDERS)
    assert decode(text, ROUTE)[0].key == b"k" * KEY_BYTES_MAX


def test_answer_without_dead_letter_has_no_key() -> None:
    assert decode(encode([refusal()], StreamKind.ORDERS), ROUTE)[0].key is None


def test_dead_letter_adds_headers_to_the_original() -> None:
    theirs = (("trace", b"\x00\xff"), ("caf\u00e9", b""), ("parity-dlq-seq", b"999"))
    record = buried(letter(b"\xfe", b"\x00\x01{", theirs))
    assert (record.key, record.value) == (b"\xfe", b"\x00\x01{")
    assert record.headers == (*theirs, *OURS)
    assert record.partition == 2


@pytest.mark.parametrize(("key", "value"), [(None, None), (b"", b""), (None, b"x"), (b"k", None)])
def test_dead_letter_keeps_null_and_empty_apart(key: bytes | None, value: bytes | None) -> None:
    record = buried(letter(key, value))
    assert (record.key, record.value) == (key, value)


def test_original_above_the_limit_is_cut() -> None:
    value = b"x" * (ORIGINAL_BYTES_MAX - 3)
    assert buried(letter(b"m-1", value)).value == value
    assert buried(letter(b"m-1", value)).headers == OURS
    record = buried(letter(b"m-1", value + b"y"))
    assert record.value == value
    assert record.headers == (
        *OURS,
        ("parity-dlq-truncated-length", str(ORIGINAL_BYTES_MAX + 1).encode()),
        ("parity-dlq-sha256", record_sha(b"m-1", value + b"y", ()).encode()),
    )


def test_large_value_is_cut_to_a_prefix() -> None:
    value = bytes(range(256)) * 4_000
    record = buried(letter(b"m-1", value, (("h", b"v"),)))
    assert record.value is not None
    assert value.startswith(record.value)
    assert len(record.value) > ORIGINAL_BYTES_MAX - 100
    assert record.headers[0] == ("h", b"v")
    assert dict(record.headers)["parity-dlq-truncated-length"] == str(len(value) + 5).encode()


@pytest.mark.parametrize(
    "headers",
    [
        (("h", b"v" * 300_000),),
        (("n" * 300_000, b""),),
        (("\u0001" * 100_000, b"v"),),
        (("", b""),) * 100_000,
        (("h", b"v" * 1_000),) * 1_000,
    ],
)
def test_large_headers_are_cut_between_headers(headers: Headers) -> None:
    record = buried(letter(b"k" * 300_000, b"x" * 300_000, headers))
    assert size(record) <= ORIGINAL_BYTES_MAX + 1_000
    theirs = record.headers[:-7]
    assert theirs == headers[: len(theirs)]
    assert sum(len(name) + len(content or b"") for name, content in theirs) <= HEADERS_BYTES_MAX
    assert record.key == b"k" * KEY_BYTES_MAX
    assert record.value == b"x" * len(record.value or b"")


def test_large_headers_leave_key_and_value_whole() -> None:
    record = buried(letter(None, b"{", (("h", b"v" * 70_000),)))
    assert (record.key, record.value) == (None, b"{")
    assert dict(record.headers)["parity-dlq-truncated-length"] == b"70002"


def test_header_name_of_any_bytes_is_kept() -> None:
    assert buried(letter(headers=(("caf\udce9", b"v"),))).headers[0] == ("caf\udce9", b"v")


@pytest.mark.parametrize("text", ["m-1", "m-1\t{}\n", "m-1 {}\n", "\n", "m-1\t[1]\n"])
def test_malformed_journal_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="journal"):
        decode(text, ROUTE)


def test_null_header_stays_null_in_dead_letters() -> None:
    record = buried(letter(headers=(("null", None), ("empty", b""))))
    assert record.headers[:2] == (("null", None), ("empty", b""))


@pytest.mark.parametrize("number", [b"", b"-1", b"x", b"9" * 5_000])
def test_strange_seq_is_no_event(number: bytes) -> None:
    """Python raises ValueError for an integer of more than 4,300 digits."""
    source = f"{ROUTE.stream}/{ROUTE.partition}/".encode()
    assert seq_of((("ce_id", source + number),), ROUTE) == 0
    assert seq_of((("ce_id", None),), ROUTE) == 0


def test_seq_is_read_from_headers() -> None:
    (record,) = decode(encode([SETTLED], StreamKind.ORDERS), ROUTE)
    assert seq_of(record.headers, ROUTE) == 7


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("ce_id", b""),),
        (("ce_id", b"7"),),
        (("ce_id", b"parity.orders.v1/5/"),),
        (("ce_id", b"parity.orders.v1/5/seven"),),
        (("ce_id", b"parity.orders.v1/50/7"),),
        (("ce_id", b"parity.orders.v1@2/5/7"),),
        (("other", b"parity.orders.v1/5/7"),),
        events.headers("parity.orders.v1", 6, 7, "PAYOUT", 1),
    ],
)
def test_foreign_record_has_seq_0(headers: Headers) -> None:
    assert seq_of(headers, ROUTE) == 0
