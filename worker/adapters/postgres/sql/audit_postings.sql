-- Postings of some causes. $1 causes, $2 row limit
SELECT cause, account, lane, market, kind, amount
  FROM all_postings
 WHERE cause = ANY ($1::text[]::uuid[])
 ORDER BY cause, account, lane, market, kind
 LIMIT $2
