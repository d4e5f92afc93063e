-- Step of a batch in fallback mode: orders that traded or ended. Must change as many rows as $2 has.
-- $1 lane, $2 order changes
UPDATE orders o
   SET leaves = u.leaves, status = u.status
  FROM json_to_recordset($2::json) AS u(order_key uuid, leaves bigint, status smallint)
 WHERE o.order_key = u.order_key
   AND CASE WHEN o.lane = $1 AND o.leaves > 0 AND o.leaves >= u.leaves THEN true END
