-- First step: win the lane, and count the wrong trades before any market changes.
WITH trade AS (
    -- include: stated_trades
), transfer AS (
    -- include: stated_transfers
), entry AS (
    -- No posting is written yet; the row of the batch has their sum.
    SELECT 0::bigint AS amount
)
-- include: fence
RETURNING
    -- include: trade_guards
