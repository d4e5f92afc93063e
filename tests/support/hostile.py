"""Hostile inputs: every mistake of a client or its library, none of which may stop a worker.

``build(partitions)`` returns the corpus for topics with that many partitions. ``fixture`` is
published first, transfers before orders, and answered before the rest, so that each input is
refused for exactly one reason. Refusals change nothing, so their order does not matter.

State after the fixture (payout 100 and operator ``op`` unless noted):

    hostile-open         OPEN. Of rich: filled, cancelled, ioc, self (dead), self-rest (rests).
                         Of maker: filled-maker (dead), resting (rests)
    hostile-small        OPEN, payout 2          hostile-wide    OPEN, payout 1,000,000
    hostile-resolved     YES, traded; r-filled of rich is dead, r-open died with the market
    hostile-resolved-no  NO, by other-op         hostile-empty   YES, nobody ever traded
    rich                 has about 10**9         poor            has 50
    maker                has about 10**6         broke           had 10 and took them out
"""

import gzip
import json
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from producers.encode import encode
from tests.support.books import cancel, deposit, open_market, place, resolve, withdraw
from worker.domain.commands import (
    MarketCommand,
    Outcome,
    Side,
    TimeInForce,
    TransferCommand,
)
from worker.domain.events import EventType, Reason
from worker.domain.ids import partition_of
from worker.domain.units import (
    JSON_INTEGER_MAX,
    PAYOUT_MAX,
    QUANTITY_MAX,
    TRANSFER_MAX,
    Price,
    Quantity,
)
from worker.wire.decode import VALUE_BYTES_MAX, Headers

TopicKind = Literal["orders", "transfers"]


class Hostile(NamedTuple):
    """One input, its partition, and the reason of its refusal."""

    name: str
    topic_kind: TopicKind
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    expected_reason: Reason | EventType
    """A type if the refusal has one of its own, which then has no reason."""


class Sent(NamedTuple):
    """One record of the fixture."""

    topic_kind: TopicKind
    partition: int
    key: bytes
    value: bytes


class Corpus(NamedTuple):
    """The fixture, to be published first, and the hostile inputs."""

    fixture: tuple[Sent, ...]
    hostile: tuple[Hostile, ...]


OPEN, SMALL, WIDE = "hostile-open", "hostile-small", "hostile-wide"
RESOLVED, RESOLVED_NO, EMPTY = "hostile-resolved", "hostile-resolved-no", "hostile-empty"
NEVER = "hostile-never"


FIXTURE: Final[tuple[MarketCommand | TransferCommand, ...]] = (
    deposit("rich", 10**9, "fund-rich"),
    deposit("poor", 50, "fund-poor"),
    deposit("maker", 10**6, "fund-maker"),
    deposit("broke", 10, "fund-broke"),
    withdraw("broke", 10, "empty-broke"),
    open_market(OPEN),
    open_market(SMALL, payout=2),
    open_market(WIDE, payout=PAYOUT_MAX),
    open_market(RESOLVED),
    open_market(RESOLVED_NO, operator="other-op"),
    open_market(EMPTY),
    place(OPEN, "maker", "filled-maker", side=Side.SELL, price=60, quantity=5),
    place(OPEN, "rich", "filled", price=60, quantity=5),
    place(OPEN, "rich", "cancelled"),
    cancel(OPEN, "rich", "cancelled"),
    place(OPEN, "rich", "ioc", time_in_force=TimeInForce.IOC),
    place(OPEN, "maker", "resting", price=20, quantity=3),
    place(OPEN, "rich", "self-rest", price=30),
    place(OPEN, "rich", "self", side=Side.SELL, price=30),
    place(RESOLVED, "maker", "r-maker", side=Side.SELL, price=50, quantity=2),
    place(RESOLVED, "rich", "r-filled", price=50, quantity=2),
    place(RESOLVED, "rich", "r-open", price=5),
    resolve(RESOLVED),
    resolve(RESOLVED_NO, Outcome.NO, operator="other-op"),
    resolve(EMPTY),
)


