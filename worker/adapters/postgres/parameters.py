"""The parameters of the batch statement: their names, types, order and values, stated once.

``commit_batch.sql`` and its steps write ``$trades`` for the parameter ``trades``; `statements`
numbers them by this table. Rows travel as JSON, each table as one array.
"""

from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii
from typing import Final, NamedTuple

from worker.adapters.postgres.codes import OUTCOMES, SIDES, TIMES_IN_FORCE
from worker.domain import ids
from worker.domain.digest import RULES, plan_digest
from worker.domain.plan import Batch
from worker.domain.rows import DrawRow, OrderRow, TradeRow, TransferRow
from worker.domain.state import Market
from worker.domain.units import AccountId
from worker.ports import Seal, Statement

_text = encode_basestring_ascii


class Parameter(NamedTuple):
    """A parameter. ``type`` is the one that SQL casts it to; a table has the type ``json``."""

    name: str
    type: str
    value: Callable[[Batch, Seal], object]


def statement(batch: Batch, seal: Seal) -> Statement:
    """Return the statement that commits ``batch``."""
    values = tuple([parameter.value(batch, seal) for parameter in PARAMETERS])
    return Statement(
        lane=batch.draft.state.home.lane,
        batch_no=batch.batch_no,
        plan_hash=str(values[_PLAN_HASH]),
        parameters=values,
        rows=values[-len(TABLES) :],
        bytes=sum([len(value) for value in values if isinstance(value, str)]),
        facts_bytes=len(seal.facts),
        resume_bytes=len(seal.resume),
    )


# The rows of each table.


def _accounts(batch: Batch) -> str:
    return _json(map(_account, batch.draft.new_accounts))


def _account(account_id: AccountId) -> str:
    return f'{{"account":"{ids.account_key(account_id)}","account_id":"{account_id}"}}'


def _markets(batch: Batch) -> str:
    draft = batch.draft
    return _json(_market(batch, draft.markets[name]) for name in sorted(draft.new_markets))


def _market(batch: Batch, market: Market) -> str:
    draft = batch.draft
    events = draft.market_changes[market.market_id].events
    return (
        f'{{"market":"{market.key}","stream":{_text(draft.state.home.stream)},'
        f'"market_id":"{market.market_id}","operator_id":"{market.operator_id}",'
        f'"payout":{market.payout},"title":{_text(market.title)},"status":{market.status!s},'
        f'"market_seq":{events},"opened_seq":{market.opened_seq}}}'
    )


def _market_changes(batch: Batch) -> str:
    return _json(_changes(batch))


def _changes(batch: Batch) -> Iterable[str]:
    draft = batch.draft
    for market_id, change in draft.market_changes.items():
        if market_id not in draft.new_markets:
            market = draft.markets.get(market_id) or draft.state.markets[market_id]
            yield (
                f'{{"market":"{market.key}","events":{change.events},'
                f'"status":{change.status or 0!s},"outcome":{OUTCOMES[change.outcome]},'
                f'"resolved_seq":{change.resolved_seq}}}'
            )


def _orders(batch: Batch) -> str:
    return _json(map(_order, batch.draft.new_orders.values()))


def _order(row: OrderRow) -> str:
    return (
        f'{{"order_key":"{row.key}","market":"{row.market}","account":"{row.account}",'
        f'"order_id":"{row.order_id}","side":{SIDES[row.side]},"price":{row.price},'
        f'"quantity":{row.quantity},"time_in_force":{TIMES_IN_FORCE[row.time_in_force]},'
        f'"leaves":{row.leaves},"status":{row.status!s},"seq":{row.seq},'
        f'"reason":"{row.reason or ""!s}"}}'
    )


def _order_changes(batch: Batch) -> str:
    return _json(
        f'{{"order_key":"{key}","leaves":{leaves},"status":{status!s}}}'
        for key, (leaves, status) in batch.draft.changed_orders.items()
    )


def _trades(batch: Batch) -> str:
    return _json(map(_trade, batch.draft.trades))


def _trade(row: TradeRow) -> str:
    return (
        f'{{"trade":"{row.key}","market":"{row.market}","buyer":"{row.buyer}",'
        f'"seller":"{row.seller}","price":{row.price},"quantity":{row.quantity},"seq":{row.seq}}}'
    )


def _draws(batch: Batch) -> str:
    return _json(map(_draw, batch.draws()))


