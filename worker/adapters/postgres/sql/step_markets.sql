-- Step of a batch in fallback mode: everything that changes of a market's row, at once. Must change
-- as many rows as there are markets in $3, $4 and $5.
-- $1 lane, $2 batch_id, $3 market changes, $4 trades, $5 payees
WITH leg AS (
    SELECT market, account, sum(quantity)::bigint AS quantity
      FROM (SELECT market, buyer AS account, quantity
              FROM json_to_recordset($4::json) AS b(market uuid, buyer uuid, quantity bigint)
            UNION ALL
            SELECT market, seller, -quantity
              FROM json_to_recordset($4::json) AS s(market uuid, seller uuid, quantity bigint)
           ) AS legs
     GROUP BY market, account
), change AS (
    SELECT market, sum(escrow)::bigint AS escrow, sum(opened)::bigint AS opened,
           sum(events)::bigint AS events, max(status)::smallint AS status,
           max(outcome)::smallint AS outcome, max(resolved_seq)::bigint AS resolved_seq
      FROM (SELECT market, amount AS escrow, 0::bigint AS opened, 0::bigint AS events,
                   0 AS status, 0 AS outcome, 0::bigint AS resolved_seq
              FROM ledger
             WHERE cause = $2::uuid AND lane = -2
            UNION ALL
            SELECT leg.market, 0, greatest(p.quantity, 0) - greatest(p.quantity - leg.quantity, 0),
                   0, 0, 0, 0
              FROM leg
              JOIN positions p ON p.market = leg.market AND p.account = leg.account
            UNION ALL
            SELECT o.market, 0, -o.quantity, 0, 0, 0, 0
              FROM json_to_recordset($5::json) AS d(market uuid, account uuid)
              JOIN payouts o ON o.market = d.market AND o.account = d.account
            UNION ALL
            SELECT CASE WHEN events >= 0 AND status >= 0 AND outcome >= 0 AND resolved_seq >= 0
                        THEN market END,
                   0, 0, events, status, outcome, resolved_seq
              FROM json_to_recordset($3::json) AS e(
                   market uuid, events bigint, status int, outcome int, resolved_seq bigint)
           ) AS u
     GROUP BY market
)
UPDATE markets m
   SET escrow = m.escrow + c.escrow,
       open_interest = m.open_interest + c.opened,
       market_seq = m.market_seq + c.events,
       status = greatest(m.status, c.status),
       outcome = greatest(m.outcome, c.outcome),
       resolved_seq = greatest(m.resolved_seq, c.resolved_seq)
  FROM change c
 WHERE m.market = c.market
   AND CASE WHEN m.lane = $1
             AND (c.status = 0 OR c.status > m.status)
             AND (c.outcome = 0 OR m.outcome = 0) THEN true END
