-- Markets that open.
INSERT INTO markets (market, stream, lane, market_id, operator_id, payout, title, status,
                     outcome, escrow, open_interest, market_seq, opened_seq, resolved_seq)
SELECT market, stream, $lane, market_id, operator_id, payout, title, status,
       {outcome.NONE}, 0, 0, market_seq, opened_seq, 0
  FROM json_to_recordset($markets) AS d(
       market uuid, stream text, market_id text, operator_id text, payout bigint, title text,
       status smallint, market_seq bigint, opened_seq bigint)
