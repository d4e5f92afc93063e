-- Orders of this lane that traded or ended.
UPDATE orders o SET leaves = u.leaves, status = u.status
  FROM json_to_recordset($order_changes) AS u(order_key uuid, leaves bigint, status smallint)
 WHERE o.order_key = u.order_key
   AND CASE WHEN o.lane = $lane AND o.leaves > 0 AND o.leaves >= u.leaves THEN true END
