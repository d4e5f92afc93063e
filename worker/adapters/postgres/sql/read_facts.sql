-- Everything that a plan lacks, in one snapshot, as JSON arrays. Nobody draws from the pockets of
-- transfers lanes, so only the asking lane's own is shown.
-- $1 lane, $2 account keys, $3 holdings [{market, account}], $4 market keys, $5 order keys,
-- $6 transfer keys
SELECT
    (SELECT json_agg(json_build_array(a.account, p.lane, p.balance))
       FROM accounts a
       LEFT JOIN pockets p
              ON p.account = a.account
             AND (p.lane = $1::int
                  OR NOT EXISTS (SELECT 1 FROM lanes l WHERE l.lane = p.lane AND l.kind = 'TRANSFERS'))
      WHERE a.account = ANY ($2::text[]::uuid[])) AS accounts,
    (SELECT json_agg(json_build_array(p.market, p.account, p.quantity))
       FROM json_to_recordset($3::json) AS h(market uuid, account uuid)
       JOIN positions p ON p.market = h.market AND p.account = h.account) AS positions,
    (SELECT json_agg(json_build_array(m.market, m.market_id, m.operator_id, m.payout, m.title, m.status,
                                      m.outcome, m.market_seq, m.opened_seq, m.resolved_seq))
       FROM markets m
      WHERE m.market = ANY ($4::text[]::uuid[])) AS markets,
    (SELECT json_agg(json_build_array(o.order_key, o.side, o.price, o.quantity, o.time_in_force, o.seq,
                                      o.reason))
       FROM orders o
      WHERE o.order_key = ANY ($5::text[]::uuid[])) AS orders,
    (SELECT json_agg(json_build_array(t.transfer, t.deposit, t.amount, t.seq, t.reason))
       FROM transfers t
      WHERE t.transfer = ANY ($6::text[]::uuid[])) AS transfers
