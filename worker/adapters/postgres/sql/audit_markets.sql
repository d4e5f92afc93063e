-- All markets with their money, a page. $1 the last market seen, $2 row limit
SELECT market, stream, lane, market_id, payout, status, outcome, escrow, open_interest, market_seq,
       opened_seq, resolved_seq
  FROM markets
 WHERE market > $1
 ORDER BY market
 LIMIT $2
