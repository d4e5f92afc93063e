-- All trades, a page. $1 the last trade seen, $2 row limit
SELECT trade, market, buyer, seller, price, quantity, seq
  FROM trades
 WHERE trade > $1
 ORDER BY trade
 LIMIT $2
