-- Step: all that changes of the markets' rows.
WITH
    -- include: written
-- include: markets
