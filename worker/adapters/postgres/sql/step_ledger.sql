-- Step: all postings.
WITH
    -- include: written
-- include: postings
