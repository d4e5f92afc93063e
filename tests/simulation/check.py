"""What must hold when it is quiet again: looked for in the tables, the journal and the topics.

Each check stands alone and yields what it finds wrong. None asks the worker how it did, except the
last: every batch is planned again from what it recorded, and must come out the same to the byte.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.fold import Fold
from tests.support.fake_store import Row
from worker.adapters.postgres import rows
from worker.domain.commands import Received
from worker.domain.plan import Answer, Batch, plan
from worker.domain.state import Home, LaneState, StreamKind
from worker.domain.units import CASH_MAX, Lane, Money, Offset
from worker.ports import Outgoing, Record, Seal, TopicPartition
from worker.wire import facts as facts_text
from worker.wire import journal
from worker.wire import resume as resume_text
from worker.wire.commands import decode_order, decode_transfer, record_sha

if TYPE_CHECKING:
    from tests.simulation.world import World

Event = dict[str, Any]
ESCROW: Final = -2


def violations(world: "World") -> Iterator[str]:
    """Yield everything that is not as promised."""
    for check in CHECKS:
        try:
            yield from (f"{check.__name__}: {text}" for text in check(world))
        except Exception as bug:  # noqa: BLE001 - a history so wrong that it cannot be read
            yield f"{check.__name__}: {bug!r}"


def seq_of(record: Record | Outgoing) -> int:
    """Return the seq of a published event, by its headers."""
    for name, value in record.headers:
        if name == "ce_id":
            return int(value[value.rindex(b"/") + 1 :])
    raise ValueError("a record without ce_id is no event")


def published(world: "World", partition: TopicPartition) -> list[Record]:
    """Return the first occurrences of a lane's events, in the order of the topic."""
    route = world.route(partition)
    found: dict[int, Record] = {}
    for record in world.kafka.records(TopicPartition(route.events_topic, route.partition)):
        found.setdefault(seq_of(record), record)
    return list(found.values())


def events_of(world: "World", partition: TopicPartition) -> list[Event]:
    """Return a lane's events as a stranger reads them."""
    records = published(world, partition)
    known = world.read_events.get(partition, [])
    if len(known) != len(records):
        known = [json.loads(record.value or b"") for record in records]
        world.read_events[partition] = known
    return known


def batches_of(world: "World", lane: int) -> list[Row]:
    """Return a lane's journal in order."""
    found = [row for row in world.database.rows("batches") if row["lane"] == lane]
    return sorted(found, key=lambda row: int(row["batch_no"]))


def lane_of(world: "World", partition: TopicPartition) -> int:
    """Return the number of a lane."""
    return world.stream_of(partition.topic).first_lane + partition.partition


# The topics.


def order_of_topic(world: "World") -> Iterator[str]:
    """First occurrences have no gap, and a repeat has the same bytes."""
    for partition in world.partitions():
        route = world.route(partition)
        first: dict[int, Record] = {}
        for record in world.kafka.records(TopicPartition(route.events_topic, route.partition)):
            seq = seq_of(record)
            known = first.setdefault(seq, record)
            if known._replace(offset=0) != record._replace(offset=0):
                yield f"{partition} seq {seq} was published with other bytes"
            if known is record and seq != len(first):
                yield f"{partition} seq {seq} follows {len(first) - 1}"


def journal_is_stream(world: "World") -> Iterator[str]:
    """What is published is what the journal holds, and all of it."""
    buried: Counter[bytes] = Counter()
    for partition in world.partitions():
        route = world.route(partition)
        written = [
            record
            for row in batches_of(world, lane_of(world, partition))
            for record in journal.decode(row["events"], route)
        ]
        letters = [record for record in written if record.topic == route.dead_letters_topic]
        buried.update(_letter(record) for record in letters)
        ours = [_bytes(record) for record in written if record.topic == route.events_topic]
        theirs = [_bytes(record) for record in published(world, partition)]
        if ours != theirs:
            pairs = zip(ours, theirs, strict=False)
            at = next((n for n, (one, other) in enumerate(pairs) if one != other), None)
            yield f"{partition}: {len(theirs)} events published, {len(ours)} in the journal, {at=}"
    graves = Counter(_letter(r) for r in world.kafka.records(TopicPartition("dead", 0)))
    if graves.keys() != buried.keys():
        yield f"{len(graves)} dead letters, {len(buried)} in the journal"


def _bytes(record: Record | Outgoing) -> tuple[object, ...]:
    return record.key, record.value, record.headers, record.timestamp_ms


