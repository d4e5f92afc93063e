-- A lane's markets that are not settled, in pages.
-- $1 lane, $2 the last market seen, $3 row limit
SELECT market::text, market_id, operator_id, payout, title, status, outcome, market_seq, opened_seq,
       resolved_seq
  FROM markets
 WHERE lane = $1
   AND market > $2
   AND status < {market.SETTLED}
 ORDER BY market
 LIMIT $3
