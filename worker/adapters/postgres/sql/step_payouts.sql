-- Step of a batch in fallback mode: pay winners. Must insert as many rows as $1 has.
-- $1 payees, $2 market changes (which may resolve the market in this very batch)
INSERT INTO payouts (market, account, outcome, quantity, amount)
SELECT d.market, d.account, d.outcome,
       CASE d.outcome WHEN 1 THEN p.quantity ELSE -p.quantity END,
       CASE d.outcome WHEN 1 THEN p.quantity ELSE -p.quantity END * m.payout
  FROM json_to_recordset($1::json) AS d(market uuid, account uuid, outcome smallint)
  JOIN markets m ON m.market = d.market
  JOIN positions p ON p.market = d.market AND p.account = d.account
 WHERE m.outcome = d.outcome
    OR (m.outcome = 0
        AND d.outcome = (SELECT max(f.outcome)
                           FROM json_to_recordset($2::json) AS f(market uuid, outcome smallint)
                          WHERE f.market = d.market))
