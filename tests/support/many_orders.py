"""A lane with many open orders, put into the tables directly."""

import asyncpg

ORDERS_PER_ACCOUNT = 200

_ACCOUNTS = (
    "INSERT INTO accounts SELECT md5('many account ' || n)::uuid, 'many-' || n"
    " FROM generate_series(0, $1::int) n"
)
_MARKETS = (
    "INSERT INTO markets (market, stream, lane, market_id, operator_id, payout, title, status,"
    " outcome, escrow, open_interest, market_seq, opened_seq, resolved_seq)"
    " SELECT md5('many market ' || n)::uuid, stream, lane, 'many-' || n, 'a', 100, 't', 1, 0, 0, 0,"
    " 0, 0, 0 FROM markets, generate_series(1, $1::int - 1) n WHERE market_id = $2"
)
# Sells at 49 prices. Orders that arrive later have a higher seq.
_ORDERS = (
    "WITH shared AS (SELECT market, lane, row_number() OVER (ORDER BY market) - 1 AS place"
    " FROM markets)"
    " INSERT INTO orders (order_key, market, account, lane, order_id, side, price, quantity,"
    " time_in_force, leaves, status, seq, reason)"
    " SELECT md5('many order ' || n)::uuid, market, md5('many account ' || n / $3::int)::uuid,"
    " lane, 'many-' || n, 2, 51 + n % 49, 1, 1, 1, 1, -n, ''"
    " FROM generate_series(1, $1::int) n JOIN shared ON place = n % $2::int"
)


async def insert_open_orders(
    database: "asyncpg.Connection[asyncpg.Record]", orders: int, market: str, markets: int = 1
) -> None:
    """Put open orders into ``market``, the only one, and into further markets of its lane."""
    await database.execute(_ACCOUNTS, orders // ORDERS_PER_ACCOUNT)
    await database.execute(_MARKETS, markets, market)
    await database.execute(_ORDERS, orders, markets, ORDERS_PER_ACCOUNT)
    await database.execute("ANALYZE")
