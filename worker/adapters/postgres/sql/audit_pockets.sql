-- All pockets, a page. $1, $2 the last key seen, $3 row limit
SELECT account, lane, balance
  FROM pockets
 WHERE (account, lane) > ($1, $2)
 ORDER BY account, lane
 LIMIT $3
