"""A database with a history: a million closed orders of other markets, by the same accounts.

The history belongs to an earlier incarnation of the topics, and its books are consistent. Every
order is filled, every trade has two postings, collateral was locked and paid out, and every pocket
is the sum of its postings. Measurements run on copies of it (``CREATE DATABASE … TEMPLATE``).

The accounts have traded in the same lanes before, so a small part of their cash is in a pocket
there, and the rest is in the wallet. ``cold`` leaves everything in the wallet. Then every lane must
draw at the first order of every account, as at the very beginning, and unlike a normal day.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import asyncpg

from tests.bench.case import PARTITIONS, Case
from tests.support.databases import execute, named
from worker.adapters.postgres.catalog import register
from worker.adapters.postgres.migrate import migrate
from worker.domain import ids
from worker.domain.state import StreamKind
from worker.domain.units import MarketId
from worker.ports import StreamRow

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STRANGERS: Final = 18_000
OLD_MARKETS: Final = 200
ORDERS_PER_BATCH: Final = 100
PLACED: Final = 10_000_000
"""Cash of an account in each lane, out of 10**9. An order costs about a hundredth of it."""
TIMEOUT_S: Final = 600.0
TEMPLATE: Final = "past"
_PAST: Final = "past.orders"
_BULK: Final = ("orders", "trades", "postings", "positions", "pockets", "batches", "payouts")

# trader(n, account), old(n, market, lane) and deal(k, …) are temporary. $1 is the number of trades.
_DEALS: Final = """
CREATE TEMPORARY TABLE deal AS
SELECT k, md5('trade' || k)::uuid AS trade, o.market, o.lane, b.account AS buyer,
       s.account AS seller, 1 + h % 99 AS price, 1 + (h >> 8) % 20 AS quantity
  FROM (SELECT k, (hashint8(k) & 2147483647)::bigint AS h,
               (hashint8(k + 1000000000) & 2147483647)::bigint AS g
          FROM generate_series(0, {trades} - 1) AS k) AS r
  JOIN old o ON o.n = k % {markets}
  JOIN trader b ON b.n = (o.n * 97 + h % 1000) % {traders}
  JOIN trader s ON s.n = (o.n * 97 + (h % 1000 + 1 + g % 999) % 1000) % {traders}
"""
_LOAD: Final = (
    """
INSERT INTO trades SELECT trade, market, buyer, seller, price, quantity, k FROM deal""",
    """
INSERT INTO orders
SELECT md5('order' || k || side)::uuid, market, CASE side WHEN 1 THEN buyer ELSE seller END, lane,
       'h' || k, side, price, quantity, 1, 0, 2, k, ''
  FROM deal CROSS JOIN (VALUES (1), (2)) AS s(side)""",
    """
INSERT INTO positions
SELECT market, account, sum(quantity)
  FROM (SELECT market, buyer AS account, quantity FROM deal
        UNION ALL SELECT market, seller, -quantity FROM deal) AS leg
 GROUP BY market, account""",
    """
INSERT INTO payouts
SELECT market, account, 1, quantity, 100 * quantity FROM positions WHERE quantity > 0""",
    """
INSERT INTO transfers
SELECT md5('deposit' || n)::uuid, account, 'd0', true, 1000000000, 12 + n % 12, n, ''
  FROM trader""",
    """
INSERT INTO postings
SELECT trade, buyer, lane, market, 1, -price * quantity FROM deal
UNION ALL
SELECT trade, seller, lane, market, 1, price * quantity FROM deal
UNION ALL
SELECT md5('lock' || p.market)::uuid, p.account, o.lane, p.market, 2, 100 * p.quantity
  FROM positions p JOIN old o ON o.market = p.market WHERE p.quantity < 0
UNION ALL
SELECT md5('pay' || p.market)::uuid, p.account, o.lane, p.market, 3, 100 * p.quantity
  FROM positions p JOIN old o ON o.market = p.market WHERE p.quantity > 0
