-- Step: pockets that have no row yet.
WITH
    -- include: written
-- include: new_pockets
