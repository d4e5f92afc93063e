-- Sums of all postings, and counts of one run. $1 its stream of orders
SELECT (SELECT coalesce(sum(amount), 0) FROM all_postings)::bigint AS ledger_sum,
       (SELECT count(*)
          FROM all_postings g
          JOIN lanes l ON l.lane = g.lane
         WHERE l.stream = $1 AND g.kind = {kind.DRAW} AND g.amount > 0) AS draws,
       (SELECT coalesce(sum(escrow), 0) FROM markets WHERE stream = $1)::bigint AS escrow,
       (SELECT count(*) FROM markets WHERE stream = $1) AS markets,
       (SELECT count(*) FROM markets WHERE stream = $1 AND status = {market.SETTLED}) AS markets_settled