UNION ALL
SELECT md5(CASE d.kind WHEN 2 THEN 'lock' ELSE 'pay' END || p.market)::uuid, p.market, -2,
       p.market, d.kind, CASE d.kind WHEN 2 THEN 100 ELSE -100 END * sum(p.quantity)
  FROM positions p CROSS JOIN (VALUES (2), (3)) AS d(kind)
 WHERE p.quantity > 0 GROUP BY p.market, d.kind
UNION ALL
SELECT transfer, account, -1, '00000000-0000-0000-0000-000000000000'::uuid, 5, amount
  FROM transfers
UNION ALL
SELECT transfer, '00f51d9a-9a77-563f-9719-06b3e4aef4de', -3,
       '00000000-0000-0000-0000-000000000000'::uuid, 5, -amount
  FROM transfers""",
    """
INSERT INTO postings
SELECT md5('draw' || account || u.lane)::uuid, account, CASE side WHEN 0 THEN -1 ELSE u.lane END,
       '00000000-0000-0000-0000-000000000000'::uuid, 4,
       CASE side WHEN 0 THEN -1 ELSE 1 END * (greatest(-u.used, 0) + 1000)
  FROM (SELECT account, lane, sum(amount) AS used FROM postings
         WHERE lane >= 0 GROUP BY account, lane) AS u
 CROSS JOIN (VALUES (0), (1)) AS s(side)""",
    """
INSERT INTO postings
SELECT md5('place' || account || lane)::uuid, account, CASE side WHEN 0 THEN -1 ELSE lane END,
       '00000000-0000-0000-0000-000000000000'::uuid, 4,
       CASE side WHEN 0 THEN -amount ELSE amount END
  FROM place CROSS JOIN (VALUES (0), (1)) AS s(side)""",
    """
INSERT INTO pockets
SELECT account, lane, sum(amount) FROM postings WHERE lane >= -1 GROUP BY account, lane""",
    """
INSERT INTO batches
SELECT md5('batch' || n)::uuid, lane, b, 100 * (b - 1), 100 * b, 150 * (b - 1) + 1, 150 * b, 1,
       'past', md5('plan' || n), '{{}}', repeat('{{"type":"ORDER_ACCEPTED"}}', 2000),
       1, 0, 0, 0, 0, 0, 0, 0, 0
  FROM (SELECT n, n % 12 AS lane, n / 12 + 1 AS b
          FROM generate_series(0, {trades} * 2 / {a_batch}) AS n) AS g""",
    """
UPDATE lanes l SET batch_no = b.batches, published_batch_no = b.batches, epoch = 1,
       next_offset = 100 * b.batches, last_seq = 150 * b.batches
  FROM (SELECT lane, count(*) AS batches FROM batches GROUP BY lane) AS b WHERE l.lane = b.lane""",
    """
UPDATE lanes l SET trades = d.trades
  FROM (SELECT lane, count(*) AS trades FROM deal GROUP BY lane) AS d WHERE l.lane = d.lane""",
    """
