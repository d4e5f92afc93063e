-- All money that follows: prices, collateral, payouts, draws, deposits and withdrawals. The rows of
-- each cause sum to zero. Reads trade, exposure, paid and transfer.
INSERT INTO postings (cause, account, lane, market, kind, amount)
SELECT trade, buyer, $lane, market, {kind.PRICE}::smallint, -price * quantity FROM trade
UNION ALL
SELECT trade, seller, $lane, market, {kind.PRICE}, price * quantity FROM trade
UNION ALL
SELECT $batch_id, account, $lane, market, {kind.COLLATERAL}, -locked FROM exposure WHERE locked <> 0
UNION ALL
SELECT $batch_id, market, {lane.ESCROW}, market, {kind.COLLATERAL}, sum(locked)::bigint
  FROM exposure GROUP BY market HAVING sum(locked) <> 0
UNION ALL
SELECT $batch_id, account, $lane, market, {kind.PAYOUT}, amount FROM paid
UNION ALL
SELECT $batch_id, market, {lane.ESCROW}, market, {kind.PAYOUT}, -sum(amount)::bigint
  FROM paid GROUP BY market
UNION ALL
SELECT d.cause, d.account, CASE s.side WHEN 0 THEN d.source ELSE d.target END,
       {key.NO_MARKET}::uuid, {kind.DRAW},
       CASE WHEN d.amount > 0 AND d.source >= {lane.WALLET} AND d.target >= {lane.WALLET}
            THEN CASE s.side WHEN 0 THEN -d.amount ELSE d.amount END END
  FROM json_to_recordset($draws) AS d(
       cause uuid, account uuid, source int, target int, amount bigint)
 CROSS JOIN (VALUES (0), (1)) AS s(side)
UNION ALL
SELECT transfer, account, CASE WHEN deposit THEN {lane.WALLET} ELSE $lane END,
       {key.NO_MARKET}::uuid,
       CASE WHEN deposit THEN {kind.DEPOSIT} ELSE {kind.WITHDRAWAL} END,
       CASE WHEN deposit THEN amount ELSE -amount END
  FROM transfer WHERE reason = ''
UNION ALL
SELECT transfer, {key.EXTERNAL}::uuid, {lane.OUTSIDE},
       {key.NO_MARKET}::uuid,
       CASE WHEN deposit THEN {kind.DEPOSIT} ELSE {kind.WITHDRAWAL} END,
       CASE WHEN deposit THEN -amount ELSE amount END
  FROM transfer WHERE reason = ''
