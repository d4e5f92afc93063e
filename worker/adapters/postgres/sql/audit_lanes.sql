-- Where every lane stands, and its running totals. $1 row limit
SELECT lane, batch_no, next_offset, last_seq, epoch, trades, ledger_sum, cash_in, cash_out
  FROM lanes
 ORDER BY lane
 LIMIT $1
