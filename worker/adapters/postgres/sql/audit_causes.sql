-- Causes that are batches. $1 causes, $2 row limit
SELECT batch_id
  FROM batches
 WHERE batch_id = ANY ($1::text[]::uuid[])
 LIMIT $2
