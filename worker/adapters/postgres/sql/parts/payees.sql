-- The winning contracts of each payee, where the market has that outcome or gets it in this batch.
SELECT d.market, d.account, d.outcome, m.payout,
       CASE d.outcome WHEN {outcome.YES} THEN p.quantity WHEN {outcome.NO} THEN -p.quantity END AS quantity
  FROM json_to_recordset($payees) AS d(market uuid, account uuid, outcome smallint)
  JOIN markets m ON m.market = d.market
  JOIN positions p ON p.market = d.market AND p.account = d.account
 WHERE m.outcome = d.outcome
    OR (m.outcome = {outcome.NONE}
        AND d.outcome = (SELECT max(f.outcome)
                           FROM json_to_recordset($market_changes) AS f(market uuid, outcome smallint)
                          WHERE f.market = d.market))
