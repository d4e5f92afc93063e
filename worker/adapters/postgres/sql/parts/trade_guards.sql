-- Trades at the payout or above, and trades in markets that are not open. Reads trade.
(SELECT count(*) FROM trade t JOIN markets m ON m.market = t.market WHERE t.price >= m.payout)
    AS trades_mispriced,
(SELECT count(*) FROM trade)
    - (SELECT count(*) FILTER (WHERE m.status = {market.OPEN})
         FROM trade t JOIN markets m ON m.market = t.market) AS trades_not_open
