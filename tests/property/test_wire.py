"""Laws of the wire format: no bytes do harm, nothing changes on the way, repeats are equal."""

import json
import string
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from producers.encode import encode
from tests.property.flows import law
from worker.domain.commands import (
    CancelOrder,
    Deposit,
    MarketCommand,
    OpenMarket,
    Outcome,
    PlaceOrder,
    ResolveMarket,
    Side,
    TimeInForce,
    TransferCommand,
    Unreadable,
    Withdraw,
)
from worker.domain.events import (
    Body,
    CancelReason,
    CancelRejected,
    CommandRejected,
    DeadLetter,
    Deposited,
    Duplicate,
    Event,
    EventType,
    First,
    IdConflict,
    MarketOpened,
    MarketResolved,
    MarketSettled,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Party,
    Payout,
    Posting,
    PostingKind,
    Reason,
    TransferRejected,
    Withdrawn,
)
from worker.domain.plan import DEAD_LETTER_BYTES_MAX
from worker.domain.state import StreamKind
from worker.domain.units import JSON_INTEGER_MAX, TITLE_CHARS_MAX
from worker.ports import Outgoing
from worker.wire import decode, events, journal

ids = st.text(string.ascii_letters + string.digits + "._:-", min_size=1, max_size=64)
integers = st.integers(-JSON_INTEGER_MAX, JSON_INTEGER_MAX)
counts = st.integers(0, JSON_INTEGER_MAX)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
titles = texts.map(lambda text: text[:TITLE_CHARS_MAX])
places = st.builds(
    PlaceOrder,
    market_id=ids,
    account_id=ids,
    order_id=ids,
    side=st.sampled_from(Side),
    price=integers,
    quantity=integers,
    time_in_force=st.sampled_from(TimeInForce),
)
market_commands = st.one_of(
    places,
    st.builds(CancelOrder, market_id=ids, account_id=ids, order_id=ids),
    st.builds(OpenMarket, market_id=ids, operator_id=ids, payout=integers, title=titles),
    st.builds(ResolveMarket, market_id=ids, operator_id=ids, outcome=st.sampled_from(Outcome)),
)
transfer_commands = st.one_of(
    st.builds(Deposit, account_id=ids, transfer_id=ids, amount=integers),
    st.builds(Withdraw, account_id=ids, transfer_id=ids, amount=integers),
)

reasons = st.sampled_from(Reason)
firsts = st.builds(First, st.sampled_from(EventType), counts, st.none() | reasons)
parties = st.builds(Party, ids, ids, counts, st.booleans())
postings = st.builds(Posting, st.none() | ids, integers, st.sampled_from(PostingKind))
refusals = st.builds(CommandRejected, reasons, st.none() | texts, st.none() | ids, st.none() | ids)
market_bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(
        OrderFilled,
        st.uuids().map(str),
        counts,
        counts,
        st.sampled_from(Side),
        parties,
        parties,
        st.lists(postings, max_size=6).map(tuple),
    ),
    st.builds(
        OrderAccepted,
        ids,
        ids,
        st.sampled_from(Side),
        counts,
        counts,
        st.sampled_from(TimeInForce),
    ),
    st.builds(OrderCancelled, ids, ids, counts, st.sampled_from(CancelReason)),
    st.builds(OrderRejected, ids, ids, reasons),
    st.builds(CancelRejected, ids, ids, reasons),
    st.builds(Duplicate, firsts, ids, ids) | st.builds(Duplicate, firsts, operator_id=ids),
    st.builds(IdConflict, firsts, ids, ids),
    st.builds(MarketOpened, ids, counts, titles),
    st.builds(MarketResolved, ids, st.sampled_from(Outcome)),
    st.builds(Payout, ids, counts, counts),
    st.builds(MarketSettled, counts, counts),
    refusals,
)
transfer_bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(Deposited, ids, counts),
    st.builds(Withdrawn, ids, counts),
    st.builds(TransferRejected, ids, integers, reasons),
    st.builds(Duplicate, firsts, transfer_id=ids),
    st.builds(IdConflict, firsts, transfer_id=ids),
    st.builds(CommandRejected, reasons, st.none() | texts),
)


def streams(bodies: st.SearchStrategy[Body]) -> st.SearchStrategy[Event]:
    return st.builds(
        Event, counts, counts, counts, integers, st.none() | ids, st.none() | counts, bodies
    )


