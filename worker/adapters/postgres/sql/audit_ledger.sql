-- The whole ledger in the order of its key, a page. $1 to $5 the last key seen, $6 row limit
SELECT cause, account, lane, market, kind, amount
  FROM all_postings
 WHERE (cause, account, lane, market, kind) > ($1, $2, $3, $4, $5)
 ORDER BY cause, account, lane, market, kind
 LIMIT $6
