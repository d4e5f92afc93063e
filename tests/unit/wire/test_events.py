import json

import pytest

from worker.domain.commands import Outcome, Side, TimeInForce
from worker.domain.events import (
    Body,
    CancelReason,
    CancelRejected,
    CommandRejected,
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
from worker.domain.state import StreamKind
from worker.domain.units import (
    AccountId,
    MarketId,
    Money,
    Offset,
    OrderId,
    Price,
    Quantity,
    TransferId,
)
from worker.wire.events import TYPES, decode, encode, headers

ALICE, BOB, ORDER = AccountId("alice"), AccountId("bob"), OrderId("o-1")
TRANSFER = TransferId("t-1")
FILLED = OrderFilled(
    trade_id="0b0e6e5c-6f0e-5d9f-8f8e-1c4d8f0e7a11",
    price=Price(60),
    quantity=Quantity(5),
    taker_side=Side.BUY,
    buyer=Party(ALICE, ORDER, Quantity(3), taker=True),
    seller=Party(BOB, OrderId("o-2"), Quantity(0), taker=False),
    postings=(
        Posting(ALICE, Money(-300), PostingKind.PRICE),
        Posting(BOB, Money(300), PostingKind.PRICE),
        Posting(BOB, Money(-500), PostingKind.COLLATERAL),
        Posting(None, Money(500), PostingKind.COLLATERAL),
    ),
)
FILLED_JSON = (
    '"trade_id":"0b0e6e5c-6f0e-5d9f-8f8e-1c4d8f0e7a11","price":60,"quantity":5,"taker_side":"BUY",'
    '"buyer":{"account_id":"alice","order_id":"o-1","leaves_quantity":3,"liquidity":"TAKER"},'
    '"seller":{"account_id":"bob","order_id":"o-2","leaves_quantity":0,"liquidity":"MAKER"},'
    '"postings":[{"account_id":"alice","amount":-300,"kind":"PRICE"},'
    '{"account_id":"bob","amount":300,"kind":"PRICE"},'
    '{"account_id":"bob","amount":-500,"kind":"COLLATERAL"},'
    '{"account_id":"$escrow","amount":500,"kind":"COLLATERAL"}]'
)
MARKET_GOLDEN: list[tuple[Body, str, str]] = [
    (
        OrderAccepted(ALICE, ORDER, Side.SELL, Price(55), Quantity(10), TimeInForce.IOC),
        "ORDER_ACCEPTED",
        (
            '"account_id":"alice","order_id":"o-1","side":"SELL","price":55,"quantity":10,'
            '"time_in_force":"IOC"'
        ),
    ),
    (FILLED, "ORDER_FILLED", FILLED_JSON),
    (
        OrderCancelled(ALICE, ORDER, Quantity(4), CancelReason.UNFUNDED),
        "ORDER_CANCELLED",
        '"account_id":"alice","order_id":"o-1","cancelled_quantity":4,"reason":"UNFUNDED"',
    ),
    (
        OrderRejected(ALICE, ORDER, Reason.BAD_PRICE),
        "ORDER_REJECTED",
        '"account_id":"alice","order_id":"o-1","reason":"BAD_PRICE"',
    ),
    (
        CancelRejected(ALICE, ORDER, Reason.UNKNOWN_ORDER),
        "CANCEL_REJECTED",
        '"account_id":"alice","order_id":"o-1","reason":"UNKNOWN_ORDER"',
    ),
    (
        CommandRejected(Reason.NOT_OPERATOR, operator_id=BOB),
        "COMMAND_REJECTED",
        '"operator_id":"bob","reason":"NOT_OPERATOR"',
    ),
    (
        CommandRejected(Reason.MALFORMED, detail='"price": caf\u00e9', account_id=ALICE),
        "COMMAND_REJECTED",
        '"account_id":"alice","reason":"MALFORMED","detail":"\\"price\\": caf\\u00e9"',
    ),
    (
        Duplicate(First(EventType.ORDER_ACCEPTED, 7), account_id=ALICE, order_id=ORDER),
        "DUPLICATE",
        '"account_id":"alice","order_id":"o-1","first":{"type":"ORDER_ACCEPTED","seq":7}',
    ),
    (
        Duplicate(First(EventType.MARKET_OPENED, 1), operator_id=BOB),
        "DUPLICATE",
        '"operator_id":"bob","first":{"type":"MARKET_OPENED","seq":1}',
    ),
    (
        IdConflict(First(EventType.ORDER_ACCEPTED, 7), account_id=ALICE, order_id=ORDER),
        "ID_CONFLICT",
        '"account_id":"alice","order_id":"o-1","first":{"type":"ORDER_ACCEPTED","seq":7}',
    ),
    (
        MarketOpened(BOB, 100, 'Will "it"\u2028hold? \U0001f4b0'),
        "MARKET_OPENED",
        '"payout":100,"title":"Will \\"it\\"\\u2028hold? \\ud83d\\udcb0","operator_id":"bob"',
    ),
    (
        MarketResolved(BOB, Outcome.YES),
        "MARKET_RESOLVED",
        '"outcome":"YES","operator_id":"bob"',
    ),
    (
        Payout(ALICE, Quantity(5), Money(500)),
        "PAYOUT",
        '"account_id":"alice","quantity":5,"amount":500',
    ),
    (MarketSettled(2, Money(500)), "MARKET_SETTLED", '"holders":2,"paid":500'),
]
TRANSFER_GOLDEN: list[tuple[Body, str, str]] = [
    (Deposited(TRANSFER, Money(9)), "DEPOSITED", '"transfer_id":"t-1","amount":9'),
    (Withdrawn(TRANSFER, Money(9)), "WITHDRAWN", '"transfer_id":"t-1","amount":9'),
    (
        TransferRejected(TRANSFER, Money(-9), Reason.BAD_AMOUNT),
        "TRANSFER_REJECTED",
        '"transfer_id":"t-1","amount":-9,"reason":"BAD_AMOUNT"',
    ),
    (
        Duplicate(
            First(EventType.TRANSFER_REJECTED, 3, Reason.INSUFFICIENT_FUNDS), transfer_id=TRANSFER
        ),
        "DUPLICATE",
        (
            '"transfer_id":"t-1","first":{"type":"TRANSFER_REJECTED","seq":3,'
            '"reason":"INSUFFICIENT_FUNDS"}'
        ),
    ),
    (
        IdConflict(First(EventType.DEPOSITED, 3), transfer_id=TRANSFER),
        "ID_CONFLICT",
        '"transfer_id":"t-1","first":{"type":"DEPOSITED","seq":3}',
    ),
    (
        CommandRejected(Reason.MALFORMED, detail="amount: missing"),
        "COMMAND_REJECTED",
        '"reason":"MALFORMED","detail":"amount: missing"',
    ),
]


def market_event(body: Body) -> Event:
    return Event(12, Offset(34), 1, 1_700_000_000_000, MarketId("m-1"), 5, body)


def transfer_event(body: Body) -> Event:
    return Event(12, Offset(34), 0, 1_700_000_000_000, ALICE, None, body)


@pytest.mark.parametrize(("body", "kind", "rest"), MARKET_GOLDEN)
def test_market_events_have_golden_bytes(body: Body, kind: str, rest: str) -> None:
    value = (
        f'{{"type":"{kind}","seq":12,"market_id":"m-1","market_seq":5,"offset":34,"index":1,'
        f'"time_ms":1700000000000,{rest}}}'
    ).encode("ascii")
    assert encode(market_event(body), StreamKind.ORDERS) == value
    assert decode(value, StreamKind.ORDERS) == market_event(body)
    assert json.loads(value)["type"] == TYPES[type(body)]


@pytest.mark.parametrize(("body", "kind", "rest"), TRANSFER_GOLDEN)
def test_transfer_events_have_golden_bytes(body: Body, kind: str, rest: str) -> None:
    value = (
        f'{{"type":"{kind}","seq":12,"account_id":"alice","offset":34,"index":0,'
        f'"time_ms":1700000000000,{rest}}}'
    ).encode("ascii")
    assert encode(transfer_event(body), StreamKind.TRANSFERS) == value
    assert decode(value, StreamKind.TRANSFERS) == transfer_event(body)


def test_every_type_has_golden_bytes() -> None:
    assert {kind for _, kind, _ in MARKET_GOLDEN + TRANSFER_GOLDEN} == set(EventType)


def test_absent_fields_are_left_out() -> None:
    event = Event(1, Offset(0), 0, 5, None, None, CommandRejected(Reason.INTERNAL_REJECT))
    value = (
        b'{"type":"COMMAND_REJECTED","seq":1,"offset":0,"index":0,"time_ms":5,'
        b'"reason":"INTERNAL_REJECT"}'
    )
    for kind in StreamKind:
        assert encode(event, kind) == value
        assert decode(value, kind) == event


def test_postings_on_the_wire_sum_to_zero() -> None:
    fill = json.loads(encode(market_event(FILLED), StreamKind.ORDERS))
    assert sum(posting["amount"] for posting in fill["postings"]) == 0


def test_unknown_fields_are_ignored() -> None:
    value = encode(market_event(FILLED), StreamKind.ORDERS)
    newer = value[:-1] + b',"fee":3,"venue":{"name":"x"}}'
    assert decode(newer, StreamKind.ORDERS) == market_event(FILLED)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b'{"type":"ORDER_TELEPORTED","seq":1,"offset":0,"index":0,"time_ms":5}',
        b'{"type":"MARKET_SETTLED","seq":1,"offset":0,"index":0,"time_ms":5,"holders":1}',
        b'{"type":"MARKET_SETTLED","seq":1.0,"offset":0,"index":0,"time_ms":5,"holders":1,"paid":1}',
    ],
)
def test_wrong_event_raises_value_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        decode(value, StreamKind.ORDERS)


def test_headers_are_cloudevents_in_binary_mode() -> None:
    assert headers("parity.orders.v1", 3, 12, "ORDER_FILLED", 1_700_000_000_123) == (
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_source", b"/parity.orders.v1"),
        ("ce_id", b"parity.orders.v1/3/12"),
        ("ce_type", b"ORDER_FILLED"),
        ("ce_time", b"2023-11-14T22:13:20.123Z"),
    )


@pytest.mark.parametrize(
    ("time_ms", "expected"),
    [
        (0, b"1970-01-01T00:00:00.000Z"),
        (253_402_300_799_999, b"9999-12-31T23:59:59.999Z"),
        (-1, None),
        (253_402_300_800_000, None),
    ],
)
def test_time_outside_the_calendar_has_no_header(time_ms: int, expected: bytes | None) -> None:
    assert dict(headers("s", 0, 1, "PAYOUT", time_ms)).get("ce_time") == expected
