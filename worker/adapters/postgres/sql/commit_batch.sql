-- Commit one batch: the fence, what was traded, all the money that follows from it, the journal.
-- The worker states trades, transfers, draws and payees; postings, positions, collateral, open
-- interest, escrow and every pocket's change are derived here. A wrong batch fails a CHECK of
-- `batches` or of another table and is refused whole. No join between two CTEs: with hash joins
-- off such a join is quadratic, so they meet in UNION ALL and GROUP BY. A CASE around conditions on
-- a large table hides from the planner how few rows they leave: planned while the table is small,
-- it would begin with that table, and read all of it for ever.
-- $1 lane, $2 epoch, $3 batch_no expected, $4 next_offset, $5 last_seq, $6 lane_time_ms,
-- $7 last_record_sha, $8 resume, $9 published_batch_no, $10 batch_id, $11 first_offset,
-- $12 first_seq, $13 owner, $14 plan_hash, $15 facts, $16 events; then JSON rows:
-- $17 accounts, $18 new markets, $19 market changes, $20 new orders, $21 order changes, $22 trades,
-- $23 draws, $24 transfers, $25 payees, $26 pockets (need: how deep the batch takes it;
-- fresh: it has no row yet).
WITH new_account AS (
    INSERT INTO accounts (account, account_id)
    SELECT account, account_id FROM json_to_recordset($17::json) AS d(account uuid, account_id text)
), new_market AS (
    INSERT INTO markets (market, stream, lane, market_id, operator_id, payout, title, status,
                         outcome, escrow, open_interest, market_seq, opened_seq, resolved_seq)
    SELECT market, stream, $1::int, market_id, operator_id, payout, title, status,
           0, 0, 0, market_seq, opened_seq, 0
      FROM json_to_recordset($18::json) AS d(
           market uuid, stream text, market_id text, operator_id text, payout bigint, title text,
           status smallint, market_seq bigint, opened_seq bigint)
), trade AS (
    INSERT INTO trades (trade, market, buyer, seller, price, quantity, seq)
    SELECT trade, market, buyer, seller, price, quantity, seq
      FROM json_to_recordset($22::json) AS d(
           trade uuid, market uuid, buyer uuid, seller uuid, price bigint, quantity bigint, seq bigint)
    RETURNING trade, market, buyer, seller, price, quantity
), leg AS (
    SELECT market, account, sum(quantity)::bigint AS quantity
      FROM (SELECT market, buyer AS account, quantity FROM trade
            UNION ALL
            SELECT market, seller, -quantity FROM trade) AS both_sides
     GROUP BY market, account
), position AS (
    INSERT INTO positions (market, account, quantity)
    SELECT market, account, quantity FROM leg
    ON CONFLICT (market, account) DO UPDATE SET quantity = positions.quantity + excluded.quantity
    RETURNING market, account, quantity
), turn AS (
    SELECT market, account, sum(after)::bigint AS after, sum(after - delta)::bigint AS before
      FROM (SELECT market, account, quantity AS after, 0 AS delta FROM position
            UNION ALL
            SELECT market, account, 0, quantity FROM leg) AS u
     GROUP BY market, account
), exposure AS (
    SELECT t.market, t.account,
           m.payout * (greatest(-t.after, 0) - greatest(-t.before, 0)) AS locked,
           greatest(t.after, 0) - greatest(t.before, 0) AS opened
      FROM turn t
      JOIN markets m ON m.market = t.market
), payee AS (
    SELECT d.market, d.account, d.outcome, m.payout,
           CASE d.outcome WHEN 1 THEN p.quantity WHEN 2 THEN -p.quantity END AS quantity
      FROM json_to_recordset($25::json) AS d(market uuid, account uuid, outcome smallint)
      JOIN markets m ON m.market = d.market
      JOIN positions p ON p.market = d.market AND p.account = d.account
     WHERE m.outcome = d.outcome
        OR (m.outcome = 0
            AND d.outcome = (SELECT max(f.outcome)
                               FROM json_to_recordset($19::json) AS f(market uuid, outcome smallint)
                              WHERE f.market = d.market))
), paid AS (
    INSERT INTO payouts (market, account, outcome, quantity, amount)
    SELECT market, account, outcome, quantity, quantity * payout FROM payee
    RETURNING market, account, quantity, amount
), transfer AS (
    INSERT INTO transfers (transfer, account, transfer_id, deposit, amount, lane, seq, reason)
    SELECT transfer, account, transfer_id, deposit, amount, $1::int, seq, reason
      FROM json_to_recordset($24::json) AS d(
           transfer uuid, account uuid, transfer_id text, deposit boolean, amount bigint,
           seq bigint, reason text)
    RETURNING transfer, account, deposit, amount, reason
), entry AS (
    INSERT INTO ledger (cause, account, lane, market, kind, amount)
    SELECT trade, buyer, $1::int, market, 1::smallint, -price * quantity FROM trade
    UNION ALL
    SELECT trade, seller, $1::int, market, 1, price * quantity FROM trade
    UNION ALL
    SELECT $10::uuid, account, $1::int, market, 2, -locked FROM exposure WHERE locked <> 0
    UNION ALL
    SELECT $10::uuid, market, -2, market, 2, sum(locked)::bigint
      FROM exposure GROUP BY market HAVING sum(locked) <> 0
    UNION ALL
    SELECT $10::uuid, account, $1::int, market, 3, amount FROM paid
    UNION ALL
    SELECT $10::uuid, market, -2, market, 3, -sum(amount)::bigint FROM paid GROUP BY market
    UNION ALL
    SELECT d.cause, d.account, CASE s.side WHEN 0 THEN d.source ELSE d.target END,
           '00000000-0000-0000-0000-000000000000'::uuid, 4,
           CASE WHEN d.amount > 0 AND d.source >= -1 AND d.target >= -1
                THEN CASE s.side WHEN 0 THEN -d.amount ELSE d.amount END END
      FROM json_to_recordset($23::json) AS d(
           cause uuid, account uuid, source int, target int, amount bigint)
     CROSS JOIN (VALUES (0), (1)) AS s(side)
    UNION ALL
    SELECT transfer, account, CASE WHEN deposit THEN -1 ELSE $1::int END,
           '00000000-0000-0000-0000-000000000000'::uuid,
           CASE WHEN deposit THEN 5 ELSE 6 END, CASE WHEN deposit THEN amount ELSE -amount END
      FROM transfer WHERE reason = ''
    UNION ALL
    SELECT transfer, '00f51d9a-9a77-563f-9719-06b3e4aef4de'::uuid, -3,
           '00000000-0000-0000-0000-000000000000'::uuid,
           CASE WHEN deposit THEN 5 ELSE 6 END, CASE WHEN deposit THEN -amount ELSE amount END
      FROM transfer WHERE reason = ''
    RETURNING account, lane, amount
), change AS (
    SELECT account, lane, sum(amount)::bigint AS amount, max(need) AS need, max(fresh) AS fresh
      FROM (SELECT account, lane, amount, NULL::bigint AS need, NULL::int AS fresh FROM entry
            UNION ALL
            SELECT account, lane, 0, need, fresh
              FROM json_to_recordset($26::json) AS n(account uuid, lane int, need bigint, fresh int)
           ) AS u
     GROUP BY account, lane
), moved AS (
    UPDATE pockets p SET balance = p.balance + c.amount
      FROM (SELECT account, lane, amount, need FROM change
             WHERE fresh = 0 AND lane >= -1 ORDER BY account, lane) AS c
     WHERE p.account = c.account AND p.lane = c.lane AND p.balance >= c.need
    RETURNING 1
), opened AS (
    INSERT INTO pockets (account, lane, balance)
    SELECT account, lane, amount FROM change WHERE fresh = 1 AND lane >= -1 AND need = 0
    RETURNING 1
), market_change AS (
    SELECT market, sum(escrow)::bigint AS escrow, sum(opened)::bigint AS opened,
           sum(events)::bigint AS events, max(status)::smallint AS status,
           max(outcome)::smallint AS outcome, max(resolved_seq)::bigint AS resolved_seq
      FROM (SELECT account AS market, amount AS escrow, 0::bigint AS opened, 0::bigint AS events,
                   0 AS status, 0 AS outcome, 0::bigint AS resolved_seq
              FROM change WHERE lane = -2
            UNION ALL
            SELECT market, 0, opened, 0, 0, 0, 0 FROM exposure
            UNION ALL
            SELECT market, 0, 0, 0, 0, 0, 0 FROM trade
            UNION ALL
            SELECT market, 0, -quantity, 0, 0, 0, 0 FROM paid
            UNION ALL
            SELECT CASE WHEN events >= 0 AND status >= 0 AND outcome >= 0 AND resolved_seq >= 0
                        THEN market END,
                   0, 0, events, status, outcome, resolved_seq
              FROM json_to_recordset($19::json) AS e(
                   market uuid, events bigint, status int, outcome int, resolved_seq bigint)
           ) AS u
     GROUP BY market
), market AS (
    UPDATE markets m
       SET escrow = m.escrow + c.escrow,
           open_interest = m.open_interest + c.opened,
           market_seq = m.market_seq + c.events,
           status = greatest(m.status, c.status),
           outcome = greatest(m.outcome, c.outcome),
           resolved_seq = greatest(m.resolved_seq, c.resolved_seq)
      FROM market_change c
     WHERE m.market = c.market
       AND CASE WHEN m.lane = $1
                 AND (c.status = 0 OR c.status > m.status)
                 AND (c.outcome = 0 OR m.outcome = 0) THEN true END
    RETURNING 1
), new_order AS (
    INSERT INTO orders (order_key, market, account, lane, order_id, side, price, quantity,
                        time_in_force, leaves, status, seq, reason)
    SELECT order_key, market, account, $1::int, order_id, side, price, quantity,
           time_in_force, leaves, status, seq, reason
      FROM json_to_recordset($20::json) AS d(
           order_key uuid, market uuid, account uuid, order_id text, side smallint, price bigint,
           quantity bigint, time_in_force smallint, leaves bigint, status smallint, seq bigint,
           reason text)
), changed_order AS (
    UPDATE orders o SET leaves = u.leaves, status = u.status
      FROM json_to_recordset($21::json) AS u(order_key uuid, leaves bigint, status smallint)
     WHERE o.order_key = u.order_key
       AND CASE WHEN o.lane = $1 AND o.leaves > 0 AND o.leaves >= u.leaves THEN true END
    RETURNING 1
), fence AS (
    UPDATE lanes
       SET batch_no = batch_no + 1,
           next_offset = $4,
           last_seq = $5,
           lane_time_ms = $6,
           last_record_sha = $7,
           resume = $8,
           published_batch_no = greatest(published_batch_no, $9),
           trades = trades + (SELECT count(*) FROM trade),
           ledger_sum = ledger_sum + (SELECT coalesce(sum(amount), 0) FROM entry)::bigint,
           cash_in = cash_in
               + (SELECT coalesce(sum(amount), 0) FROM transfer WHERE deposit AND reason = '')::bigint,
           cash_out = cash_out
               + (SELECT coalesce(sum(amount), 0) FROM transfer WHERE NOT deposit AND reason = '')::bigint
     WHERE lane = $1 AND epoch = $2 AND batch_no = $3
       AND next_offset = $11 AND last_seq + 1 = $12 AND lane_time_ms <= $6
    RETURNING 1
)
INSERT INTO batches (batch_id, lane, batch_no, first_offset, next_offset, first_seq, last_seq, epoch,
                     owner, plan_hash, facts, events, lane_rows, pockets_missed, markets_missed,
                     orders_missed, trades_mispriced, trades_not_open, resolved_and_traded,
                     payees_missed, ledger_sum)
SELECT $10::uuid, $1::int, $3::bigint + 1, $11, $4::bigint, $12, $5::bigint, $2::bigint,
       $13, $14, $15, $16,
       (SELECT count(*) FROM fence),
       (SELECT count(*) FROM change WHERE lane >= -1)
           - (SELECT count(*) FROM moved) - (SELECT count(*) FROM opened),
       (SELECT count(*) FROM market_change) - (SELECT count(*) FROM market),
       json_array_length($21::json) - (SELECT count(*) FROM changed_order),
       (SELECT count(*) FROM trade t JOIN markets m ON m.market = t.market WHERE t.price >= m.payout),
       (SELECT count(*) FROM trade)
           - (SELECT count(*) FILTER (WHERE m.status = 1)
                FROM trade t JOIN markets m ON m.market = t.market),
       (SELECT count(*)
          FROM (SELECT market FROM trade
                INTERSECT
                (SELECT market FROM paid
                  UNION ALL
                 SELECT market FROM json_to_recordset($19::json) AS f(market uuid, outcome int)
                  WHERE f.outcome > 0)) AS both_done),
       json_array_length($25::json) - (SELECT count(*) FROM paid),
       (SELECT coalesce(sum(amount), 0) FROM entry)::bigint
