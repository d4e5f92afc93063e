-- Batches of a lane as they were written, with all that a replay needs. $1 batch ids, $2 row limit
SELECT batch_no, first_offset, next_offset, first_seq, last_seq, epoch, owner,
       coalesce(rules, 1) AS rules, plan_hash, facts, events
  FROM batches
 WHERE batch_id = ANY ($1::text[]::uuid[])
 ORDER BY batch_no
 LIMIT $2