def _letter(record: Record | Outgoing) -> bytes:
    return repr(_bytes(record)).encode()


def answered_once(world: "World") -> Iterator[str]:
    """Every input offset has one answer, and what follows from it is numbered without a gap."""
    for partition in world.partitions():
        indexes: defaultdict[int, list[int]] = defaultdict(list)
        for event in events_of(world, partition):
            indexes[event["offset"]].append(event["index"])
        for offset in range(world.kafka.log(partition).end):
            found = indexes.pop(offset, [])
            if not found:
                yield f"{partition} offset {offset} has no answer"
            elif found != list(range(len(found))):
                yield f"{partition} offset {offset} has the indexes {found}"
        if indexes:
            yield f"{partition} has answers to {sorted(indexes)}, which were never sent"


# The journal.


def batches_tile(world: "World") -> Iterator[str]:
    """Batches follow each other in number, offset, seq and epoch, up to where the lane stands."""
    for partition in world.partitions():
        row, before = world.lane_row(partition), (0, 0, 1, 0)
        for batch in batches_of(world, row["lane"]):
            number, offset, seq, epoch = before
            if (batch["batch_no"], batch["first_offset"], batch["first_seq"]) != (
                number + 1,
                offset,
                seq,
            ):
                yield f"{partition} batch {batch['batch_no']} does not follow {before}"
            if batch["epoch"] < epoch:
                yield f"{partition} batch {batch['batch_no']} is of an earlier owner"
            before = (number + 1, batch["next_offset"], batch["last_seq"] + 1, batch["epoch"])
        if before[:3] != (row["batch_no"], row["next_offset"], row["last_seq"] + 1):
            yield f"{partition} stands at {row['batch_no']}, its journal at {before}"


# The money.


def money(world: "World") -> Iterator[str]:
    """Every pocket is the sum of its ledger, never negative at any commit; every cause is zero."""
    balances: Counter[tuple[str, int]] = Counter()
    causes: Counter[str] = Counter()
    for number, commit in enumerate(world.database.commits):
        touched = set()
        for table, row in commit.inserted:
            if table == "ledger":
                balances[row["account"], row["lane"]] += row["amount"]
                causes[row["cause"]] += row["amount"]
                touched.add((row["account"], row["lane"]))
        low = [pocket for pocket in touched if pocket[1] >= ESCROW and balances[pocket] < 0]
        if low:
            yield f"after commit {number} these pockets are negative: {low}"
    if any(causes.values()):
        yield "some causes do not sum to zero"
    pockets = {(r["account"], r["lane"]): r["balance"] for r in world.database.rows("pockets")}
    if pockets != {pocket: balances[pocket] for pocket in pockets} or any(
        amount for pocket, amount in balances.items() if pocket[1] >= -1 and pocket not in pockets
    ):
        yield "some pockets are not the sum of their ledger rows"
    lanes = world.database.rows("lanes")
    came_in = sum(row["cash_in"] - row["cash_out"] for row in lanes)
    held = sum(pockets.values()) + sum(r["escrow"] for r in world.database.rows("markets"))
    if held != came_in:
        yield f"{came_in} came in, {held} is held"


def markets(world: "World") -> Iterator[str]:
    """Escrow pays every contract, positions sum to zero, what is settled owes nobody."""
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for row in world.database.rows("positions"):
        positions[row["market"]].append(row["quantity"])
    for row in world.database.rows("markets"):
        held = positions[row["market"]]
        longs = sum(quantity for quantity in held if quantity > 0)
        if sum(held):
            yield f"positions of {row['market_id']} sum to {sum(held)}"
        if row["status"] < 3 and row["open_interest"] != longs:
            yield f"open interest of {row['market_id']} is {row['open_interest']}, not {longs}"
        if row["escrow"] != row["payout"] * row["open_interest"]:
            yield f"escrow of {row['market_id']} is {row['escrow']}"


def books(world: "World") -> Iterator[str]:
    """No book is crossed, and what is resolved is settled and has none."""
    orders = [row for row in world.database.rows("orders") if row["leaves"]]
    for row in world.database.rows("markets"):
        ours = [order for order in orders if order["market"] == row["market"]]
        bids = [order["price"] for order in ours if order["side"] == 1]
        asks = [order["price"] for order in ours if order["side"] == 2]
        if row["status"] == 3:
            yield f"{row['market_id']} is still being settled"
        elif row["status"] == 4 and ours:
            yield f"{row['market_id']} is settled and has open orders"
        elif max(bids, default=0) >= min(asks, default=10**9):
            yield f"the book of {row['market_id']} is crossed"


