-- Step of a batch in fallback mode: win the lane. Must change one row.
-- $1 lane, $2 epoch, $3 batch_no expected, $4 next_offset, $5 last_seq, $6 lane_time_ms,
-- $7 last_record_sha, $8 resume, $9 published_batch_no, $10 trades, $11 transfers,
-- $12 first_offset, $13 first_seq
UPDATE lanes
   SET batch_no = batch_no + 1,
       next_offset = $4,
       last_seq = $5,
       lane_time_ms = $6,
       last_record_sha = $7,
       resume = $8,
       published_batch_no = greatest(published_batch_no, $9),
       trades = trades + json_array_length($10::json),
       cash_in = cash_in + (SELECT coalesce(sum(t.amount), 0)
                              FROM json_to_recordset($11::json)
                                   AS t(deposit boolean, amount bigint, reason text)
                             WHERE t.deposit AND t.reason = '')::bigint,
       cash_out = cash_out + (SELECT coalesce(sum(t.amount), 0)
                                FROM json_to_recordset($11::json)
                                     AS t(deposit boolean, amount bigint, reason text)
                               WHERE NOT t.deposit AND t.reason = '')::bigint
 WHERE lane = $1 AND epoch = $2 AND batch_no = $3
   AND next_offset = $12 AND last_seq + 1 = $13 AND lane_time_ms <= $6
