-- All payouts, and the position each was for, a page. $1, $2 the last key seen, $3 row limit
SELECT d.market, d.account, d.outcome, d.quantity, d.amount, p.quantity AS held
  FROM payouts d
  LEFT JOIN positions p ON p.market = d.market AND p.account = d.account
 WHERE (d.market, d.account) > ($1, $2)
 ORDER BY d.market, d.account
 LIMIT $3
