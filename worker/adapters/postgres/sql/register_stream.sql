-- Register a stream with its lanes, numbered after all others.
-- $1 stream, $2 topic, $3 kind, $4 partitions
WITH registered AS (
    INSERT INTO streams (stream, topic, kind, partitions, first_lane)
    SELECT $1::text, $2, $3::text, $4::int, coalesce(max(first_lane + partitions), 0) FROM streams
    RETURNING first_lane, partitions
)
INSERT INTO lanes (lane, stream, kind, partition, epoch, owner, batch_no, next_offset, last_record_sha,
                   resume, last_seq, published_batch_no, lane_time_ms, trades, ledger_sum, cash_in, cash_out)
SELECT r.first_lane + g.partition, $1::text, $3::text, g.partition, 0, '', 0, 0, '', '', 0, 0, 0, 0, 0, 0, 0
  FROM registered r
 CROSS JOIN generate_series(0, $4::int - 1) AS g(partition)
