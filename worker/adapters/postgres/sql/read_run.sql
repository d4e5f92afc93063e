-- What a run left in the books, every ledger row summed. $1 its stream of orders
SELECT (SELECT coalesce(sum(amount), 0) FROM ledger)::bigint AS ledger_sum,
       (SELECT count(*)
          FROM ledger g
          JOIN lanes l ON l.lane = g.lane
         WHERE l.stream = $1 AND g.kind = 4 AND g.amount > 0) AS draws,
       (SELECT coalesce(sum(escrow), 0) FROM markets WHERE stream = $1)::bigint AS escrow,
       (SELECT count(*) FROM markets WHERE stream = $1) AS markets,
       (SELECT count(*) FROM markets WHERE stream = $1 AND status = 4) AS markets_settled
