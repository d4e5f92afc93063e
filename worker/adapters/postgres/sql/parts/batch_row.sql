-- The batch with its events, and what its guards count: CHECKs of the table refuse a wrong batch.
INSERT INTO batches (batch_id, lane, batch_no, first_offset, next_offset, first_seq, last_seq, epoch,
                     owner, rules, plan_hash, facts, events, lane_rows, pockets_missed, markets_missed,
                     orders_missed, resolved_and_traded, payees_missed, ledger_sum,
                     trades_mispriced, trades_not_open)
SELECT $batch_id, $lane, $batch_no, $first_offset, $next_offset, $first_seq, $last_seq, $epoch,
       $owner, $rules, $plan_hash, $facts, $events,
       (SELECT count(*) FROM fence),
       (SELECT count(*) FROM change WHERE lane >= {lane.WALLET})
           - (SELECT count(*) FROM moved) - (SELECT count(*) FROM opened),
       (SELECT count(*) FROM market_change) - (SELECT count(*) FROM market),
       json_array_length($order_changes) - (SELECT count(*) FROM changed_order),
       (SELECT count(*)
          FROM (SELECT market FROM trade
                INTERSECT
                (SELECT market FROM paid
                  UNION ALL
                 SELECT market FROM json_to_recordset($market_changes) AS f(market uuid, outcome int)
                  WHERE f.outcome > {outcome.NONE})) AS both_done),
       json_array_length($payees) - (SELECT count(*) FROM paid),
       (SELECT coalesce(sum(amount), 0) FROM entry)::bigint,
