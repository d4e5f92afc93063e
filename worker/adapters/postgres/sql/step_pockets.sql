-- Step of a batch in fallback mode: move the pockets that have a row, where they cover the need.
-- Must change as many rows as $2 has that are not fresh.
-- $1 causes of the batch's postings, $2 pockets
WITH change AS (
    SELECT account, lane, sum(amount)::bigint AS amount
      FROM ledger
     WHERE lane >= -1
       AND cause IN (SELECT cause FROM json_to_recordset($1::json) AS c(cause uuid))
     GROUP BY account, lane
)
UPDATE pockets p
   SET balance = p.balance + coalesce(c.amount, 0)
  FROM json_to_recordset($2::json) AS n(account uuid, lane int, need bigint, fresh int)
  LEFT JOIN change c ON c.account = n.account AND c.lane = n.lane
 WHERE n.fresh = 0
   AND p.account = n.account
   AND p.lane = n.lane
   AND p.balance >= n.need
