-- Step of a batch in fallback mode: pockets that have no row yet. Must insert as many rows as $2
-- has that are fresh.
-- $1 causes of the batch's postings, $2 pockets
WITH change AS (
    SELECT account, lane, sum(amount)::bigint AS amount
      FROM ledger
     WHERE lane >= -1
       AND cause IN (SELECT cause FROM json_to_recordset($1::json) AS c(cause uuid))
     GROUP BY account, lane
)
INSERT INTO pockets (account, lane, balance)
SELECT n.account, n.lane, coalesce(c.amount, 0)
  FROM json_to_recordset($2::json) AS n(account uuid, lane int, need bigint, fresh int)
  LEFT JOIN change c ON c.account = n.account AND c.lane = n.lane
 WHERE n.fresh = 1
   AND n.need = 0
