-- Batches of a lane by key, for publishing what its last owner did not.
-- $1 batch ids, $2 row limit
SELECT batch_no, events
  FROM batches
 WHERE batch_id = ANY ($1::text[]::uuid[])
 ORDER BY batch_no
 LIMIT $2
