-- Last step of a batch in fallback mode: the journal row. The guards that the client counted come
-- as parameters; those that a query can tell are read here, from what the steps wrote.
-- $1 causes of the batch's postings, $2 pockets, $3 trades, $4 market changes, $5 payees, then
-- $6 batch_id, $7 lane, $8 batch_no, $9 first_offset, $10 next_offset, $11 first_seq, $12 last_seq,
-- $13 epoch, $14 owner, $15 plan_hash, $16 facts, $17 events, $18 lane_rows, $19 pockets moved,
-- $20 markets_missed, $21 orders_missed, $22 trades_not_open, $23 payees_missed
WITH change AS (
    SELECT account, lane, sum(amount)::bigint AS amount
      FROM ledger
     WHERE lane >= -1
       AND cause IN (SELECT cause FROM json_to_recordset($1::json) AS c(cause uuid))
     GROUP BY account, lane
)
INSERT INTO batches (batch_id, lane, batch_no, first_offset, next_offset, first_seq, last_seq, epoch,
                     owner, plan_hash, facts, events, lane_rows, pockets_missed, markets_missed,
                     orders_missed, trades_mispriced, trades_not_open, resolved_and_traded,
                     payees_missed, ledger_sum)
SELECT $6::uuid, $7::int, $8::bigint, $9::bigint, $10::bigint, $11::bigint, $12::bigint, $13::bigint,
       $14::text, $15::text, $16::text, $17::text, $18::bigint,
       (SELECT count(*)
          FROM (SELECT account, lane FROM change
                UNION
                SELECT account, lane
                  FROM json_to_recordset($2::json) AS n(account uuid, lane int)) AS named)
           - $19::bigint,
       $20::bigint, $21::bigint, 0, $22::bigint,
       (SELECT count(*)
          FROM (SELECT market FROM json_to_recordset($3::json) AS t(market uuid)
                INTERSECT
                (SELECT market FROM json_to_recordset($5::json) AS d(market uuid)
                  UNION ALL
                 SELECT market FROM json_to_recordset($4::json) AS f(market uuid, outcome int)
                  WHERE f.outcome > 0)) AS both_done),
       $23::bigint,
       (SELECT coalesce(sum(amount), 0)
          FROM ledger
         WHERE cause IN (SELECT cause FROM json_to_recordset($1::json) AS c(cause uuid)))::bigint
