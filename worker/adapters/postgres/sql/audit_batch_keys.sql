-- The keys of all batches, a page. $1 the last batch seen, $2 row limit
SELECT batch_id, lane, batch_no
  FROM batches
 WHERE batch_id > $1
 ORDER BY batch_id
 LIMIT $2
