-- Events of some batches of a lane, with their seqs. $1 batch ids, $2 row limit
SELECT batch_no, events, first_seq, last_seq
  FROM batches
 WHERE batch_id = ANY ($1::text[]::uuid[])
 ORDER BY batch_no
 LIMIT $2
