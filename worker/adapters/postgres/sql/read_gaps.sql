-- Lanes whose newest journal row is not where the lane says. $1 [{lane, batch_id}] of all lanes
SELECT count(*) AS gaps
  FROM json_to_recordset($1::json) AS h(lane int, batch_no bigint, batch_id uuid)
  JOIN lanes l ON l.lane = h.lane AND l.batch_no = h.batch_no
  LEFT JOIN batches b ON b.batch_id = h.batch_id
 WHERE l.batch_no > 0
   AND (b.batch_id IS NULL OR b.last_seq <> l.last_seq OR b.next_offset <> l.next_offset)
