-- The whole ledger in the order of its key, a page. $1 to $4 the last key seen, $5 row limit
SELECT cause, account, lane, market, kind, amount
  FROM ledger
 WHERE (cause, account, lane, market) > ($1, $2, $3, $4)
 ORDER BY cause, account, lane, market
 LIMIT $5
