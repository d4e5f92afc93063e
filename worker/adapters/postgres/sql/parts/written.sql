-- Rows that the batch states or the steps so far have written, named as in the one statement.
trade AS (
    -- include: stated_trades
), leg AS (
    -- include: legs
), position AS (
    SELECT p.market, p.account, p.quantity
      FROM leg
      JOIN positions p ON p.market = leg.market AND p.account = leg.account
), turn AS (
    -- include: turns
), exposure AS (
    -- include: exposures
), paid AS (
    SELECT o.market, o.account, o.quantity, o.amount
      FROM json_to_recordset($payees) AS d(market uuid, account uuid, outcome smallint)
      JOIN payouts o ON o.market = d.market AND o.account = d.account AND o.outcome = d.outcome
), transfer AS (
    -- include: stated_transfers
), entry AS (
    SELECT l.account, l.lane, l.amount
      FROM (SELECT $batch_id AS cause
            UNION
            SELECT trade FROM trade
            UNION
            SELECT cause FROM json_to_recordset($draws) AS d(cause uuid)
            UNION
            SELECT transfer FROM transfer) AS causes
      JOIN postings l ON l.cause = causes.cause
), change AS (
    -- include: pocket_changes
), market_change AS (
    -- include: market_changes
)
