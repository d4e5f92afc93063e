"""A planned batch as the parameters of ``commit_batch.sql``, and rows as values of the domain.

The same batch gives the same parameters to the byte; ``plan_hash`` is over them.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from worker.domain import ids
from worker.domain.commands import Outcome, Side, TimeInForce
from worker.domain.draft import OrderRow, TradeRow, TransferRow
from worker.domain.events import EventType, First, Reason
from worker.domain.plan import Batch, DrawRow
from worker.domain.state import Market, MarketStatus, OrderAnswer, TransferAnswer
from worker.domain.units import AccountId, MarketId, Money, Price, Quantity
from worker.ports import Seal, Statement

SIDES: Final = {Side.BUY: 1, Side.SELL: 2}
TIMES_IN_FORCE: Final = {TimeInForce.GTC: 1, TimeInForce.IOC: 2}
OUTCOMES: Final[dict[Outcome | None, int]] = {None: 0, Outcome.YES: 1, Outcome.NO: 2}
_SIDE_OF: Final = {number: side for side, number in SIDES.items()}
_TIME_IN_FORCE_OF: Final = {number: value for value, number in TIMES_IN_FORCE.items()}
_OUTCOME_OF: Final = {number: outcome for outcome, number in OUTCOMES.items()}
_EPOCH, _OWNER, _HASH, _TABLES = 1, 12, 13, 16
"""Where these stand among the parameters, from 0."""
_text = encode_basestring_ascii


def statement(batch: Batch, seal: Seal) -> Statement:
    """Return the statement that commits ``batch``."""
    draft, home = batch.draft, batch.draft.state.home
    first_seq = draft.state.last_seq + 1
    parameters: tuple[object, ...] = (
        home.lane,
        seal.epoch,
        draft.state.batch_no,
        draft.next_offset,
        draft.seq,
        draft.time_ms,
        draft.last_record_sha,
        seal.resume,
        seal.published_batch_no,
        ids.batch_key(home.lane, batch.batch_no),
        draft.state.next_offset,
        first_seq,
        seal.owner,
        "",
        seal.facts,
        seal.events,
        *_tables(batch),
    )
    hashed = sha256()
    for number, value in enumerate(parameters):
        if number not in (_EPOCH, _OWNER):
            hashed.update(f"{value}\x1f".encode())
    plan_hash = hashed.hexdigest()
    parameters = (*parameters[:_HASH], plan_hash, *parameters[_HASH + 1 :])
    size = sum(len(value) for value in parameters if isinstance(value, str))
    return Statement(
        lane=home.lane,
        batch_no=batch.batch_no,
        plan_hash=plan_hash,
        parameters=parameters,
        rows=parameters[_TABLES:],
        bytes=size,
        facts_bytes=len(seal.facts),
        resume_bytes=len(seal.resume),
    )


def _tables(batch: Batch) -> Iterable[str]:
    draft, stream = batch.draft, batch.draft.state.home.stream
    yield _json(map(_new_account, draft.new_accounts))
    yield _json(_new_market(batch, stream, draft.markets[m]) for m in sorted(draft.new_markets))
    yield _json(_market_changes(batch))
    yield _json(map(_new_order, draft.new_orders.values()))
    yield _json(
        f'{{"order_key":"{key}","leaves":{leaves},"status":{status:d}}}'
        for key, (leaves, status) in draft.changed_orders.items()
    )
    yield _json(map(_trade, draft.trades))
    yield _json(map(_draw, batch.draws()))
    yield _json(map(_transfer, draft.transfers.values()))
    yield _json(
        f'{{"market":"{p.market}","account":"{p.account}","outcome":{OUTCOMES[p.outcome]}}}'
        for p in draft.payouts
    )
    yield _json(
        f'{{"account":"{p.account}","lane":{p.lane},"need":{p.need},"fresh":{p.new:d}}}'
        for p in batch.pockets()
    )


def _new_account(account_id: AccountId) -> str:
    return f'{{"account":"{ids.account_key(account_id)}","account_id":"{account_id}"}}'


def _new_market(batch: Batch, stream: str, market: Market) -> str:
    events = batch.draft.market_changes[market.market_id].events
    return (
        f'{{"market":"{market.key}","stream":{_text(stream)},"market_id":"{market.market_id}",'
        f'"operator_id":"{market.operator_id}","payout":{market.payout},'
        f'"title":{_text(market.title)},"status":{market.status:d},'
        f'"market_seq":{events},"opened_seq":{market.opened_seq}}}'
    )


def _market_changes(batch: Batch) -> Iterable[str]:
    draft = batch.draft
    for market_id, change in draft.market_changes.items():
        if market_id not in draft.new_markets:
            market = draft.markets.get(market_id) or draft.state.markets[market_id]
            yield (
                f'{{"market":"{market.key}","events":{change.events},'
                f'"status":{change.status or 0:d},"outcome":{OUTCOMES[change.outcome]},'
                f'"resolved_seq":{change.resolved_seq}}}'
            )


def _new_order(row: OrderRow) -> str:
    return (
        f'{{"order_key":"{row.key}","market":"{row.market}","account":"{row.account}",'
        f'"order_id":"{row.order_id}","side":{SIDES[row.side]},"price":{row.price},'
        f'"quantity":{row.quantity},"time_in_force":{TIMES_IN_FORCE[row.time_in_force]},'
        f'"leaves":{row.leaves},"status":{row.status:d},"seq":{row.seq},'
        f'"reason":"{row.reason or ""}"}}'
    )


def _trade(row: TradeRow) -> str:
    return (
        f'{{"trade":"{row.key}","market":"{row.market}","buyer":"{row.buyer}",'
        f'"seller":"{row.seller}","price":{row.price},"quantity":{row.quantity},"seq":{row.seq}}}'
    )


def _draw(row: DrawRow) -> str:
    return (
        f'{{"cause":"{row.cause}","account":"{row.account}","source":{row.source},'
        f'"target":{row.target},"amount":{row.amount}}}'
    )


def _transfer(row: TransferRow) -> str:
    return (
        f'{{"transfer":"{row.key}","account":"{row.account}","transfer_id":"{row.transfer_id}",'
        f'"deposit":{"true" if row.deposit else "false"},"amount":{row.amount},"seq":{row.seq},'
        f'"reason":"{row.reason or ""}"}}'
    )


def _json(rows: Iterable[str]) -> str:
    """Return a JSON array of rows. Ids and keys need no escaping: their alphabet has no quote."""
    return f"[{','.join(rows)}]"


def market_of(row: Mapping[str, Any]) -> Market:
    """Return the market of a row with the columns of ``load_markets.sql``."""
    return Market(
        market_id=MarketId(row["market_id"]),
        key=row["market"],
        operator_id=AccountId(row["operator_id"]),
        payout=row["payout"],
        title=row["title"],
        status=MarketStatus(row["status"]),
        outcome=_OUTCOME_OF[row["outcome"]],
        market_seq=row["market_seq"],
        opened_seq=row["opened_seq"],
        resolved_seq=row["resolved_seq"],
    )


def side_of(number: int) -> Side:
    """Return the side that a row's number stands for."""
    return _SIDE_OF[number]


def order_answer(row: Iterable[Any]) -> OrderAnswer:
    """Return the first answer of [side, price, quantity, time_in_force, seq, reason]."""
    side, price, quantity, time_in_force, seq, reason = row
    kind = EventType.ORDER_REJECTED if reason else EventType.ORDER_ACCEPTED
    first = First(kind, seq, Reason(reason) if reason else None)
    return OrderAnswer(
        _SIDE_OF[side], Price(price), Quantity(quantity), _TIME_IN_FORCE_OF[time_in_force], first
    )


def transfer_answer(row: Iterable[Any]) -> TransferAnswer:
    """Return the first answer of [deposit, amount, seq, reason]."""
    deposit, amount, seq, reason = row
    done = EventType.DEPOSITED if deposit else EventType.WITHDRAWN
    kind = EventType.TRANSFER_REJECTED if reason else done
    return TransferAnswer(
        deposit, Money(amount), First(kind, seq, Reason(reason) if reason else None)
    )
