-- Step: pay the winners.
WITH payee AS (
    -- include: payees
)
-- include: payouts
