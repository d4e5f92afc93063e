-- What each account has: its pockets, and what resolved markets still owe it. No observer ever
-- sees a half-paid market.
CREATE VIEW balances AS
SELECT account, sum(amount)::bigint AS balance
  FROM (SELECT account, balance AS amount FROM pockets
        UNION ALL
        SELECT p.account, m.payout * abs(p.quantity)
          FROM markets m
          JOIN positions p ON p.market = m.market
         WHERE m.status = 3
           AND ((m.outcome = 1 AND p.quantity > 0) OR (m.outcome = 2 AND p.quantity < 0))
           AND NOT EXISTS (SELECT 1 FROM payouts d WHERE d.market = p.market AND d.account = p.account)
       ) AS due
 GROUP BY account;