def _draw(row: DrawRow) -> str:
    return (
        f'{{"cause":"{row.cause}","account":"{row.account}","source":{row.source},'
        f'"target":{row.target},"amount":{row.amount}}}'
    )


def _transfers(batch: Batch) -> str:
    return _json(map(_transfer, batch.draft.transfers.values()))


def _transfer(row: TransferRow) -> str:
    return (
        f'{{"transfer":"{row.key}","account":"{row.account}","transfer_id":"{row.transfer_id}",'
        f'"deposit":{"true" if row.deposit else "false"},"amount":{row.amount},"seq":{row.seq},'
        f'"reason":"{row.reason or ""!s}"}}'
    )


def _payees(batch: Batch) -> str:
    return _json(
        f'{{"market":"{row.market}","account":"{row.account}","outcome":{OUTCOMES[row.outcome]}}}'
        for row in batch.draft.payouts
    )


def _pockets(batch: Batch) -> str:
    """Return every pocket that moves, with its deepest point and whether it has no row yet."""
    return _json(
        f'{{"account":"{row.account}","lane":{row.lane},"need":{row.need},"fresh":{row.new:d}}}'
        for row in batch.pockets()
    )


def _json(rows: Iterable[str]) -> str:
    """Return a JSON array of rows. Ids and keys need no escaping: their alphabet has no quote."""
    return f"[{','.join(rows)}]"


PARAMETERS: Final = (
    Parameter("lane", "int", lambda batch, _: batch.draft.state.home.lane),
    Parameter("epoch", "bigint", lambda _, seal: seal.epoch),
    Parameter("batch_no", "bigint", lambda batch, _: batch.batch_no),
    Parameter("batch_id", "uuid", lambda batch, _: _batch_key(batch)),
    Parameter("first_offset", "bigint", lambda batch, _: batch.draft.state.next_offset),
    Parameter("next_offset", "bigint", lambda batch, _: batch.draft.next_offset),
    Parameter("first_seq", "bigint", lambda batch, _: batch.draft.state.last_seq + 1),
    Parameter("last_seq", "bigint", lambda batch, _: batch.draft.seq),
    Parameter("lane_time_ms", "bigint", lambda batch, _: batch.draft.time_ms),
    Parameter("last_record_sha", "text", lambda batch, _: batch.draft.last_record_sha),
    Parameter("resume", "text", lambda _, seal: seal.resume),
    Parameter("published_batch_no", "bigint", lambda _, seal: seal.published_batch_no),
    Parameter("owner", "text", lambda _, seal: seal.owner),
    Parameter("rules", "int", lambda _batch, _seal: RULES),
    Parameter(
        "plan_hash", "text", lambda batch, seal: plan_digest(batch, seal.events, seal.plan_facts)
    ),
    Parameter("facts", "text", lambda _, seal: seal.facts),
    Parameter("events", "text", lambda _, seal: seal.events),
    Parameter("accounts", "json", lambda batch, _: _accounts(batch)),
    Parameter("markets", "json", lambda batch, _: _markets(batch)),
    Parameter("market_changes", "json", lambda batch, _: _market_changes(batch)),
    Parameter("orders", "json", lambda batch, _: _orders(batch)),
    Parameter("order_changes", "json", lambda batch, _: _order_changes(batch)),
    Parameter("trades", "json", lambda batch, _: _trades(batch)),
    Parameter("draws", "json", lambda batch, _: _draws(batch)),
    Parameter("transfers", "json", lambda batch, _: _transfers(batch)),
    Parameter("payees", "json", lambda batch, _: _payees(batch)),
    Parameter("pockets", "json", lambda batch, _: _pockets(batch)),
)
"""Parameters in the order of the statement. The tables come last."""
TABLES: Final = tuple(each.name for each in PARAMETERS if each.type == "json")
COUNTS: Final = dict.fromkeys(
    (
        "lane_rows",
        "pockets_moved",
        "pockets_opened",
        "markets_changed",
        "orders_changed",
        "trades_mispriced",
        "trades_not_open",
    ),
    "bigint",
)
"""Counts by the client, with their types. The last step takes them."""
_PLAN_HASH: Final = [each.name for each in PARAMETERS].index("plan_hash")
NO_ROWS: Final = _json([])
"""The JSON of a table of which a batch states no row."""


def _batch_key(batch: Batch) -> str:
    return ids.batch_key(batch.draft.state.home.lane, batch.batch_no)
