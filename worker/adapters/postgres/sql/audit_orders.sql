-- All orders, a page. $1 the last order seen, $2 row limit
SELECT order_key, market, account, lane, side, price, quantity, leaves, status
  FROM orders
 WHERE order_key > $1
 ORDER BY order_key
 LIMIT $2
