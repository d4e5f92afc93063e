-- All that changes of each market's row. Reads change, exposure, trade and paid.
SELECT market, sum(escrow)::bigint AS escrow, sum(opened)::bigint AS opened,
       sum(events)::bigint AS events, max(status)::smallint AS status,
       max(outcome)::smallint AS outcome, max(resolved_seq)::bigint AS resolved_seq
  FROM (SELECT account AS market, amount AS escrow, 0::bigint AS opened, 0::bigint AS events,
               0 AS status, 0 AS outcome, 0::bigint AS resolved_seq
          FROM change WHERE lane = {lane.ESCROW}
        UNION ALL
        SELECT market, 0, opened, 0, 0, 0, 0 FROM exposure
        UNION ALL
        SELECT market, 0, 0, 0, 0, 0, 0 FROM trade
        UNION ALL
        SELECT market, 0, -quantity, 0, 0, 0, 0 FROM paid
        UNION ALL
        SELECT CASE WHEN events >= 0 AND status >= 0 AND outcome >= 0 AND resolved_seq >= 0
                    THEN market END,
               0, 0, events, status, outcome, resolved_seq
          FROM json_to_recordset($market_changes) AS e(
               market uuid, events bigint, status int, outcome int, resolved_seq bigint)
       ) AS u
 GROUP BY market
