-- Epoch and last batch of a lane, and the plan of a batch.
-- $1 lane, $2 batch_id to look for
SELECT l.epoch, l.batch_no, b.plan_hash
  FROM lanes l
  LEFT JOIN batches b ON b.batch_id = $2
 WHERE l.lane = $1
