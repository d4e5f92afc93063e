-- Step: turn the positions.
WITH trade AS (
    -- include: stated_trades
), leg AS (
    -- include: legs
)
-- include: positions