market_events = streams(market_bodies)
transfer_events = streams(transfer_bodies)
payloads = st.none() | st.binary(max_size=40) | st.binary(max_size=8).map(lambda b: b * 20_000)
headers = st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8))).map(tuple)
originals = st.builds(Unreadable, detail=texts, key=payloads, value=payloads, headers=headers)
letters = st.builds(DeadLetter, counts, counts, integers, reasons, originals)
routes = st.builds(
    journal.Route,
    stream=ids,
    topic=ids,
    partition=st.integers(0, 59),
    events_topic=ids,
    dead_letters_topic=ids,
    dead_letter_partitions=st.integers(1, 12),
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | ids,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from([*sorted(decode._RULES), "type", "note"])
types = st.sampled_from([*decode._ORDERS, *decode._TRANSFERS])


@st.composite
def nearly_commands(draw: st.DrawFn) -> bytes:
    """A good command with some of its fields replaced, taken away or added."""
    good = json.loads(encode(draw(market_commands | transfer_commands)))
    for field in draw(st.lists(fields, max_size=2)):
        if draw(st.booleans()):
            good[field] = draw(types if field == "type" else anything)
        else:
            good.pop(field, None)
    return json.dumps(good, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


@st.composite
def torn_commands(draw: st.DrawFn) -> bytes:
    """The bytes of a good command with a few of them overwritten."""
    value = bytearray(encode(draw(market_commands | transfer_commands)))
    for at in draw(st.lists(st.integers(0, len(value) - 1), max_size=3)):
        value[at : at + 1] = draw(st.binary(max_size=3))
    return bytes(value)


@law
@given(st.one_of(st.none(), st.binary(), nearly_commands(), torn_commands()))
@example(b"[" * 65_536)
@example(b'"' + b'\\"' * 32_000)
@example(b'{"":' * 10_000)
def test_any_bytes_are_a_command_or_unreadable(value: bytes | None) -> None:
    order = decode.decode_order(b"k", value, ())
    assert isinstance(order, MarketCommand | Unreadable)
    transfer = decode.decode_transfer(b"k", value, ())
    assert isinstance(transfer, TransferCommand | Unreadable)
    for found in (order, transfer):
        if isinstance(found, Unreadable):
            assert found.value == value
            assert len(found.detail) <= 128
            assert found.detail.isascii()


@law
@given(nearly_commands())
def test_accepted_command_keeps_every_field(value: bytes) -> None:
    found = decode.decode_order(None, value, ())
    if not isinstance(found, Unreadable):
        assert json.loads(encode(found)) == json.loads(value)


@law
@given(market_commands)
def test_orders_survive_a_round_trip(command: MarketCommand) -> None:
    assert decode.decode_order(None, encode(command), ()) == command


@law
@given(transfer_commands)
def test_transfers_survive_a_round_trip(command: TransferCommand) -> None:
    assert decode.decode_transfer(None, encode(command), ()) == command


@law
@given(market_events)
def test_market_events_survive_a_round_trip(event: Event) -> None:
    assert events.decode(events.encode(event, StreamKind.ORDERS), StreamKind.ORDERS) == event


@law
@given(transfer_events)
def test_transfer_events_survive_a_round_trip(event: Event) -> None:
    value = events.encode(event, StreamKind.TRANSFERS)
    assert events.decode(value, StreamKind.TRANSFERS) == event


@law
@given(market_events)
def test_events_are_compact_ascii_json_lines(event: Event) -> None:
    value = events.encode(event, StreamKind.ORDERS)
    assert value == json.dumps(json.loads(value), separators=(",", ":")).encode()
    assert value.isascii()
    assert b"\n" not in value
    assert b"\t" not in value
    assert None not in json.loads(value).values()


def expected(event: Event, kind: StreamKind, route: journal.Route, key: bytes | None) -> Outgoing:
    """Return the record that publishes an event, built without the journal."""
    return Outgoing(
        topic=route.events_topic,
        partition=route.partition,
        key=key if event.subject is None else event.subject.encode(),
        value=events.encode(event, kind),
        headers=events.headers(
            route.stream,
            route.partition,
            event.seq,
            events.TYPES[type(event.body)],
            event.time_ms,
        ),
        timestamp_ms=event.time_ms,
    )


@law
@given(letters, routes)
def test_dead_letter_is_whole_or_marked_as_cut(letter: DeadLetter, route: journal.Route) -> None:
    text = journal.encode([letter], StreamKind.TRANSFERS)
    assert len(text) <= DEAD_LETTER_BYTES_MAX
    assert text.isascii()
    (record,) = journal.decode(text, route)
    original = letter.original
    ours = dict(record.headers)
    assert ours["parity-dlq-seq"] == str(letter.seq).encode()
    if "parity-dlq-sha256" in ours:
        assert (original.value or b"").startswith(record.value or b"")
        assert (original.key or b"").startswith(record.key or b"")
    else:
        assert (record.key, record.value) == (original.key, original.value)
        assert record.headers[:-5] == original.headers


answered = st.lists(
    st.tuples(market_events, letters), max_size=4, unique_by=lambda pair: pair[0].seq
)


@law
@given(answered, routes)
def test_journal_returns_the_records_to_publish(
    pairs: list[tuple[Event, DeadLetter]], route: journal.Route
) -> None:
    batch: list[Event | DeadLetter] = []
    records: list[Outgoing] = []
    for event, other in pairs:
        batch.append(event)
        key = None if other.original.key is None else other.original.key[: journal.KEY_BYTES_MAX]
        records.append(expected(event, StreamKind.ORDERS, route, key))
        if event.subject is None:
            letter = replace(other, seq=event.seq)
            batch.append(letter)
            records += journal.decode(journal.encode([letter], StreamKind.ORDERS), route)
    assert journal.decode(journal.encode(batch, StreamKind.ORDERS), route) == records


@law
@given(st.lists(market_events), st.lists(market_events | letters), routes)
def test_batches_publish_alike_singly_or_together(
    first: list[Event], then: list[Event | DeadLetter], route: journal.Route
) -> None:
    one, two = journal.encode(first, StreamKind.ORDERS), journal.encode(then, StreamKind.ORDERS)
    assert journal.decode(one + two, route) == [
        *journal.decode(one, route),
        *journal.decode(two, route),
    ]
