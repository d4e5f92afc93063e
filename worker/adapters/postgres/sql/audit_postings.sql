-- What some causes posted. $1 causes, $2 row limit
SELECT cause, account, lane, market, kind, amount
  FROM ledger
 WHERE cause = ANY ($1::text[]::uuid[])
 ORDER BY cause, account, lane, market
 LIMIT $2
