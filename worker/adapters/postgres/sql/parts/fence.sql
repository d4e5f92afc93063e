-- Win the lane: one row, or another batch has taken this place. Reads trade, entry and transfer.
UPDATE lanes
   SET batch_no = batch_no + 1,
       next_offset = $next_offset,
       last_seq = $last_seq,
       lane_time_ms = $lane_time_ms,
       last_record_sha = $last_record_sha,
       resume = $resume,
       published_batch_no = greatest(published_batch_no, $published_batch_no),
       trades = trades + (SELECT count(*) FROM trade),
       ledger_sum = ledger_sum + (SELECT coalesce(sum(amount), 0) FROM entry)::bigint,
       cash_in = cash_in
           + (SELECT coalesce(sum(amount), 0) FROM transfer WHERE deposit AND reason = '')::bigint,
       cash_out = cash_out
           + (SELECT coalesce(sum(amount), 0) FROM transfer WHERE NOT deposit AND reason = '')::bigint
 WHERE lane = $lane AND epoch = $epoch AND batch_no = $batch_no - 1
   AND next_offset = $first_offset AND last_seq + 1 = $first_seq
   AND lane_time_ms <= $lane_time_ms
