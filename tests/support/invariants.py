"""What must hold after every test, whatever was done to the system before.

``check`` compares five things that know nothing of each other: the input topics, the output
topics, the tables, a stranger who reads only events, and a replay of every batch from its records
and facts.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import asyncpg
from aiokafka import ConsumerRecord

from tests.support.stranger import Stranger
from worker.adapters.postgres import rows
from worker.config import Settings
from worker.domain.commands import Received
from worker.domain.plan import Answer, Batch, plan
from worker.domain.state import Home, LaneState, StreamKind
from worker.domain.units import CASH_MAX, Lane, Money, Offset
from worker.ports import Outgoing, Seal, TopicPartition
from worker.wire import facts as facts_text
from worker.wire import journal
from worker.wire import resume as resume_text
from worker.wire.commands import decode_order, decode_transfer, record_sha

Row = asyncpg.Record
Records = Mapping[TopicPartition, Sequence[ConsumerRecord]]

VIOLATIONS: Final = {
    "the ledger of a cause is not zero": """
        SELECT cause, sum(amount) FROM ledger GROUP BY cause HAVING sum(amount) <> 0""",
    "a pocket is not the sum of its ledger": """
        SELECT account, lane, p.balance, l.amount
          FROM pockets p
          FULL JOIN (SELECT account, lane, sum(amount) AS amount
                       FROM ledger WHERE lane >= -1 GROUP BY account, lane) l USING (account, lane)
         WHERE p.balance IS DISTINCT FROM coalesce(l.amount, 0)""",
    "cash is not conserved": """
        SELECT * FROM (SELECT
            (SELECT coalesce(sum(balance), 0) FROM pockets)
            + (SELECT coalesce(sum(escrow), 0) FROM markets) AS held,
            (SELECT coalesce(sum(CASE WHEN deposit THEN amount ELSE -amount END), 0)
               FROM transfers WHERE reason = '') AS moved,
            (SELECT coalesce(sum(cash_in - cash_out), 0) FROM lanes) AS counted) t
         WHERE held <> moved OR held <> counted""",
    "an escrow is not what its contracts may cost": """
        SELECT m.*, l.amount, p.longs
          FROM markets m
          LEFT JOIN (SELECT market, sum(amount) AS amount FROM ledger
                      WHERE lane = -2 GROUP BY market) l USING (market)
          LEFT JOIN (SELECT market, sum(greatest(quantity, 0)) AS longs
                       FROM positions GROUP BY market) p USING (market)
          LEFT JOIN (SELECT market, sum(quantity) AS paid
                       FROM payouts GROUP BY market) d USING (market)
         WHERE m.escrow <> m.payout * m.open_interest
            OR m.escrow <> coalesce(l.amount, 0)
            OR m.open_interest <> coalesce(p.longs, 0) - coalesce(d.paid, 0)""",
    "positions do not sum to zero": """
        SELECT market, sum(quantity) FROM positions GROUP BY market HAVING sum(quantity) <> 0""",
    "a position is not the sum of its trades": """
        SELECT market, account, p.quantity, t.quantity
          FROM positions p
          FULL JOIN (SELECT market, account, sum(quantity) AS quantity
                       FROM (SELECT market, buyer AS account, quantity FROM trades
                             UNION ALL SELECT market, seller, -quantity FROM trades) legs
                      GROUP BY market, account) t USING (market, account)
         WHERE p.quantity IS DISTINCT FROM t.quantity""",
    "something is negative": """
        SELECT 'pocket' FROM pockets WHERE balance < 0
        UNION ALL SELECT 'order' FROM orders WHERE leaves < 0 OR leaves > quantity
        UNION ALL SELECT 'escrow' FROM markets WHERE escrow < 0 OR open_interest < 0""",
    "a settled market is not settled": """
        SELECT m.market_id FROM markets m
         WHERE m.status = 4
           AND (m.escrow <> 0 OR m.open_interest <> 0
                OR EXISTS (SELECT 1 FROM orders o WHERE o.market = m.market AND o.leaves > 0)
                OR EXISTS (SELECT 1 FROM positions p
                            WHERE p.market = m.market
                              AND p.quantity * (CASE m.outcome WHEN 1 THEN 1 ELSE -1 END) > 0
                              AND NOT EXISTS (SELECT 1 FROM payouts d
                                               WHERE (d.market, d.account) = (p.market, p.account)
                                                 AND d.quantity = abs(p.quantity))))""",
    "an open market's book is crossed": """
        SELECT m.market_id FROM orders o JOIN markets m USING (market)
         WHERE o.leaves > 0 AND m.status = 1 AND m.lane NOT IN
               (SELECT lane FROM lanes WHERE resume LIKE '%"sweep"%')
         GROUP BY m.market_id
        HAVING max(o.price) FILTER (WHERE o.side = 1) >= min(o.price) FILTER (WHERE o.side = 2)""",
    "a lane's totals are off": """
        SELECT l.* FROM lanes l
         WHERE l.ledger_sum <> 0
            OR l.cash_in <> (SELECT coalesce(sum(amount), 0) FROM transfers t
                              WHERE t.lane = l.lane AND deposit AND reason = '')
            OR l.cash_out <> (SELECT coalesce(sum(amount), 0) FROM transfers t
                              WHERE t.lane = l.lane AND NOT deposit AND reason = '')
            OR l.trades <> (SELECT count(*) FROM trades t JOIN markets m USING (market)
                             WHERE m.lane = l.lane)""",
    "a pocket's money has no owner": """
        SELECT p.* FROM pockets p LEFT JOIN accounts a USING (account) WHERE a.account IS NULL""",
    "balances do not add up to what is there": """
        SELECT b.total, p.total
          FROM (SELECT coalesce(sum(balance), 0) AS total FROM balances) b,
               (SELECT coalesce(sum(balance), 0)
                       + (SELECT coalesce(sum(escrow), 0) FROM markets WHERE status = 3) AS total
                  FROM pockets) p
         WHERE b.total <> p.total""",
}
"""Each must find no row."""


@dataclass
class LaneEvidence:
    """One lane: what went in, what came out, what is stored."""

    row: Row
    route: journal.Route
    inputs: Sequence[ConsumerRecord]
    outputs: Sequence[ConsumerRecord]
    batches: Sequence[Row]


@dataclass
class Evidence:
    """Everything that is known, from one moment."""

    lanes: Sequence[LaneEvidence]
    dead_letters: Sequence[ConsumerRecord]
    violations: Mapping[str, Sequence[Row]]
    tables: Mapping[str, Sequence[Row]]


_TABLES: Final = {
    "lanes": """
        SELECT l.*, s.topic, s.partitions, s.first_lane FROM lanes l JOIN streams s USING (stream)
         ORDER BY l.lane""",
    "batches": "SELECT * FROM batches ORDER BY lane, batch_no",
    "cash": "SELECT account_id, sum(balance) FROM pockets JOIN accounts USING (account) GROUP BY 1",
    "positions": """
        SELECT market_id, account_id, quantity
          FROM positions JOIN markets USING (market) JOIN accounts USING (account)""",
    "open_orders": """
        SELECT market_id, account_id, order_id, side, price, leaves
          FROM orders o JOIN markets USING (market) JOIN accounts USING (account)
         WHERE leaves > 0""",
    "accepted": """
        SELECT market_id, account_id, order_id
          FROM orders o JOIN markets USING (market) JOIN accounts USING (account)
         WHERE o.status <> 4""",
    "markets": "SELECT market_id, escrow, outcome, status, market_seq FROM markets",
    "transfers": """
        SELECT account_id, transfer_id FROM transfers JOIN accounts USING (account)
         WHERE reason = ''""",
}


async def gather(
    settings: Settings, database: "asyncpg.Connection[Row]", records: Records
) -> Evidence:
    """Read the database in one snapshot, beside what was read of the topics."""
    async with database.transaction(isolation="repeatable_read", readonly=True):
        violations = {name: await database.fetch(sql) for name, sql in VIOLATIONS.items()}
        tables = {name: await database.fetch(sql) for name, sql in _TABLES.items()}
    batches: dict[int, list[Row]] = defaultdict(list)
    for row in tables["batches"]:
        batches[row["lane"]].append(row)
    dead = [r for p, rs in records.items() if p.topic == settings.dead_letters_topic for r in rs]
    partitions = len({p for p in records if p.topic == settings.dead_letters_topic})
    lanes = [
        _lane(settings, row, records, batches[row["lane"]], partitions) for row in tables["lanes"]
    ]
    return Evidence(lanes, dead, violations, tables)


def _lane(
    settings: Settings, row: Row, records: Records, batches: Sequence[Row], dead_partitions: int
) -> LaneEvidence:
    orders = row["kind"] == StreamKind.ORDERS
    route = journal.Route(
        stream=row["stream"],
        topic=row["topic"],
        partition=row["partition"],
        events_topic=settings.events_topic if orders else settings.transfer_events_topic,
        dead_letters_topic=settings.dead_letters_topic,
        dead_letter_partitions=dead_partitions,
    )
    inputs = records[TopicPartition(row["topic"], row["partition"])]
    outputs = records[TopicPartition(route.events_topic, row["partition"])]
    return LaneEvidence(row, route, inputs, outputs, batches)


def check(evidence: Evidence) -> None:
    """Raise AssertionError at the first thing that does not hold."""
    for name, found in evidence.violations.items():
        assert not found, f"{name}: {found[:3]}"
    stranger = Stranger()
    dead_letters: Counter[bytes] = Counter()
    for lane in evidence.lanes:
        check_chain(lane)
        check_answers(lane)
        dead_letters.update(check_journal(lane))
        replay(lane)
        stranger.read(value_of(record) for record in first_occurrences(lane.outputs))
    published = {_identity(record) for record in evidence.dead_letters}
    assert published == set(dead_letters), "the dead letters are not the journal's"
    assert not [d for d, times in dead_letters.items() if times > 1], "a dead letter twice"
    check_stranger(stranger, evidence)


def check_chain(lane: LaneEvidence) -> None:
    """Every batch follows the one before it, and the lane stands at the last one."""
    row, batches = lane.row, lane.batches
    numbers = [batch["batch_no"] for batch in batches]
    assert numbers == list(range(1, row["batch_no"] + 1)), f"batches are missing: {row}"
    for before, after in pairwise(batches):
        assert after["first_offset"] == before["next_offset"], f"offsets have a gap: {after}"
        assert after["first_seq"] == before["last_seq"] + 1, f"seqs have a gap: {after}"
        assert after["epoch"] >= before["epoch"], f"the epoch falls: {after}"
    if batches:
        first, last = batches[0], batches[-1]
        assert (first["first_offset"], first["first_seq"]) == (0, 1), first
        stands = (row["next_offset"], row["last_seq"])
        assert (last["next_offset"], last["last_seq"]) == stands, f"the lane is elsewhere: {row}"
        assert last["epoch"] <= row["epoch"], f"the epoch falls: {row}"
        assert row["published_batch_no"] < row["batch_no"], f"published too much: {row}"


def check_answers(lane: LaneEvidence) -> None:
    """Each record below the cursor has exactly one answer, by the topics alone."""
    answers = Counter(
        event["offset"]
        for event in (json.loads(value_of(r)) for r in first_occurrences(lane.outputs))
        if event["index"] == 0
    )
    asked = {r.offset for r in lane.inputs if r.offset < lane.row["next_offset"]}
    assert set(answers) == asked, f"{lane.route}: {set(answers) ^ asked}"
    assert not [o for o, times in answers.items() if times > 1], f"{lane.route}: answered twice"


def check_journal(lane: LaneEvidence) -> list[bytes]:
    """The topic holds what the journal says, in its order; return the journal's dead letters."""
    out = [o for b in lane.batches for o in journal.decode(b["events"], lane.route)]
    expected = [_outgoing(o) for o in out if o.topic == lane.route.events_topic]
    published = [_identity(r) for r in first_occurrences(lane.outputs)]
    assert published == expected, f"{lane.route}: topic and journal differ"
    return [_outgoing(o) for o in out if o.topic != lane.route.events_topic]


