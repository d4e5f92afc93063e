-- Commit one batch with the fence, the trades, all money that follows from them, and the journal.
-- The worker states trades, transfers, draws and payees. The database derives postings, positions,
-- collateral, open interest, escrow and the change of every pocket. A wrong batch fails a CHECK of
-- `batches` or of another table and is refused whole.
-- Two CTEs meet in UNION ALL and GROUP BY, because a join of two is quadratic without hash joins. A
-- CASE around conditions on a large table hides from the planner how few rows they leave. A plan made
-- while the table is small would otherwise begin with that table and read all of it later.
-- Parameters, such as $lane, are those of parameters.py, in its order.
WITH new_account AS (
    -- include: new_accounts
), new_market AS (
    -- include: new_markets
), trade AS (
    -- include: new_trades
    RETURNING trade, market, buyer, seller, price, quantity
), leg AS (
    -- include: legs
), position AS (
    -- include: positions
    RETURNING market, account, quantity
), turn AS (
    -- include: turns
), exposure AS (
    -- include: exposures
), payee AS (
    -- include: payees
), paid AS (
    -- include: payouts
    RETURNING market, account, quantity, amount
), transfer AS (
    -- include: new_transfers
    RETURNING transfer, account, deposit, amount, reason
), entry AS (
    -- include: postings
    RETURNING account, lane, amount
), change AS (
    -- include: pocket_changes
), moved AS (
    -- include: pockets
    RETURNING 1
), opened AS (
    -- include: new_pockets
    RETURNING 1
), market_change AS (
    -- include: market_changes
), market AS (
    -- include: markets
    RETURNING 1
), new_order AS (
    -- include: new_orders
), changed_order AS (
    -- include: order_changes
    RETURNING 1
), fence AS (
    -- include: fence
    RETURNING 1
)
-- include: batch_row
       -- include: trade_guards
