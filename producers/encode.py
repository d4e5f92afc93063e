"""The commands that may be sent, their checks before anything is sent, and their bytes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from json import JSONEncoder
from typing import Final

from producers.language import (
    ID_PATTERN,
    JSON_INTEGER_MAX,
    TITLE_CHARS_MAX,
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
    Withdraw,
)

Publishable = MarketCommand | TransferCommand
"""A command that may be sent. Unreadable is not one of them."""


class InvalidCommand(ValueError):
    """The worker would reject this command as malformed. Nothing was sent."""

    def __init__(self, command: object, field: str, value: object, rule: str, way_out: str) -> None:
        what = f"{type(command).__name__}.{field}" if field else type(command).__name__
        kind = f"the {type(value).__name__} " if rule == _INT_RULE[0] else ""
        super().__init__(f"{what} is {kind}{value!r:.100}: {rule}; {way_out}")
        self.field = field
        self.value = value
        self.rule = rule
        self.way_out = way_out


_ID: Final = re.compile(ID_PATTERN)
_ID_RULE: Final = ("1 to 64 of A-Z a-z 0-9 . _ : -", "choose another id")
_INT_RULE: Final = ("must be an int", "convert it without loss")
_RANGE_RULE: Final = ("must be within ±(2**53-1)", "split the order")
_TITLE: Final = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{TITLE_CHARS_MAX}}}")
_TITLE_RULE: Final = (
    f"1 to {TITLE_CHARS_MAX} characters, none a control character",
    "shorten or clean it",
)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_int(value: object) -> bool:
    # Python counts a bool as an int, but `true` is no integer on the wire.
    return type(value) is int


def _is_in_range(value: object) -> bool:
    return type(value) is int and -JSON_INTEGER_MAX <= value <= JSON_INTEGER_MAX


def _is_title(value: object) -> bool:
    return isinstance(value, str) and _TITLE.fullmatch(value) is not None


_Rule = tuple[str, Callable[[object], bool], tuple[str, str]]


def _one_of(kind: type[Side] | type[TimeInForce] | type[Outcome]) -> _Rule:
    names = " or ".join(kind)
    field = {Side: "side", TimeInForce: "time_in_force", Outcome: "outcome"}[kind]
    return field, lambda value: isinstance(value, kind), (names, f"use {kind.__name__}")


def _ids(*fields: str) -> tuple[_Rule, ...]:
    return tuple((field, _is_id, _ID_RULE) for field in fields)


def _integers(*fields: str) -> tuple[_Rule, ...]:
    rules = ((_is_int, _INT_RULE), (_is_in_range, _RANGE_RULE))
    return tuple((field, *rule) for field in fields for rule in rules)


_TRANSFER: Final = (*_ids("account_id", "transfer_id"), *_integers("amount"))
_RULES: Final[Mapping[type, tuple[_Rule, ...]]] = {
    PlaceOrder: (
        *_ids("market_id", "account_id", "order_id"),
        *_integers("price", "quantity"),
        _one_of(Side),
        _one_of(TimeInForce),
    ),
    CancelOrder: _ids("market_id", "account_id", "order_id"),
    OpenMarket: (
        *_ids("market_id", "operator_id"),
        *_integers("payout"),
        ("title", _is_title, _TITLE_RULE),
    ),
    ResolveMarket: (*_ids("market_id", "operator_id"), _one_of(Outcome)),
    Deposit: _TRANSFER,
    Withdraw: _TRANSFER,
}


def check(command: object) -> None:
    """Raise InvalidCommand unless ``command`` is well-formed.

    Only the exchange knows whether a price fits its market or the funds suffice. It answers such
    commands with a rejection.
    """
    rules = _RULES.get(type(command))
    if rules is None:
        kinds = ", ".join(kind.__name__ for kind in _RULES)
        raise InvalidCommand(command, "", command, "no command", f"send one of {kinds}")
    for field, is_well_formed, (rule, way_out) in rules:
        value = getattr(command, field)
        if not is_well_formed(value):
            raise InvalidCommand(command, field, value, rule, way_out)


def encode(command: MarketCommand | TransferCommand) -> bytes:
    """Return the record value of ``command``. Decoding it gives an equal command."""
    given = {field.name: getattr(command, field.name) for field in fields(command)}
    return _encode({"type": _TYPES[type(command)], **given}).encode()


_TYPES: Final[Mapping[type[MarketCommand | TransferCommand], str]] = {
    PlaceOrder: "PLACE_ORDER",
    CancelOrder: "CANCEL_ORDER",
    OpenMarket: "OPEN_MARKET",
    ResolveMarket: "RESOLVE_MARKET",
    Deposit: "DEPOSIT",
    Withdraw: "WITHDRAW",
}
_encode: Final = JSONEncoder(separators=(",", ":")).encode