def seq_of(record: ConsumerRecord) -> int:
    """Return the seq that the record's header names."""
    return int(dict(record.headers)["ce_id"].rpartition(b"/")[2])


def value_of(record: ConsumerRecord) -> bytes:
    """Return the value of an event's record, which is never null."""
    value: bytes | None = record.value
    assert value is not None, record
    return value


def first_occurrences(records: Sequence[ConsumerRecord]) -> list[ConsumerRecord]:
    """Drop repeats as a consumer does, and check that they are repeats and nothing is missing."""
    first: list[ConsumerRecord] = []
    for record in records:
        seq = seq_of(record)
        if seq <= len(first):
            assert _identity(record) == _identity(first[seq - 1]), f"a repeat differs: {record}"
        else:
            assert seq == len(first) + 1, f"a gap before {record}"
            first.append(record)
    return first


def _identity(record: ConsumerRecord) -> bytes:
    return repr((record.key, record.value, tuple(record.headers), record.timestamp)).encode()


def _outgoing(record: Outgoing) -> bytes:
    return repr((record.key, record.value, record.headers, record.timestamp_ms)).encode()


def replay(lane: LaneEvidence) -> None:
    """Plan every batch again from its records and facts: the same events and the same plan."""
    row, kind = lane.row, StreamKind(lane.row["kind"])
    share = Money(CASH_MAX // row["partitions"])
    number = Lane(row["lane"])
    home = Home(number, row["stream"], row["partition"], row["partitions"], kind, share)
    state = LaneState(home)
    for stored in lane.batches:
        facts, limits, step, published = facts_text.decode(stored["facts"])
        again = facts_text.encode(facts, limits, step or Answer(()), published)
        assert again == stored["facts"], f"facts of batch {stored['batch_no']}"
        batch = plan(state, step or Answer(_commands(lane, stored)), facts, limits)
        assert isinstance(batch, Batch), f"batch {stored['batch_no']} lacks {batch}"
        events = journal.encode(batch.draft.entries, kind)
        assert events == stored["events"], f"events of batch {stored['batch_no']}"
        seal = Seal(
            epoch=stored["epoch"],
            owner=stored["owner"],
            published_batch_no=published,
            facts=stored["facts"],
            events=events,
            resume=resume_text.encode(batch.sweep, batch.settlements),
        )
        plan_hash = rows.statement(batch, seal).plan_hash
        assert plan_hash == stored["plan_hash"], f"plan of batch {stored['batch_no']}"
        batch.adopt()
    assert resume_text.encode(state.sweep, state.settlements) == row["resume"], row
    assert (state.last_record_sha, state.lane_time_ms) == (
        row["last_record_sha"],
        row["lane_time_ms"],
    ), row


def _commands(lane: LaneEvidence, stored: Row) -> list[Received]:
    decode = decode_order if lane.row["kind"] == StreamKind.ORDERS else decode_transfer
    asked = range(stored["first_offset"], stored["next_offset"])
    return [
        Received(
            Offset(r.offset),
            r.timestamp,
            record_sha(r.key, r.value, tuple(r.headers)),
            decode(r.key, r.value, tuple(r.headers)),
        )
        for r in lane.inputs[asked.start : asked.stop]
        if r.offset in asked
    ]


def check_stranger(stranger: Stranger, evidence: Evidence) -> None:
    """The stranger's books are the database's."""
    tables = evidence.tables
    statuses = {m["market_id"]: m["status"] for m in tables["markets"]}
    stranger.close(halted={m for m, status in statuses.items() if status == 2})
    cash = {account: balance for account, balance in tables["cash"] if balance}
    assert {a: balance for a, balance in stranger.cash.items() if balance} == cash
    _same(
        {(m, a): q for m, market in stranger.markets.items() for a, q in market.positions.items()},
        {(m, a): q for m, a, q in tables["positions"]},
        "positions",
    )
    _same(_open_orders(stranger), _stored_orders(tables["open_orders"]), "open orders")
    _same(
        {(m, *name): 1 for m, market in stranger.markets.items() for name in market.accepted},
        {tuple(row): 1 for row in tables["accepted"]},
        "accepted orders",
    )
    _same(
        dict.fromkeys(stranger.transfers, 1),
        {tuple(row): 1 for row in tables["transfers"]},
        "transfers",
    )
    for market_id, escrow, outcome, status, market_seq in tables["markets"]:
        market = stranger.markets[market_id]
        held = market.locked - market.paid.total()
        seen = (held, {"": 0, "YES": 1, "NO": 2}[market.outcome], market.settled, market.seq)
        stored = (escrow, outcome, status == 4, market_seq)
        assert seen == stored, f"market {market_id} differs: {seen}, {stored}"


def _same(seen: Mapping[Any, Any], stored: Mapping[Any, Any], what: str) -> None:
    differing = dict(sorted(seen.items() ^ stored.items())[:4])
    assert not differing, f"{what} differ between events and tables: {differing}"


def _open_orders(stranger: Stranger) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    return {
        (m, *name): ({"BUY": 1, "SELL": 2}[order.side], order.price, order.leaves)
        for m, market in stranger.markets.items()
        for name, order in market.live.items()
    }


def _stored_orders(found: Sequence[Row]) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    return {(m, a, o): (side, price, leaves) for m, a, o, side, price, leaves in found}
