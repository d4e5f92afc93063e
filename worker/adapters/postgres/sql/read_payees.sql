-- The next holders of winning contracts, and their pocket in the market's lane if there is one.
-- The positions decide how the statement runs. A join could begin with the pockets of the whole lane, or
-- read all of them at once, if it were planned on statistics from when that table was small.
-- $1 lane, $2 market, $3 outcome, $4 the last account paid, $5 row limit
SELECT p.account::text,
       (SELECT a.account_id FROM accounts a WHERE a.account = p.account) AS account_id,
       abs(p.quantity) AS quantity,
       (SELECT k.balance FROM pockets k WHERE k.account = p.account AND k.lane = $1) AS balance
  FROM positions p
 WHERE p.market = $2
   AND p.account > $4
   AND (($3::int = {outcome.YES} AND p.quantity > 0)
        OR ($3::int = {outcome.NO} AND p.quantity < 0))
 ORDER BY p.account
 LIMIT $5
