-- All markets with their money, a page. $1 the last market seen, $2 row limit
SELECT market, lane, payout, status, outcome, escrow, open_interest
  FROM markets
 WHERE market > $1
 ORDER BY market
 LIMIT $2
