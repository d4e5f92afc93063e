"""Bytes to commands. `producers.encode` makes the bytes.

An unknown field is refused, because a mistyped ``time_in_force`` must not be ignored. The domain
checks the ranges that are rules of the exchange (price, quantity, payout, amount), and answers with
a code for each. Decoding is a pure function of the bytes. The texts in ``detail`` are defined here
and not by a library, so that another version of the library gives the same events.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from json.decoder import JSONDecoder
from typing import Annotated, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from worker.domain.commands import (
    HEADER_NAME_ERRORS,
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
from worker.domain.units import (
    ID_PATTERN,
    JSON_INTEGER_MAX,
    TITLE_CHARS_MAX,
    AccountId,
    MarketId,
    Money,
    OrderId,
    Price,
    Quantity,
    TransferId,
)

VALUE_BYTES_MAX: Final = 65_536
"""Size of a record value. A longer value is refused without parsing."""
BRACKETS_MAX: Final = 64
"""Opening brackets in a wrong record that is still explained. A command has exactly one."""
INTEGER_CHARS_MAX: Final = 17
"""A minus and the 16 digits of 2**53 - 1. A longer number is never computed."""

Headers = tuple[tuple[str, bytes | None], ...]

ID_RULE: Final = "must be 1 to 64 characters of A-Z a-z 0-9 . _ : -"
is_id: Final = re.compile(ID_PATTERN).fullmatch
"""Matches the text of an id."""
_INTEGER_RULE: Final = f"must be an integer, at most {JSON_INTEGER_MAX} either way"
_RULES: Final[Mapping[str, str]] = {
    "market_id": ID_RULE,
    "account_id": ID_RULE,
    "operator_id": ID_RULE,
    "order_id": ID_RULE,
    "transfer_id": ID_RULE,
    "side": "must be BUY or SELL",
    "time_in_force": "must be GTC or IOC",
    "outcome": "must be YES or NO",
    "price": _INTEGER_RULE,
    "quantity": _INTEGER_RULE,
    "payout": _INTEGER_RULE,
    "amount": _INTEGER_RULE,
    "title": f"must be 1 to {TITLE_CHARS_MAX} characters, none of them a control character",
}
_BEGINNINGS: Final[Mapping[bytes, str]] = {
    b"\x00": "value: framed for a schema registry (first byte 0x00), must be plain JSON",
    b"\xef\xbb\xbf": "value: begins with a byte order mark, must be UTF-8 without one",
    b"\xff\xfe": "value: is UTF-16, must be UTF-8",
    b"\xfe\xff": "value: is UTF-16, must be UTF-8",
    b"\x1f\x8b": "value: is gzip, must be plain JSON",
}

# In pydantic's regex engine ``$`` is the very end of the text. Python's would allow a newline.
_IdText = StringConstraints(pattern=f"^{ID_PATTERN}$")
_JsonInteger = Field(ge=-JSON_INTEGER_MAX, le=JSON_INTEGER_MAX)
# Strict mode would require the enum itself. Lax mode accepts only its value.
_EnumText = Field(strict=False)
_Title = StringConstraints(pattern=rf"^[^\x00-\x1f\x7f-\x9f]{{1,{TITLE_CHARS_MAX}}}$")


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _OrderName(_Wire):
    market_id: Annotated[MarketId, _IdText]
    account_id: Annotated[AccountId, _IdText]
    order_id: Annotated[OrderId, _IdText]


class _PlaceOrder(_OrderName):
    side: Annotated[Side, _EnumText]
    price: Annotated[Price, _JsonInteger]
    quantity: Annotated[Quantity, _JsonInteger]
    time_in_force: Annotated[TimeInForce, _EnumText]


class _OpenMarket(_Wire):
    market_id: Annotated[MarketId, _IdText]
    operator_id: Annotated[AccountId, _IdText]
    payout: Annotated[int, _JsonInteger]
    title: Annotated[str, _Title]


class _ResolveMarket(_Wire):
    market_id: Annotated[MarketId, _IdText]
    operator_id: Annotated[AccountId, _IdText]
    outcome: Annotated[Outcome, _EnumText]


class _Transfer(_Wire):
    account_id: Annotated[AccountId, _IdText]
    transfer_id: Annotated[TransferId, _IdText]
    amount: Annotated[Money, _JsonInteger]


C_co = TypeVar("C_co", bound=MarketCommand | TransferCommand, covariant=True)


class _WrongError(ValueError):
    """A mistake of the sender. ``args[0]`` is the ``detail`` of the answer."""


class _Form(Generic[C_co]):
    """The wire format of one ``type`` of command, and the command that it becomes."""

    def __init__(self, wire: type[_Wire], command: Callable[..., C_co]) -> None:
        self._wire = wire
        self._command = command

    def read(self, given: Mapping[str, object]) -> C_co:
        try:
            return self._command(**vars(self._wire.model_validate(given)))
        except ValidationError as error:
            raise _WrongError(self._detail(given, error)) from error

    def _detail(self, given: Mapping[str, object], error: ValidationError) -> str:
        names = tuple(self._wire.model_fields)
        for name in given:
            if name not in names:
                return f"{_echo(name)}: unknown field"
        for name in names:
            if name not in given:
                return f"{name}: missing"
        wrong = {problem["loc"][0] for problem in error.errors(include_input=False)}
        name = next(name for name in names if name in wrong)
        return f"{name}: {_RULES[name]}"


_ORDERS: Final[Mapping[str, _Form[MarketCommand]]] = {
    "PLACE_ORDER": _Form(_PlaceOrder, PlaceOrder),
    "CANCEL_ORDER": _Form(_OrderName, CancelOrder),
    "OPEN_MARKET": _Form(_OpenMarket, OpenMarket),
    "RESOLVE_MARKET": _Form(_ResolveMarket, ResolveMarket),
}
_TRANSFERS: Final[Mapping[str, _Form[TransferCommand]]] = {
    "DEPOSIT": _Form(_Transfer, Deposit),
    "WITHDRAW": _Form(_Transfer, Withdraw),
}


def decode_order(
    key: bytes | None, value: bytes | None, headers: Headers
) -> MarketCommand | Unreadable:
    """Return the command in a record of the orders topic. Never raises, whatever the bytes."""
    found = _read(value, _ORDERS)
    if not isinstance(found, _Fault):
        return found
    return Unreadable(
        detail=found.detail,
        key=key,
        value=value,
        headers=headers,
        market_id=found.market_id,
        account_id=found.account_id,
    )


def decode_transfer(
    key: bytes | None, value: bytes | None, headers: Headers
) -> TransferCommand | Unreadable:
    """Return the command in a record of the transfers topic. Never raises, whatever the bytes."""
    found = _read(value, _TRANSFERS)
    if not isinstance(found, _Fault):
        return found
    return Unreadable(
        detail=found.detail,
        key=key,
        value=value,
        headers=headers,
        account_id=found.account_id,
    )


def record_sha(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> str:
    """Return the SHA-256 of a record, in hex.

    The hashed input is the key, the value, then name and value of each header. Each part is its
    length, a colon and its bytes, or ``-`` for null, so different records have different inputs.
    """
    parts = [key, value]
    for name, content in headers:
        parts += (name.encode(errors=HEADER_NAME_ERRORS), content)
    return sha256(
        b"".join([b"-" if part is None else b"%d:%b" % (len(part), part) for part in parts])
    ).hexdigest()


@dataclass(frozen=True, slots=True)
class _Fault:
    """The reason why a value is no command, and its fields as far as they could be read."""

    detail: str
    given: Mapping[str, object]

    @property
    def market_id(self) -> MarketId | None:
        text = self.given.get("market_id")
        return MarketId(text) if isinstance(text, str) and is_id(text) else None

    @property
    def account_id(self) -> AccountId | None:
        text = self.given.get("account_id")
        return AccountId(text) if isinstance(text, str) and is_id(text) else None


def _read(value: bytes | None, forms: Mapping[str, _Form[C_co]]) -> C_co | _Fault:
    if value is None:
        return _Fault("value: must not be null", {})
    if len(value) > VALUE_BYTES_MAX:
        return _Fault(f"value: longer than {VALUE_BYTES_MAX} bytes", {})
    given: object = {}
    try:
        given = _decode(value.decode())
        if not isinstance(given, dict):
            raise _WrongError("value: must be a JSON object")
        kind = given.pop("type", None)
        form = forms.get(kind) if isinstance(kind, str) else None
        if form is None:
            raise _WrongError(f"type: must be one of {', '.join(forms)}")
        return form.read(given)
    except (ValueError, RecursionError) as error:
        return _fault(value, given, error)


def _fault(value: bytes, given: object, error: ValueError | RecursionError) -> _Fault:
    for beginning, detail in _BEGINNINGS.items():
        if value.startswith(beginning):
            return _Fault(detail, {})
    if isinstance(error, UnicodeDecodeError):
        return _Fault("value: must be UTF-8", {})
    # The parser's depth limit depends on the depth of its caller. The answer must not.
    if sum(map(_STRINGS.sub(b"", value).count, (b"[", b"{"))) > BRACKETS_MAX:
        return _Fault("value: nested too deeply", {})
    fields_given = given if isinstance(given, dict) else {}
    if isinstance(error, _WrongError):
        return _Fault(str(error), fields_given)
    return _Fault("value: must be JSON" if value else "value: must not be empty", {})


def _echo(name: str) -> str:
    return name if is_id(name) else "value"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    given = dict(pairs)
    if len(given) == len(pairs):
        return given
    times = Counter(name for name, _ in pairs)
    name = next(name for name in times if times[name] > 1)
    raise _WrongError(f"{_echo(name)}: appears twice")


def _integer(digits: str) -> object:
    return int(digits) if len(digits) <= INTEGER_CHARS_MAX else _NO_INTEGER


def _no_integer(_text: str) -> object:
    return _NO_INTEGER


_NO_INTEGER: Final = object()
"""Placeholder for NaN, Infinity and too many digits. No field accepts the placeholder."""
# The closing quote is optional, so that an open string ends the search. Otherwise the time of the
# search would be quadratic.
_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_decode: Final = JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_constant=_no_integer
).decode
