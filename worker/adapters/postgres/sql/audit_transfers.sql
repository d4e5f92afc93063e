-- All transfers, a page. $1 the last transfer seen, $2 row limit
SELECT transfer, account, transfer_id, lane, deposit, amount, seq, reason
  FROM transfers
 WHERE transfer > $1
 ORDER BY transfer
 LIMIT $2
