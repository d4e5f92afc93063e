-- The next holders of winning contracts, and their pocket in the market's lane if there is one.
-- $1 lane, $2 market, $3 outcome (1 YES, 2 NO), $4 the last account paid, $5 row limit
SELECT p.account::text, a.account_id, abs(p.quantity) AS quantity, k.balance
  FROM positions p
  JOIN accounts a ON a.account = p.account
  LEFT JOIN pockets k ON k.account = p.account AND k.lane = $1
 WHERE p.market = $2
   AND p.account > $4
   AND (($3::int = 1 AND p.quantity > 0) OR ($3::int = 2 AND p.quantity < 0))
 ORDER BY p.account
 LIMIT $5
