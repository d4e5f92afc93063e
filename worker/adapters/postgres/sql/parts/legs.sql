-- Number of contracts by which each position turns. Reads trade.
SELECT market, account, sum(quantity)::bigint AS quantity
  FROM (SELECT market, buyer AS account, quantity FROM trade
        UNION ALL
        SELECT market, seller, -quantity FROM trade) AS both_sides
 GROUP BY market, account
