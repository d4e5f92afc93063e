-- Cursor, stream and running totals of every lane. $1 row limit
SELECT l.lane, l.stream, l.kind, s.topic, l.partition, s.partitions, s.first_lane, l.epoch, l.batch_no,
       l.next_offset, l.last_record_sha, l.resume, l.last_seq, l.published_batch_no, l.lane_time_ms,
       l.trades, l.ledger_sum, l.cash_in, l.cash_out
  FROM lanes l
  JOIN streams s ON s.stream = l.stream
 ORDER BY l.lane
 LIMIT $1
