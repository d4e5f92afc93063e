-- Batches of a lane in their order, without what is long. $1 batch ids, $2 row limit
SELECT lane, batch_no, first_offset, next_offset, first_seq, last_seq, epoch
  FROM batches
 WHERE batch_id = ANY ($1::text[]::uuid[])
 ORDER BY lane, batch_no
 LIMIT $2
