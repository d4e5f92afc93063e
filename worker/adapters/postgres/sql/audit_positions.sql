-- All positions, and what was paid for them, a page. $1, $2 the last key seen, $3 row limit
SELECT p.market, p.account, p.quantity, d.quantity AS paid
  FROM positions p
  LEFT JOIN payouts d ON d.market = p.market AND d.account = p.account
 WHERE (p.market, p.account) > ($1, $2)
 ORDER BY p.market, p.account
 LIMIT $3
