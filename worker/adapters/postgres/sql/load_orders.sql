-- A lane's open orders, in pages. Those of resolved markets are dead and stay out.
-- $1 lane, $2 the last market seen, $3 the last order seen, $4 row limit
SELECT o.order_key::text, o.market::text, m.market_id, m.status AS market_status, a.account_id, o.order_id,
       o.side, o.price, o.leaves, o.seq
  FROM orders o
  JOIN markets m ON m.market = o.market
  JOIN accounts a ON a.account = o.account
 WHERE o.lane = $1
   AND o.leaves > 0
   AND (o.market, o.order_key) > ($2, $3)
 ORDER BY o.market, o.order_key
 LIMIT $4
