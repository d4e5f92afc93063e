"""Events to bytes, and back for consumers.

One event is one line of compact ASCII JSON with a fixed field order, so that the same event always
has the same bytes. Absent fields are left out, never null. Ids need no escaping, since ``decode``
restricts their alphabet. Free text is escaped. A word of an enumeration has ``!s``: without it,
formatting takes four times as long.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Final, Literal, assert_never

from pydantic import BaseModel, TypeAdapter

from worker.domain.commands import Side
from worker.domain.events import (
    ESCROW_NAME,
    Body,
    CancelRejected,
    CommandRejected,
    Deposited,
    Duplicate,
    Event,
    EventType,
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
    TransferRejected,
    Withdrawn,
)
from worker.domain.state import StreamKind
from worker.domain.units import AccountId, MarketId, Money, Offset, OrderId, Price, Quantity

Headers = tuple[tuple[str, bytes], ...]

TYPES: Final[Mapping[type[Body], EventType]] = {
    OrderAccepted: EventType.ORDER_ACCEPTED,
    OrderFilled: EventType.ORDER_FILLED,
    OrderCancelled: EventType.ORDER_CANCELLED,
    OrderRejected: EventType.ORDER_REJECTED,
    CancelRejected: EventType.CANCEL_REJECTED,
    CommandRejected: EventType.COMMAND_REJECTED,
    Duplicate: EventType.DUPLICATE,
    IdConflict: EventType.ID_CONFLICT,
    MarketOpened: EventType.MARKET_OPENED,
    MarketResolved: EventType.MARKET_RESOLVED,
    Payout: EventType.PAYOUT,
    MarketSettled: EventType.MARKET_SETTLED,
    Deposited: EventType.DEPOSITED,
    Withdrawn: EventType.WITHDRAWN,
    TransferRejected: EventType.TRANSFER_REJECTED,
}
_NAMES: Final = {body: str(kind) for body, kind in TYPES.items()}
_SUBJECTS: Final = {StreamKind.ORDERS: "market_id", StreamKind.TRANSFERS: "account_id"}


def encode(event: Event, kind: StreamKind) -> bytes:
    """Return the record value of an event of a stream of ``kind``."""
    return text(event, kind).encode()


def text(event: Event, kind: StreamKind) -> str:
    """Return the value of ``encode`` as text, ASCII without a newline or tab.

    The subject of a transfers stream is the account, so its bodies do not repeat the account.
    """
    subject = "" if event.subject is None else f'"{_SUBJECTS[kind]}":"{event.subject}",'
    market_seq = "" if event.market_seq is None else f'"market_seq":{event.market_seq},'
    return (
        f'{{"type":"{_NAMES[type(event.body)]}","seq":{event.seq},{subject}{market_seq}'
        f'"offset":{event.offset},"index":{event.index},"time_ms":{event.time_ms},'
        f"{_body(event.body)}}}"
    )


def _body(body: Body) -> str:
    match body:
        case OrderAccepted() | OrderFilled() | OrderCancelled() | OrderRejected():
            return _order(body)
        case MarketOpened() | MarketResolved() | Payout() | MarketSettled():
            return _market(body)
        case Deposited() | Withdrawn() | TransferRejected():
            return _transfer(body)
        case CancelRejected() | CommandRejected() | Duplicate() | IdConflict():
            return _refusal(body)
        case _ as never:
            assert_never(never)


def _order(body: OrderAccepted | OrderFilled | OrderCancelled | OrderRejected) -> str:
    match body:
        case OrderAccepted():
            return (
                f'"account_id":"{body.account_id}","order_id":"{body.order_id}",'
                f'"side":"{body.side!s}","price":{body.price},"quantity":{body.quantity},'
                f'"time_in_force":"{body.time_in_force!s}"'
            )
        case OrderFilled():
            return (
                f'"trade_id":"{body.trade_id}","price":{body.price},"quantity":{body.quantity},'
                f'"taker_side":"{body.taker_side!s}","buyer":{_party(body.buyer)},'
                f'"seller":{_party(body.seller)},'
                f'"postings":[{",".join(map(_posting, body.postings))}]'
            )
        case OrderCancelled():
            return (
                f'"account_id":"{body.account_id}","order_id":"{body.order_id}",'
                f'"cancelled_quantity":{body.cancelled_quantity},"reason":"{body.reason!s}"'
            )
        case OrderRejected():
            return (
                f'"account_id":"{body.account_id}","order_id":"{body.order_id}",'
                f'"reason":"{body.reason!s}"'
            )
        case _ as never:
            assert_never(never)


def _party(party: Party) -> str:
    return (
        f'{{"account_id":"{party.account_id}","order_id":"{party.order_id}",'
        f'"leaves_quantity":{party.leaves_quantity},'
        f'"liquidity":"{"TAKER" if party.taker else "MAKER"}"}}'
    )


def _posting(posting: Posting) -> str:
    account = ESCROW_NAME if posting.account_id is None else posting.account_id
    return f'{{"account_id":"{account}","amount":{posting.amount},"kind":"{posting.kind!s}"}}'


def _market(body: MarketOpened | MarketResolved | Payout | MarketSettled) -> str:
    match body:
        case MarketOpened():
            return (
                f'"payout":{body.payout},"title":{encode_basestring_ascii(body.title)},'
                f'"operator_id":"{body.operator_id}"'
            )
        case MarketResolved():
            return f'"outcome":"{body.outcome!s}","operator_id":"{body.operator_id}"'
        case Payout():
            return (
                f'"account_id":"{body.account_id}","quantity":{body.quantity},'
                f'"amount":{body.amount}'
            )
        case MarketSettled():
            return f'"holders":{body.holders},"paid":{body.paid}'
        case _ as never:
            assert_never(never)


def _transfer(body: Deposited | Withdrawn | TransferRejected) -> str:
    reason = f',"reason":"{body.reason!s}"' if isinstance(body, TransferRejected) else ""
    return f'"transfer_id":"{body.transfer_id}","amount":{body.amount}{reason}'


def _refusal(body: CancelRejected | CommandRejected | Duplicate | IdConflict) -> str:
    match body:
        case CancelRejected():
            return (
                f'"account_id":"{body.account_id}","order_id":"{body.order_id}",'
                f'"reason":"{body.reason!s}"'
            )
        case CommandRejected():
            escaped = encode_basestring_ascii(body.detail or "")
            detail = "" if body.detail is None else f',"detail":{escaped}'
            return (
                f"{_id('account_id', body.account_id)}{_id('operator_id', body.operator_id)}"
                f'"reason":"{body.reason!s}"{detail}'
            )
        case Duplicate() | IdConflict():
            first = body.first
            operator_id = body.operator_id if isinstance(body, Duplicate) else None
            reason = "" if first.reason is None else f',"reason":"{first.reason!s}"'
            return (
                f"{_id('account_id', body.account_id)}{_id('order_id', body.order_id)}"
                f"{_id('transfer_id', body.transfer_id)}{_id('operator_id', operator_id)}"
                f'"first":{{"type":"{first.type!s}","seq":{first.seq}{reason}}}'
            )
        case _ as never:
            assert_never(never)


def _id(name: str, value: str | None) -> str:
    return "" if value is None else f'"{name}":"{value}",'


def headers(stream: str, partition: int, seq: int, kind: str, time_ms: int) -> Headers:
    """Return the CloudEvents headers (binary mode) of an event of ``stream``.

    The headers depend only on the arguments, so that a repeat has the same bytes. ``ce_time`` is
    left out for a time outside the years 1970 to 9999.
    """
    return (
        *_same_in_stream(stream),
        ("ce_id", f"{stream}/{partition}/{seq}".encode()),
        ("ce_type", kind.encode()),
        *_time(time_ms),
    )


@lru_cache(64)
def _same_in_stream(stream: str) -> Headers:
    return (
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_source", f"/{stream}".encode()),
    )


@lru_cache(4096)
def _time(time_ms: int) -> Headers:
    if not 0 <= time_ms <= _TIME_MS_MAX:
        return ()
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    zulu = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (("ce_time", zulu.encode()),)


_TIME_MS_MAX: Final = 253_402_300_799_999
"""The end of the year 9999."""


class _Envelope(BaseModel):
    type: EventType
    seq: int
    offset: Offset
    index: int
    time_ms: int
    market_seq: int | None = None
    market_id: MarketId | None = None
    account_id: AccountId | None = None


class _Party(BaseModel):
    account_id: AccountId
    order_id: OrderId
    leaves_quantity: Quantity
    liquidity: Literal["MAKER", "TAKER"]

    def party(self) -> Party:
        taker = self.liquidity == "TAKER"
        return Party(self.account_id, self.order_id, self.leaves_quantity, taker)


class _Posting(BaseModel):
    account_id: AccountId
    amount: Money
    kind: PostingKind

    def posting(self) -> Posting:
        account_id = None if self.account_id == ESCROW_NAME else self.account_id
        return Posting(account_id, self.amount, self.kind)


class _Filled(BaseModel):
    trade_id: str
    price: Price
    quantity: Quantity
    taker_side: Side
    buyer: _Party
    seller: _Party
    postings: list[_Posting]


def _filled(value: bytes) -> OrderFilled:
    wire = _Filled.model_validate_json(value, strict=True)
    return OrderFilled(
        trade_id=wire.trade_id,
        price=wire.price,
        quantity=wire.quantity,
        taker_side=wire.taker_side,
        buyer=wire.buyer.party(),
        seller=wire.seller.party(),
        postings=tuple(posting.posting() for posting in wire.postings),
    )


_READERS: Final[Mapping[EventType, TypeAdapter[Body]]] = {
    kind: TypeAdapter(body) for body, kind in TYPES.items() if body is not OrderFilled
}


def decode(value: bytes, kind: StreamKind) -> Event:
    """Return the event in a record value of a stream of ``kind``, for consumers.

    Unknown fields are ignored. Raises ValueError if the value is no event, or one of a type that
    this version does not know.
    """
    wire = _Envelope.model_validate_json(value, strict=True)
    filled = wire.type is EventType.ORDER_FILLED
    body = _filled(value) if filled else _READERS[wire.type].validate_json(value, strict=True)
    transfers = kind is StreamKind.TRANSFERS
    if transfers and isinstance(body, CommandRejected | Duplicate | IdConflict):
        # In a transfers stream the field is the subject, and the body does not repeat it.
        body = replace(body, account_id=None)
    return Event(
        seq=wire.seq,
        offset=wire.offset,
        index=wire.index,
        time_ms=wire.time_ms,
        subject=wire.account_id if transfers else wire.market_id,
        market_seq=wire.market_seq,
        body=body,
    )
