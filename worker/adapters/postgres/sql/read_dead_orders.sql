-- The next open orders of a resolved market, which are to be closed.
-- $1 lane, $2 market, $3 row limit
SELECT o.order_key::text,
       (SELECT a.account_id FROM accounts a WHERE a.account = o.account) AS account_id,
       o.order_id,
       o.leaves
  FROM orders o
 WHERE o.lane = $1
   AND o.market = $2
   AND o.leaves > 0
 ORDER BY o.order_key
 LIMIT $3
