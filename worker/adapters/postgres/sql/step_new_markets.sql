-- Step of a batch in fallback mode: new markets. Must insert as many rows as $2 has.
-- $1 lane, $2 markets
INSERT INTO markets (market, stream, lane, market_id, operator_id, payout, title, status,
                     outcome, escrow, open_interest, market_seq, opened_seq, resolved_seq)
SELECT market, stream, $1::int, market_id, operator_id, payout, title, status,
       0, 0, 0, market_seq, opened_seq, 0
  FROM json_to_recordset($2::json) AS d(
       market uuid, stream text, market_id text, operator_id text, payout bigint, title text,
       status smallint, market_seq bigint, opened_seq bigint)