def build(partitions: int) -> Corpus:
    """Return the corpus for topics of ``partitions`` partitions, at least two."""
    if partitions < 2:
        raise ValueError("with one partition nothing can be sent to the wrong one")
    fixture = tuple(_sent(command, partitions) for command in FIXTURE)
    malformed = (
        Hostile(
            name=name,
            topic_kind=kind,
            partition=partition_of(OPEN if kind == "orders" else "rich", partitions),
            key=key,
            value=value,
            headers=headers,
            expected_reason=Reason.MALFORMED,
        )
        for name, kind, key, value, headers in _malformed()
    )
    refused = (
        Hostile(f"{reason}: {name}", *_sent(command, partitions), (), reason)
        for reason, commands in REFUSED.items()
        for name, command in commands.items()
    )
    return Corpus(fixture, (*malformed, *refused, *_astray(partitions)))


def _sent(command: MarketCommand | TransferCommand, partitions: int) -> Sent:
    transfer = isinstance(command, TransferCommand)
    key = command.account_id if isinstance(command, TransferCommand) else command.market_id
    return Sent(
        "transfers" if transfer else "orders",
        partition_of(key, partitions),
        key.encode(),
        encode(command),
    )


_HUGE: Final = "1" * 5_000
_INTEGER_FAULTS: Final[Mapping[str, str]] = {
    "null": "null",
    "true": "true",
    "false": "false",
    "a whole float": "5.0",
    "a fraction": "0.5",
    "an exponent": "5e1",
    "infinite by its exponent": "1e400",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "a string": '"5"',
    "an empty string": '""',
    "a list": "[5]",
    "an object": '{"value":5}',
    "2^53, where doubles lose the odd numbers": str(2**53),
    "-2^53": str(-(2**53)),
    "2^64, where orjson makes it a float": str(2**64),
    "5,000 digits": _HUGE,
    "minus 5,000 digits": f"-{_HUGE}",
}
_NO_TEXT: Final[Mapping[str, str]] = {
    "null": "null",
    "a bool": "true",
    "an integer": "7",
    "a float": "1.5",
    "a list": '["x"]',
    "an object": '{"id":"x"}',
    "empty": '""',
}
_ID_FAULTS: Final[Mapping[str, str]] = {
    **_NO_TEXT,
    "65 characters": f'"{"a" * 65}"',
    "60,000 characters": f'"{"a" * 60_000}"',
    "with a space": '"a b"',
    "with our own separator": '"a/b"',
    "the escrow's name": '"$escrow"',
    "SQL": '"x\'; DROP TABLE orders; --"',
    "with a NUL": r'"a\u0000b"',
    "a lone surrogate": r'"\ud800"',
    "with a Cyrillic homoglyph": '"r\u0456ch"',
    "with full-width digits": '"rich\uff11"',
    "turned around by an RTL override": r'"\u202ehcir"',
    "ending in a newline": r'"rich\n"',
    "with a combining accent": '"riche\u0301"',
    "an emoji": '"\U0001f4b0"',
}
_ENUM_FAULTS: Final[Mapping[str, str]] = {
    **_NO_TEXT,
    "a list": '["BUY"]',
    "FIX's code": '"1"',
    "of another enum": '"MAYBE"',
    "a full-width homoglyph": '"\uff22\uff35\uff39"',
    "a lone surrogate": r'"\udfff"',
}
_ENUM_SPELLINGS: Final[Mapping[str, str]] = {
    "side": "BUY",
    "time_in_force": "GTC",
    "outcome": "YES",
}
_TITLE_FAULTS: Final[Mapping[str, str]] = {
    **_NO_TEXT,
    "201 characters": f'"{"a" * 201}"',
    "201 characters of four bytes": f'"{chr(0x1F4B0) * 201}"',
    "with a NUL": r'"Will it\u0000 hold?"',
    "with a newline": r'"Will it\nhold?"',
    "with a tab": r'"Will it\thold?"',
    "with DEL": r'"Will it hold?\u007f"',
    "with a C1 control": r'"Will it\u0085hold?"',
    "with a terminal's escape": r'"\u001b[31mWill it hold?"',
    "a lone high surrogate": r'"Will it hold\ud83d"',
    "a lone low surrogate": r'"\ude00 Will it hold?"',
    "a pair of surrogates the wrong way round": r'"\ude00\ud83d"',
}
_TYPE_FAULTS: Final[Mapping[str, str]] = {
    **_NO_TEXT,
    "a list": '["PLACE_ORDER"]',
    "in lower case": '"place_order"',
    "padded": '" DEPOSIT"',
    "of a later version": '"REPLACE_ORDER"',
    "an event's": '"ORDER_ACCEPTED"',
    "NaN": "NaN",
    "a lone surrogate": r'"\ud800"',
}
_MISNAMED: Final[Mapping[str, str]] = {
    "market_id": "marketId",
    "account_id": "accountId",
    "order_id": "order-id",
    "operator_id": "OPERATOR_ID",
    "transfer_id": "transferID",
    "side": "Side",
    "price": "prise",
    "quantity": "qty",
    "time_in_force": "time_in_forse",
    "payout": "pay_out",
    "title": "titel",
    "outcome": "outcome ",
    "amount": "amount\u200b",
}
_STRANGE_FIELDS: Final[Mapping[str, str]] = {
    "of a newer schema": '"schema_version":2',
    "that is null": '"post_only":null',
    "without a name": '"":1',
    "of JavaScript": '"__proto__":{"admin":true}',
    "named by a surrogate": r'"\ud800":1',
    "named by 2,000 characters": f'"{"n" * 2_000}":1',
}
_COMMANDS: Final[tuple[MarketCommand | TransferCommand, ...]] = (
    place(OPEN, "rich", "hostile-1"),
    cancel(OPEN, "maker", "resting"),
    open_market(NEVER),
    resolve(OPEN),
    deposit("rich", 5, "hostile-2"),
    withdraw("rich", 5, "hostile-3"),
)
_Malformed = tuple[str, TopicKind, bytes | None, bytes | None, Headers]


