-- Step of a batch in fallback mode: trades in markets that are open, below their payout. Must
-- insert as many rows as $1 has.
-- $1 trades, $2 new markets (which no trade may be in)
INSERT INTO trades (trade, market, buyer, seller, price, quantity, seq)
SELECT d.trade, d.market, d.buyer, d.seller, d.price, d.quantity, d.seq
  FROM json_to_recordset($1::json) AS d(
       trade uuid, market uuid, buyer uuid, seller uuid, price bigint, quantity bigint, seq bigint)
  JOIN markets m ON m.market = d.market
 WHERE m.status = 1
   AND d.price < m.payout
   AND NOT EXISTS (SELECT 1
                     FROM json_to_recordset($2::json) AS n(market uuid)
                    WHERE n.market = d.market)
