-- Step: move the pockets that have a row.
WITH
    -- include: written
-- include: pockets