UPDATE lanes l SET cash_in = t.amount
  FROM (SELECT lane, sum(amount) AS amount FROM transfers GROUP BY lane) AS t
 WHERE l.lane = t.lane""",
)


async def load(server_url: str, cases: Sequence[Case], orders: int, *, cold: bool) -> None:
    """Make the template with ``orders`` earlier orders and the open markets of ``cases``."""
    await execute(server_url, f'CREATE DATABASE "{TEMPLATE}"')
    url = named(server_url, TEMPLATE)
    await migrate(url, timeout_s=TIMEOUT_S)
    await _stream(url, _PAST, StreamKind.ORDERS)
    await _stream(url, "past.transfers", StreamKind.TRANSFERS)
    connection = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
    try:
        await connection.execute("SET maintenance_work_mem = '512MB'; SET work_mem = '256MB'")
        await connection.execute(
            "CREATE TEMPORARY TABLE place (account uuid, lane int, amount bigint)"
        )
        for case in cases:
            stream = await _open_markets(connection, url, case)
            if not cold:
                await _place_cash(connection, case, stream)
        await _name_traders(connection, [a for case in cases for a in case.account_ids])
        await _name_old_markets(connection)
        await _fill(connection, orders // 2)
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def copy(server_url: str, name: str, *, of: str = TEMPLATE) -> str:
    """Return the address of a new copy of a database without connections."""
    await execute(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{of}" STRATEGY FILE_COPY')
    return named(server_url, name)


async def drop(server_url: str, name: str) -> None:
    await execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _stream(url: str, topic: str, kind: StreamKind) -> StreamRow:
    wanted = StreamRow(topic, topic, kind, PARTITIONS, first_lane=0)
    return await register(url, wanted, timeout_s=TIMEOUT_S)


async def _open_markets(connection: Connection, url: str, case: Case) -> StreamRow:
    stream = await _stream(url, case.orders_topic, StreamKind.ORDERS)
    await _stream(url, case.transfers_topic, StreamKind.TRANSFERS)
    rows = [
        (key, market_id, stream.stream, stream.first_lane + partition, 1, 0, payout)
        for market_id, payout in case.markets()
        for key, partition in [_home(stream.stream, market_id)]
    ]
    await _insert_markets(connection, rows)
    return stream


async def _place_cash(connection: Connection, case: Case, stream: StreamRow) -> None:
    records = [
        (ids.account_key(account_id), stream.first_lane + partition, PLACED)
        for account_id in case.account_ids
        for partition in range(stream.partitions)
    ]
    await connection.copy_records_to_table("place", records=records)


async def _name_old_markets(connection: Connection) -> None:
    names = [MarketId(f"old-{number:03}") for number in range(OLD_MARKETS)]
    homes = [(name, *_home(_PAST, name)) for name in names]
    rows = [(key, name, _PAST, lane, 4, 1, 100) for name, key, lane in homes]
    await _insert_markets(connection, rows)
    await connection.execute("CREATE TEMPORARY TABLE old (n bigint, market uuid, lane int)")
    records = [(number, key, lane) for number, (_, key, lane) in enumerate(homes)]
    await connection.copy_records_to_table("old", records=records)


async def _insert_markets(connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    await connection.executemany(
        "INSERT INTO markets VALUES ($1, $3, $4, $2, 'operator', $7, 'a market', $5, $6, 0, 0,"
        " 1, 1, 0)",
        rows,
    )


def _home(stream: str, market_id: MarketId) -> tuple[str, int]:
    return ids.market_key(stream, market_id), ids.partition_of(market_id, PARTITIONS)


async def _name_traders(connection: Connection, used: Sequence[str]) -> None:
    """Fill the list of traders with the accounts of the cases and many others."""
    names = [*used, *(f"stranger-{number:05}" for number in range(STRANGERS))]
    keys = [ids.account_key(name) for name in names]
    accounts = list(zip(keys, names, strict=True))
    await connection.copy_records_to_table("accounts", records=accounts)
    await connection.execute("CREATE TEMPORARY TABLE trader (n bigint, account uuid)")
    await connection.copy_records_to_table("trader", records=list(enumerate(keys)))
    await connection.execute("ANALYZE trader")


async def _fill(connection: Connection, trades: int) -> None:
    """Load without primary keys, and build the keys afterwards, which is faster."""
    traders = await connection.fetchval("SELECT count(*) FROM trader")
    numbers = {"trades": trades, "markets": OLD_MARKETS, "traders": traders}
    keys = await connection.fetch(
        "SELECT relname, conname, pg_get_constraintdef(c.oid) AS text FROM pg_constraint c"
        " JOIN pg_class t ON t.oid = conrelid WHERE contype = 'p' AND relname = ANY ($1::text[])",
        list(_BULK),
    )
    for key in keys:
        await connection.execute(f"ALTER TABLE {key['relname']} DROP CONSTRAINT {key['conname']}")
    await connection.execute(_DEALS.format(**numbers))
    for statement in _LOAD:
        await connection.execute(statement.format(**numbers, a_batch=ORDERS_PER_BATCH))
    for key in keys:
        text = f"ALTER TABLE {key['relname']} ADD CONSTRAINT {key['conname']} {key['text']}"
        await connection.execute(text)
