-- Step of a batch in fallback mode: every posting that follows from trades, turned positions,
-- payouts, draws and transfers. It reads what the earlier steps wrote.
-- $1 lane, $2 batch_id, $3 trades, $4 draws, $5 transfers, $6 payees
WITH leg AS (
    SELECT market, account, sum(quantity)::bigint AS quantity
      FROM (SELECT market, buyer AS account, quantity
              FROM json_to_recordset($3::json) AS b(market uuid, buyer uuid, quantity bigint)
            UNION ALL
            SELECT market, seller, -quantity
              FROM json_to_recordset($3::json) AS s(market uuid, seller uuid, quantity bigint)
           ) AS legs
     GROUP BY market, account
), exposure AS (
    SELECT leg.market, leg.account,
           m.payout * (greatest(-p.quantity, 0) - greatest(leg.quantity - p.quantity, 0)) AS locked
      FROM leg
      JOIN markets m ON m.market = leg.market
      JOIN positions p ON p.market = leg.market AND p.account = leg.account
), paid AS (
    SELECT o.market, o.account, o.amount
      FROM json_to_recordset($6::json) AS d(market uuid, account uuid)
      JOIN payouts o ON o.market = d.market AND o.account = d.account
), traded AS (
    SELECT trade, market, buyer, seller, price * quantity AS amount
      FROM json_to_recordset($3::json) AS d(
           trade uuid, market uuid, buyer uuid, seller uuid, price bigint, quantity bigint)
), moved AS (
    SELECT transfer, account, deposit, amount
      FROM json_to_recordset($5::json) AS d(
           transfer uuid, account uuid, deposit boolean, amount bigint, reason text)
     WHERE reason = ''
)
INSERT INTO ledger (cause, account, lane, market, kind, amount)
SELECT trade, buyer, $1::int, market, 1::smallint, -amount FROM traded
UNION ALL
SELECT trade, seller, $1::int, market, 1, amount FROM traded
UNION ALL
SELECT $2::uuid, account, $1::int, market, 2, -locked FROM exposure WHERE locked <> 0
UNION ALL
SELECT $2::uuid, market, -2, market, 2, sum(locked)::bigint
  FROM exposure GROUP BY market HAVING sum(locked) <> 0
UNION ALL
SELECT $2::uuid, account, $1::int, market, 3, amount FROM paid
UNION ALL
SELECT $2::uuid, market, -2, market, 3, -sum(amount)::bigint FROM paid GROUP BY market
UNION ALL
SELECT d.cause, d.account, CASE s.side WHEN 0 THEN d.source ELSE d.target END,
       '00000000-0000-0000-0000-000000000000'::uuid, 4,
       CASE WHEN d.amount > 0 AND d.source >= -1 AND d.target >= -1
            THEN CASE s.side WHEN 0 THEN -d.amount ELSE d.amount END END
  FROM json_to_recordset($4::json) AS d(
       cause uuid, account uuid, source int, target int, amount bigint)
 CROSS JOIN (VALUES (0), (1)) AS s(side)
UNION ALL
SELECT transfer, account, CASE WHEN deposit THEN -1 ELSE $1::int END,
       '00000000-0000-0000-0000-000000000000'::uuid,
       CASE WHEN deposit THEN 5 ELSE 6 END, CASE WHEN deposit THEN amount ELSE -amount END
  FROM moved
UNION ALL
SELECT transfer, '00f51d9a-9a77-563f-9719-06b3e4aef4de'::uuid, -3,
       '00000000-0000-0000-0000-000000000000'::uuid,
       CASE WHEN deposit THEN 5 ELSE 6 END, CASE WHEN deposit THEN -amount ELSE amount END
  FROM moved
