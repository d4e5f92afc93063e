-- Step of registering a stream in fallback mode: its lanes.
-- $1 stream
INSERT INTO lanes (lane, stream, kind, partition, epoch, owner, batch_no, next_offset, last_record_sha,
                   resume, last_seq, published_batch_no, lane_time_ms, trades, ledger_sum, cash_in, cash_out)
SELECT s.first_lane + g.partition, s.stream, s.kind, g.partition, 0, '', 0, 0, '', '', 0, 0, 0, 0, 0, 0, 0
  FROM streams s
 CROSS JOIN generate_series(0, (SELECT partitions - 1 FROM streams WHERE stream = $1::text)) AS g(partition)
 WHERE s.stream = $1::text