# What a stranger makes of it.


def fold(world: "World") -> Iterator[str]:
    """The event topics alone give every order, position, balance and escrow of the tables."""
    folded = Fold()
    for partition in world.partitions():
        kind = world.stream_of(partition.topic).kind
        decode = decode_order if kind is StreamKind.ORDERS else decode_transfer
        inputs = [
            decode(record.key, record.value, record.headers)
            for record in world.kafka.records(partition)
        ]
        for event in events_of(world, partition):
            folded.apply(event, inputs[event["offset"]], lane_of(world, partition))
    yield from folded.wrong
    yield from folded.compare(world.database)


# The same again.


def replay(world: "World") -> Iterator[str]:
    """Every batch comes out the same, to the byte, of its records and its recorded facts."""
    for partition in world.partitions():
        yield from _replay(world, partition)


def _replay(world: "World", partition: TopicPartition) -> Iterator[str]:
    stream = world.stream_of(partition.topic)
    share = Money(CASH_MAX // stream.partitions)
    lane = Lane(lane_of(world, partition))
    home = Home(lane, stream.stream, partition.partition, stream.partitions, stream.kind, share)
    state = LaneState(home)
    records = world.kafka.records(partition)
    for row in batches_of(world, lane):
        facts, limits, step, mark = facts_text.decode(row["facts"])
        taken = records[row["first_offset"] : row["next_offset"]]
        step = step or Answer([_received(record, stream.kind) for record in taken])
        batch = plan(state, step, facts, limits)
        if not isinstance(batch, Batch):
            yield f"{partition} batch {row['batch_no']} lacks {batch}"
            return
        seal = Seal(
            epoch=row["epoch"],
            owner=row["owner"],
            published_batch_no=mark,
            facts=facts_text.encode(facts, limits, step, mark),
            events=journal.encode(batch.draft.entries, stream.kind),
            resume=resume_text.encode(batch.sweep, batch.settlements),
        )
        if rows.statement(batch, seal).plan_hash != row["plan_hash"]:
            differs = [name for name in ("facts", "events") if getattr(seal, name) != row[name]]
            yield f"{partition} batch {row['batch_no']} comes out differently: {differs}"
            return
        batch.adopt()


def _received(record: Record, kind: StreamKind) -> Received:
    key, value, headers = record.key, record.value, record.headers
    decode = decode_order if kind is StreamKind.ORDERS else decode_transfer
    sha = record_sha(key, value, headers)
    command = decode(key, value, headers)
    return Received(Offset(record.offset), record.timestamp_ms, sha, command)


CHECKS: Final[Sequence[Callable[["World"], Iterator[str]]]] = (
    order_of_topic,
    journal_is_stream,
    answered_once,
    batches_tile,
    money,
    markets,
    books,
    fold,
    replay,
)


def note_windows(world: "World") -> None:
    """Note the windows and situations that show in the events and the journal themselves."""
    for partition in world.partitions():
        for event in events_of(world, partition):
            window = OF_REASON.get(event.get("reason", ""))
            if window is not None:
                world.window(window)
            if event["type"] == "DUPLICATE":
                world.window("W19")
    for row in world.database.rows("batches"):
        found = json.loads(row["facts"])
        for name in OF_FACTS.keys() & found.keys():
            if found[name]:
                world.window(OF_FACTS[name])
    _note_continuations(world)


def _note_continuations(world: "World") -> None:
    for commit in world.database.commits:
        for (table, _), row in commit.writes.items():
            if table == "lanes" and row["resume"]:
                epoch_only = len(commit.writes) == 1
                kind = "sweep" if '"sweep"' in row["resume"] else "settlement"
                world.window(f"{kind} taken over" if epoch_only else f"{kind} cut")


OF_REASON: Final = {
    "MALFORMED": "W18",
    "WRONG_PARTITION": "W15",
    "FUNDS_IN_USE": "funds in use",
    "UNFUNDED": "unfunded",
    "INSUFFICIENT_FUNDS": "insufficient funds",
    "SELF_TRADE": "self trade",
}
OF_FACTS: Final = {
    "gatherings": "gathering",
    "no_draws": "planned without draws",
    "exact_draws": "drawn exactly",
}
