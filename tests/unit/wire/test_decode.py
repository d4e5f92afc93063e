import sys
from hashlib import sha256

import pytest

from producers.encode import encode
from worker.domain.commands import (
    CancelOrder,
    Command,
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
from worker.domain.units import (
    JSON_INTEGER_MAX,
    AccountId,
    MarketId,
    Money,
    OrderId,
    Price,
    Quantity,
    TransferId,
)
from worker.wire.decode import (
    VALUE_BYTES_MAX,
    decode_order,
    decode_transfer,
    record_sha,
)

MARKET, ACCOUNT, ORDER = MarketId("m-1"), AccountId("alice"), OrderId("o:1")
PLACE = PlaceOrder(
    market_id=MARKET,
    account_id=ACCOUNT,
    order_id=ORDER,
    side=Side.BUY,
    price=Price(55),
    quantity=Quantity(10),
    time_in_force=TimeInForce.GTC,
)
PLACE_BYTES = (
    b'{"type":"PLACE_ORDER","market_id":"m-1","account_id":"alice","order_id":"o:1",'
    b'"side":"BUY","price":55,"quantity":10,"time_in_force":"GTC"}'
)
TRANSFER, AMOUNT = TransferId("t_1"), Money(500)
FRAMED = "(first byte 0x00), must be plain JSON"
ID_RULE = "must be 1 to 64 characters of A-Z a-z 0-9 . _ : -"
GOLDEN: list[tuple[MarketCommand | TransferCommand, bytes]] = [
    (PLACE, PLACE_BYTES),
    (
        CancelOrder(market_id=MARKET, account_id=ACCOUNT, order_id=ORDER),
        b'{"type":"CANCEL_ORDER","market_id":"m-1","account_id":"alice","order_id":"o:1"}',
    ),
    (
        OpenMarket(
            market_id=MARKET, operator_id=ACCOUNT, payout=100, title="Will caf\u00e9s open?"
        ),
        (
            b'{"type":"OPEN_MARKET","market_id":"m-1","operator_id":"alice","payout":100,'
            b'"title":"Will caf\\u00e9s open?"}'
        ),
    ),
    (
        ResolveMarket(market_id=MARKET, operator_id=ACCOUNT, outcome=Outcome.NO),
        b'{"type":"RESOLVE_MARKET","market_id":"m-1","operator_id":"alice","outcome":"NO"}',
    ),
    (
        Deposit(account_id=ACCOUNT, transfer_id=TRANSFER, amount=AMOUNT),
        b'{"type":"DEPOSIT","account_id":"alice","transfer_id":"t_1","amount":500}',
    ),
    (
        Withdraw(account_id=ACCOUNT, transfer_id=TRANSFER, amount=AMOUNT),
        b'{"type":"WITHDRAW","account_id":"alice","transfer_id":"t_1","amount":500}',
    ),
]


def order(value: bytes | None) -> Command:
    return decode_order(b"key", value, (("h", b"1"),))


def transfer(value: bytes | None) -> Command:
    return decode_transfer(b"key", value, (("h", b"1"),))


def detail(value: bytes | None) -> str:
    found = order(value)
    assert isinstance(found, Unreadable)
    return found.detail


@pytest.mark.parametrize(("command", "value"), GOLDEN)
def test_commands_have_golden_bytes(command: MarketCommand | TransferCommand, value: bytes) -> None:
    decode = transfer if isinstance(command, TransferCommand) else order
    assert encode(command) == value
    assert decode(value) == command


def test_field_order_spaces_and_escapes_do_not_matter() -> None:
    shuffled = (
        b' {"time_in_force" : "GTC", "quantity":10,"price":55,\n"side":"B\\u0055Y",'
        b'"order_id":"o:1","account_id":"alice","market_id":"m-1","\\u0074ype":"PLACE_ORDER"}\t'
    )
    assert order(shuffled) == PLACE


@pytest.mark.parametrize("price", [JSON_INTEGER_MAX, -JSON_INTEGER_MAX, 0])
def test_integers_stay_exact_up_to_2_to_53(price: int) -> None:
    found = order(PLACE_BYTES.replace(b"55", b"%d" % price))
    assert isinstance(found, PlaceOrder)
    assert found.price == price
    assert type(found.price) is int


def test_larger_integer_is_refused() -> None:
    found = detail(PLACE_BYTES.replace(b"55", b"%d" % (JSON_INTEGER_MAX + 1)))
    assert found == "price: must be an integer, at most 9007199254740991 either way"


def test_value_above_64_kib_is_refused() -> None:
    padded = PLACE_BYTES.ljust(VALUE_BYTES_MAX)
    assert order(padded) == PLACE
    assert detail(padded + b" ") == "value: longer than 65536 bytes"


def test_id_may_have_64_characters() -> None:
    longest = "aZ09._:-" * 8
    found = order(PLACE_BYTES.replace(b"alice", longest.encode()))
    assert isinstance(found, PlaceOrder)
    assert found.account_id == longest


def test_title_limit_counts_characters() -> None:
    title = "\U0001f4b0" * 200
    command = OpenMarket(market_id=MARKET, operator_id=ACCOUNT, payout=2, title=title)
    assert order(encode(command)) == command


def test_brackets_in_a_title_are_not_nesting() -> None:
    command = OpenMarket(market_id=MARKET, operator_id=ACCOUNT, payout=2, title='[{"\\' * 50)
    value = encode(command)
    assert order(value) == command
    assert detail(value.replace(b":2,", b":2.5,")).startswith("payout: ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "value: must not be null"),
        (b"", "value: must not be empty"),
        (b"\x00\x00\x00\x00\x07{}", f"value: framed for a schema registry {FRAMED}"),
        (b"\xef\xbb\xbf{}", "value: begins with a byte order mark, must be UTF-8 without one"),
        (b"\xff\xfe{\x00", "value: is UTF-16, must be UTF-8"),
        (b"\x1f\x8b\x08", "value: is gzip, must be plain JSON"),
        (b'"\xe9"', "value: must be UTF-8"),
        (b"{", "value: must be JSON"),
        (b"{" * 65, "value: nested too deeply"),
        (b"[]", "value: must be a JSON object"),
        (b'{"a":1,"price":1,"price":2,"a":3}', "a: appears twice"),
        (b'{" ":1," ":1}', "value: appears twice"),
        (b"{}", "type: must be one of PLACE_ORDER, CANCEL_ORDER, OPEN_MARKET, RESOLVE_MARKET"),
        (PLACE_BYTES[:-1] + b',"tif":"IOC"}', "tif: unknown field"),
        (PLACE_BYTES[:-1] + b',"\\ud800":1}', "value: unknown field"),
        (PLACE_BYTES.replace(b',"price":55', b""), "price: missing"),
        (PLACE_BYTES.replace(b'"BUY"', b'"buy"'), "side: must be BUY or SELL"),
        (PLACE_BYTES.replace(b'"GTC"', b'"FOK"'), "time_in_force: must be GTC or IOC"),
        (PLACE_BYTES.replace(b"alice", b"a/b"), f"account_id: {ID_RULE}"),
    ],
)
def test_detail_names_field_and_rule(value: bytes | None, expected: str) -> None:
    assert detail(value) == expected


