-- All orders, a page. $1 the last order seen, $2 row limit
SELECT order_key, market, account, lane, order_id, side, price, quantity, time_in_force, leaves, status,
       seq, reason
  FROM orders
 WHERE order_key > $1
 ORDER BY order_key
 LIMIT $2
