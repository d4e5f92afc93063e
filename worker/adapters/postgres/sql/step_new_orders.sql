-- Step of a batch in fallback mode: new orders. Must insert as many rows as $2 has.
-- $1 lane, $2 orders
INSERT INTO orders (order_key, market, account, lane, order_id, side, price, quantity,
                    time_in_force, leaves, status, seq, reason)
SELECT order_key, market, account, $1::int, order_id, side, price, quantity,
       time_in_force, leaves, status, seq, reason
  FROM json_to_recordset($2::json) AS d(
       order_key uuid, market uuid, account uuid, order_id text, side smallint, price bigint,
       quantity bigint, time_in_force smallint, leaves bigint, status smallint, seq bigint,
       reason text)