def _malformed() -> Iterator[_Malformed]:
    for command in _COMMANDS:
        kind: TopicKind = "transfers" if isinstance(command, TransferCommand) else "orders"
        key = b"rich" if kind == "transfers" else OPEN.encode()
        for name, value in _wrong_fields(_raw(encode(command))):
            yield name, kind, key, value, ()
    for name, content in _TORN.items():
        yield name, "orders", OPEN.encode(), content, ()
    for name, content in _TORN_TRANSFERS.items():
        yield f"transfer {name}", "transfers", b"rich", content, ()
    yield from _odd_records()


def _raw(value: bytes) -> dict[str, str]:
    """Return each field's JSON text."""
    return {name: json.dumps(content) for name, content in json.loads(value).items()}


def _joined(given: Mapping[str, str]) -> bytes:
    return f"{{{','.join(f'{json.dumps(name)}:{raw}' for name, raw in given.items())}}}".encode()


def _wrong_fields(given: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    kind = json.loads(given["type"])
    for field in given:
        yield f"{kind} without {field}", _joined({n: r for n, r in given.items() if n != field})
        for fault, raw in _faults(field, kind).items():
            yield f"{kind} {field} is {fault}", _joined({**given, field: raw})
        if field in _MISNAMED:
            wrong = {_MISNAMED.get(n, n) if n == field else n: r for n, r in given.items()}
            yield f"{kind} {field} is called {_MISNAMED[field]!r}", _joined(wrong)
    whole = _joined(given)
    for name, pair in _STRANGE_FIELDS.items():
        yield f"{kind} with a field {name}", whole[:-1] + b"," + pair.encode() + b"}"
    last = list(given)[-1]
    yield f"{kind} with {last} twice", whole[:-1] + f',"{last}":{given[last]}}}'.encode()


def _faults(field: str, kind: str) -> Mapping[str, str]:
    if field == "type":
        return _TYPE_FAULTS if kind in ("PLACE_ORDER", "DEPOSIT") else {}
    if field == "title":
        return _TITLE_FAULTS
    if field.endswith("_id"):
        return _ID_FAULTS
    if field in _ENUM_SPELLINGS:
        right = _ENUM_SPELLINGS[field]
        return {
            **_ENUM_FAULTS,
            "in lower case": f'"{right.lower()}"',
            "in title case": f'"{right.title()}"',
            "padded": f'"{right} "',
        }
    return _INTEGER_FAULTS


_GOOD: Final = encode(_COMMANDS[0])
_GOOD_TEXT: Final = _GOOD.decode()
_GOOD_TRANSFER: Final = encode(_COMMANDS[4])
_TORN: Final[Mapping[str, bytes]] = {
    "only spaces": b" \n\t ",
    "cut off": _GOOD[:-9],
    "cut off within a string": _GOOD[:30],
    "only its first byte": b"{",
    "an empty object": b"{}",
    "a trailing comma": _GOOD[:-1] + b",}",
    "a trailing word": _GOOD + b" ok",
    "a trailing NUL": _GOOD + b"\x00",
    "two commands in a row": _GOOD + _GOOD,
    "two commands, one a line": _GOOD + b"\n" + _GOOD,
    "single quotes": _GOOD.replace(b'"', b"'"),
    "names without quotes": b"{type:PLACE_ORDER}",
    "curly quotes": _GOOD_TEXT.replace('"', "\u201d").encode(),
    "a comment": _GOOD[:-1] + b"/* urgent */}",
    "a missing colon": _GOOD.replace(b":", b"", 1),
    "a missing comma": _GOOD.replace(b",", b"", 1),
    "an equals sign": _GOOD.replace(b":", b"=", 1),
    "a raw newline in a string": _GOOD.replace(b"rich", b"ri\nch"),
    "a raw NUL in a string": _GOOD.replace(b"rich", b"ri\x00ch"),
    "an unknown escape": _GOOD.replace(b"rich", rb"ri\xch"),
    "half a Unicode escape": _GOOD.replace(b"rich", rb"ri\u12"),
    "a leading zero": _GOOD.replace(b":10,", b":010,"),
    "a plus sign": _GOOD.replace(b":10,", b":+10,"),
    "a number ending in a dot": _GOOD.replace(b":10,", b":10.,"),
    "a number beginning with a dot": _GOOD.replace(b":10,", b":.5,"),
    "a number in hexadecimal": _GOOD.replace(b":10,", b":0x0a,"),
    "a number with a separator": _GOOD.replace(b":10,", b":1_0,"),
    "a number of Arabic digits": _GOOD.replace(b":10,", ":\u0661\u0660,".encode()),
    "Python's None": _GOOD.replace(b":10,", b":None,"),
    "JavaScript's undefined": _GOOD.replace(b":10,", b":undefined,"),
    "a field without a value": _GOOD.replace(b":10,", b":,"),
    "no JSON at all": b"buy one at ten",
    "JSON null": b"null",
    "JSON true": b"true",
    "a number": b"42",
    "5,000 digits alone": _HUGE.encode(),
    "NaN alone": b"NaN",
    "a list of commands": b"[" + _GOOD + b"]",
    "a command within an object": b'{"command":' + _GOOD + b"}",
    "JSON within a string": json.dumps(_GOOD_TEXT).encode(),
    "a byte order mark": b"\xef\xbb\xbf" + _GOOD,
    "UTF-16 with its mark": b"\xff\xfe" + _GOOD_TEXT.encode("utf-16-le"),
    "UTF-16 big-endian with its mark": b"\xfe\xff" + _GOOD_TEXT.encode("utf-16-be"),
    "UTF-16 without a mark": _GOOD_TEXT.encode("utf-16-le"),
    "UTF-16 big-endian without a mark": _GOOD_TEXT.encode("utf-16-be"),
    "UTF-32": _GOOD_TEXT.encode("utf-32-le"),
    "UTF-7": _GOOD.replace(b"{", b"+AHs-"),
    "EBCDIC": _GOOD_TEXT.encode("cp500"),
    "latin-1": _GOOD.replace(b"rich", "rich\u00e9".encode("latin-1")),
    "an overlong UTF-8 NUL": _GOOD.replace(b"rich", b"ri\xc0\x80ch"),
    "a surrogate in UTF-8": _GOOD.replace(b"rich", b"ri\xed\xa0\x80ch"),
    "UTF-8 beyond Unicode": _GOOD.replace(b"rich", b"ri\xf4\x90\x80\x80ch"),
    "UTF-8 cut off": _GOOD.replace(b"rich", b"ri\xe2\x82"),
    "a stray continuation byte": _GOOD.replace(b"rich", b"ri\x80ch"),
    "all bytes there are": bytes(range(256)),
    "gzip": gzip.compress(_GOOD, mtime=0),
    "zlib": zlib.compress(_GOOD),
    "zstd's magic": b"\x28\xb5\x2f\xfd" + _GOOD,
    "snappy's magic": b"\x82SNAPPY\x00" + _GOOD,
    "base64": b64encode(_GOOD),
    "JSON framed for a registry": b"\x00\x00\x00\x00\x07" + _GOOD,
    "Avro framed for a registry": b"\x00\x00\x00\x00\x07\x18hostile-open\x08rich\x02\x14",
    "protobuf framed for a registry": b"\x00\x00\x00\x00\x07\x00\n\x0chostile-open",
    "Avro's file magic": b"Obj\x01\x04\x14avro.codec\x08null\x00",
    "protobuf": b"\n\x0chostile-open\x12\x04rich\x1a\thostile-1 \x01(\n",
    "MessagePack": b"\x82\xa4type\xabPLACE_ORDER\xa5price\x0a",
    "CBOR": b"\xa2dtypekPLACE_ORDEReprice\x0a",
    "BSON": b"\x1b\x00\x00\x00\x02type\x00\x0c\x00\x00\x00PLACE_ORDER\x00\x00",
    "a Java object": b"\xac\xed\x00\x05sr\x00\x05Order",
    "a Python pickle": b"\x80\x04\x95\x08\x00\x00\x00\x00\x00\x00\x00\x8c\x04rich\x94.",
    "XML": b'<order type="PLACE_ORDER" price="10"/>',
    "YAML": b"type: PLACE_ORDER\nprice: 10\n",
    "a form": b"type=PLACE_ORDER&market_id=hostile-open&price=10",
    "CSV": b"PLACE_ORDER,hostile-open,rich,hostile-1,BUY,10,1,GTC",
    "FIX": b"8=FIX.4.4\x0135=D\x0111=hostile-1\x0154=1\x0144=10\x0138=1\x01",
    "60,000 nested lists": b"[" * 60_000,
    "200,000 nested lists": b"[" * 200_000,
    "30,000 nested lists, all closed": b"[" * 30_000 + b"]" * 30_000,
    "12,000 nested objects": b'{"a":' * 12_000,
    "lists nested 990 deep, near the parser's end": b"[" * 990 + b"]" * 990,
    "a nested price": _GOOD.replace(b":10,", b":" + b"[" * 5_000 + b"]" * 5_000 + b","),
    "an open string of escaped quotes": b'"' + rb"\"" * 30_000,
    "padded beyond the limit": _GOOD + b" " * (VALUE_BYTES_MAX + 1 - len(_GOOD)),
    "an id of 900 kB": _GOOD.replace(b"rich", b"r" * 900_000),
    "a strange field of 100 kB": _GOOD[:-1] + b',"note":"' + b"n" * 100_000 + b'"}',
    "5,000 strange fields": b"{" + b",".join(b'"f%d":1' % n for n in range(5_000)) + b"}",
    "a type given twice": _GOOD[:-1] + b',"type":"CANCEL_ORDER"}',
    "a price given twice, otherwise": _GOOD[:-1] + b',"price":11}',
    "a price given twice, once by an escape": _GOOD[:-1] + rb',"\u0070rice":11}',
    "a field twice within a field": _GOOD.replace(b":10,", b':{"a":1,"a":1},'),
    "a transfer among the orders": _GOOD_TRANSFER,
}
_TORN_TRANSFERS: Final[Mapping[str, bytes]] = {
    "only spaces": b"  ",
    "cut off": _GOOD_TRANSFER[:-3],
    "with a byte order mark": b"\xef\xbb\xbf" + _GOOD_TRANSFER,
    "in UTF-16": _GOOD_TRANSFER.decode().encode("utf-16"),
    "in latin-1": _GOOD_TRANSFER.replace(b"rich", b"rich\xe9"),
    "in gzip": gzip.compress(_GOOD_TRANSFER, mtime=0),
    "framed for a registry": b"\x00\x00\x00\x00\x07" + _GOOD_TRANSFER,
    "in a list": b"[" + _GOOD_TRANSFER + b"]",
    "nested 60,000 deep": b"[" * 60_000,
    "padded beyond the limit": _GOOD_TRANSFER + b" " * VALUE_BYTES_MAX,
    "with two amounts": _GOOD_TRANSFER[:-1] + b',"amount":6}',
    "with a currency": _GOOD_TRANSFER[:-1] + b',"currency":"EUR"}',
    "with a market": _GOOD_TRANSFER[:-1] + b',"market_id":"hostile-open"}',
    "that is an order": _GOOD,
}
_CUT: Final = _GOOD[:-1]


def _odd_records() -> Iterator[_Malformed]:
    key = OPEN.encode()
    yield "a tombstone", "orders", key, None, ()
    yield "a tombstone without a key", "orders", None, None, ()
    yield "a tombstone among the transfers", "transfers", b"rich", None, ()
    yield "an empty value", "orders", key, b"", ()
    yield "an empty value and an empty key", "orders", b"", b"", ()
    yield "an empty value among the transfers", "transfers", b"rich", b"", ()
    yield "torn, under a key of all bytes", "orders", bytes(range(256)), _CUT, ()
    yield "torn, under a key that reads like the journal", "orders", b"!~\t{}\n", _CUT, ()
    yield "torn, under a key of 200 kB", "orders", b"k" * 200_000, _CUT, ()
    yield "torn, with a header of 300 kB", "orders", key, _CUT, (("h", b"v" * 300_000),)
    yield "torn, with 5,000 empty headers", "orders", key, _CUT, (("", b""),) * 5_000
    yield "torn, with a name of 100 kB", "orders", key, _CUT, (("n" * 100_000, b""),)
    yield "torn, with a name of bytes", "orders", key, _CUT, (("caf\udce9", b""),)
    yield "torn, with our own headers", "orders", key, _CUT, (("parity-dlq-seq", b"1"),)
    yield "torn, with the same header thrice", "orders", key, _CUT, (("h", b"\xff"),) * 3
    yield (
        "64 KiB of it, with key and headers",
        "orders",
        key,
        b"x" * VALUE_BYTES_MAX,
        (("a", b"b"),),
    )


_MINUS, _MOST = -1, JSON_INTEGER_MAX
_LEFT_BEHIND = place(OPEN, "rich", "filled", price=60, quantity=5)
REFUSED: Final[Mapping[Reason | EventType, Mapping[str, MarketCommand | TransferCommand]]] = {
    Reason.UNKNOWN_MARKET: {
        "an order": place(NEVER, "rich", "um-1"),
        "a cancel": cancel(NEVER, "rich", "filled"),
        "a resolution": resolve(NEVER),
        "other capitals": place(OPEN.upper(), "rich", "um-2"),
        "a prefix": place(OPEN[:-1], "rich", "um-3"),
        "a bad price there": place(NEVER, "rich", "um-4", price=0),
        "an unknown account there": place(NEVER, "nobody", "um-5"),
        "an account's name": place("rich", "rich", "um-6"),
    },
    Reason.MARKET_EXISTS: {
        "another payout": open_market(OPEN, payout=1_000),
        "another title": open_market(OPEN, title="Will it break?"),
        "another operator": open_market(OPEN, operator="other-op"),
        "a title with a space more": open_market(OPEN, title=f"{OPEN} "),
        "a payout out of range": open_market(OPEN, payout=0),
        "resolved long ago": open_market(RESOLVED, title="Once more?"),
    },
    Reason.NOT_OPERATOR: {
        "another operator": resolve(OPEN, operator="other-op"),
        "a trader": resolve(OPEN, operator="rich"),
        "other capitals": resolve(OPEN, operator="OP"),
        "nobody we know": resolve(OPEN, Outcome.NO, operator="nobody"),
        "resolved long ago, by another": resolve(RESOLVED, operator="other-op"),
    },
    Reason.ALREADY_RESOLVED: {
        "traded": resolve(RESOLVED, Outcome.NO),
        "the other way round": resolve(RESOLVED_NO, Outcome.YES, operator="other-op"),
        "never traded": resolve(EMPTY, Outcome.NO),
    },
    EventType.ID_CONFLICT: {
        "another price": replace(_LEFT_BEHIND, price=Price(61)),
        "another quantity": replace(_LEFT_BEHIND, quantity=Quantity(6)),
        "the other side": replace(_LEFT_BEHIND, side=Side.SELL),
        "another time in force": replace(_LEFT_BEHIND, time_in_force=TimeInForce.IOC),
        "an impossible price": replace(_LEFT_BEHIND, price=Price(0)),
        "of an order that rests": place(OPEN, "maker", "resting", price=21, quantity=3),
        "of a cancelled order": place(OPEN, "rich", "cancelled", price=11),
        "in a resolved market": place(RESOLVED, "rich", "r-filled", price=49, quantity=2),
        "another deposit": deposit("rich", 10**9 + 1, "fund-rich"),
        "a deposit of nothing": deposit("poor", 0, "fund-poor"),
        "a deposit taken out": withdraw("poor", 50, "fund-poor"),
        "another withdrawal": withdraw("broke", 9, "empty-broke"),
        "a withdrawal put in": deposit("broke", 10, "empty-broke"),
    },
    Reason.MARKET_NOT_OPEN: {
        "resolved": place(RESOLVED, "rich", "mo-1"),
        "resolved to NO": place(RESOLVED_NO, "rich", "mo-2"),
        "never traded": place(EMPTY, "rich", "mo-3"),
        "a bad price there": place(RESOLVED, "rich", "mo-4", price=0),
        "an unknown account there": place(RESOLVED, "nobody", "mo-5"),
        "a cancel of what died with it": cancel(RESOLVED, "rich", "r-open"),
        "a cancel of what filled there": cancel(RESOLVED, "rich", "r-filled"),
        "a cancel of nothing there": cancel(RESOLVED_NO, "rich", "mo-6"),
    },
    Reason.BAD_PRICE: {
        "zero": place(OPEN, "rich", "bp-1", price=0),
        "negative": place(OPEN, "rich", "bp-2", price=_MINUS),
        "the payout": place(OPEN, "rich", "bp-3", price=100),
        "above the payout": place(OPEN, "rich", "bp-4", price=101, side=Side.SELL),
        "the largest integer": place(OPEN, "rich", "bp-5", price=_MOST),
        "the smallest integer": place(OPEN, "rich", "bp-6", price=-_MOST),
        "the payout of a small market": place(SMALL, "rich", "bp-7", price=2),
        "beyond 32 bits": place(WIDE, "rich", "bp-8", price=2**32 + 1),
        "a bad quantity too": place(OPEN, "rich", "bp-9", price=0, quantity=0),
        "an unknown account": place(OPEN, "nobody", "bp-10", price=0),
    },
    Reason.BAD_QTY: {
        "zero": place(OPEN, "rich", "bq-1", quantity=0),
        "negative": place(OPEN, "rich", "bq-2", quantity=_MINUS),
        "one too many": place(OPEN, "rich", "bq-3", quantity=QUANTITY_MAX + 1),
        "beyond 31 bits": place(OPEN, "rich", "bq-4", quantity=2**31),
        "the smallest integer": place(OPEN, "rich", "bq-5", quantity=-_MOST),
        "times the price beyond 64 bits": place(
            WIDE, "rich", "bq-6", price=PAYOUT_MAX - 1, quantity=_MOST
        ),
        "an unknown account": place(OPEN, "nobody", "bq-7", quantity=0),
    },
    Reason.BAD_PAYOUT: {
        "zero": open_market(f"{NEVER}-1", payout=0),
        "one, which no price fits under": open_market(f"{NEVER}-2", payout=1),
        "negative": open_market(f"{NEVER}-3", payout=-100),
        "one too many": open_market(f"{NEVER}-4", payout=PAYOUT_MAX + 1),
        "the largest integer": open_market(f"{NEVER}-5", payout=_MOST),
    },
    Reason.BAD_AMOUNT: {
        "a deposit of nothing": deposit("rich", 0, "ba-1"),
        "a negative deposit": deposit("rich", _MINUS, "ba-2"),
        "a deposit one too large": deposit("rich", TRANSFER_MAX + 1, "ba-3"),
        "a deposit of the largest integer": deposit("nobody", _MOST, "ba-4"),
        "a withdrawal of nothing": withdraw("rich", 0, "ba-5"),
        "a negative withdrawal": withdraw("rich", -_MOST, "ba-6"),
        "a withdrawal one too large": withdraw("rich", TRANSFER_MAX + 1, "ba-7"),
        "a withdrawal of nothing by nobody": withdraw("nobody", 0, "ba-8"),
    },
    Reason.UNKNOWN_ACCOUNT: {
        "never heard of": place(OPEN, "nobody", "ua-1"),
        "a seller never heard of": place(OPEN, "nobody", "ua-2", side=Side.SELL),
        "other capitals": place(OPEN, "Rich", "ua-3"),
        "the operator without money": place(OPEN, "op", "ua-4"),
        "EXTERNAL": place(OPEN, "EXTERNAL", "ua-5"),
        "a dot too many": place(OPEN, "rich.", "ua-6"),
        "a market's name": place(OPEN, OPEN, "ua-7"),
        "a withdrawal": withdraw("nobody", 1, "ua-8"),
        "a withdrawal in other capitals": withdraw("POOR", 1, "ua-9"),
        "a withdrawal from EXTERNAL": withdraw("EXTERNAL", 1, "ua-10"),
    },
    Reason.INSUFFICIENT_FUNDS: {
        "one too few to buy": place(OPEN, "poor", "if-1", price=51),
        "one too few for a seller's collateral": place(
            OPEN, "poor", "if-2", side=Side.SELL, price=49
        ),
        "one contract too many": place(SMALL, "poor", "if-3", price=1, quantity=51),
        "nothing at all": place(OPEN, "broke", "if-4", price=1),
        "nothing, for an IOC": place(OPEN, "broke", "if-5", time_in_force=TimeInForce.IOC),
        "the largest order there is": place(
            WIDE, "rich", "if-6", price=PAYOUT_MAX - 1, quantity=QUANTITY_MAX
        ),
        "collateral beyond what is closed": place(
            OPEN, "rich", "if-7", side=Side.SELL, price=1, quantity=QUANTITY_MAX
        ),
        "a withdrawal one too large": withdraw("poor", 51, "if-8"),
        "a withdrawal of what is gone": withdraw("broke", 1, "if-9"),
        "the largest withdrawal there is": withdraw("rich", TRANSFER_MAX, "if-10"),
    },
    Reason.UNKNOWN_ORDER: {
        "never placed": cancel(OPEN, "rich", "uo-1"),
        "somebody else's, which rests": cancel(OPEN, "rich", "resting"),
        "somebody else's, which is dead": cancel(OPEN, "poor", "filled"),
        "of another market": cancel(SMALL, "rich", "filled"),
        "in other capitals": cancel(OPEN, "rich", "FILLED"),
        "of an account never heard of": cancel(OPEN, "nobody", "filled"),
        "a deposit's name": cancel(OPEN, "rich", "fund-rich"),
    },
    Reason.ALREADY_TERMINAL: {
        "filled as the taker": cancel(OPEN, "rich", "filled"),
        "filled as the maker": cancel(OPEN, "maker", "filled-maker"),
        "cancelled": cancel(OPEN, "rich", "cancelled"),
        "never rested, being IOC": cancel(OPEN, "rich", "ioc"),
        "stopped before trading with itself": cancel(OPEN, "rich", "self"),
    },
}
_STRAYED: Final[Mapping[str, MarketCommand | TransferCommand]] = {
    "an order": place(OPEN, "rich", "wp-1"),
    "an order known at home": _LEFT_BEHIND,
    "an order for no market": place(NEVER, "rich", "wp-2"),
    "an order for a resolved market": place(RESOLVED, "rich", "wp-3"),
    "a bad price": place(OPEN, "rich", "wp-4", price=0),
    "a cancel": cancel(OPEN, "maker", "resting"),
    "a new market": open_market(f"{NEVER}-6"),
    "a market open at home": open_market(OPEN),
    "a resolution": resolve(OPEN),
    "a deposit": deposit("rich", 5, "wp-5"),
    "a deposit known at home": deposit("rich", 10**9, "fund-rich"),
    "a withdrawal": withdraw("rich", 5, "wp-6"),
    "a withdrawal of nothing": withdraw("rich", 0, "wp-7"),
}


def _astray(partitions: int) -> Iterator[Hostile]:
    """Yield inputs that are right except for their partition, as from another partitioner."""
    reason = Reason.WRONG_PARTITION
    for name, command in _STRAYED.items():
        kind, home, key, value = _sent(command, partitions)
        away = (home + 1) % partitions
        yield Hostile(f"{reason}: {name}", kind, away, key, value, (), reason)
    kind, home, _, value = _sent(place(OPEN, "rich", "wp-8"), partitions)
    names = (f"hostile-key-{n}" for n in range(10_000))
    other = next(name for name in names if partition_of(name, partitions) != home)
    for name, key_ in (("another market's key", other.encode()), ("no key", None)):
        away = partition_of(other, partitions)
        yield Hostile(f"{reason}: {name}", kind, away, key_, value, (), reason)
