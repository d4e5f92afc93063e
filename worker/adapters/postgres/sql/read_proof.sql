-- The books in one snapshot: pockets, markets and positions summed themselves, the lanes' running
-- totals only for what grows with every order.
SELECT (SELECT coalesce(sum(trades), 0) FROM lanes)::bigint AS trades,
       (SELECT coalesce(sum(ledger_sum), 0) FROM lanes)::bigint AS ledger_imbalance,
       (SELECT coalesce(sum(cash_in), 0) FROM lanes)::bigint AS cash_in,
       (SELECT coalesce(sum(cash_out), 0) FROM lanes)::bigint AS cash_out,
       (SELECT coalesce(sum(cash_in - cash_out), 0) FROM lanes)::bigint AS cash_in_net,
       (SELECT coalesce(sum(balance), 0) FROM pockets)::bigint AS cash_in_pockets,
       (SELECT count(*) FROM pockets WHERE balance < 0) AS negative_balances,
       (SELECT coalesce(sum(escrow), 0) FROM markets)::bigint AS escrow,
       (SELECT count(*) FROM markets WHERE escrow <> payout * open_interest) AS escrow_mismatches,
       (SELECT count(*)
          FROM (SELECT market FROM positions GROUP BY market HAVING sum(quantity) <> 0) AS off)
           AS positions_off,
       (SELECT count(*)
          FROM markets m
          LEFT JOIN (SELECT p.market, sum(greatest(p.quantity, 0)) AS longs
                       FROM positions p GROUP BY p.market) AS held
            ON held.market = m.market
         WHERE m.status < {market.SETTLING} AND m.open_interest <> coalesce(held.longs, 0))
           AS open_interest_mismatches,
       (SELECT count(*) FROM markets WHERE status = {market.OPEN}) AS markets_open,
       (SELECT count(*) FROM markets WHERE status = {market.HALTED}) AS markets_halted,
       (SELECT count(*) FROM markets WHERE status = {market.SETTLING}) AS markets_settling,
       (SELECT count(*) FROM markets WHERE status = {market.SETTLED}) AS markets_settled,
       (SELECT coalesce(sum(batch_no), 0) FROM lanes)::bigint AS batches,
       (SELECT coalesce(sum(last_seq), 0) FROM lanes)::bigint AS events,
       (SELECT coalesce(sum(batch_no - published_batch_no), 0) FROM lanes)::bigint AS batches_unpublished