def test_detail_names_the_first_wrong_field() -> None:
    value = PLACE_BYTES.replace(b"55", b"null").replace(b'"GTC"', b"7").replace(b"10", b"true")
    assert detail(value).startswith("price: ")


def test_transfers_have_their_own_types() -> None:
    found = transfer(PLACE_BYTES)
    assert isinstance(found, Unreadable)
    assert found.detail == "type: must be one of DEPOSIT, WITHDRAW"


def test_unreadable_record_keeps_bytes_and_legal_ids() -> None:
    value = PLACE_BYTES.replace(b"55", b"NaN")
    assert order(value) == Unreadable(
        detail="price: must be an integer, at most 9007199254740991 either way",
        key=b"key",
        value=value,
        headers=(("h", b"1"),),
        market_id=MARKET,
        account_id=ACCOUNT,
    )


def test_illegal_id_is_left_out() -> None:
    found = order(PLACE_BYTES.replace(b'"m-1"', b'["m-1"]'))
    assert isinstance(found, Unreadable)
    assert (found.market_id, found.account_id) == (None, ACCOUNT)
    found = order(PLACE_BYTES.replace(b"alice", b"al ice"))
    assert isinstance(found, Unreadable)
    assert (found.market_id, found.account_id) == (MARKET, None)


def test_unreadable_transfer_has_no_market() -> None:
    found = transfer(b'{"type":"DEPOSIT","account_id":"alice","market_id":"m-1"}')
    assert isinstance(found, Unreadable)
    assert (found.market_id, found.account_id) == (None, ACCOUNT)


def test_detail_does_not_depend_on_the_callers_depth() -> None:
    nested = PLACE_BYTES.replace(b"55", b"[" * 400 + b"]" * 400)

    def deeper(frames: int) -> Command:
        return deeper(frames - 1) if frames else order(nested)

    assert deeper(sys.getrecursionlimit() - 300) == order(nested)
    assert detail(nested) == "value: nested too deeply"


def test_sha_separates_parts_and_null_from_empty() -> None:
    records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = [
        (None, None, []),
        (b"", None, []),
        (None, b"", []),
        (b"-", None, []),
        (b"a", b"b", []),
        (b"ab", b"", []),
        (b"a", b"", [("b", b"")]),
        (b"a", b"b", [("", b"")]),
        (b"a", b"b", [("", None)]),
        (b"a", b"b", [("x", b"y"), ("z", b"")]),
        (b"a", b"b", [("z", b""), ("x", b"y")]),
    ]
    assert len({record_sha(*record) for record in records}) == len(records)
    assert record_sha(b"m-1", b"{}", [("h", b"1")]) == (
        "1a69d106b42765939554690c4c29bfc8be26ed72dee22b52f82a8255f720e444"
    )


def test_sha_covers_the_bytes_of_header_names() -> None:
    odd = record_sha(b"m-1", b"{}", [("caf\udce9", b"1")])
    assert odd == sha256(b"3:m-12:{}4:caf\xe91:1").hexdigest()
