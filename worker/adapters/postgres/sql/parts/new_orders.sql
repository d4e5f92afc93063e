-- Orders that were accepted, or refused for good.
INSERT INTO orders (order_key, market, account, lane, order_id, side, price, quantity,
                    time_in_force, leaves, status, seq, reason)
SELECT order_key, market, account, $lane, order_id, side, price, quantity,
       time_in_force, leaves, status, seq, reason
  FROM json_to_recordset($orders) AS d(
       order_key uuid, market uuid, account uuid, order_id text, side smallint, price bigint,
       quantity bigint, time_in_force smallint, leaves bigint, status smallint, seq bigint,
       reason text)
