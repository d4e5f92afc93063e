-- Step of a batch in fallback mode: turn the positions of whoever traded.
-- $1 trades
INSERT INTO positions (market, account, quantity)
SELECT market, account, sum(quantity)::bigint
  FROM (SELECT market, buyer AS account, quantity
          FROM json_to_recordset($1::json) AS b(market uuid, buyer uuid, quantity bigint)
        UNION ALL
        SELECT market, seller, -quantity
          FROM json_to_recordset($1::json) AS s(market uuid, seller uuid, quantity bigint)) AS legs
 GROUP BY market, account
ON CONFLICT (market, account) DO UPDATE SET quantity = positions.quantity + excluded.quantity
