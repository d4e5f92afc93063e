-- Each position that turns, after the batch and before it. Reads position and leg.
SELECT market, account, sum(after)::bigint AS after, sum(after - delta)::bigint AS before
  FROM (SELECT market, account, quantity AS after, 0 AS delta FROM position
        UNION ALL
        SELECT market, account, 0, quantity FROM leg) AS u
 GROUP BY market, account
